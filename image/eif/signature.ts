import { X509Certificate, sign, verify, type KeyObject } from "node:crypto";

import { decodeHardwareCbor, parseImageSignature, type HardwareValue } from "#attestation";
import {
  MalformedError,
  VerificationError,
  concat,
  encodeCbor,
  equalBytes,
  fromHex,
  hex,
  sha384,
  utf8,
} from "#protocol";

import { imageFault } from "../archive/faults.ts";

/** A certificate and its private key, both on P-384. */
export interface ImageSigner {
  readonly certificate: X509Certificate;
  readonly key: KeyObject;
}

/** Whose signature an image has; only {@link verifyImageSignature} makes one. */
class VerifiedSigner {
  /** 96 lower-case hex digits. */
  readonly pcr8: string;
  readonly certificate: X509Certificate;

  constructor(certificate: X509Certificate) {
    this.certificate = certificate;
    this.pcr8 = hex(sha384(new Uint8Array(48), sha384(new Uint8Array(certificate.raw))));
  }
}

export type { VerifiedSigner };

const COSE_BYTES_MAX = 1024;
const PAYLOAD_BYTES_MAX = 256;
/** {1: -35}: ES384 (RFC 9053 § 2.1). */
const PROTECTED = fromHex("a1013822");
const CURVE = "secp384r1";
/** An array of one map of two, in the order in which AWS's tool writes it. */
const SECTION_START = fromHex("81a2");

/**
 * The signature section over an image's first register: CBOR with byte strings as arrays of integers, COSE_Sign1 with
 * ES384 over `{"register_index": 0, "register_value": pcr0}`.
 *
 * An ECDSA signature has randomness in it: a signed image is not the same bytes twice, but its registers are.
 *
 * @throws {@link MalformedError} TEE_IMAGE_MALFORMED for another curve, or a key that is not the certificate's
 * @see aws-nitro-enclaves-image-format src/utils/eif_signer.rs
 */
export function encodeSignatureSection(pcr0: Uint8Array, signer: ImageSigner): Uint8Array {
  const { certificate, key } = signer;
  expectCurve(certificate);
  if (!certificate.checkPrivateKey(key)) {
    throw imageFault("signing key", "the key of the signing certificate", "another");
  }
  const payload = encodePayload(pcr0);
  const signature = sign("sha384", signedBytes(payload), { key, dsaEncoding: "ieee-p1363" });
  const cose = concat(
    fromHex("84"),
    encodeCbor(PROTECTED),
    fromHex("a0"),
    encodeCbor(payload),
    encodeCbor(new Uint8Array(signature)),
  );
  return concat(
    SECTION_START,
    encodeCbor("signing_certificate"),
    encodeCbor([...utf8(certificate.toString())]),
    encodeCbor("signature"),
    encodeCbor([...cose]),
  );
}

/**
 * Verifies that `section` holds a signature over `pcr0` by the key of the certificate that it names.
 *
 * Who that is, and whether the certificate is still valid, is for the caller to judge, by PCR 8: nothing chains it to
 * anything, because the hypervisor does not either.
 *
 * @param pcr0 - 48 bytes, as measured from the image.
 * @throws {@link MalformedError} TEE_IMAGE_MALFORMED
 * @throws {@link VerificationError} TEE_SIGNATURE_INVALID
 */
export function verifyImageSignature(section: Uint8Array, pcr0: Uint8Array): VerifiedSigner {
  const { certificate: der, coseSign1 } = parseImageSignature(section);
  const certificate = parseCertificate(der);
  const { payload, signature } = parseCose(coseSign1);
  const key = { key: certificate.publicKey, dsaEncoding: "ieee-p1363" } as const;
  if (!verify("sha384", signedBytes(payload), key, signature)) {
    throw new VerificationError(
      { code: "TEE_SIGNATURE_INVALID" },
      "image signature: expected one by the key of its certificate, got another",
    );
  }
  if (!equalBytes(payload, encodePayload(pcr0))) {
    throw new VerificationError(
      { code: "TEE_SIGNATURE_INVALID", pcr0: hex(pcr0) },
      `image signature: expected one over PCR0 ${hex(pcr0)}, got one over something else`,
    );
  }
  return new VerifiedSigner(certificate);
}

function encodePayload(pcr0: Uint8Array): Uint8Array {
  return concat(
    fromHex("a2"),
    encodeCbor("register_index"),
    encodeCbor(0),
    encodeCbor("register_value"),
    encodeCbor([...pcr0]),
  );
}

/** Sig_structure (RFC 9052 § 4.4). */
function signedBytes(payload: Uint8Array): Uint8Array {
  return encodeCbor(["Signature1", PROTECTED, new Uint8Array(0), payload]);
}

function parseCose(bytes: Uint8Array): { payload: Uint8Array; signature: Uint8Array } {
  const parts: HardwareValue = decoded(bytes);
  if (!Array.isArray(parts) || parts.length !== 4) throw shape("a COSE_Sign1 of four parts");
  const [header, unprotected, payload, signature]: readonly HardwareValue[] = parts;
  const isPlain =
    header instanceof Uint8Array &&
    equalBytes(header, PROTECTED) &&
    unprotected instanceof Map &&
    unprotected.size === 0;
  if (!isPlain) throw shape("ES384 and no other header");
  if (!(payload instanceof Uint8Array) || payload.length > PAYLOAD_BYTES_MAX) {
    throw shape(`a payload of at most ${PAYLOAD_BYTES_MAX} bytes`);
  }
  if (!(signature instanceof Uint8Array) || signature.length !== 96) {
    throw shape("a signature of 96 bytes");
  }
  return { payload, signature };
}

function decoded(bytes: Uint8Array): HardwareValue {
  try {
    return decodeHardwareCbor(bytes, COSE_BYTES_MAX);
  } catch (cause) {
    throw shape("a COSE_Sign1", { cause });
  }
}

function parseCertificate(der: Uint8Array): X509Certificate {
  let certificate: X509Certificate;
  try {
    certificate = new X509Certificate(der);
    // The key is decoded when it is first asked for.
    expectCurve(certificate);
  } catch (cause) {
    throw shape(`a certificate of a key on ${CURVE}`, { cause });
  }
  return certificate;
}

function expectCurve({ publicKey }: X509Certificate): void {
  const curve = publicKey.asymmetricKeyDetails?.namedCurve;
  if (curve !== CURVE) throw imageFault("signing certificate", `a key on ${CURVE}`, `${curve}`);
}

function shape(expected: string, options?: ErrorOptions): MalformedError {
  return new MalformedError(
    { code: "TEE_IMAGE_MALFORMED", field: "signature section" },
    `image signature section: expected ${expected}, got other bytes`,
    options,
  );
}
