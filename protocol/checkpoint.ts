import { base64, concat, fromBase64, hex, utf8 } from "./bytes.ts";
import { LimitError, MalformedError, SymphonyError, VerificationError } from "./errors.ts";
import { sha256 } from "./hash.ts";
import { isSignature, signBytes, type SigningKey } from "./signing.ts";

/** The largest checkpoint with all its signatures, in UTF-16 units: some 400 cosignatures. */
export const CHECKPOINT_TEXT_MAX = 64 * 1024;

/** The longest origin or key name, in UTF-16 units. */
export const CHECKPOINT_NAME_MAX = 255;

/** Signature types. C2SP signed-note, Signature types; tlog-cosignature, Format */
const TYPE_ED25519 = 0x01;
const TYPE_COSIGNATURE = 0x04;
const KEY_HASH_BYTES = 4;
const TIME_BYTES = 8;
/** C2SP tlog-cosignature v1, Format */
const TIME_MAX = 2n ** 63n - 1n;
const ROOT_BYTES = 32;
const SIGNATURE_MARK = "\u2014 ";

/** A tree head as a checkpoint claims it. */
export interface CheckpointClaims {
  /** The name of the log; non-empty, one line. */
  readonly origin: string;
  readonly size: number;
  /** RFC 9162 root, 32 bytes. */
  readonly root: Uint8Array;
}

/** A public key under the name that its signature lines carry. */
export interface NamedKey {
  readonly name: string;
  /** Raw Ed25519 key, 32 bytes. */
  readonly publicKey: Uint8Array;
}

/** A checkpoint that its log and at least a quorum of witnesses have signed. */
export interface VerifiedCheckpoint {
  readonly size: number;
  readonly root: Uint8Array;
  /** The witnesses that cosigned, each once, in the order in which they were given. */
  readonly witnessNames: readonly string[];
}

interface SignatureLine {
  readonly name: string;
  readonly keyHash: Uint8Array;
  readonly signature: Uint8Array;
}

interface Note extends CheckpointClaims {
  /** The signed text, with its final newline. */
  readonly body: string;
  readonly signatures: readonly SignatureLine[];
}

/**
 * Signs a tree head as a C2SP checkpoint: a signed note of three lines, without extension lines.
 *
 *     <origin>\n<size>\n<base64 root>\n\n— <signer name> <base64 key hash and signature>\n
 *
 * @throws {@link MalformedError} SCHEMA_MALFORMED for a name, size or root that a checkpoint cannot carry.
 * @see C2SP tlog-checkpoint v1, Note text; C2SP signed-note v1, Format
 */
export function signCheckpoint(
  args: CheckpointClaims & { readonly signerName: string; readonly key: SigningKey },
): string {
  const { origin, size, root, signerName, key } = args;
  if (!isOrigin(origin)) throw argumentMalformed("origin", "one short line of text");
  if (!Number.isSafeInteger(size) || size < 0) throw argumentMalformed("size", "a count");
  if (root.length !== ROOT_BYTES) throw argumentMalformed("root", `${ROOT_BYTES} bytes`);
  const body = `${origin}\n${size}\n${base64(root)}\n`;
  const signature = signBytes(utf8(body), key);
  return `${body}\n${signatureLine({ name: signerName, type: TYPE_ED25519, key, signature })}`;
}

/**
 * Adds a witness' timestamped cosignature to a checkpoint. Verifies nothing: whoever witnesses has first verified
 * the log's signature and the consistency with the last head it saw.
 *
 * @param args.timeSeconds - When the witness saw it, Unix seconds.
 * @throws {@link VerificationError} PROOF_CHECKPOINT_INVALID when `note` is no checkpoint.
 * @see C2SP tlog-cosignature v1, Ed25519 signed message
 */
export function cosignCheckpoint(
  note: string,
  args: { readonly signerName: string; readonly key: SigningKey; readonly timeSeconds: number },
): string {
  const { signerName, key, timeSeconds } = args;
  if (!Number.isSafeInteger(timeSeconds) || timeSeconds < 0) {
    throw argumentMalformed("time", "Unix seconds");
  }
  const { body } = parseNote(note);
  const time = timeBytes(timeSeconds);
  const signature = concat(time, signBytes(cosignedMessage(body, timeSeconds), key));
  const cosigned =
    note + signatureLine({ name: signerName, type: TYPE_COSIGNATURE, key, signature });
  requireText(cosigned);
  return cosigned;
}

