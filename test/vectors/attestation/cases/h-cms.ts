import { constants, createCipheriv, generateKeyPairSync, publicEncrypt } from "node:crypto";

import { concat, fromHex, sha256, utf8 } from "../../../../protocol/index.ts";
import { der } from "../../../../host/sovereignty/custody/cms.ts";
import type { VectorInput } from "../schema.ts";

/** A vector to be; its bytes become edits of the base's. */
export interface CmsCase extends Pick<VectorInput, "title" | "check" | "section"> {
  readonly document: Uint8Array;
}

const { privateKey, publicKey } = generateKeyPairSync("rsa", { modulusLength: 2048 });
/** The recipient's key of every case but one. */
export const CMS_KEY = privateKey.export({ format: "pem", type: "pkcs8" }).toString();
const SKI = sha256(publicKey.export({ format: "der", type: "spki" }));
const PLAINTEXT = utf8("a data key of thirty-two bytes!!");
const KEY = new Uint8Array(32).fill(0x5a);
const IV: Uint8Array = new Uint8Array(16).fill(0xa5);

const OID = {
  envelopedData: "2a864886f70d010703",
  signedData: "2a864886f70d010702",
  data: "2a864886f70d010701",
  rsaEncryption: "2a864886f70d010101",
  rsaOaep: "2a864886f70d010107",
  mgf1: "2a864886f70d010108",
  pSpecified: "2a864886f70d010109",
  sha1: "2b0e03021a",
  sha256: "608648016503040201",
  sha512: "608648016503040203",
  aes128Cbc: "608648016503040102",
  aes256Cbc: "60864801650304012a",
  aes256Gcm: "60864801650304012e",
} as const;
const NONE: Uint8Array = new Uint8Array(0);
const NULL: Uint8Array = fromHex("0500");
const END = fromHex("0000");

const oid = (name: keyof typeof OID): Uint8Array => der(0x06, fromHex(OID[name]));
const version = (number: number): Uint8Array => der(0x02, Uint8Array.of(number));
const digest = (name: "sha1" | "sha256" | "sha512", parameters = NULL): Uint8Array =>
  der(0x30, oid(name), parameters);

/** A constructed element of indefinite length. */
function ber(tag: number, ...parts: readonly Uint8Array[]): Uint8Array {
  return concat(Uint8Array.of(tag, 0x80), ...parts, END);
}

function encryptKey(key: Uint8Array, oaepLabel: Uint8Array = NONE): Uint8Array {
  const padding = constants.RSA_PKCS1_OAEP_PADDING;
  const options = { key: publicKey, padding, oaepHash: "sha256" };
  return new Uint8Array(
    publicEncrypt(oaepLabel.length === 0 ? options : { ...options, oaepLabel }, key),
  );
}

/** AES-256-CBC; with `padded`, of bytes that are whole blocks already. */
function encryptContent(plaintext: Uint8Array, { iv = IV, padded = false } = {}): Uint8Array {
  const cipher = createCipheriv("aes-256-cbc", KEY, iv).setAutoPadding(!padded);
  return concat(cipher.update(plaintext), cipher.final());
}

const CONTENT = encryptContent(PLAINTEXT);

/** Every part of an envelope, as a genuine one has it unless given. */
interface Parts {
  readonly contentType?: Uint8Array;
  readonly besideContent?: Uint8Array;
  readonly secondContent?: Uint8Array;
  readonly envelopeVersion?: Uint8Array;
  readonly attributes?: Uint8Array;
  readonly recipients?: Uint8Array;
  readonly encrypted?: Uint8Array;
}

function envelope(parts: Parts = {}): Uint8Array {
  return ber(
    0x30,
    parts.contentType ?? oid("envelopedData"),
    ber(
      0xa0,
      ber(
        0x30,
        parts.envelopeVersion ?? version(2),
        parts.recipients ?? der(0x31, recipient()),
        parts.encrypted ?? encrypted(),
        parts.attributes ?? NONE,
      ),
      parts.secondContent ?? NONE,
    ),
    parts.besideContent ?? NONE,
  );
}

