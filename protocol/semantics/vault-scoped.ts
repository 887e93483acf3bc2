import { z } from "zod";

import { MalformedError } from "../errors.ts";
import { derivationRuleSchema } from "./derivation-rule.ts";
import { queryGranularitySchema } from "./granularity.ts";
import type { Precondition } from "./promotion.ts";
import { requireVaultAttribute } from "./registry-coherence.ts";
import { vaultAttributeSchema, type KeptType, type VaultAttribute } from "./vault-attribute.ts";

/**
 * What an operator declares of a column that the Vault is to query for itself (LA-3). What is null was not declared, and
 * is judged so; only `range` may be.
 */
export const vaultScopedSchema = z.strictObject({
  derivation_rule: derivationRuleSchema.nullable(),
  query_granularity: queryGranularitySchema.nullable(),
  privacy_class: z.int().min(0).max(9).nullable(),
  allowed_usage_scope: z.string().max(64).nullable(),
  /** What the column's numbers are held to; see `vaultAttributeSchema`. */
  range: vaultAttributeSchema.shape.range.default(null),
  operator_approves: z.boolean(),
});
export type VaultScoped = z.infer<typeof vaultScopedSchema>;

/** The column, as its Vault has it. */
export interface JudgedColumn {
  readonly vaultId: string;
  readonly recordScope: string;
  readonly localId: string;
  readonly domainId: string;
  /** The registry's, under which the rule is declared. */
  readonly semanticVersion: string;
  /** What its values are kept as; null when they are not. */
  readonly kept: { readonly type: KeptType; readonly scale: number } | null;
  /** Of the last ten epochs, in how many it came. */
  readonly epochsPresent: number;
  /** In how many of them it must, by policy. */
  readonly epochsRequired: number;
}

/** What came of judging a column. */
export interface VaultScopedJudgement {
  readonly preconditions: readonly Precondition[];
  /** What requests would carry; null unless every precondition is met. */
  readonly definition: VaultAttribute | null;
}

/** Judges every precondition of querying a column in its own Vault alone. Grants nothing. Pure. */
export function judgeVaultScoped(
  column: JudgedColumn,
  declared: VaultScoped,
): VaultScopedJudgement {
  const definition = definitionOf(column, declared);
  const preconditions = [...declaredPreconditions(column, declared), coherence(definition)];
  const isMet = preconditions.every(({ met }) => met);
  return { preconditions, definition: isMet ? definition : null };
}

function declaredPreconditions(column: JudgedColumn, declared: VaultScoped): Precondition[] {
  const { epochsPresent, epochsRequired, kept } = column;
  const { query_granularity: granularity, privacy_class: privacyClass } = declared;
  const scope = declared.allowed_usage_scope;
  return [
    {
      ...{ name: "kept", met: kept !== null },
      ...{ expected: "a column whose values are kept", actual: kept?.type ?? "not kept" },
    },
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

/** The rule has the column's name, derives from it alone, and does not hand its values on as they are. */
function derivationRule(
  { localId, domainId, semanticVersion }: JudgedColumn,
  { derivation_rule: rule }: VaultScoped,
): Precondition {
  const expected = `a rule ${localId} of ${semanticVersion} over it alone that is no passthrough`;
  if (rule === null) return { name: "derivation_rule", met: false, expected, actual: "none" };
  const { source_attributes: sources, transform_type: transform } = rule;
  const isOwn = sources.every(
    (source) => source.attribute_id === localId && source.domain_id === domainId,
  );
  const isNamed = rule.rule_id === localId && rule.semantic_version === semanticVersion;
  const actual = `${transform} ${rule.rule_id} of ${rule.semantic_version} over ${sources.map((source) => source.attribute_id).join()}`;
  const met = isOwn && isNamed && transform !== "passthrough";
  return { name: "derivation_rule", met, expected, actual };
}

/** What is declared, as requests would carry it; null while something is not declared. */
function definitionOf(column: JudgedColumn, declared: VaultScoped): VaultAttribute | null {
  const { derivation_rule, query_granularity, privacy_class, range } = declared;
  if (derivation_rule === null || query_granularity === null || privacy_class === null) return null;
  if (column.kept === null) return null;
  return {
    ...{ vault_id: column.vaultId, record_scope: column.recordScope, domain_id: column.domainId },
    ...{ local_id: column.localId, type: column.kept.type, scale: column.kept.scale, range },
    ...{ derivation_rule, query_granularity, privacy_class, allowed_usage_scope: "vault_local" },
  };
}

/** Rule, type, range and granularity fit together as those of registered attributes do. */
function coherence(definition: VaultAttribute | null): Precondition {
  const expected = "rule, type, range and granularity that fit together";
  if (definition === null) return { name: "coherence", met: false, expected, actual: "not whole" };
  try {
    requireVaultAttribute(definition);
    return { name: "coherence", met: true, expected, actual: "they do" };
  } catch (error) {
    if (!(error instanceof MalformedError)) throw error;
    return { name: "coherence", met: false, expected, actual: error.message };
  }
}
