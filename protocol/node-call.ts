import { z } from "zod";

import { bytesOf, bytesUpTo, identifier, natural, unixMs } from "./fields.ts";
import { ERROR_CODES } from "./error-codes.ts";
import { defineObject } from "./object.ts";
import { WITNESS_BYTES_MAX } from "./witness.ts";

const MIB = 1024 * 1024;

/** How far a call's time may lie from the receiver's clock, either way. */
export const CALL_AGE_MS_MAX = 60_000;

/**
 * One call of a node to the coordinator, signed by the node; `nonce` is used once.
 *
 * Long polls answer as soon as there is something, or with nothing after `wait_ms`.
 */
export const nodeCallSchema = z.strictObject({
  actor_id: identifier,
  at_ms: unixMs,
  nonce: bytesOf(16),
  call: z.discriminatedUnion("name", [
    /** `instance` names the running process: a restarted node takes its own unfinished work back at once. */
    z.strictObject({ name: z.literal("next_work"), instance: bytesOf(16), wait_ms: natural }),
    z.strictObject({
      name: z.literal("complete"),
      work_id: identifier,
      answer: bytesUpTo(34 * MIB).nullable(),
      code: z.enum(ERROR_CODES).nullable(),
    }),
    z.strictObject({ name: z.literal("post"), task_id: identifier, message: bytesUpTo(34 * MIB) }),
    z.strictObject({
      name: z.literal("messages"),
      task_id: identifier,
      round: natural,
      after: natural,
      wait_ms: natural,
    }),
    /**
     * Ask every other Vault about the caller's log. `ask_id` names the question: asked again it is the same one, and
     * the call waits for answers after the first `after`.
     */
    z.strictObject({
      name: z.literal("ask_witnesses"),
      ask_id: bytesOf(16),
      about: z.enum(["witness", "witnessed"]),
      question: bytesUpTo(WITNESS_BYTES_MAX),
      after: natural,
      wait_ms: natural,
    }),
    /** The longest governance log that a quorum of Vaults has cosigned. */
    z.strictObject({ name: z.literal("governance") }),
    /** Events of the caller's own log that concern a task, for the evidence bundle. */
    z.strictObject({ name: z.literal("evidence"), task_id: identifier, excerpt: bytesUpTo(MIB) }),
    /** A `local-attribute-candidate` that the calling Vault has signed, for all to see; again, it is the same one. */
    z.strictObject({ name: z.literal("candidate"), signed: bytesUpTo(16 * 1024) }),
  ]),
});

export type NodeCall = z.infer<typeof nodeCallSchema>;
export const NODE_CALL = defineObject("node-call", nodeCallSchema, 35 * MIB);

/** The coordinator's answer to a call. */
export const nodeAnswerSchema = z.discriminatedUnion("result", [
  z.strictObject({ result: z.literal("none") }),
  z.strictObject({ result: z.literal("work"), item: bytesUpTo(64 * MIB) }),
  z.strictObject({ result: z.literal("done") }),
  z.strictObject({ result: z.literal("governance"), snapshot: bytesUpTo(16 * MIB) }),
  z.strictObject({
    result: z.literal("messages"),
    messages: z.array(z.strictObject({ position: natural, message: bytesUpTo(34 * MIB) })).max(256),
    closed: z.boolean(),
  }),
  /** In the order in which they came. */
  z.strictObject({
    result: z.literal("witness_answers"),
    answers: z
      .array(z.strictObject({ actor_id: identifier, answer: bytesUpTo(WITNESS_BYTES_MAX) }))
      .max(1024),
  }),
  z.strictObject({ result: z.literal("failed"), code: z.enum(ERROR_CODES) }),
]);

export type NodeAnswer = z.infer<typeof nodeAnswerSchema>;
export const NODE_ANSWER = defineObject("node-answer", nodeAnswerSchema, 200 * MIB);
