import { equalBytes } from "../bytes.ts";
import { VerificationError } from "../errors.ts";
import { eventFault, require } from "./event-fault.ts";
import type { GovernanceDecision } from "./governance-objects.ts";
import { POLICY_VERSION_LIFECYCLE } from "../lifecycles.ts";
import { policyDigest, type Policy } from "./policy.ts";
import { requireSpoken } from "./protocol-versions.ts";
import { electorateOf, tallyOf } from "./voters.ts";
import type { GovernanceState, PolicyStatus, PolicyVersion } from "./governance-state.ts";

type Decision<Type extends GovernanceDecision["type"]> = Extract<
  GovernanceDecision,
  { readonly type: Type }
>;

/** The versions that a genesis gives: its policy, active from epoch 0 on. */
export function genesisPolicies(policy: Policy): ReadonlyMap<string, PolicyVersion> {
  const version: PolicyVersion = {
    policy,
    status: "active",
    activeFrom: 0,
    activeUntil: null,
    retiresFrom: null,
  };
  return new Map([[policy.policy_version_id, version]]);
}

/**
 * Announces a version: a draft, to be activated when its epoch opens. It follows the last version there is, and its
 * epoch is one that has not begun: nothing takes effect in the epoch in which it is announced (PV-2).
 *
 * @throws {@link VerificationError} GOVERNANCE_EVENT_INVALID
 */
export function announcePolicy(
  state: GovernanceState,
  { policy }: Decision<"policy_announced">,
): GovernanceState {
  const { policy_version_id: id, effective_from_epoch: epoch } = policy;
  const last = lastVersion(state).policy;
  const earliest = Math.max(state.epoch.epochId, last.effective_from_epoch) + 1;
  require(!state.policies.has(id), "policy_version_id", "a new identifier", id);
  const { predecessor_version_id: predecessor } = policy;
  const expected = last.policy_version_id;
  require(predecessor === expected, "predecessor_version_id", expected, predecessor ?? "none");
  require(epoch >= earliest, "effective_from_epoch", `${earliest} or later`, `${epoch}`);
  requireDecidable(state, policy);
  const policies = new Map(state.policies).set(id, {
    policy,
    status: POLICY_VERSION_LIFECYCLE.initial,
    activeFrom: null,
    activeUntil: null,
    retiresFrom: null,
  });
  return { ...state, policies };
}

/** Refuses a policy by whose processes the voters of now could not decide, even of one mind: nobody could replace it. */
export function requireDecidable(state: GovernanceState, policy: Policy): void {
  for (const [kind, process] of Object.entries(policy.governance.processes)) {
    const electorate = electorateOf(state, process);
    const all = new Map([...electorate.weights.keys()].map((id) => [id, "approve"] as const));
    const { outcome, voted } = tallyOf(electorate, all);
    const expected = `${process.quorum} voters who weigh something`;
    require(outcome === "approved", `processes.${kind}`, expected, `${voted}`);
  }
}

/**
 * Decides from which epoch on a version that has a successor is valid for nothing.
 *
 * @throws {@link VerificationError} GOVERNANCE_EVENT_INVALID for a version that is not deprecated, one that retires
 * already, or an epoch that has begun.
 */
export function retirePolicy(
  state: GovernanceState,
  decision: Decision<"policy_retired">,
): GovernanceState {
  const { policy_version_id: id, from_epoch: fromEpoch } = decision;
  const version = state.policies.get(id);
  const { epochId } = state.epoch;
  if (version?.status !== "deprecated" || version.retiresFrom !== null) {
    throw eventFault("policy_version_id", "a deprecated version that does not retire yet", id);
  }
  require(fromEpoch > epochId, "from_epoch", `${epochId + 1} or later`, `${fromEpoch}`);
  const policies = new Map(state.policies).set(id, { ...version, retiresFrom: fromEpoch });
  return { ...state, policies };
}

/**
 * Closes the open epoch and opens the next: the one moment at which versions change (PV-2, GS-1).
 *
 * The trigger must hold by the policy of the closing epoch: its time is over, its volume reached, or governance has
 * asked for a boundary (EP-2).
 *
 * @param timeMs - When it closed, by whoever closed it.
 * @throws {@link VerificationError} GOVERNANCE_EVENT_INVALID; VERSION_UNSUPPORTED for an epoch of a later protocol
 */
