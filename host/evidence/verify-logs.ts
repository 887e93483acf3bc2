import {
  LOG_EXCERPT,
  TASK_LIFECYCLE,
  VerificationError,
  actorLogOrigin,
  eventLeaf,
  parseWith,
  verifyCheckpoint,
  verifyConsistency,
  verifyEvent,
  verifyInclusion,
  logKeyOf,
  taskKeyOf,
  type ConsumptionRecord,
  type GovernanceState,
  type LogEvent,
  type LogExcerpt,
  type WorkOrder,
} from "#protocol";
import { z } from "zod";

import { expectSame, required } from "../settlement/index.ts";
import { verifyCosigned, verifyWitnessed, type VerifiedHead } from "./verify-witnesses.ts";

/** A log whose checkpoint and events hold. */
export interface VerifiedLog {
  readonly actorId: string;
  readonly events: readonly LogEvent[];
  /** The head that other Vaults cosigned, if any. */
  readonly cosigned: VerifiedHead | null;
  /** Verifies that `root` was this log's root at `size`. @throws VerificationError */
  verifyHead(size: number, root: Uint8Array): void;
}

/**
 * Verifies what an actor's log says of a task: the actor signed the checkpoint and each event, with a key that it has had
 * in the task's epoch or since; each event is of this task and stands where it says.
 *
 * Cosignatures are verified; how many there have to be is for {@link verifyWitnessed}.
 *
 * @throws {@link VerificationError} PROOF_CHECKPOINT_INVALID, PROOF_SIGNATURE_INVALID, PROOF_INCLUSION_INVALID,
 * PROOF_CONSISTENCY_INVALID, PROOF_COMMITMENT_MISMATCH
 */
export function verifyLog(
  excerpt: LogExcerpt,
  { taskId, epochId }: { readonly taskId: string; readonly epochId: number },
  governance: GovernanceState,
): VerifiedLog {
  const actor = required(governance.actors.get(excerpt.actor_id), "actor of a log");
  const checkpoint = verifyCheckpoint(excerpt.checkpoint, {
    origin: actorLogOrigin(governance.genesis.network, actor.actor_id),
    log: logKeyOf(actor, excerpt.checkpoint, epochId),
    witnesses: [],
    quorum: 0,
  });
  const { size, root } = checkpoint;
  const events = excerpt.events.map(({ sequence, event, proof }) => {
    const verified = verifyEvent(event, taskKeyOf(actor, event, epochId));
    const subject = `event ${sequence} of ${actor.actor_id}`;
    const expected = [actor.actor_id, sequence, taskId];
    expectSame(subject, expected, [verified.actor_id, verified.sequence, verified.task_id]);
    verifyInclusion({ leafHash: eventLeaf(event), index: sequence, size, proof, root });
    return verified;
  });
  return {
    actorId: actor.actor_id,
    events,
    cosigned: verifyCosigned(excerpt, { actor, epochId }, governance),
    verifyHead: (oldSize, oldRoot) => {
      const head = excerpt.heads.find((each) => each.size === oldSize);
      if (head === undefined) {
        throw new VerificationError(
          { code: "PROOF_BUNDLE_INCOMPLETE", actor_id: actor.actor_id, size: oldSize },
          `log of ${actor.actor_id}: expected a proof of its head at size ${oldSize}, got none`,
        );
      }
      verifyConsistency({ oldSize, oldRoot, newSize: size, newRoot: root, proof: head.proof });
    },
  };
}

/**
 * Verifies an excerpt before it is stored: of this actor's log and this task, as {@link verifyLog}, with at least one
 * event, and with a proof of the head after each; what a Vault's log charged stands in a head that enough others cosigned.
 *
 * @throws {@link VerificationError} as `verifyLog`; PROOF_BUNDLE_INCOMPLETE; MalformedError, LimitError for its shape
 */
export function verifyExcerpt(
  bytes: Uint8Array,
  expected: {
    readonly taskId: string;
    /** Of the task. */
    readonly epochId: number;
    readonly actorId: string;
    readonly governance: GovernanceState;
  },
): VerifiedLog {
  const excerpt = LOG_EXCERPT.decode(bytes);
  expectSame("excerpt actor", expected.actorId, excerpt.actor_id);
  const log = verifyLog(excerpt, expected, expected.governance);
  const proven = new Set(excerpt.heads.map((head) => head.size));
  const complete = log.events.every((event) => proven.has(event.sequence + 1));
  if (log.events.length === 0 || !complete) throw withoutEvent(log, "proven");
  for (const { type, sequence } of log.events) {
    if (type === "budget.executing") verifyWitnessed(log, sequence + 1, expected.governance);
  }
  return log;
}

const executingBody = z.object({ envelope_digest: z.instanceof(Uint8Array), round: z.number() });
const committedBody = z.object({ reservation_id: z.string(), epsilon_micro: z.number() });

/**
 * Verifies that a Vault's log has what its order and its consumption record rest on: the head that an order names ends
 * with the event that charged this round, and before a record's head the event that committed its amount stands.
 *
 * @throws {@link VerificationError} PROOF_BUNDLE_INCOMPLETE for an event that is not there, PROOF_COMMITMENT_MISMATCH
 */
export function verifyLedgerEvent(log: VerifiedLog, claim: WorkOrder | ConsumptionRecord): void {
  if ("round" in claim) {
    const event = log.events.find((each) => each.sequence === claim.ledger_size - 1);
    if (event?.type !== "budget.executing") throw withoutEvent(log, "budget.executing");
    const { envelope_digest, round } = parseWith(executingBody, event.body, "executing event");
    const subject = `executing event of ${log.actorId}`;
    expectSame(subject, [claim.envelope_digest, claim.round], [envelope_digest, round]);
    return;
  }
  const event = log.events.findLast(
    (each) => each.type === "budget.committed" && each.sequence < claim.ledger_size,
  );
  if (event === undefined) throw withoutEvent(log, "budget.committed");
  const { reservation_id, epsilon_micro } = parseWith(committedBody, event.body, "commit event");
  const subject = `commit event of ${log.actorId}`;
  const claimed = [claim.reservation_id, claim.consumed_epsilon_micro];
  expectSame(subject, claimed, [reservation_id, epsilon_micro]);
}

function withoutEvent(log: VerifiedLog, expected: string): VerificationError {
  return new VerificationError(
    { code: "PROOF_BUNDLE_INCOMPLETE", actor_id: log.actorId, expected },
    `log of ${log.actorId}: expected a ${expected} event where its order or record says, got none`,
  );
}

const transitionBody = z.object({ task_id: z.string(), from: z.string(), to: z.string() });

/**
 * Replays a task's transitions as the coordinator's log has them.
 *
 * @returns The state they lead to.
 * @throws ConflictError EXECUTION_ILLEGAL_TRANSITION for a history the lifecycle does not have (TL-7)
 */
export function replayTransitions(log: VerifiedLog, taskId: string): string {
  const steps = log.events
    .filter((event) => event.type === "task_transition")
    .map((event) => parseWith(transitionBody, event.body, "transition event"))
    .filter((step) => step.task_id === taskId);
  return TASK_LIFECYCLE.replay(steps);
}
