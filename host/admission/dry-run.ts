import {
  SymphonyError,
  TASK_DRY_RUN,
  resolveRequest,
  type ErrorCode,
  type GovernanceState,
  type TaskRequest,
} from "#protocol";
import {
  ADMISSION_STEPS,
  faultsOf,
  priceMicro,
  rewardMaxMinor,
  roundsOfRequest,
  verifyRequest,
  type AdmissionStepName,
  type RequestFault,
  type RequestTerms,
} from "../requests/index.ts";
import type { TaskRegister } from "../tasks/index.ts";
import { controlsOf } from "./controls.ts";

/** What would come of a request, as far as its submitter may know before Vaults are asked. */
export interface AdmissionDryRun {
  /** `admissible` when only Vaults could still refuse it. */
  readonly outcome: "admissible" | "refused";
  /** Every step that does not hold, in the order of admission; a submission is refused with the first. */
  readonly faults: readonly {
    readonly step: AdmissionStepName;
    readonly code: ErrorCode;
    readonly detail: string;
  }[];
  /** Steps that nobody judges before the task is real: those of Vaults, and what follows them. */
  readonly not_judged: readonly AdmissionStepName[];
  readonly policy_version: string;
  readonly semantic_version: string;
  readonly epoch_id: number;
  /** How it resolves; null when it does not. */
  readonly meaning: {
    readonly operator: string;
    readonly attribute_ids: readonly string[];
    readonly operands: readonly {
      readonly kind: string;
      readonly domain_id: string;
      readonly id: string;
      readonly semantic_version: string;
      readonly rule_id: string | null;
      readonly epsilon_micro: number;
    }[];
    readonly derivation_rule_refs: readonly string[];
    readonly combined_privacy_class: number;
    readonly minimum_result_cardinality: number;
  } | null;
  /** What it would cost; null when its meaning is not known. */
  readonly cost: {
    /** The least epsilon for each subject, and what this request would charge them. */
    readonly price_micro: number;
    readonly charged_micro: number;
    readonly rounds: number;
    /** The most its rewards can come to, and what it would lock for them. */
    readonly reward_max_minor: number;
    readonly lock_minor: number;
  } | null;
}

/** Steps that wait for Vaults. */
const NOT_JUDGED: readonly AdmissionStepName[] = ADMISSION_STEPS.filter(
  ({ name, by }) => !by.some((party) => party === "coordinator") || name === "policy",
).map(({ name }) => name);

/**
 * Says what would come of a request if it were submitted now, and changes nothing: it is not seen, counted or logged, and
 * no Vault learns of it. It is signed as a question, so that nobody can submit it.
 *
 * Only a submitter is told: what identity and authorization refuse is thrown, everything else is in the answer.
 *
 * @throws SymphonyError as `verifyRequest`, and the fault of the step `authorization`
 */
export async function dryRunAdmission(
  signedQuestion: Uint8Array,
  at: {
    readonly state: GovernanceState;
    readonly nowMs: number;
    readonly register: TaskRegister;
  },
): Promise<AdmissionDryRun> {
  const { state, nowMs, register } = at;
  const { request } = verifyRequest(signedQuestion, state, TASK_DRY_RUN);
  const terms: RequestTerms = { request, governance: state, nowMs, vaultId: null };
  const faults = faultsOf(terms);
  const unauthorized = faults.find(({ step }) => step === "authorization");
  if (unauthorized !== undefined) throw unauthorized.error;
  faults.push(...(await controlFaults(request, state, register)));
  return {
    outcome: faults.length === 0 ? "admissible" : "refused",
    faults: faults.map(({ step, error }) => ({ step, code: error.code, detail: error.message })),
    not_judged: NOT_JUDGED,
    policy_version: state.policy.policy_version_id,
    semantic_version: state.semantics.semantic_version,
    epoch_id: state.epoch.epochId,
    ...meaningAndCost(terms, faults),
  };
}

async function controlFaults(
  request: TaskRequest,
  state: GovernanceState,
  register: TaskRegister,
): Promise<RequestFault[]> {
  try {
    await register.requireControls(controlsOf(request, state));
    return [];
  } catch (error) {
    if (!(error instanceof SymphonyError) || error.class === "unavailable") throw error;
    return [{ step: "controls", error }];
  }
}

function meaningAndCost(
  terms: RequestTerms,
  faults: readonly RequestFault[],
): Pick<AdmissionDryRun, "meaning" | "cost"> {
  const { request, governance } = terms;
  if (faults.some(({ step }) => step === "semantics")) return { meaning: null, cost: null };
  const resolution = resolveRequest(request, governance);
  return {
    meaning: {
      operator: resolution.operator,
      attribute_ids: resolution.attribute_ids,
      operands: resolution.operand_refs.map((reference, index) => ({
        ...reference,
        epsilon_micro: resolution.operandEpsilonsMicro[index] ?? 0,
      })),
      derivation_rule_refs: resolution.derivation_rule_refs,
      combined_privacy_class: resolution.combined_privacy_class,
      minimum_result_cardinality: resolution.minimum_result_cardinality,
    },
    cost: {
      price_micro: priceMicro(request, resolution, governance),
      charged_micro: request.epsilon_micro,
      rounds: roundsOfRequest(request),
      reward_max_minor: rewardMaxMinor(request, governance),
      lock_minor: request.budget_lock_minor,
    },
  };
}
