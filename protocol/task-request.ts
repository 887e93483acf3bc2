import { z } from "zod";

import {
  boxPublicKey,
  bytes32,
  bytesOf,
  identifier,
  microEpsilon,
  natural,
  taskClass,
  unixMs,
  usageScope,
} from "./fields.ts";
import { defineObject } from "./object.ts";
import { VAULT_ATTRIBUTES_MAX, vaultAttributeSchema } from "./semantics/vault-attribute.ts";
import { taskParametersSchema } from "./task-parameters.ts";

/** What a submitter asks for and signs. Its digest names it; sending it twice is one request. */
export const taskRequestSchema = z
  .strictObject({
    version: z.literal(1),
    request_id: bytesOf(16),
    genesis_digest: bytes32,
    actor_id: identifier,
    task_class: taskClass,
    record_scope: identifier,
    usage_scope: usageScope,
    vault_ids: z.array(identifier).min(1).max(64),
    parameters: taskParametersSchema,
    /** What a Vault lets be asked of its own columns, as it gave it out (LA-3): for a task of that Vault alone. */
    vault_attributes: z.array(vaultAttributeSchema).max(VAULT_ATTRIBUTES_MAX),
    epsilon_micro: microEpsilon,
    budget_lock_minor: natural,
    delivery_key: boxPublicKey,
    created_ms: unixMs,
    task_timeout_ms: natural,
  })
  .refine((request) => request.parameters.task_class === request.task_class, {
    error: "expected the task class of the request",
    path: ["parameters", "task_class"],
  })
  .refine((request) => isSortedSet(request.vault_ids), {
    error: "expected sorted, distinct Vault identifiers",
    path: ["vault_ids"],
  });

export type TaskRequest = z.infer<typeof taskRequestSchema>;

/** The signed request object. */
export const TASK_REQUEST = defineObject("task-request", taskRequestSchema, 64 * 1024);

/**
 * The question what would become of a request: the same fields under another name, so that whoever sees it signed has no
 * request to submit.
 */
export const TASK_DRY_RUN = defineObject("task-dry-run", taskRequestSchema, 64 * 1024);

/** Whether `names` is strictly ascending by UTF-16 code unit. */
export function isSortedSet(names: readonly string[]): boolean {
  return names.every((name, index) => index === 0 || (names[index - 1] ?? "") < name);
}
