import { z } from "zod";

import { boxPublicKey, bytes32, bytesUpTo, identifier, natural, platformName } from "./fields.ts";
import { concat, utf8 } from "./bytes.ts";
import { digestOfBytes } from "./hash.ts";
import { defineObject } from "./object.ts";

/** Roles one enclave image can take; fixed at boot and attested. */
export const enclaveRole = z.enum(["slice", "aggregate"]);
export type EnclaveRole = z.infer<typeof enclaveRole>;

/**
 * What an enclave says of itself. Its digest is the `user_data` of every attestation document the enclave asks for,
 * so that everything here is as authentic as the document. Holds whatever changes behaviour (design, section 2.4).
 */
export const sessionManifestSchema = z.strictObject({
  version: z.literal(1),
  role: enclaveRole,
  box_key: boxPublicKey,
  signing_key: bytes32,
  /** RSA-2048 SubjectPublicKeyInfo that key services encrypt to; also in the document's `public_key`. */
  recipient_key: bytesUpTo(1024),
  genesis_digest: bytes32,
  anchors: z
    .array(z.strictObject({ platform: platformName, sha256: bytes32 }))
    .min(1)
    .max(8),
  configuration_digest: bytes32,
  runtime: z.string().max(64),
  cpu_features: z.array(z.string().max(32)).max(64),
  /** Random; a peer's evidence for this enclave carries {@link peerNonce} of it. */
  challenge: bytes32,
});

export type SessionManifest = z.infer<typeof sessionManifestSchema>;

export const SESSION_MANIFEST = defineObject("session-manifest", sessionManifestSchema, 16 * 1024);

/** Names one enclave job of one task. */
export const sliceReferenceSchema = z.strictObject({
  envelope_digest: bytes32,
  vault_id: identifier,
  round: natural,
  attempt: natural,
});

export type SliceReference = z.infer<typeof sliceReferenceSchema>;

export const SLICE_REFERENCE = defineObject("slice-reference", sliceReferenceSchema, 1024);

/** Nonce with which a Vault challenges its own slice enclave: over the slice and 32 archived random bytes. */
export function vaultNonce(reference: SliceReference, random: Uint8Array): Uint8Array {
  return digestOfBytes("vault-nonce", concat(SLICE_REFERENCE.encode(reference), random));
}

/** Nonce with which one enclave challenges another: over the challenger's challenge and the peer's manifest. */
export function peerNonce(challenge: Uint8Array, peerManifestDigest: Uint8Array): Uint8Array {
  return digestOfBytes("peer-nonce", concat(challenge, peerManifestDigest));
}

/** Associated data of everything sealed to a session: the slice and the digest of the recipient's evidence. */
export function sessionAad(reference: SliceReference, evidence: Uint8Array): Uint8Array {
  return digestOfBytes(
    "session-aad",
    concat(SLICE_REFERENCE.encode(reference), digestOfBytes("evidence", evidence)),
  );
}

/** HPKE `info` strings: one for each kind of sealed message, so that none opens as another. */
export const SEAL_INFO = {
  order: "symphony/sealed-order/v1",
  contribution: "symphony/sealed-contribution/v1",
  secret: "symphony/sealed-round-secret/v1",
  sliceOutput: "symphony/sealed-slice-output/v1",
  result: "symphony/sealed-result/v1",
  resultShare: "symphony/sealed-result-share/v1",
  deliveryShare: "symphony/sealed-delivery-share/v1",
} as const;

/** Key under which a batch data key stays wrapped after a key service has released it. */
export function batchWrapInfo(batchId: Uint8Array): Uint8Array {
  return concat(utf8("symphony/batch-wrap/v1"), batchId);
}
