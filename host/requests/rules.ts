import {
  LimitError,
  MalformedError,
  RefusedError,
  SymphonyError,
  activeActor,
  asksVaultAlone,
  hex,
  requireStake,
  resolveRequest,
  type ErrorCode,
  type GovernanceState,
  type SemanticResolution,
  type TaskRequest,
} from "#protocol";

import { ADMISSION_STEPS, type AdmissionStepName } from "./order.ts";
import { priceMicro, rewardMaxMinor, roundsOfRequest } from "./price.ts";

/** What the steps that depend on no record are judged by. */
export interface RequestTerms {
  readonly request: TaskRequest;
  readonly governance: GovernanceState;
  /** When the request came, unix milliseconds. */
  readonly nowMs: number;
  /** The Vault that judges; null for the coordinator. */
  readonly vaultId: string | null;
}

/** Why a step does not hold. */
export interface RequestFault {
  readonly step: AdmissionStepName;
  readonly error: SymphonyError;
}

interface Judging extends RequestTerms {
  /** Resolved once, when first asked for. */
  readonly resolution: () => SemanticResolution;
}

type Rule = (judging: Judging) => void;

/** The steps that a request and governance decide alone; their order is that of {@link ADMISSION_STEPS}. */
const RULES: ReadonlyMap<AdmissionStepName, Rule> = new Map<AdmissionStepName, Rule>([
  ["authorization", requireAuthorized],
  ["class", requireClass],
  ["semantics", (judging) => void judging.resolution()],
  ["price", requirePrice],
]);

/**
 * Judges everything about an authentic request that depends on no data subject, in the one order of admission. Pure:
 * equal terms give an equal resolution or an equal refusal (AP-6, AP-9), which tells nothing of anybody's records.
 *
 * @throws {@link RefusedError}, {@link MalformedError}, {@link LimitError} with the codes of {@link ADMISSION_STEPS}
 */
export function judgeRequest(terms: RequestTerms): SemanticResolution {
  const judging = judgingOf(terms);
  for (const { name } of ADMISSION_STEPS) RULES.get(name)?.(judging);
  return judging.resolution();
}

/** The same steps, each judged whatever the others say: at most one fault of each. A step that needs another has its fault. */
export function faultsOf(terms: RequestTerms): RequestFault[] {
  const judging = judgingOf(terms);
  const faults: RequestFault[] = [];
  for (const { name: step } of ADMISSION_STEPS) {
    try {
      RULES.get(step)?.(judging);
    } catch (error) {
      if (!(error instanceof SymphonyError)) throw error;
      if (!faults.some((fault) => fault.error === error)) faults.push({ step, error });
    }
  }
  return faults;
}

function judgingOf(terms: RequestTerms): Judging {
  let outcome: { readonly resolution: SemanticResolution } | { readonly cause: unknown } | null =
    null;
  const resolve = (): SemanticResolution => resolveRequest(terms.request, terms.governance);
  return {
    ...terms,
    resolution: () => {
      outcome ??= attempt(resolve);
      if ("cause" in outcome) throw outcome.cause;
      return outcome.resolution;
    },
  };
}

function attempt(resolve: () => SemanticResolution) {
  try {
    return { resolution: resolve() };
  } catch (cause) {
    return { cause };
  }
}

function requireAuthorized({ request, governance, nowMs, vaultId }: Judging): void {
  const { role } = activeActor(governance, request.actor_id);
  if (role !== "submitter") {
    throw new RefusedError(
      { code: "AUTH_ROLE_REFUSED", expected: "submitter", actual: role },
      `actor_id: expected an actor in role submitter, got ${role}`,
    );
  }
  const ageMsMax = governance.policy.admission.request_age_ms_max;
  // How old it is would differ each time it is refused.
  if (Math.abs(nowMs - request.created_ms) > ageMsMax) {
    throw new RefusedError(
      { code: "AUTH_REPLAYED", field: "created_ms", age_ms_max: ageMsMax },
      `created_ms: expected a request at most ${ageMsMax} ms old, got another`,
    );
  }
  for (const each of request.vault_ids) {
    if (governance.actors.get(each)?.role !== "enterprise") {
      throw refused("AUTH_UNKNOWN_ACTOR", "vault_ids", "Vaults of this network");
    }
    activeActor(governance, each);
  }
  if (vaultId !== null && !request.vault_ids.includes(vaultId)) {
    throw refused("POLICY_DECLINED", "vault_ids", "this Vault among them");
  }
  requireStaked(request, governance);
}

