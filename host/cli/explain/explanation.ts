import {
  CONSUMPTION_RECORD,
  GOVERNANCE_SNAPSHOT,
  TASK_ENVELOPE,
  governanceOnceOf,
  parseCose,
  parseEvidence,
  resolveRequest,
  taskKeyOf,
  underSemantics,
  verifyGovernanceSnapshot,
  verifySettlementProof,
  type GovernanceState,
  type Operand,
  type SemanticResolution,
  type TaskEnvelope,
} from "#protocol";

import { priceMicro } from "../../requests/index.ts";
import { required, verifyEnvelope } from "../../settlement/index.ts";

/** How a task was resolved, priced and judged, as its evidence has it. */
export interface Explanation {
  readonly task_id: string;
  readonly task_class: string;
  /** What it is bound to for good, whatever came later. */
  readonly bound: {
    readonly policy_version: string;
    readonly semantic_version: string;
    readonly epoch_id: number;
    readonly admitted_ms: number;
  };
  readonly meaning: {
    readonly record_scope: string;
    readonly usage_scope: string;
    readonly operator: string;
    readonly composition_id: string | null;
    readonly combined_privacy_class: number;
    readonly minimum_result_cardinality: number;
    readonly operands: readonly ExplainedOperand[];
  };
  readonly price: {
    readonly least_epsilon_micro: number;
    readonly offered_epsilon_micro: number;
    readonly vaults: readonly {
      readonly vault_id: string;
      readonly grant_id: string;
      readonly reserved_epsilon_micro: number;
      /** Null for a Vault that accounted for nothing. */
      readonly consumed_epsilon_micro: number | null;
    }[];
  };
  readonly settlement: {
    readonly epoch_id: number;
    readonly accounting: readonly {
      readonly actor_id: string;
      readonly kind: string;
      readonly amount_minor: number;
      readonly reason: string;
    }[];
  };
}

/** One operand, and what its name stood for. */
export interface ExplainedOperand {
  readonly name: string;
  /** What it asks of the value; null where the whole record is read. */
  readonly asks: Operand | null;
  readonly domain_id: string;
  readonly semantic_version: string;
  readonly sources: readonly string[];
  /** Null for direct use of a canonical attribute. */
  readonly rule: { readonly rule_id: string; readonly transform: string } | null;
  /** The one dimension that its values have, in words. */
  readonly granularity: string;
  readonly privacy_class: number;
  readonly epsilon_micro: number;
}

/**
 * Explains a settled task from its evidence file: the request its submitter signed, resolved again under the versions it
 * is bound to. What it says of governance, envelope and settlement is verified from the genesis on; the rest of the file
 * is `verifyBundle`'s business.
 *
 * @throws VerificationError, AppraisalError, MalformedError as `verifyGovernanceSnapshot`, `verifyEnvelope` and
 * `verifySettlementProof`
 */
export function explainTask(file: Uint8Array, genesisDigest: Uint8Array): Explanation {
  const { evidence } = parseEvidence(file);
  const snapshot = GOVERNANCE_SNAPSHOT.decode(evidence.governance);
  const newest = verifyGovernanceSnapshot(snapshot, genesisDigest);
  const envelope = TASK_ENVELOPE.decode(evidence.envelope);
  const governance = governanceOnceOf(newest, envelope);
  const request = verifyEnvelope(envelope, governance);
  const resolution = resolveRequest(request, underSemantics(governance, envelope.semantic_version));
  return {
    task_id: envelope.task_id,
    task_class: envelope.task_class,
    bound: {
      policy_version: envelope.policy_version,
      semantic_version: envelope.semantic_version,
      epoch_id: envelope.epoch_id,
      admitted_ms: envelope.admission_timestamp,
    },
    meaning: meaningOf(envelope, resolution),
    price: {
      least_epsilon_micro: priceMicro(request, resolution, governance),
      offered_epsilon_micro: envelope.epsilon_micro,
      vaults: vaultsOf(envelope, evidence.consumption, governance),
    },
    settlement: settlementOf(evidence.settlement, newest),
  };
}

function meaningOf(envelope: TaskEnvelope, resolution: SemanticResolution): Explanation["meaning"] {
  const { record_scope, usage_scope, attribute_composition: composition } = envelope;
  return {
    ...{ record_scope, usage_scope },
    operator: resolution.operator,
    composition_id: composition?.composition_id ?? null,
    combined_privacy_class: resolution.combined_privacy_class,
    minimum_result_cardinality: resolution.minimum_result_cardinality,
    operands: resolution.projections.map((projection, index) => ({
      name: projection.name,
      asks: operandsOf(envelope)[index] ?? null,
      domain_id: projection.domainId,
      semantic_version: projection.semanticVersion,
      sources: projection.sources.map((each) => `${each.domain_id}/${each.attribute_id}`),
      rule:
        projection.rule === null
          ? null
          : { rule_id: projection.rule.rule_id, transform: projection.rule.transform_type },
      granularity: granularityText(projection.granularity),
      privacy_class: projection.privacyClass,
      epsilon_micro: projection.epsilonMicro,
    })),
  };
}

/** What each operand asks: of a composition, or of the one operand that needs none. */
function operandsOf({ attribute_composition, parameters }: TaskEnvelope): readonly Operand[] {
  if (attribute_composition !== null) return attribute_composition.operand_attributes;
  return parameters.task_class === "query" ? parameters.predicate.operands : [];
}

function granularityText(
  granularity: SemanticResolution["projections"][number]["granularity"],
): string {
  const { temporal_resolution, spatial_resolution, categorical_resolution } = granularity;
  const { numeric_resolution: numeric } = granularity;
  const named = temporal_resolution ?? spatial_resolution ?? categorical_resolution;
  if (numeric === null) return named ?? "none";
  if (numeric.boundaries.length > 0) return `buckets at ${numeric.boundaries.join(", ")}`;
  return numeric.width === 1 ? "exact" : `steps of ${numeric.width}`;
}

function vaultsOf(
  envelope: TaskEnvelope,
  consumption: readonly Uint8Array[],
  governance: GovernanceState,
): Explanation["price"]["vaults"] {
  const consumed = new Map(
    consumption.map((signed) => {
      const { vault_id } = CONSUMPTION_RECORD.decode(parseCose(signed).payload);
      const vault = required(governance.actors.get(vault_id), "Vault");
      const record = CONSUMPTION_RECORD.verify(signed, taskKeyOf(vault, signed, envelope.epoch_id));
      return [vault_id, record.consumed_epsilon_micro] as const;
    }),
  );
  return envelope.authorization_context.map(({ vault_id, grant_id }, index) => ({
    ...{ vault_id, grant_id },
    reserved_epsilon_micro: envelope.privacy_budget_reservation[index]?.epsilon_micro ?? 0,
    consumed_epsilon_micro: consumed.get(vault_id) ?? null,
  }));
}

function settlementOf(proof: Uint8Array, governance: GovernanceState): Explanation["settlement"] {
  const { genesis, genesisDigest, actors } = governance;
  const coordinatorKey = required(actors.get(genesis.coordinator_id), "coordinator").signing_key;
  const { entry } = verifySettlementProof(proof, { coordinatorKey, genesisDigest });
  return { epoch_id: entry.epoch_id, accounting: entry.accounting };
}