interface RecipientParts {
  readonly version?: Uint8Array;
  readonly rid?: Uint8Array;
  readonly algorithm?: Uint8Array;
  readonly key?: Uint8Array;
  readonly beside?: Uint8Array;
}

function recipient(parts: RecipientParts = {}): Uint8Array {
  return der(
    0x30,
    parts.version ?? version(2),
    parts.rid ?? der(0x80, SKI),
    parts.algorithm ?? algorithm(oaep()),
    parts.key ?? der(0x04, encryptKey(KEY)),
    parts.beside ?? NONE,
  );
}

const withRecipient = (parts: RecipientParts): Uint8Array =>
  envelope({ recipients: der(0x31, recipient(parts)) });

function algorithm(parameters: Uint8Array, name: keyof typeof OID = "rsaOaep", beside = NONE) {
  return der(0x30, oid(name), parameters, beside);
}

interface OaepParts {
  readonly hash?: Uint8Array;
  readonly mask?: Uint8Array;
  readonly label?: Uint8Array;
}

function oaep({ hash, mask, label = NONE }: OaepParts = {}): Uint8Array {
  return der(0x30, der(0xa0, hash ?? digest("sha256")), der(0xa1, mask ?? mgf()), label);
}

function mgf(inner = digest("sha256"), name: keyof typeof OID = "mgf1", beside = NONE): Uint8Array {
  return der(0x30, oid(name), inner, beside);
}

const withOaep = (parts: OaepParts): Uint8Array =>
  withRecipient({ algorithm: algorithm(oaep(parts)) });

interface EncryptedParts {
  readonly contentType?: Uint8Array;
  readonly cipher?: Uint8Array;
  readonly content?: Uint8Array;
  readonly beside?: Uint8Array;
}

function encrypted(parts: EncryptedParts = {}): Uint8Array {
  return ber(
    0x30,
    parts.contentType ?? oid("data"),
    parts.cipher ?? cipher(),
    parts.content ?? ber(0xa0, der(0x04, CONTENT)),
    parts.beside ?? NONE,
  );
}

function cipher(name: keyof typeof OID = "aes256Cbc", iv = IV, beside = NONE): Uint8Array {
  return der(0x30, oid(name), der(0x04, iv), beside);
}

const withContent = (content: Uint8Array): Uint8Array =>
  envelope({ encrypted: encrypted({ content }) });
const withCipher = (cipher0: Uint8Array): Uint8Array =>
  envelope({ encrypted: encrypted({ cipher: cipher0 }) });
/** Whole blocks that decrypt to `plaintext`, whose last byte is then the padding. */
const withPlaintext = (plaintext: Uint8Array): Uint8Array =>
  withContent(der(0x80, encryptContent(plaintext, { padded: true })));

/** The same all in definite lengths, with primitive content, as other implementations write it. */
function definite(): Uint8Array {
  const content = der(0x30, oid("data"), cipher(), der(0x80, CONTENT));
  const enveloped = der(0x30, version(2), der(0x31, recipient()), content);
  return der(0x30, oid("envelopedData"), der(0xa0, enveloped));
}

/** Good envelopes: what is damaged, and two other forms that are accepted. */
export const CMS_BASES: ReadonlyMap<string, { readonly title: string; readonly blob: Uint8Array }> =
  new Map([
    ["cms-sim", { title: "as KMS writes it: indefinite lengths", blob: envelope() }],
    ["cms-definite", { title: "definite lengths, primitive content", blob: definite() }],
    [
      "cms-parts",
      {
        title: "content in two parts that are no whole blocks, digests without NULL",
        blob: envelope({
          recipients: der(
            0x31,
            recipient({
              algorithm: algorithm(
                oaep({ hash: digest("sha256", NONE), mask: mgf(digest("sha256", NONE)) }),
              ),
            }),
          ),
          encrypted: encrypted({
            content: ber(
              0xa0,
              der(0x04, CONTENT.subarray(0, 7)),
              der(0x04, NONE),
              der(0x04, CONTENT.subarray(7)),
            ),
          }),
        }),
      },
    ],
  ]);

