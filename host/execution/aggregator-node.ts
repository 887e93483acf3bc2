import type { TrustAnchor } from "#attestation";
import {
  GOVERNANCE_SNAPSHOT,
  RefusedError,
  TASK_ENVELOPE,
  type CborValue,
  type WorkItem,
} from "#protocol";
import { acceptSnapshot, type GovernanceHead } from "../governance/index.ts";
import { runAggregation, type RoundGovernance } from "./aggregator-round.ts";
import type { EnclaveLauncher } from "./enclave-launcher.ts";
import { runNodeLoop, type Coordinator, type NodeEvent, type NodeSelf } from "./node-loop.ts";
import { RoundBoard } from "./round-board.ts";

/** What an aggregator host is made of. It keeps its signed log and nothing else: no slice output (AG-3). */
export interface AggregatorNodeContext {
  readonly self: NodeSelf;
  readonly coordinator: Coordinator;
  readonly launcher: EnclaveLauncher;
  readonly journal: AggregatorJournal;
  readonly anchors: readonly TrustAnchor[];
  readonly genesis: Uint8Array;
  readonly genesisDigest: Uint8Array;
  readonly nowMs: () => number;
  readonly report: (event: NodeEvent) => void;
}

/** The aggregator's own log, as far as a round needs it. */
export interface AggregatorJournal {
  /** Appends a signed event about a task; durable when it resolves. */
  append(taskId: string, type: string, body: { readonly [fact: string]: CborValue }): Promise<void>;
  /** Canonical bytes of the log's excerpt about a task. */
  excerpt(taskId: string): Promise<Uint8Array>;
}

/** Runs an aggregator host until `signal` aborts. */
export async function runAggregatorNode(
  context: AggregatorNodeContext,
  signal: AbortSignal,
): Promise<void> {
  let held: (RoundGovernance & GovernanceHead) | null = null;
  const accept = (bytes: Uint8Array): RoundGovernance => {
    const snapshot = GOVERNANCE_SNAPSHOT.decode(bytes);
    const { genesisDigest: pinnedGenesisDigest } = context;
    held = {
      ...acceptSnapshot({ snapshot, pinnedGenesisDigest, previous: held }),
      snapshot: bytes,
    };
    return held;
  };
  // Answers of several rounds may cross: a shorter one, late or a lie, changes nothing.
  const newest = async (): Promise<RoundGovernance> => {
    const bytes = await context.coordinator.governance();
    const { events } = GOVERNANCE_SNAPSHOT.decode(bytes);
    return held !== null && events.length < held.size ? held : accept(bytes);
  };
  const perform = async ({ task_id: taskId, work }: WorkItem): Promise<null> => {
    if (work.kind !== "aggregate") {
      throw new RefusedError(
        { code: "COORDINATION_ROLE_REFUSED" },
        `work: expected an aggregation, got ${work.kind}`,
      );
    }
    const { state: governance } = accept(work.governance);
    const envelope = TASK_ENVELOPE.decode(work.envelope);
    const board = new RoundBoard({
      transport: context.coordinator.board(taskId, work.round),
      self: context.self,
      newest: () => held?.state ?? governance,
      round: {
        envelopeDigest: TASK_ENVELOPE.digest(envelope),
        epochId: envelope.epoch_id,
        round: work.round,
        attempt: work.attempt,
      },
      nowMs: context.nowMs,
    });
    const facts = { round: work.round, attempt: work.attempt };
    await context.journal.append(taskId, "aggregation_started", {
      ...facts,
      envelope_digest: TASK_ENVELOPE.digest(envelope),
    });
    const outcome = await runAggregation(work, { ...context, newest, board });
    if (!outcome.ok)
      context.report({ event: "work_failed", kind: "aggregate", code: outcome.code });
    return null;
  };
  await runNodeLoop({
    coordinator: context.coordinator,
    self: context.self,
    perform,
    report: context.report,
    signal,
  });
}
