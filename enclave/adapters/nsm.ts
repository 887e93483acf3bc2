import type { Duplex } from "node:stream";

import { z } from "zod";

import { OPTIONAL_FIELD_BYTES_MAX, decodeHardwareCbor, type HardwareValue } from "#attestation";
import {
  FrameReader,
  LimitError,
  RefusedError,
  UnavailableError,
  concat,
  encodeCbor,
  encodeFrame,
  type CborValue,
} from "#protocol";

/** What an attestation document is to say beside the platform's own claims; at most 1024 bytes each. */
export interface AttestRequest {
  readonly nonce: Uint8Array | null;
  readonly userData: Uint8Array | null;
  readonly publicKey: Uint8Array | null;
}

/** What the NSM says of itself. */
export interface NsmDescription {
  /** Such as `1.0.0`. */
  readonly version: string;
  readonly moduleId: string;
  /** Such as `SHA384`: how PCRs are extended. */
  readonly digest: string;
  readonly maxPcrs: number;
  /** The PCRs a document will list. */
  readonly lockedPcrs: readonly number[];
}

/** A platform configuration register. */
export interface NsmPcr {
  readonly locked: boolean;
  /** 48 bytes where the NSM's digest is SHA384. */
  readonly value: Uint8Array;
}

/**
 * The Nitro Secure Module, as an enclave uses it. Calls are answered in order.
 *
 * All methods throw {@link UnavailableError} TEE_NSM_FAILED when there is no answer or none that makes sense,
 * {@link RefusedError} TEE_NSM_REFUSED when the NSM answers with an error, whose name is `nsmError` in the
 * details, and {@link LimitError} TEE_NSM_REFUSED for what is not even sent.
 */
export interface NsmClient {
  /** The signed document, COSE_Sign1, as the NSM returned it. */
  attest(request: AttestRequest): Promise<Uint8Array>;
  /** `bytes` bytes from the platform's generator; at most {@link RANDOM_BYTES_MAX}. */
  random(bytes: number): Promise<Uint8Array>;
  describe(): Promise<NsmDescription>;
  describePcr(index: number): Promise<NsmPcr>;
  /**
   * Sets a PCR to the digest of its value and `data`, and returns the new value. PCRs below 16 are locked
   * before an enclave starts; others have to be locked to appear in documents.
   */
  extendPcr(index: number, data: Uint8Array): Promise<Uint8Array>;
  /** Makes a PCR constant until the enclave ends. One that is locked already is refused. */
  lockPcr(index: number): Promise<void>;
  /** Locks the PCRs in [0, range); some may be locked already. */
  lockPcrs(range: number): Promise<void>;
}

/** Error names of the interface (src/api/mod.rs, ErrorCode). `Success` is no error and never accepted as one. */
export const NSM_ERRORS = [
  "InvalidArgument",
  "InvalidIndex",
  "InvalidResponse",
  "ReadOnlyIndex",
  "InvalidOperation",
  "BufferTooSmall",
  "InputTooLarge",
  "InternalError",
] as const;
/** One of {@link NSM_ERRORS}. */
export type NsmErrorName = (typeof NSM_ERRORS)[number];

/** The driver's largest request (nsm-api, src/driver). */
const REQUEST_BYTES_MAX = 0x1000;
/** The driver's largest response (nsm-api, src/driver). */
const RESPONSE_BYTES_MAX = 0x3000;
/** Most random bytes given in one call; the NSM returns at most 256 at a time. */
export const RANDOM_BYTES_MAX = 4096;
/** Calls that may wait for their answers at once; an enclave has one or two. */
const WAITING_MAX = 64;
/** Time for one answer. A document takes milliseconds; a host that holds answers back gets no second chance. */
export const NSM_DEADLINE_MS = 10_000;

interface Waiting {
  readonly resolve: (response: Uint8Array) => void;
  readonly reject: (error: Error) => void;
  readonly timer: NodeJS.Timeout;
}

/**
 * A client of the NSM behind `stream`: requests and responses are CBOR in frames (`protocol/frame.ts`).
 *
 * The stream is descriptor 4 in the simulator. On Nitro it is a socket of `image/gate`, which owns
 * /dev/nsm. After a timeout, an error or the end of the stream the client fails every call.
 *
 * @see aws-nitro-enclaves-nsm-api src/api/mod.rs
 */