/** Above the limit by a block; everything else about it is right. */
export const CMS_LARGE = withContent(der(0x80, encryptContent(new Uint8Array(16 * 1024))));

/** All cases on the base `cms-sim`, in order. */
export function cmsCases(): readonly CmsCase[] {
  return [
    ...envelopeCases(),
    ...recipientCases(),
    ...oaepCases(),
    ...contentCases(),
    ...berCases(),
  ];
}

function envelopeCases(): readonly CmsCase[] {
  const one = recipient();
  const other = recipient({ rid: der(0x80, new Uint8Array(32)) });
  const attributes = ber(0xa1, der(0x30, oid("data"), der(0x31, NULL)));
  return [
    {
      title: "signed data by its type",
      check: "cms-content-type",
      document: envelope({ contentType: oid("signedData") }),
    },
    {
      title: "plain data by its type",
      check: "cms-content-type",
      document: envelope({ contentType: oid("data") }),
    },
    {
      title: "a third field beside the content",
      check: "cms-info-fields",
      document: envelope({ besideContent: NULL }),
    },
    {
      title: "two contents in one",
      check: "cms-one-content",
      document: envelope({ secondContent: NULL }),
    },
    {
      title: "unprotected attributes",
      check: "cms-attributes",
      document: envelope({ attributes }),
    },
    ...[0, 3].map((number) => ({
      title: `version ${number} of EnvelopedData`,
      check: "cms-version",
      document: envelope({ envelopeVersion: version(number) }),
    })),
    {
      title: "two recipients, ours first",
      check: "cms-one-recipient",
      document: envelope({ recipients: der(0x31, one, other) }),
    },
    {
      title: "one recipient twice",
      check: "cms-one-recipient",
      document: envelope({ recipients: der(0x31, one, one) }),
    },
    {
      title: "recipients in a sequence instead of a set",
      check: "cms-tag",
      document: envelope({ recipients: der(0x30, one) }),
    },
    { title: "no recipient", check: null, document: envelope({ recipients: der(0x31) }) },
    {
      title: "originator information before the recipients",
      check: null,
      document: envelope({ envelopeVersion: concat(version(2), der(0xa0)) }),
    },
  ];
}

function recipientCases(): readonly CmsCase[] {
  const issuer = der(0x30, der(0x30), version(1));
  const label = encryptKey(KEY, utf8("label"));
  return [
    {
      title: "a recipient of version 0",
      check: "cms-recipient-version",
      document: withRecipient({ version: version(0) }),
    },
    {
      title: "a fifth field in the recipient",
      check: "cms-recipient-fields",
      document: withRecipient({ beside: NULL }),
    },
    ...[0, 19, 31, 33].map((bytes) => ({
      title: `a key identifier of ${bytes} bytes`,
      check: "cms-key-identifier",
      document: withRecipient({ rid: der(0x80, new Uint8Array(bytes)) }),
    })),
    {
      title: "a key identifier that is a plain octet string",
      check: "cms-tag",
      document: withRecipient({ rid: der(0x04, SKI) }),
    },
    {
      title: "a recipient named by issuer and serial number",
      check: null,
      document: withRecipient({ rid: issuer }),
    },
    {
      title: "an encrypted key without its leading zero byte",
      check: "cms-encrypted-key",
      document: withRecipient({ key: der(0x04, shortened()) }),
    },
    {
      title: "an encrypted key of 257 bytes",
      check: null,
      document: withRecipient({ key: der(0x04, Uint8Array.of(0, ...encryptKey(KEY))) }),
    },
    {
      title: "a key of 16 bytes in the encrypted key",
      check: null,
      document: withRecipient({ key: der(0x04, encryptKey(KEY.subarray(16))) }),
    },
    {
      title: "a key that was encrypted with a label",
      check: null,
      document: withRecipient({ key: der(0x04, label) }),
    },
    {
      title: "a key for somebody else",
      check: null,
      document: withRecipient({ key: der(0x04, new Uint8Array(256).fill(1)) }),
    },
  ];
}