/**
 * Parses the tree head of a checkpoint. Verifies no signature.
 *
 * @throws {@link LimitError} SCHEMA_TOO_LARGE
 * @throws {@link VerificationError} PROOF_CHECKPOINT_INVALID
 */
export function parseCheckpoint(note: string): CheckpointClaims {
  const { origin, size, root } = parseNote(note);
  return { origin, size, root };
}

/**
 * Verifies that `note` is a checkpoint of the log `origin`, signed by it and by `quorum` of the witnesses.
 *
 * A witness counts once, and so does a public key under two names. Signatures by unknown keys are ignored; one
 * wrong signature under a known name and key refuses the whole note. Extension lines are refused, which is stricter
 * than the format.
 *
 * @param trust.quorum - How many witnesses are needed; 0 is allowed and says that the log alone is believed.
 * @throws {@link LimitError} SCHEMA_TOO_LARGE above {@link CHECKPOINT_TEXT_MAX}.
 * @throws {@link VerificationError} PROOF_CHECKPOINT_INVALID
 * @see C2SP signed-note v1, Signatures; C2SP tlog-checkpoint v1; C2SP tlog-cosignature v1
 */
export function verifyCheckpoint(
  note: string,
  trust: {
    readonly origin: string;
    readonly log: NamedKey;
    readonly witnesses: readonly NamedKey[];
    readonly quorum: number;
  },
): VerifiedCheckpoint {
  const { quorum, log, witnesses } = trust;
  if (!Number.isSafeInteger(quorum) || quorum < 0) throw invalid("a quorum count", `${quorum}`);
  const parsed = parseNote(note);
  if (parsed.origin !== trust.origin) throw invalid(`origin ${trust.origin}`, parsed.origin);
  if (!isSignedBy(parsed, log, TYPE_ED25519)) throw invalid(`a signature of ${log.name}`, "none");
  const cosigners = new Map<string, string>();
  for (const witness of witnesses) {
    const counted = cosigners.has(hex(witness.publicKey));
    if (!counted && isSignedBy(parsed, witness, TYPE_COSIGNATURE)) {
      cosigners.set(hex(witness.publicKey), witness.name);
    }
  }
  if (cosigners.size < quorum) throw invalid(`${quorum} cosignatures`, `${cosigners.size}`);
  return { size: parsed.size, root: parsed.root, witnessNames: [...cosigners.values()] };
}

/**
 * Which of a log's keys a checkpoint claims to be signed with, for a log whose key has changed: the last that a
 * signature line names, or undefined when none is. Verifies nothing.
 *
 * @param keys - Of one log, in the order in which it had them.
 * @throws {@link VerificationError} PROOF_CHECKPOINT_INVALID; {@link LimitError} SCHEMA_TOO_LARGE
 */
export function checkpointSigner(note: string, keys: readonly NamedKey[]): NamedKey | undefined {
  const { signatures } = parseNote(note);
  return keys.findLast((key) => {
    const expected = hex(keyHash(key, TYPE_ED25519));
    return signatures.some((line) => line.name === key.name && hex(line.keyHash) === expected);
  });
}

/** Whether a line carries `key`'s name and key hash. Throws if any such line does not verify. */
function isSignedBy(note: Note, key: NamedKey, type: number): boolean {
  const expected = hex(keyHash(key, type));
  const lines = note.signatures.filter(
    (line) => line.name === key.name && hex(line.keyHash) === expected,
  );
  for (const line of lines) {
    const { message, signature } = signedMessage(note.body, line.signature, type);
    if (!isSignature({ message, publicKey: key.publicKey, signature })) {
      throw invalid(`the signature of ${key.name}`, "another");
    }
  }
  return lines.length > 0;
}

function signedMessage(
  body: string,
  bytes: Uint8Array,
  type: number,
): { message: Uint8Array; signature: Uint8Array } {
  if (type === TYPE_ED25519) return { message: utf8(body), signature: bytes };
  if (bytes.length < TIME_BYTES) throw invalid("a timestamped signature", `${bytes.length} bytes`);
  const time = new DataView(bytes.buffer, bytes.byteOffset, TIME_BYTES).getBigUint64(0);
  if (time > TIME_MAX) throw invalid("a time below 2^63", "a later one");
  return { message: cosignedMessage(body, time), signature: bytes.subarray(TIME_BYTES) };
}

function cosignedMessage(body: string, timeSeconds: number | bigint): Uint8Array {
  return utf8(`cosignature/v1\ntime ${timeSeconds}\n${body}`);
}

