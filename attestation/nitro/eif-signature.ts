import { MalformedError, equalBytes, fromHex } from "#protocol";

/** An array, in it a map of two, in it the key "signing_certificate". */
const KEY = fromHex("a2737369676e696e675f6365727469666963617465");
/** The key "signature". */
const SIGNATURE_KEY = fromHex("697369676e6174757265");
const PEM = /^-----BEGIN CERTIFICATE-----\n([A-Za-z0-9+/=\n]+)-----END CERTIFICATE-----\n*$/;

/** What the signature section of an image file says first. Nothing of it is authentic. */
export interface ImageSignature {
  /** DER, not parsed. */
  readonly certificate: Uint8Array;
  /** COSE_Sign1 over the image's first register, not verified. */
  readonly coseSign1: Uint8Array;
}

/**
 * The certificate that the signature section of an image file names first, DER. Nothing of it is authentic: the
 * signature beside it is not verified, and the certificate is not parsed.
 *
 * The section is CBOR as `aws-nitro-enclaves-image-format` writes it, byte strings as arrays of integers:
 *
 *     8n            array of 1 to 23
 *     a2            map of 2
 *     73 "signing_certificate"  then an array head (98 nn or 99 nn nn) and the integers of a PEM text
 *     69 "signature"            then the same of a COSE_Sign1; not read here
 *
 * @throws {@link MalformedError} TEE_IMAGE_MALFORMED
 */
export function parseSigningCertificate(section: Uint8Array): Uint8Array {
  return readCertificate(section).certificate;
}

/**
 * The one signature of a signature section, and nothing after it.
 *
 * @throws {@link MalformedError} TEE_IMAGE_MALFORMED, for a section with several signatures too
 */
export function parseImageSignature(section: Uint8Array): ImageSignature {
  const { certificate, end } = readCertificate(section);
  const at = end + SIGNATURE_KEY.length;
  if (section[0] !== 0x81 || !equalBytes(section.subarray(end, at), SIGNATURE_KEY)) {
    throw fault("one certificate and one signature");
  }
  const signature = readIntegers(section, at);
  if (signature.end !== section.length) throw fault("its end after the signature");
  return { certificate, coseSign1: signature.values };
}

function readCertificate(section: Uint8Array): { certificate: Uint8Array; end: number } {
  const [head = 0] = section;
  if (head < 0x81 || head > 0x97 || !equalBytes(section.subarray(1, 1 + KEY.length), KEY)) {
    throw fault("a signing certificate first");
  }
  const { values, end } = readIntegers(section, 1 + KEY.length);
  const text = Buffer.from(values).toString("latin1");
  const body = PEM.exec(text.replaceAll("\r\n", "\n"))?.[1];
  if (body === undefined) throw fault("one certificate in PEM");
  const base64 = body.replaceAll("\n", "");
  const certificate = Buffer.from(base64, "base64");
  // Bits of the last character that say nothing would give one certificate several spellings.
  if (certificate.toString("base64") !== base64) throw fault("base64 in its one form");
  return { certificate: new Uint8Array(certificate), end };
}

/** A definite array of integers in [0, 256) at `start`, and where it ends. */
function readIntegers(bytes: Uint8Array, start: number): { values: Uint8Array; end: number } {
  const [head = 0, high = 0, low = 0] = bytes.subarray(start, start + 3);
  if (head !== 0x98 && head !== 0x99) throw fault("a list of 24 to 65535 integers");
  const count = head === 0x98 ? high : high * 256 + low;
  let at = start + (head === 0x98 ? 2 : 3);
  const values = new Uint8Array(count);
  for (let index = 0; index < count; index++) {
    const first = bytes[at];
    const value = first === 0x18 ? bytes[at + 1] : first;
    if (first === undefined || value === undefined || (first !== 0x18 && first > 0x17)) {
      throw fault("integers in [0, 256)");
    }
    values[index] = value;
    at += first === 0x18 ? 2 : 1;
  }
  return { values, end: at };
}

function fault(expected: string): MalformedError {
  return new MalformedError(
    { code: "TEE_IMAGE_MALFORMED", field: "signature section" },
    `image file signature section: expected ${expected}, got other bytes`,
  );
}
