import { createPublicKey } from "node:crypto";

import { z } from "zod";

import {
  verifyNitroDocument,
  type NitroClaims,
  type TrustAnchor,
  type VerifiedEvidence,
} from "#attestation";
import { sealForRecipient } from "#host";
import { SymphonyError, base64, hex } from "#protocol";

import { KmsFault } from "./fault.ts";

/** Who a response is for: nobody in particular, or the enclave of an attestation document. */
export interface Attested {
  /** RSA-2048 SubjectPublicKeyInfo, DER. */
  readonly spki: Uint8Array;
  /** What key policies can ask of the document: condition keys in lower case. */
  readonly conditions: ReadonlyMap<string, readonly string[]>;
}

/** KMS accepts documents of the last five minutes (developer guide, "Cryptographic attestation"). */
const DOCUMENT_AGE_MS_MAX = 300_000;
const CLOCK_AHEAD_MS_MAX = 30_000;
const DOCUMENT_BYTES_MAX = 262_144;
const ZERO_PCR = "00".repeat(48);

/** Bytes in base64, at most `max` of them. */
export const blob = (max: number) =>
  z
    .base64()
    .min(1)
    .max(Math.ceil(max / 3) * 4)
    .transform((text) => new Uint8Array(Buffer.from(text, "base64")))
    .refine((bytes) => bytes.length <= max, `expected at most ${max} bytes`);

/** RecipientInfo of the KMS API. */
export const recipientSchema = z
  .strictObject({
    KeyEncryptionAlgorithm: z.literal("RSAES_OAEP_SHA_256"),
    AttestationDocument: blob(DOCUMENT_BYTES_MAX),
  })
  .optional();

/**
 * Verifies the document of a request, with the verifier that enclaves and Vaults use.
 *
 * A document of a debug enclave fulfils no condition on its PCRs, not even one that lists zeros.
 *
 * @throws {@link KmsFault} ValidationException for a document KMS would not take, and for a public key that is
 * not RSA-2048.
 */
export function verifyRecipient(
  given: z.infer<typeof recipientSchema>,
  anchors: readonly TrustAnchor[],
  nowMs: number,
): Attested | null {
  if (given === undefined) return null;
  const { publicKey, claims } = verifyDocument(given.AttestationDocument, anchors, nowMs);
  const ageMs = nowMs - claims.timestampMs;
  if (ageMs > DOCUMENT_AGE_MS_MAX) {
    throw new KmsFault("ValidationException", `the attestation document is ${ageMs} ms old`);
  }
  if (ageMs < -CLOCK_AHEAD_MS_MAX) {
    throw new KmsFault("ValidationException", "the attestation document is of the future");
  }
  if (publicKey === null || !isRsa2048(publicKey)) {
    throw new KmsFault("ValidationException", "expected an RSA-2048 public key in the document");
  }
  return { spki: publicKey, conditions: conditionsOf(claims) };
}

/**
 * `plaintext` as `name`, or sealed to the attested key as `CiphertextForRecipient`. Zeroes `plaintext`.
 */
export function release(
  plaintext: Uint8Array,
  {
    name,
    to,
    random,
  }: {
    readonly name: string;
    readonly to: Attested | null;
    readonly random: (bytes: number) => Uint8Array;
  },
): object {
  try {
    if (to === null) return { [name]: base64(plaintext) };
    const sealed = sealForRecipient({ plaintext, spki: to.spki, random });
    return { CiphertextForRecipient: base64(sealed) };
  } finally {
    plaintext.fill(0);
  }
}

function verifyDocument(
  document: Uint8Array,
  anchors: readonly TrustAnchor[],
  nowMs: number,
): VerifiedEvidence<NitroClaims> {
  try {
    return verifyNitroDocument(document, anchors, { mode: "live", nowMs });
  } catch (error) {
    if (!(error instanceof SymphonyError)) throw error;
    const { code, message } = error;
    throw new KmsFault("ValidationException", `attestation document: ${code}: ${message}`);
  }
}

function isRsa2048(spki: Uint8Array): boolean {
  try {
    const key = createPublicKey({ key: Buffer.from(spki), format: "der", type: "spki" });
    return key.asymmetricKeyType === "rsa" && key.asymmetricKeyDetails?.modulusLength === 2048;
  } catch {
    return false;
  }
}

function conditionsOf({ pcrs }: NitroClaims): ReadonlyMap<string, readonly string[]> {
  const values = new Map([...pcrs].map(([index, pcr]) => [index, hex(pcr)]));
  const isDebug = [0, 1, 2].some((index) => values.get(index) === ZERO_PCR);
  const conditions = new Map<string, readonly string[]>();
  if (isDebug) return conditions;
  for (const [index, value] of values) {
    conditions.set(`kms:recipientattestation:pcr${index}`, [value]);
    if (index === 0) conditions.set("kms:recipientattestation:imagesha384", [value]);
  }
  return conditions;
}
