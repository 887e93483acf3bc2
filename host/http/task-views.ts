import { TASK_LIFECYCLE, base64, taskClass } from "#protocol";
import { z } from "zod";

/** What a caller may know of a task. `reason` is the SCP error code of its end, or null. */
export const taskViewSchema = z.object({
  task_id: z.string(),
  task_class: taskClass,
  state: z.enum(TASK_LIFECYCLE.states),
  reason: z.string().nullable(),
  epoch_id: z.int(),
  policy_version: z.string(),
  rounds: z.int(),
  delivered: z.boolean(),
  simulated: z.boolean(),
});

/** One event of a task as callers see it. */
export const taskEventSchema = z.object({
  sequence: z.int(),
  time_ms: z.int(),
  type: z.string(),
  body: z.unknown(),
});

/** What would come of a request: nothing was reserved, and no Vault was asked. */
export const taskDryRunSchema = z.object({
  outcome: z.enum(["admissible", "refused"]),
  faults: z.array(z.object({ step: z.string(), code: z.string(), detail: z.string() })).readonly(),
  not_judged: z.array(z.string()).readonly(),
  policy_version: z.string(),
  semantic_version: z.string(),
  epoch_id: z.number(),
  meaning: z
    .object({
      operator: z.string(),
      attribute_ids: z.array(z.string()).readonly(),
      operands: z
        .array(
          z.object({
            kind: z.string(),
            domain_id: z.string(),
            id: z.string(),
            semantic_version: z.string(),
            rule_id: z.string().nullable(),
            epsilon_micro: z.number(),
          }),
        )
        .readonly(),
      derivation_rule_refs: z.array(z.string()).readonly(),
      combined_privacy_class: z.number(),
      minimum_result_cardinality: z.number(),
    })
    .nullable(),
  cost: z
    .object({
      price_micro: z.number(),
      charged_micro: z.number(),
      rounds: z.number(),
      reward_max_minor: z.number(),
      lock_minor: z.number(),
    })
    .nullable(),
});

const standardBase64 = z.string().refine(isBase64, { error: "expected standard padded base64" });

/** A COSE_Sign1 of what is asked. */
export const signedBody = z.strictObject({
  signed: z
    .string()
    .max(256 * 1024)
    .refine(isBase64, { error: "expected standard padded base64" }),
});

/** Canonical bytes of a `task-envelope`. */
export const envelopeAnswer = z.object({ envelope: standardBase64 });

/** Canonical bytes of a delivery. */
export const deliveryAnswer = z.object({ delivery: standardBase64 });

/** Canonical bytes of the longest governance log that a quorum of Vaults has cosigned. */
export const snapshotAnswer = z.object({ snapshot: standardBase64 });

/** What was sent has been taken. */
export const takenAnswer = z.object({ status: z.enum(["accepted", "opened"]) });

/** A task in a path. */
export const taskPath = z.object({ id: z.string().max(128) });
/** The first event that is wanted. */
export const afterQuery = z.object({ after: z.coerce.number().int().min(0).default(0) });

/** See {@link taskDryRunSchema}. */
export type TaskDryRun = z.infer<typeof taskDryRunSchema>;
/** See {@link taskViewSchema}. */
export type TaskView = z.infer<typeof taskViewSchema>;
/** See {@link taskEventSchema}. */
export type TaskEventView = z.infer<typeof taskEventSchema>;

/** States in which nothing more will happen to a task. */
const ENDED = new Set(["completed", "rejected", "timed_out"]);

/** Nothing more will happen: ended without a result, delivered, or never to be delivered. */
export function isOver({ state, delivered, reason }: TaskView): boolean {
  return ENDED.has(state) && (state !== "completed" || delivered || reason !== null);
}

function isBase64(text: string): boolean {
  return base64(new Uint8Array(Buffer.from(text, "base64"))) === text;
}