function timeBytes(timeSeconds: number): Uint8Array {
  const bytes = new Uint8Array(TIME_BYTES);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(timeSeconds));
  return bytes;
}

function keyHash(key: NamedKey, type: number): Uint8Array {
  return sha256(utf8(`${key.name}\n`), Uint8Array.of(type), key.publicKey).subarray(
    0,
    KEY_HASH_BYTES,
  );
}

function signatureLine(args: {
  name: string;
  type: number;
  key: SigningKey;
  signature: Uint8Array;
}): string {
  const { name, type, key, signature } = args;
  if (!isKeyName(name)) throw argumentMalformed("signer name", "no spaces and no plus");
  const id = keyHash({ name, publicKey: key.publicKey }, type);
  return `${SIGNATURE_MARK}${name} ${base64(concat(id, signature))}\n`;
}

function parseNote(note: string): Note {
  requireText(note);
  const end = note.lastIndexOf("\n\n");
  if (end < 0) throw invalid("a text, an empty line and signatures", "no empty line");
  const body = note.slice(0, end + 1);
  const tail = note.slice(end + 2);
  if (tail === "" || !tail.endsWith("\n")) throw invalid("signature lines", "none or an open one");
  const [origin = "", size = "", root = "", ...more] = body.slice(0, -1).split("\n");
  if (more.length > 0 || !isOrigin(origin)) throw invalid("origin, size and root", "other lines");
  return {
    origin,
    size: parseSize(size),
    root: parseRoot(root),
    body,
    signatures: tail.slice(0, -1).split("\n").map(parseSignatureLine),
  };
}

function parseSize(text: string): number {
  const size = Number(text);
  if (!/^(0|[1-9][0-9]{0,15})$/.test(text) || !Number.isSafeInteger(size)) {
    throw invalid("a decimal tree size", `${text.length} characters`);
  }
  return size;
}

function parseRoot(text: string): Uint8Array {
  const root = parseBase64(text);
  if (root.length !== ROOT_BYTES) throw invalid(`a root of ${ROOT_BYTES} bytes`, `${root.length}`);
  return root;
}

function parseSignatureLine(line: string): SignatureLine {
  const [name = "", encoded = "", ...more] = line.slice(SIGNATURE_MARK.length).split(" ");
  if (!line.startsWith(SIGNATURE_MARK) || more.length > 0 || !isKeyName(name)) {
    throw invalid("a signature line", "another line");
  }
  const bytes = parseBase64(encoded);
  if (bytes.length <= KEY_HASH_BYTES) throw invalid("a key hash and a signature", "fewer bytes");
  return {
    name,
    keyHash: bytes.subarray(0, KEY_HASH_BYTES),
    signature: bytes.subarray(KEY_HASH_BYTES),
  };
}

function parseBase64(text: string): Uint8Array {
  try {
    return fromBase64(text);
  } catch (cause) {
    if (!(cause instanceof SymphonyError)) throw cause;
    throw invalid("standard base64", `${text.length} other characters`, cause);
  }
}

/** No control characters but newline, and no lone surrogates, which UTF-8 could not carry. */
function requireText(note: string): void {
  if (note.length > CHECKPOINT_TEXT_MAX) {
    throw new LimitError(
      { code: "SCHEMA_TOO_LARGE", length: note.length, max: CHECKPOINT_TEXT_MAX },
      `checkpoint: expected at most ${CHECKPOINT_TEXT_MAX} characters, got ${note.length}`,
    );
  }
  // eslint-disable-next-line no-control-regex -- control characters are what is looked for
  if (!note.isWellFormed() || /[\u0000-\u0009\u000b-\u001f]/.test(note)) {
    throw invalid("text without control characters", "others");
  }
}

function isOrigin(text: string): boolean {
  return text.length > 0 && text.length <= CHECKPOINT_NAME_MAX && !/\p{Cc}/u.test(text);
}

function isKeyName(text: string): boolean {
  return isOrigin(text) && !/[\s+]/u.test(text);
}

function argumentMalformed(subject: string, expected: string): MalformedError {
  return new MalformedError(
    { code: "SCHEMA_MALFORMED" },
    `checkpoint ${subject}: expected ${expected}, got another value`,
  );
}

function invalid(expected: string, got: string, cause?: unknown): VerificationError {
  return new VerificationError(
    { code: "PROOF_CHECKPOINT_INVALID" },
    `checkpoint: expected ${expected}, got ${got}`,
    { cause },
  );
}
