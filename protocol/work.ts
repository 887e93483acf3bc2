import { z } from "zod";

import { bytes32, bytesUpTo, identifier, natural, unixMs } from "./fields.ts";
import { defineObject } from "./object.ts";
import { WITNESS_BYTES_MAX } from "./witness.ts";

const MIB = 1024 * 1024;

/** One piece of work the coordinator asks an actor for. Signed by the coordinator; the receiver re-checks all of it. */
export const workItemSchema = z.strictObject({
  work_id: identifier,
  actor_id: identifier,
  task_id: identifier,
  issued_ms: unixMs,
  deadline_ms: unixMs,
  work: z.discriminatedUnion("kind", [
    /** Answer with a signed VaultDecision. */
    z.strictObject({
      kind: z.literal("admit"),
      signed_request: bytesUpTo(128 * 1024),
      governance: bytesUpTo(16 * MIB),
    }),
    /** Run one slice of one round; answers travel as round messages. */
    z.strictObject({
      kind: z.literal("slice"),
      envelope: bytesUpTo(MIB / 2),
      governance: bytesUpTo(16 * MIB),
      round: natural,
      attempt: natural,
      /** The previous round's signed bundle and this Vault's sealed share of its state key. */
      previous: z
        .strictObject({ bundle: bytesUpTo(128 * 1024), sealed_share: bytesUpTo(4096) })
        .nullable(),
      artifact: bytesUpTo(16 * MIB).nullable(),
    }),
    /** Aggregate one round; answers travel as round messages. */
    z.strictObject({
      kind: z.literal("aggregate"),
      envelope: bytesUpTo(MIB / 2),
      governance: bytesUpTo(16 * MIB),
      round: natural,
      attempt: natural,
      previous: z
        .strictObject({ bundle: bytesUpTo(128 * 1024), ciphertext: bytesUpTo(32 * MIB) })
        .nullable(),
      artifact: bytesUpTo(16 * MIB).nullable(),
    }),
    /** Commit actual consumption; answer with a signed ConsumptionRecord. */
    z.strictObject({
      kind: z.literal("settle"),
      envelope: bytesUpTo(MIB / 2),
      /** Signed ExecutionResultBundles, in round order; empty when the task failed. */
      bundles: z.array(bytesUpTo(128 * 1024)).max(100),
    }),
    /** Release the share of the result key; answer with a signed DeliveryShare. */
    z.strictObject({
      kind: z.literal("release"),
      envelope: bytesUpTo(MIB / 2),
      governance: bytesUpTo(16 * MIB),
      settlement: bytesUpTo(128 * 1024),
      bundle: bytesUpTo(128 * 1024),
      sealed_share: bytesUpTo(4096),
    }),
    /** Cosign the governance log: answer with the note carrying one more signature, as UTF-8. */
    z.strictObject({ kind: z.literal("cosign"), governance: bytesUpTo(16 * MIB) }),
    /** Cosign the head of another Vault's log; answer with a WitnessAnswer. */
    z.strictObject({ kind: z.literal("witness"), question: bytesUpTo(WITNESS_BYTES_MAX) }),
    /** Say which head of another Vault's log was cosigned last; answer with a signed HeadStatement. */
    z.strictObject({ kind: z.literal("witnessed"), question: bytesUpTo(1024) }),
    /** The task ended without a result: release what never executed, commit the estimate of what did. */
    z.strictObject({ kind: z.literal("abort"), envelope_digest: bytes32, request_digest: bytes32 }),
  ]),
});

export type WorkItem = z.infer<typeof workItemSchema>;
export const WORK_ITEM = defineObject("work-item", workItemSchema, 64 * MIB);
