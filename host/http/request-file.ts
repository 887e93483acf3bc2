import {
  VAULT_ATTRIBUTES_MAX,
  fromHex,
  microEpsilon,
  natural,
  parseWith,
  taskParametersSchema,
  usageScope,
  vaultAttributeSchema,
  identifier,
  type TaskParameters,
  type TaskRequest,
} from "#protocol";
import { z } from "zod";

/**
 * A task as a person writes it in JSON. Digests and commitments are hex; everything else is as in `TaskRequest`.
 *
 * Identity, delivery key, network, time and request identifier are added when it is signed.
 */
export const requestFileSchema = z.strictObject({
  record_scope: identifier,
  usage_scope: usageScope,
  vault_ids: z.array(identifier).min(1).max(64),
  parameters: z.looseObject({ task_class: z.enum(["parse", "query", "compute", "train"]) }),
  vault_attributes: z.array(vaultAttributeSchema).max(VAULT_ATTRIBUTES_MAX).default([]),
  epsilon_micro: microEpsilon,
  budget_lock_minor: natural.default(0),
  task_timeout_ms: natural.default(120_000),
});

export type RequestFile = z.infer<typeof requestFileSchema>;

const DIGEST_FIELDS = new Set(["model_digest", "record_commitment"]);

/** Parameters as a file has them: their digests and commitments in hex. */
export const parametersFileSchema = z.preprocess((value) => {
  if (typeof value !== "object" || value === null) return value;
  const fields = Object.entries(value).map(([name, field]: [string, unknown]) => [
    name,
    DIGEST_FIELDS.has(name) && typeof field === "string" ? fromHex(field) : field,
  ]);
  return Object.fromEntries(fields);
}, taskParametersSchema);

/** Parameters with their hex fields as bytes. @throws MalformedError SCHEMA_MALFORMED naming the field */
export function readParameters(parameters: Readonly<Record<string, unknown>>): TaskParameters {
  return parseWith(parametersFileSchema, parameters, "parameters");
}

/** The request of a file, for one submitter and one network. */
export function requestOf(
  file: RequestFile,
  context: {
    readonly actorId: string;
    readonly genesisDigest: Uint8Array;
    readonly deliveryKey: Uint8Array;
    readonly requestId: Uint8Array;
    readonly createdMs: number;
  },
): TaskRequest {
  const parameters = readParameters(file.parameters);
  return {
    version: 1,
    request_id: context.requestId,
    genesis_digest: context.genesisDigest,
    actor_id: context.actorId,
    task_class: parameters.task_class,
    record_scope: file.record_scope,
    usage_scope: file.usage_scope,
    vault_ids: file.vault_ids.toSorted(),
    parameters,
    vault_attributes: file.vault_attributes,
    epsilon_micro: file.epsilon_micro,
    budget_lock_minor: file.budget_lock_minor,
    delivery_key: context.deliveryKey,
    created_ms: context.createdMs,
    task_timeout_ms: file.task_timeout_ms,
  };
}