/** Who is below its tier's minimum takes no new tasks, and its stake answers for each one it takes (GS-3). */
function requireStaked(request: TaskRequest, governance: GovernanceState): void {
  const { coordinator_id: coordinator, aggregator_id: aggregator } = governance.genesis;
  const combines = request.vault_ids.length > 1 ? [aggregator] : [];
  for (const actorId of [...request.vault_ids, coordinator, ...combines]) {
    requireStake(activeActor(governance, actorId), governance.policy);
  }
}

function requireClass(judging: Judging): void {
  const { request, governance } = judging;
  const { admission } = governance.policy;
  const timeoutMsMax = admission.task_timeout_ms_max;
  if (request.task_timeout_ms < 1 || request.task_timeout_ms > timeoutMsMax) {
    throw new LimitError(
      { code: "POLICY_LIMIT_EXCEEDED", field: "task_timeout_ms", max: timeoutMsMax },
      `task_timeout_ms: expected [1, ${timeoutMsMax}], got ${request.task_timeout_ms}`,
    );
  }
  requireVaultCount(judging);
  requireWholeRounds(request);
  const { parameters } = request;
  if ("model_digest" in parameters && !governance.artifacts.has(hex(parameters.model_digest))) {
    const field = "parameters.model_digest";
    throw refused("EXECUTION_WORKLOAD_UNREGISTERED", field, "a model registered by governance");
  }
}

function requireVaultCount({ request, governance }: Judging): void {
  const { classes, privacy } = governance.policy;
  const count = request.vault_ids.length;
  const { task_class: taskClass } = request;
  if (taskClass === "parse" && count !== 1) {
    throw new MalformedError(
      { code: "SCHEMA_MALFORMED", field: "vault_ids" },
      `vault_ids: expected one Vault for parse, got ${count}`,
    );
  }
  const { multi_vault: several } = classes[taskClass];
  // Of its own columns, and of nothing else, a Vault is asked alone whatever the class (LA-3).
  const isOwn = count === 1 && asksVaultAlone(request.parameters);
  if (!isOwn && (several ? count < 2 : count !== 1)) {
    const expected = several ? "two or more Vaults" : "one Vault";
    throw refused("POLICY_DECLINED", "vault_ids", `${expected} for ${taskClass}`);
  }
  if (taskClass === "train" && count < privacy.minimum_train_vaults) {
    const expected = `${privacy.minimum_train_vaults} or more Vaults for train`;
    throw refused("POLICY_DECLINED", "vault_ids", expected);
  }
}

/** Rounds cost equal parts of what is reserved, and parts of a micro-epsilon there are none. */
function requireWholeRounds(request: TaskRequest): void {
  const rounds = roundsOfRequest(request);
  if (request.epsilon_micro % rounds === 0) return;
  throw new MalformedError(
    { code: "SCHEMA_MALFORMED", field: "epsilon_micro" },
    `epsilon_micro: expected a multiple of the ${rounds} rounds, got ${request.epsilon_micro}`,
  );
}

function requirePrice(judging: Judging): void {
  const { request, governance } = judging;
  const { epsilon_micro: offered, budget_lock_minor: locked } = request;
  const price = priceMicro(request, judging.resolution(), governance);
  if (offered < price) {
    throw new RefusedError(
      { code: "PRIVACY_BUDGET_EXCEEDED", price_micro: price, offered_micro: offered },
      `epsilon_micro: expected at least the price ${price}, got ${offered}`,
    );
  }
  if (!governance.policy.classes[request.task_class].budget_lock_required) return;
  const rewards = rewardMaxMinor(request, governance);
  if (locked >= rewards) return;
  throw new RefusedError(
    { code: "POLICY_DECLINED", field: "budget_lock_minor", minimum_minor: rewards },
    `budget_lock_minor: expected at least ${rewards} for ${request.task_class}, got ${locked}`,
  );
}

function refused(code: ErrorCode, field: string, expected: string): RefusedError {
  return new RefusedError({ code, field }, `${field}: expected ${expected}`);
}
