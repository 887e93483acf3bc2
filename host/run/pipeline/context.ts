import type { TrustAnchor } from "#attestation";
import type { GovernanceSnapshot, GovernanceState } from "#protocol";
import type { AdmissionPlane } from "../../admission/index.ts";
import type { ExecutionPlane } from "../../execution/index.ts";
import type { FinishedWork, Queue, WorkIssuer } from "../../queue/index.ts";
import type { Settlement } from "../../settlement/index.ts";
import type { TaskRegister } from "../../tasks/index.ts";

/** The planes and what they share, as the coordinator's wiring hands them over. */
export interface PipelineContext {
  readonly coordinatorId: string;
  readonly register: TaskRegister;
  readonly queue: Queue;
  readonly issuer: WorkIssuer;
  readonly admission: AdmissionPlane;
  readonly execution: ExecutionPlane;
  readonly settlement: Settlement;
  readonly governanceState: () => GovernanceState;
  readonly governanceSnapshot: () => GovernanceSnapshot;
  /** The state after the first `size` events of the governance log. */
  readonly governanceAt: (size: number) => GovernanceState;
  /** Records that a task or sub-task ended, so that no epoch waits for it. */
  readonly resolveEpoch: (taskId: string) => Promise<void>;
  readonly anchors: readonly TrustAnchor[];
  readonly nowMs: () => number;
  /** Told of an error that is no lack of something for a while: a bug. The task stays where it is. */
  readonly report: (taskId: string, error: unknown) => void;
}

/** A Vault may be away for a day and still commit or release. */
export const SETTLE_MS_MAX = 24 * 60 * 60 * 1000;

/** The answers among what was asked. */
export function answersOf(work: readonly FinishedWork[]): Uint8Array[] {
  return work.flatMap(({ answer }) => (answer === null ? [] : [answer]));
}
