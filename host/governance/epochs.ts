import { EPOCH_LIFECYCLE, type Policy } from "#protocol";

/** Why an epoch closes (SCP part 7, Closing Triggers). */
export type EpochTrigger = "time" | "volume" | "governance";

/** One settlement window (EP-1). A scope is frozen once nothing can be added to it. */
export interface Epoch {
  readonly epoch_id: number;
  readonly status: (typeof EPOCH_LIFECYCLE.states)[number];
  readonly open_at_ms: number;
  /** Null until it is closed. */
  readonly close_at_ms: number | null;
  readonly close_reason: EpochTrigger | null;
  readonly semantic_version_set: readonly string[];
  readonly policy_version_set: readonly string[];
  readonly scopes: {
    readonly settlement: EpochScope;
    readonly reward: EpochScope;
    readonly candidate: EpochScope;
  };
}

/** Whether a scope still takes entries. */
export type EpochScope = "collecting" | "frozen";

/**
 * Whether an open epoch should close now, and why. Pure: the mixed trigger model, governance before time before
 * volume, so that one input has one reason.
 *
 * Whether anything belongs to the epoch is not judged here: time alone need not close one that nothing belongs to.
 *
 * @param args.settlements - How many results could settle in it now.
 * @param args.boundaryRequested - Whether governance asks for a window boundary.
 * @returns null while it stays open, and for an epoch that is not open.
 */
export function closingTrigger(args: {
  readonly epoch: Epoch;
  readonly limits: Policy["epoch"];
  readonly nowMs: number;
  readonly settlements: number;
  readonly boundaryRequested: boolean;
}): EpochTrigger | null {
  const { epoch, limits, nowMs } = args;
  if (epoch.status !== "open") return null;
  if (args.boundaryRequested) return "governance";
  if (nowMs - epoch.open_at_ms >= limits.time_ms_max) return "time";
  if (args.settlements > 0 && args.settlements >= limits.settlement_volume_max) return "volume";
  return null;
}

/** A new epoch, open and collecting. */
export function openEpoch(args: {
  readonly epochId: number;
  readonly nowMs: number;
  readonly semanticVersion: string;
  readonly policyVersion: string;
}): Epoch {
  return {
    epoch_id: args.epochId,
    status: EPOCH_LIFECYCLE.initial,
    open_at_ms: args.nowMs,
    close_at_ms: null,
    close_reason: null,
    semantic_version_set: [args.semanticVersion],
    policy_version_set: [args.policyVersion],
    scopes: { settlement: "collecting", reward: "collecting", candidate: "collecting" },
  };
}

/** The epoch on its way out: nothing is newly assigned to it. @throws ConflictError EXECUTION_ILLEGAL_TRANSITION */
export function beginClosing(epoch: Epoch, reason: EpochTrigger): Epoch {
  EPOCH_LIFECYCLE.assertTransition(epoch.status, "closing");
  return { ...epoch, status: "closing", close_reason: reason };
}

/** The epoch with every scope frozen, and so closed (EP-2). @throws ConflictError EXECUTION_ILLEGAL_TRANSITION */
export function closeEpoch(epoch: Epoch, nowMs: number): Epoch {
  EPOCH_LIFECYCLE.assertTransition(epoch.status, "closed");
  return {
    ...epoch,
    status: "closed",
    close_at_ms: nowMs,
    scopes: { settlement: "frozen", reward: "frozen", candidate: "frozen" },
  };
}
