import { RefusedError } from "./errors.ts";
import { defineLifecycle } from "./lifecycle.ts";

/** The states of a task, slice or sub-task. SCP part 2, State Transition Rules, gives every transition. */
export const TASK_LIFECYCLE = defineLifecycle({
  name: "task",
  initial: "accepted",
  transitions: {
    accepted: ["resolving", "rejected", "timed_out"],
    resolving: ["dispatched", "rejected"],
    dispatched: ["verifying", "rejected", "timed_out"],
    verifying: ["awaiting_settlement", "rejected", "timed_out", "challenged"],
    awaiting_settlement: ["completed", "challenged"],
    challenged: ["awaiting_settlement", "rejected"],
    completed: [],
    rejected: [],
    timed_out: [],
  },
});

/** A state of {@link TASK_LIFECYCLE}. */
export type TaskState = (typeof TASK_LIFECYCLE.states)[number];

/**
 * SCP part 6 names these states and no transitions; the table is our reading.
 *
 * A review ends in `confirmed` (the fault exists) or `not_confirmed`. A confirmed fault is `approved`, which leads to
 * a recorded penalty, or closed without one. A challenge that ended without penalty can be reopened by new evidence
 * and is then reviewed again. At a deadline governance may close one that nobody has decided.
 */
export const CHALLENGE_LIFECYCLE = defineLifecycle({
  name: "challenge",
  initial: "opened",
  transitions: {
    opened: ["reviewing", "closed_without_penalty"],
    reviewing: ["confirmed", "not_confirmed", "closed_without_penalty"],
    confirmed: ["approved", "closed_without_penalty"],
    not_confirmed: ["reopened"],
    approved: ["penalty_recorded"],
    closed_without_penalty: ["reopened"],
    penalty_recorded: [],
    reopened: ["reviewing"],
  },
});

/** A state of {@link CHALLENGE_LIFECYCLE}. */
export type ChallengeState = (typeof CHALLENGE_LIFECYCLE.states)[number];

/**
 * SCP part 6 names these states in order. A candidate whose inputs an approved challenge has changed is verified
 * again; every step before the last can fail.
 */
export const SETTLEMENT_LIFECYCLE = defineLifecycle({
  name: "settlement",
  initial: "collecting",
  transitions: {
    collecting: ["verifying_inputs", "failed"],
    verifying_inputs: ["candidate_ready", "failed"],
    candidate_ready: ["finalizing", "verifying_inputs", "failed"],
    finalizing: ["finalized", "failed"],
    finalized: [],
    failed: [],
  },
});

/** A state of {@link SETTLEMENT_LIFECYCLE}. */
export type SettlementState = (typeof SETTLEMENT_LIFECYCLE.states)[number];

/** SCP part 7, Epoch States. */
export const EPOCH_LIFECYCLE = defineLifecycle({
  name: "epoch",
  initial: "open",
  transitions: { open: ["closing"], closing: ["closed"], closed: [] },
});

/** SCP part 7, Policy Version Lifecycle. */
export const POLICY_VERSION_LIFECYCLE = defineLifecycle({
  name: "policy version",
  initial: "draft",
  transitions: {
    draft: ["active"],
    active: ["deprecated"],
    deprecated: ["retired"],
    retired: [],
  },
});

/** SCP part 4, Consent Lifecycle. New consent after withdrawal or expiry is a new record. */
export const CONSENT_LIFECYCLE = defineLifecycle({
  name: "consent",
  initial: "granted",
  transitions: { granted: ["withdrawn", "expired"], withdrawn: [], expired: [] },
});

/** SCP part 3, Domain Status. */
export const DOMAIN_LIFECYCLE = defineLifecycle({
  name: "domain",
  initial: "proposed",
  transitions: {
    proposed: ["registered"],
    registered: ["active"],
    active: ["deprecated"],
    deprecated: ["retired"],
    retired: [],
  },
});

/** SCP part 3, Canonical Attribute Lifecycle. What is superseded points to its replacement and stays so. */
export const CANONICAL_ATTRIBUTE_LIFECYCLE = defineLifecycle({
  name: "canonical attribute",
  initial: "proposed",
  transitions: {
    proposed: ["registered"],
    registered: ["active"],
    active: ["deprecated", "superseded"],
    deprecated: ["retired", "superseded"],
    retired: [],
    superseded: [],
  },
});

/** SCP part 3, Query Attribute Lifecycle. A restriction can be lifted again. */
export const QUERY_ATTRIBUTE_LIFECYCLE = defineLifecycle({
  name: "query attribute",
  initial: "proposed",
  transitions: {
    proposed: ["registered"],
    registered: ["active"],
    active: ["restricted", "deprecated"],
    restricted: ["active", "deprecated"],
    deprecated: ["retired"],
    retired: [],
  },
});

/**
 * A privacy-budget reservation in a Vault's ledger (design, section 2.5). Only what has not begun to execute can be
 * released; what has begun is committed, at the estimate if need be.
 */
export const BUDGET_RESERVATION_LIFECYCLE = defineLifecycle({
  name: "budget reservation",
  initial: "reserved",
  transitions: {
    reserved: ["executing", "released"],
    executing: ["committed"],
    released: [],
    committed: [],
  },
});

/** What a transition of a task needs besides being in {@link TASK_LIFECYCLE}. */
export interface TaskTransitionCondition {
  readonly from: TaskState;
  readonly to: TaskState;
  /** The acting role is one of these. */
  readonly roles?: readonly string[];
  /** The state of the challenge is one of these. */
  readonly resolutions?: readonly ChallengeState[];
}

/** The actor and resolution rules of SCP part 2, Challenge path. Other transitions have no condition. */
export const TASK_TRANSITION_CONDITIONS: readonly TaskTransitionCondition[] = [
  { from: "verifying", to: "challenged", roles: ["verifier", "governance"] },
  {
    from: "challenged",
    to: "awaiting_settlement",
    resolutions: ["not_confirmed", "closed_without_penalty"],
  },
  { from: "challenged", to: "rejected", resolutions: ["approved"] },
];

/**
 * Passes for a legal task transition by an actor, and on a challenge resolution, that its condition names.
 *
 * @throws {@link ConflictError} EXECUTION_ILLEGAL_TRANSITION when the lifecycle has no such transition.
 * @throws {@link RefusedError} AUTH_ROLE_REFUSED for another role; EXECUTION_ILLEGAL_TRANSITION for a resolution
 * that is missing or leads elsewhere.
 */
export function assertTaskTransition(step: {
  readonly from: string;
  readonly to: string;
  readonly role: string;
  readonly resolution: ChallengeState | null;
}): void {
  const { from, to, role, resolution } = step;
  TASK_LIFECYCLE.assertTransition(from, to);
  const condition = TASK_TRANSITION_CONDITIONS.find((each) => each.from === from && each.to === to);
  if (condition?.roles !== undefined && !condition.roles.includes(role)) {
    throw new RefusedError(
      { code: "AUTH_ROLE_REFUSED", from, to, role },
      `task ${from} -> ${to}: expected role ${condition.roles.join(" or ")}, got ${role}`,
    );
  }
  const resolutions = condition?.resolutions;
  if (resolutions !== undefined && (resolution === null || !resolutions.includes(resolution))) {
    throw new RefusedError(
      { code: "EXECUTION_ILLEGAL_TRANSITION", from, to, resolution },
      `task ${from} -> ${to}: expected a challenge ${resolutions.join(" or ")}, got ${resolution ?? "none"}`,
    );
  }
}