/** RSA ciphertext begins with a zero byte once in 256 times or so. */
function shortened(): Uint8Array {
  for (;;) {
    const ciphertext = encryptKey(KEY);
    if (ciphertext[0] === 0) return ciphertext.subarray(1);
  }
}

function oaepCases(): readonly CmsCase[] {
  const good = digest("sha256");
  return [
    {
      title: "RSA with the padding of PKCS #1 v1.5 by its name",
      check: "cms-oaep",
      document: withRecipient({ algorithm: algorithm(oaep(), "rsaEncryption") }),
    },
    {
      title: "a third field in the key encryption algorithm",
      check: "cms-oaep-fields",
      document: withRecipient({ algorithm: algorithm(oaep(), "rsaOaep", NULL) }),
    },
    {
      title: "OAEP without parameters, which means SHA-1",
      check: null,
      document: withRecipient({ algorithm: algorithm(NONE) }),
    },
    ...(["sha1", "sha512"] as const).flatMap((name) => [
      {
        title: `OAEP with ${name}`,
        check: "cms-sha256",
        document: withOaep({ hash: digest(name) }),
      },
      {
        title: `a mask of ${name}`,
        check: "cms-sha256",
        document: withOaep({ mask: mgf(digest(name)) }),
      },
    ]),
    {
      title: "another mask generation function",
      check: "cms-mgf1",
      document: withOaep({ mask: mgf(good, "pSpecified") }),
    },
    {
      title: "an OAEP label, though empty",
      check: "cms-oaep-label",
      document: withOaep({ label: der(0xa2, der(0x30, oid("pSpecified"), der(0x04))) }),
    },
    {
      title: "two OAEP digests",
      check: "cms-oaep-digests",
      document: withOaep({ hash: concat(good, digest("sha1")) }),
    },
    {
      title: "two mask generation functions",
      check: "cms-masks",
      document: withOaep({ mask: concat(mgf(), mgf(digest("sha1"))) }),
    },
    {
      title: "a third field in the mask generation function",
      check: "cms-mask-fields",
      document: withOaep({ mask: mgf(good, "mgf1", NULL) }),
    },
    {
      title: "a third field in the digest",
      check: "cms-digest-fields",
      document: withOaep({ hash: digest("sha256", concat(NULL, NULL)) }),
    },
    {
      title: "parameters of the digest that are not NULL",
      check: "cms-digest-parameters",
      document: withOaep({ hash: digest("sha256", der(0x04, utf8("x"))) }),
    },
  ];
}

