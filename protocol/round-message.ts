import { z } from "zod";

import { bytes32, bytesUpTo, identifier, natural } from "./fields.ts";
import { defineObject } from "./object.ts";
import { ERROR_CODES } from "./error-codes.ts";

const MIB = 1024 * 1024;
const document = bytesUpTo(12 * 1024);
const manifest = bytesUpTo(16 * 1024);
/** A signed order or bundle. */
export const signedObject = bytesUpTo(128 * 1024);

/** The bodies that are evidence as they stand: nothing in them is sealed. */
export const openBodies = [
  z.strictObject({ kind: z.literal("aggregator_ready"), manifest }),
  z.strictObject({
    kind: z.literal("slice_attested"),
    manifest,
    /** Evidence for the aggregator: nonce over its challenge. Absent for a sole task. */
    evidence_for_aggregator: document.nullable(),
    /** Evidence for the Vault, with the random part of its nonce. */
    vault_evidence: document,
    vault_random: bytes32,
  }),
  z.strictObject({
    kind: z.literal("aggregator_evidence"),
    vault_id: identifier,
    evidence: document,
  }),
  z.strictObject({
    kind: z.literal("failed"),
    code: z.enum(ERROR_CODES),
    executing: z.boolean(),
  }),
] as const;

/**
 * What Vaults and the aggregator tell each other in one round, signed by the sender and relayed by the coordinator.
 *
 * Everything in them is public, sealed or a commitment; the coordinator can drop or delay a message and nothing else.
 */
export const roundMessageSchema = z.strictObject({
  envelope_digest: bytes32,
  round: natural,
  attempt: natural,
  sender: identifier,
  body: z.discriminatedUnion("kind", [
    ...openBodies,
    z.strictObject({
      kind: z.literal("contribution"),
      order: signedObject,
      sealed: bytesUpTo(64 * 1024),
    }),
    z.strictObject({
      kind: z.literal("round_secret"),
      vault_id: identifier,
      sealed: bytesUpTo(18 * MIB),
    }),
    z.strictObject({
      kind: z.literal("slice_result"),
      /** Set for a sole task, whose order travels here. */
      order: signedObject.nullable(),
      bundle: signedObject,
      sealed: bytesUpTo(33 * MIB),
    }),
    z.strictObject({
      kind: z.literal("round_result"),
      bundle: signedObject,
      outcome: bytesUpTo(33 * MIB),
    }),
  ]),
});

export type RoundMessage = z.infer<typeof roundMessageSchema>;
export const ROUND_MESSAGE = defineObject("round-message", roundMessageSchema, 34 * MIB);
