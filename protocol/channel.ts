import { z } from "zod";

import { bytes32, bytesOf, bytesUpTo, identifier, natural } from "./fields.ts";
import { enclaveRole } from "./session.ts";
import { ERROR_CODES } from "./error-codes.ts";

const MIB = 1024 * 1024;
const document = bytesUpTo(12 * 1024);
const cose = bytesUpTo(128 * 1024);
const manifest = bytesUpTo(16 * 1024);

/** Another enclave as its host presents it: what it says of itself, and evidence made for the receiver. */
export const peerSchema = z.strictObject({ manifest, evidence: document });

/** A slice as the aggregator enclave is told of it before it runs. */
export const slicePresentationSchema = z.strictObject({
  vault_id: identifier,
  peer: peerSchema,
  order: cose,
  contribution: bytesUpTo(64 * 1024),
});

/** The state a round starts from: the previous round's signed bundle and its ciphertext. */
export const previousStateSchema = z.strictObject({
  bundle: cose,
  ciphertext: bytesUpTo(32 * MIB),
});

/**
 * What a host may ask of its enclave, in this order and once each, but for `attest`.
 *
 * Slice: boot, attest…, run. Aggregate: boot, attest…, begin, finish. After `run` or `finish` the enclave ends.
 */
export const enclaveRequestSchema = z.discriminatedUnion("method", [
  z.strictObject({
    method: z.literal("boot"),
    role: enclaveRole,
    genesis: bytesUpTo(MIB),
  }),
  z.strictObject({ method: z.literal("attest"), nonce: bytes32 }),
  z.strictObject({
    method: z.literal("run"),
    envelope: bytesUpTo(MIB / 2),
    governance: bytesUpTo(16 * MIB),
    /** {@link SealedOrder} sealed to this enclave; associated data over `evidence`. */
    sealed_order: bytesUpTo(5 * MIB),
    round: natural,
    attempt: natural,
    vault_id: identifier,
    evidence: document,
    /** CMS from the key service, one per batch. */
    batch_keys: z
      .array(z.strictObject({ batch_id: bytesOf(16), cms: bytesUpTo(16 * 1024) }))
      .max(4096),
    batches: z.array(bytesUpTo(64 * MIB)).max(4096),
    aggregator: peerSchema.nullable(),
    sealed_secret: bytesUpTo(18 * MIB).nullable(),
    artifact: bytesUpTo(16 * MIB).nullable(),
  }),
  z.strictObject({
    method: z.literal("begin"),
    envelope: bytesUpTo(MIB / 2),
    governance: bytesUpTo(16 * MIB),
    round: natural,
    attempt: natural,
    slices: z.array(slicePresentationSchema).min(1).max(64),
    previous: previousStateSchema.nullable(),
    artifact: bytesUpTo(16 * MIB).nullable(),
  }),
  z.strictObject({
    method: z.literal("finish"),
    outputs: z
      .array(
        z.strictObject({ vault_id: identifier, bundle: cose, sealed_output: bytesUpTo(33 * MIB) }),
      )
      .max(64),
  }),
]);

/** What an enclave answers. An error has a code and no text: text could carry data. */
export const enclaveResponseSchema = z.discriminatedUnion("result", [
  z.strictObject({ result: z.literal("booted"), manifest }),
  z.strictObject({ result: z.literal("attested"), document }),
  z.strictObject({
    result: z.literal("ran"),
    /** SliceResultBundle for a slice, ExecutionResultBundle when the order's role is `sole`. */
    bundle: cose,
    /** Sealed slice output, or the {@link SealedOutcome} of a sole task. */
    sealed: bytesUpTo(33 * MIB),
  }),
  z.strictObject({
    result: z.literal("begun"),
    secrets: z.array(z.strictObject({ vault_id: identifier, sealed: bytesUpTo(18 * MIB) })),
  }),
  z.strictObject({
    result: z.literal("finished"),
    bundle: cose,
    outcome: bytesUpTo(33 * MIB),
  }),
  z.strictObject({ result: z.literal("failed"), code: z.enum(ERROR_CODES) }),
]);

export type EnclaveRequest = z.infer<typeof enclaveRequestSchema>;
export type EnclaveResponse = z.infer<typeof enclaveResponseSchema>;
export type SlicePresentation = z.infer<typeof slicePresentationSchema>;