function contentCases(): readonly CmsCase[] {
  const shortIv = IV.subarray(0, 8);
  const zeroFilled = concat(shortIv, new Uint8Array(8));
  const underShortIv = der(0x80, encryptContent(PLAINTEXT, { iv: zeroFilled }));
  const block = new Uint8Array(16).fill(7);
  return [
    {
      title: "another type of encrypted content",
      check: "cms-data",
      document: envelope({ encrypted: encrypted({ contentType: oid("signedData") }) }),
    },
    {
      title: "a fourth field in the encrypted content",
      check: "cms-encrypted-fields",
      document: envelope({ encrypted: encrypted({ beside: NULL }) }),
    },
    ...(["aes128Cbc", "aes256Gcm"] as const).map((name) => ({
      title: `${name} by its name`,
      check: "cms-cipher",
      document: withCipher(cipher(name)),
    })),
    {
      title: "a third field in the cipher",
      check: "cms-cipher-fields",
      document: withCipher(cipher("aes256Cbc", IV, NULL)),
    },
    {
      title: "an IV of 8 bytes",
      check: "cms-iv",
      document: envelope({
        encrypted: encrypted({ cipher: cipher("aes256Cbc", shortIv), content: underShortIv }),
      }),
    },
    ...[0, 17].map((bytes) => ({
      title: `an IV of ${bytes} bytes`,
      check: null,
      document: withCipher(cipher("aes256Cbc", new Uint8Array(bytes))),
    })),
    {
      title: "content in a plain octet string",
      check: "cms-tag",
      document: withContent(der(0x04, CONTENT)),
    },
    {
      title: "a part of the content that is no octet string",
      check: "cms-tag",
      document: withContent(ber(0xa0, der(0x05, CONTENT))),
    },
    {
      title: "an end of contents within a definite length",
      check: "cms-tag",
      document: withContent(der(0xa0, der(0x04, CONTENT), END)),
    },
    {
      title: "constructed strings within the content",
      check: null,
      document: withContent(ber(0xa0, ber(0x24, der(0x04, CONTENT)))),
    },
    { title: "no content", check: null, document: withContent(NONE) },
    { title: "content of no bytes", check: null, document: withContent(ber(0xa0)) },
    {
      title: "content that is no whole blocks",
      check: null,
      document: withContent(der(0x80, CONTENT.subarray(1))),
    },
    {
      title: "padding of 0",
      check: "cms-padding",
      document: withPlaintext(block.with(15, 0)),
    },
    {
      title: "padding longer than a block",
      check: "cms-padding",
      document: withPlaintext(block.with(15, 17)),
    },
    {
      title: "padding bytes that differ",
      check: "cms-padding",
      document: withPlaintext(block.with(15, 2)),
    },
  ];
}

function berCases(): readonly CmsCase[] {
  const blob = envelope();
  const lastPart = ber(0xa0, der(0x04, CONTENT));
  const short = concat(fromHex("048110"), IV);
  const padded = concat(fromHex("04820010"), IV);
  const longIv = (iv: Uint8Array): Uint8Array => der(0x30, oid("aes256Cbc"), iv);
  return [
    { title: "a byte after the blob", check: "ber-one-element", document: concat(blob, NULL) },
    {
      title: "two blobs in a row",
      check: "ber-one-element",
      document: concat(blob, blob),
    },
    ...[1, 2, 5].map((count) => ({
      title: `the last ${count} ends of contents missing`,
      check: "ber-end",
      document: blob.subarray(0, blob.length - 2 * count),
    })),
    {
      title: "half an end of contents",
      check: "ber-half-end",
      document: concat(blob.subarray(0, -1), fromHex("01")),
    },
    {
      title: "a length in the long form without need",
      check: "ber-shortest-length",
      document: withCipher(longIv(short)),
    },
    {
      title: "a length with a leading zero",
      check: "ber-shortest-length",
      document: withCipher(longIv(padded)),
    },
    {
      title: "a length of 126 octets",
      check: "ber-shortest-length",
      document: withCipher(longIv(concat(fromHex("04fe"), new Uint8Array(125), fromHex("10"), IV))),
    },
    { title: "an empty blob", check: null, document: NONE },
    { title: "a blob cut in half", check: null, document: blob.subarray(0, blob.length / 2) },
    {
      title: "a primitive element of indefinite length",
      check: null,
      document: withContent(concat(fromHex("8080"), CONTENT, END)),
    },
    {
      title: "an element that ends after what holds it",
      check: null,
      document: withContent(lastPart.with(3, CONTENT.length + 1)),
    },
    {
      title: "seventeen levels",
      check: null,
      document: Array.from({ length: 17 }).reduce<Uint8Array>((inner) => ber(0x30, inner), NULL),
    },
    {
      title: "an identifier of two octets",
      check: null,
      document: withContent(concat(fromHex("bf2080"), der(0x04, CONTENT), END)),
    },
  ];
}