export function createNsmClient(
  stream: Duplex,
  options: { readonly deadlineMs: number } = { deadlineMs: NSM_DEADLINE_MS },
): NsmClient {
  const call = createCaller(stream, options.deadlineMs);
  return {
    attest: (request) => attest(call, request),
    random: (bytes) => random(call, bytes),
    async describe() {
      return parseDescription(fieldsOf(await call("DescribeNSM"), "DescribeNSM"));
    },
    async describePcr(index) {
      const answer = await call("DescribePCR", [["index", index]]);
      return parsePcr(fieldsOf(answer, "DescribePCR"));
    },
    async extendPcr(index, data) {
      const answer = await call("ExtendPCR", [
        ["index", index],
        ["data", data],
      ]);
      return bytesOf(fieldsOf(answer, "ExtendPCR"), "data");
    },
    async lockPcr(index) {
      expectName(await call("LockPCR", [["index", index]]), "LockPCR");
    },
    async lockPcrs(range) {
      expectName(await call("LockPCRs", [["range", range]]), "LockPCRs");
    },
  };
}

async function attest(call: Call, request: AttestRequest): Promise<Uint8Array> {
  const { nonce, userData, publicKey } = request;
  for (const field of [nonce, userData, publicKey]) {
    if (field !== null && field.length > OPTIONAL_FIELD_BYTES_MAX) {
      throw tooLarge("field", field.length, OPTIONAL_FIELD_BYTES_MAX);
    }
  }
  const answer = await call("Attestation", [
    ["user_data", userData],
    ["nonce", nonce],
    ["public_key", publicKey],
  ]);
  return bytesOf(fieldsOf(answer, "Attestation"), "document");
}

async function random(call: Call, bytes: number): Promise<Uint8Array> {
  if (!Number.isSafeInteger(bytes) || bytes < 1 || bytes > RANDOM_BYTES_MAX) {
    throw tooLarge("random", bytes, RANDOM_BYTES_MAX);
  }
  const filled = new Uint8Array(bytes);
  for (let at = 0; at < bytes;) {
    const part = bytesOf(fieldsOf(await call("GetRandom"), "GetRandom"), "random");
    if (part.length === 0) throw failed("random bytes", "none");
    filled.set(part.subarray(0, bytes - at), at);
    at += part.length;
  }
  return filled;
}

type Fields = ReadonlyMap<unknown, HardwareValue>;
type CallFields = readonly (readonly [name: string, value: CborValue])[];
/** Without fields the request is a text, with fields a map of one entry (serde's form of Rust enumerations). */
type Call = (name: string, fields?: CallFields) => Promise<HardwareValue>;

function createCaller(stream: Duplex, deadlineMs: number): Call {
  const reader = new FrameReader(RESPONSE_BYTES_MAX);
  const waiting: Waiting[] = [];
  let broken: Error | null = null;
  const breakOff = (error: Error): void => {
    broken ??= error;
    stream.destroy();
    for (const { reject, timer } of waiting.splice(0)) {
      clearTimeout(timer);
      reject(broken);
    }
  };
  stream.on("error", (cause) => breakOff(failed("a working stream", "an error", { cause })));
  stream.on("close", () => breakOff(failed("a working stream", "its end")));
  stream.on("end", () => breakOff(failed("a working stream", "its end")));
  stream.on("data", (chunk: Uint8Array) => {
    try {
      for (const response of reader.push(chunk)) {
        const next = waiting.shift();
        if (next === undefined) throw failed("an answer to a question", "another one");
        clearTimeout(next.timer);
        next.resolve(response);
      }
    } catch (cause) {
      breakOff(failed("frames in order", "other bytes", { cause }));
    }
  });
  return async (name, fields) => {
    const request = encodeRequest(name, fields);
    if (broken !== null) throw broken;
    if (waiting.length >= WAITING_MAX)
      throw tooLarge("waiting calls", WAITING_MAX + 1, WAITING_MAX);
    const response = await new Promise<Uint8Array>((resolve, reject) => {
      const late = failed(`an answer within ${deadlineMs} ms`, "none");
      const timer = setTimeout(() => breakOff(late), deadlineMs);
      waiting.push({ resolve, reject, timer });
      stream.write(encodeFrame(request));
    });
    return parseResponse(response, name);
  };
}

