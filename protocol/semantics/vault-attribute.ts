import { z } from "zod";

import { identifier } from "../fields.ts";
import { defineObject } from "../object.ts";
import type { TaskParameters } from "../task-parameters.ts";
import { derivationRuleSchema } from "./derivation-rule.ts";
import { queryGranularitySchema } from "./granularity.ts";
import type { CanonicalAttribute } from "./semantics.ts";

/** The name of a Vault's own column outside of it: no registration may ever take one for the network (LA-3). */
export const LOCAL_ID = /^local-[0-9a-f]{40}$/;

/** What the values of a column that a Vault keeps are: what canonical attributes can be, but for documents. */
export const keptTypeSchema = z.enum(["integer", "decimal", "text"]);
export type KeptType = z.infer<typeof keptTypeSchema>;

/** Definitions that one request carries. */
export const VAULT_ATTRIBUTES_MAX = 4;

/**
 * A `vault_scoped_query` attribute (LA-3): what one Vault lets be asked of one of its own columns, in that Vault alone.
 *
 * It is in no registry. A request that uses it carries it, under the name `local_id`, and the Vault refuses what it has
 * not promoted; so all that resolve the request come to the same meaning, and its rule is part of the evidence.
 */
export const vaultAttributeSchema = z.strictObject({
  vault_id: identifier,
  record_scope: identifier,
  domain_id: identifier,
  /** Tells the Vault's columns apart and says nothing of their names; also the name of the rule. */
  local_id: z.string().regex(LOCAL_ID, { error: "expected local- and 40 lower-case hex digits" }),
  type: keptTypeSchema,
  /** Decimal digits after the point; 0 unless `type` is decimal. */
  scale: z.int().min(0).max(9),
  /** Values outside of it are held to it, in scaled integers, both ends in; null for text and for no range. */
  range: z.strictObject({ min: z.int(), max: z.int() }).nullable(),
  derivation_rule: derivationRuleSchema,
  query_granularity: queryGranularitySchema,
  privacy_class: z.int().min(0).max(9),
  allowed_usage_scope: z.literal("vault_local"),
});
export type VaultAttribute = z.infer<typeof vaultAttributeSchema>;

export const VAULT_ATTRIBUTE = defineObject("vault-attribute", vaultAttributeSchema, 8192);

/** Whether a task names columns of a Vault's own and nothing else. No registration has such names. */
export function asksVaultAlone(parameters: TaskParameters): boolean {
  const names = namesIn(parameters);
  return names.length > 0 && names.every((name) => LOCAL_ID.test(name));
}

function namesIn(parameters: TaskParameters): readonly string[] {
  switch (parameters.task_class) {
    case "parse":
      return [];
    case "query":
      return parameters.predicate.operands.map(({ attribute }) => attribute);
    case "compute":
      return parameters.features.map(({ attribute }) => attribute);
    case "train":
      return [...parameters.features, parameters.label].map(({ attribute }) => attribute);
  }
}

/** The column that such an attribute is derived from. It is no canonical attribute: nothing else resolves to it. */
export function columnOfVault(attribute: VaultAttribute): CanonicalAttribute {
  const { local_id, domain_id, type, scale, range, derivation_rule: rule } = attribute;
  return {
    ...{ attribute_id: local_id, domain_id, semantic_version: rule.semantic_version },
    ...{ scope: "domain", status: "active", effective_from: null, deprecated_from: null },
    ...{ retired_from: null, supersedes: null, type, scale, range },
    ...{ directly_queryable: false, default_query_granularity: null },
    default_privacy_class: attribute.privacy_class,
    privacy_impact_epsilon_micro: rule.privacy_impact_epsilon_micro,
  };
}
