import { z } from "zod";

import { derivationRuleSchema } from "./derivation-rule.ts";
import { queryGranularitySchema } from "./granularity.ts";
import type { Precondition } from "./promotion.ts";

/** The name of a Vault's own column outside of it: no registration may ever take one for the network (LA-3). */
export const LOCAL_ID = /^local-[0-9a-f]{40}$/;

/**
 * What an operator declares of a column that the Vault is to query for itself (LA-3). What is null was not declared, and
 * is judged so.
 */
export const vaultScopedSchema = z.strictObject({
  derivation_rule: derivationRuleSchema.nullable(),
  query_granularity: queryGranularitySchema.nullable(),
  privacy_class: z.int().min(0).max(9).nullable(),
  allowed_usage_scope: z.string().max(64).nullable(),
  operator_approves: z.boolean(),
});
export type VaultScoped = z.infer<typeof vaultScopedSchema>;

/** The column, as its Vault's pool has it. */
export interface JudgedColumn {
  readonly localId: string;
  readonly domainId: string;
  /** Of the last ten epochs, in how many it came. */
  readonly epochsPresent: number;
  /** In how many of them it must, by policy. */
  readonly epochsRequired: number;
}

/** Judges every precondition of querying a column in its own Vault alone. Grants nothing. Pure. */
export function judgeVaultScoped(column: JudgedColumn, declared: VaultScoped): Precondition[] {
  const { epochsPresent, epochsRequired } = column;
  const { query_granularity: granularity, privacy_class: privacyClass } = declared;
  const scope = declared.allowed_usage_scope;
  return [
    {
      ...{ name: "stability", met: epochsPresent >= epochsRequired },
      ...{ expected: `${epochsRequired} of the last ten epochs`, actual: `${epochsPresent}` },
    },
    derivationRule(column, declared),
    {
      ...{ name: "privacy_class", met: privacyClass !== null },
      ...{ expected: "a class", actual: privacyClass === null ? "none" : `${privacyClass}` },
    },
    {
      ...{ name: "granularity", met: granularity !== null },
      ...{ expected: "a granularity", actual: granularity === null ? "none" : "declared" },
    },
    {
      ...{ name: "scope", met: scope === "vault_local" },
      ...{ expected: "vault_local", actual: scope ?? "none" },
    },
    {
      ...{ name: "operator_approval", met: declared.operator_approves },
      ...{ expected: "the operator's", actual: declared.operator_approves ? "given" : "none" },
    },
  ];
}

/** The rule derives from this column alone, and does not hand its values on as they are. */
function derivationRule(
  { localId, domainId }: JudgedColumn,
  { derivation_rule: rule }: VaultScoped,
): Precondition {
  const expected = `a rule over ${localId} alone that is no passthrough`;
  if (rule === null) return { name: "derivation_rule", met: false, expected, actual: "none" };
  const { source_attributes: sources, transform_type: transform } = rule;
  const isOwn = sources.every(
    (source) => source.attribute_id === localId && source.domain_id === domainId,
  );
  const actual = `${transform} over ${sources.map((source) => source.attribute_id).join()}`;
  return { name: "derivation_rule", met: isOwn && transform !== "passthrough", expected, actual };
}