/** Fields in the order the platform's own clients write them, which is not the canonical one. */
function encodeRequest(name: string, fields: CallFields | undefined): Uint8Array {
  const parts = (fields ?? []).flatMap(([field, value]) => [encodeCbor(field), encodeCbor(value)]);
  const map = (pairs: number): Uint8Array => Uint8Array.of(0xa0 | pairs);
  const request =
    fields === undefined
      ? encodeCbor(name)
      : concat(map(1), encodeCbor(name), map(fields.length), ...parts);
  if (request.length > REQUEST_BYTES_MAX) {
    throw tooLarge("request", request.length, REQUEST_BYTES_MAX);
  }
  return request;
}

function parseResponse(response: Uint8Array, name: string): HardwareValue {
  const decoded = decodeResponse(response);
  if (decoded instanceof Map && decoded.size === 1) {
    const answer: Fields = decoded;
    const given = answer.get("Error");
    const nsmError = NSM_ERRORS.find((error) => error === given);
    if (nsmError !== undefined) throw refused(name, nsmError);
  }
  return decoded;
}

function fieldsOf(answer: HardwareValue, name: string): Fields {
  if (answer instanceof Map && answer.size === 1) {
    const fields: unknown = answer.get(name);
    if (fields instanceof Map) return fields;
  }
  throw failed(`an answer to ${name}`, "another message");
}

function expectName(answer: HardwareValue, name: string): void {
  if (answer !== name) throw failed(`an answer to ${name}`, "another message");
}

function decodeResponse(response: Uint8Array): HardwareValue {
  try {
    return decodeHardwareCbor(response, RESPONSE_BYTES_MAX);
  } catch (cause) {
    throw failed("CBOR", "other bytes", { cause });
  }
}

function bytesOf(fields: Fields, field: string): Uint8Array {
  const value = fields.get(field);
  if (!(value instanceof Uint8Array)) throw failed(`bytes in ${field}`, typeof value);
  return Uint8Array.from(value);
}

function parsePcr(fields: Fields): NsmPcr {
  const locked = fields.get("lock");
  if (typeof locked !== "boolean") throw failed("a truth value in lock", typeof locked);
  return { locked, value: bytesOf(fields, "data") };
}

const pcrIndex = z.int().min(0).max(0xffff);
const descriptionSchema = z.object({
  version_major: pcrIndex,
  version_minor: pcrIndex,
  version_patch: pcrIndex,
  module_id: z.string().min(1),
  max_pcrs: pcrIndex,
  locked_pcrs: z.array(pcrIndex),
  digest: z.enum(["SHA256", "SHA384", "SHA512"]),
});

function parseDescription(fields: Fields): NsmDescription {
  const parsed = descriptionSchema.safeParse(Object.fromEntries(fields));
  if (!parsed.success) throw failed("the fields of a description", "others");
  const { version_major: major, version_minor: minor, version_patch: patch } = parsed.data;
  return {
    version: `${major}.${minor}.${patch}`,
    moduleId: parsed.data.module_id,
    digest: parsed.data.digest,
    maxPcrs: parsed.data.max_pcrs,
    lockedPcrs: parsed.data.locked_pcrs,
  };
}

function refused(operation: string, nsmError: NsmErrorName): RefusedError {
  return new RefusedError(
    { code: "TEE_NSM_REFUSED", operation, nsmError },
    `nsm ${operation}: expected an answer, got the error ${nsmError}`,
  );
}

function tooLarge(subject: string, count: number, max: number): LimitError {
  return new LimitError(
    { code: "TEE_NSM_REFUSED", count, max },
    `nsm ${subject}: expected 1 to ${max}, got ${count}`,
  );
}

function failed(expected: string, got: string, options?: ErrorOptions): UnavailableError {
  return new UnavailableError(
    { code: "TEE_NSM_FAILED" },
    `nsm: expected ${expected}, got ${got}`,
    options,
  );
}