export function closeGovernedEpoch(
  state: GovernanceState,
  decision: Decision<"epoch_closed">,
  timeMs: number,
): GovernanceState {
  const { epochId, openedMs } = state.epoch;
  const { epoch_id: closed, trigger } = decision;
  require(closed === epochId, "epoch_id", `${epochId}, which is open`, `${closed}`);
  require(timeMs >= openedMs, "time_ms", `${openedMs} or later`, `${timeMs}`);
  require(triggered(state, decision, timeMs), "trigger", "one that holds", trigger);
  const opened = epochId + 1;
  requireSpoken(state, opened);
  const policies = new Map(
    [...state.policies].map(([id, version]) => [id, versionIn(opened, version, state)]),
  );
  const active = [...policies.values()].filter(({ status }) => status === "active");
  const [{ policy } = lastVersion(state)] = active;
  require(active.length === 1, "policies", "one active version", `${active.length}`);
  const epoch = { epochId: opened, openedMs: timeMs, boundaryRequested: false };
  return { ...state, policies, policy, epoch };
}

function triggered(
  { epoch, policy }: GovernanceState,
  { trigger, settlements }: Decision<"epoch_closed">,
  timeMs: number,
): boolean {
  const limits = policy.epoch;
  switch (trigger) {
    case "time":
      return timeMs - epoch.openedMs >= limits.time_ms_max;
    case "volume":
      return settlements > 0 && settlements >= limits.settlement_volume_max;
    case "governance":
      return epoch.boundaryRequested;
  }
}

/** A version as it is from the opening of an epoch on. */
function versionIn(epochId: number, version: PolicyVersion, state: GovernanceState): PolicyVersion {
  const { status, policy } = version;
  const step = (to: PolicyStatus, change: Partial<PolicyVersion>): PolicyVersion => {
    POLICY_VERSION_LIFECYCLE.assertTransition(status, to);
    return { ...version, ...change, status: to };
  };
  if (status === "draft" && policy.effective_from_epoch === epochId) {
    return step("active", { activeFrom: epochId });
  }
  if (status === "active" && successorOf(version, state)?.effective_from_epoch === epochId) {
    return step("deprecated", { activeUntil: epochId });
  }
  const { retiresFrom } = version;
  const retires = retiresFrom !== null && retiresFrom <= epochId;
  return status === "deprecated" && retires ? step("retired", {}) : version;
}

function successorOf({ policy }: PolicyVersion, { policies }: GovernanceState): Policy | undefined {
  const { policy_version_id: id } = policy;
  return [...policies.values()].find((each) => each.policy.predecessor_version_id === id)?.policy;
}

/** The version announced last; the genesis has one, so there always is. */
function lastVersion({ policies, genesis }: GovernanceState): PolicyVersion {
  const [first] = genesisPolicies(genesis.policy).values();
  const last = [...policies.values()].at(-1) ?? first;
  if (last === undefined) throw eventFault("policies", "one version or more", "none");
  return last;
}

/** The version that is or was active in an epoch that has begun; undefined for a later epoch. */
export function policyVersionIn(
  state: GovernanceState,
  epochId: number,
): PolicyVersion | undefined {
  if (epochId > state.epoch.epochId) return undefined;
  return [...state.policies.values()].find(
    ({ activeFrom, activeUntil }) =>
      activeFrom !== null &&
      activeFrom <= epochId &&
      (activeUntil === null || epochId < activeUntil),
  );
}

/** What binds a task to a policy version; an envelope has it. */
export interface PolicyBinding {
  readonly policy_version: string;
  readonly policy_digest: Uint8Array;
  readonly epoch_id: number;
}

/**
 * The same governance with `policy` as the version that a task is bound to, whatever has become active since (GS-6):
 * whoever judges a task judges it by this. A deprecated version will do, a retired one is valid for nothing (PV-2).
 *
 * @throws {@link VerificationError} POLICY_NOT_ACTIVE as {@link governanceOnceOf}, and for a retired version.
 */
export function governanceFor(state: GovernanceState, task: PolicyBinding): GovernanceState {
  if (state.policies.get(task.policy_version)?.status === "retired") throw notBound(task);
  return governanceOnceOf(state, task);
}

/**
 * As {@link governanceFor}, also for a version retired since: what was settled under it is still accounted for and
 * delivered by its numbers.
 *
 * @throws {@link VerificationError} POLICY_NOT_ACTIVE for a version that is unknown, was not the active one in the
 * task's epoch, or has another document.
 */
export function governanceOnceOf(state: GovernanceState, task: PolicyBinding): GovernanceState {
  const version = policyVersionIn(state, task.epoch_id);
  const isBound =
    version?.policy.policy_version_id === task.policy_version &&
    equalBytes(policyDigest(version.policy), task.policy_digest);
  if (!isBound) throw notBound(task);
  const acceptedMeasurements = state.acceptedMeasurements.filter(
    ({ fromEpoch }) => fromEpoch <= task.epoch_id,
  );
  return { ...state, policy: version.policy, acceptedMeasurements };
}

function notBound({ policy_version, epoch_id }: PolicyBinding): VerificationError {
  return new VerificationError(
    { code: "POLICY_NOT_ACTIVE", expected: policy_version, epoch_id },
    `policy version ${policy_version}: expected the one active in epoch ${epoch_id}, and not retired`,
  );
}
