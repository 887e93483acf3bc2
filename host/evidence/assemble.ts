import {
  GOVERNANCE_SNAPSHOT,
  LOG_EXCERPT,
  TASK_ENVELOPE,
  encodeEvidence,
  type GovernanceSnapshot,
  type SigningKey,
  type TaskEnvelope,
} from "#protocol";

import { reduceMessage } from "../settlement/index.ts";

/** Everything the coordinator has of one settled task. */
export interface EvidenceSources {
  /** A cosigned snapshot of at least the settlement root's `governance_size`, so that no later decision is hidden. */
  readonly governance: GovernanceSnapshot;
  readonly envelope: TaskEnvelope;
  /** Signed VaultDecisions. */
  readonly decisions: readonly Uint8Array[];
  /** Signed round messages of every round and attempt, in the order in which they were posted. */
  readonly messages: readonly Uint8Array[];
  /** Signed ConsumptionRecords. */
  readonly consumption: readonly Uint8Array[];
  /** Signed Challenges; most tasks have none. */
  readonly challenges: readonly Uint8Array[];
  /** Canonical bytes of the SettlementProof. */
  readonly settlement: Uint8Array;
  /** Signed DeliveryShares released so far. */
  readonly delivery: readonly Uint8Array[];
  /** Canonical bytes of a LogExcerpt of the coordinator, of each Vault that took part, and of others with a log. */
  readonly logs: readonly Uint8Array[];
}

/**
 * Assembles the evidence file of a task, `<task_id>.symphony`, and seals it with the coordinator's key.
 *
 * Sealed outputs are left out and kept by digest, so the file holds nothing that a key could open. Verifies nothing:
 * `verifyBundle` does, and whoever writes a file should run it first.
 *
 * @throws MalformedError, LimitError
 */
export function assembleBundle(sources: EvidenceSources, coordinatorKey: SigningKey): Uint8Array {
  return encodeEvidence({
    taskId: sources.envelope.task_id,
    coordinatorKey,
    evidence: {
      governance: GOVERNANCE_SNAPSHOT.encode(sources.governance),
      envelope: TASK_ENVELOPE.encode(sources.envelope),
      decisions: [...sources.decisions],
      messages: sources.messages.map(reduceMessage).filter((message) => message !== null),
      consumption: [...sources.consumption],
      challenges: [...sources.challenges],
      settlement: sources.settlement,
      delivery: [...sources.delivery],
      logs: sources.logs.map((excerpt) => LOG_EXCERPT.decode(excerpt)),
    },
  });
}
