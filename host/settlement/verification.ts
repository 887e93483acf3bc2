import type { AttestationReport, TrustAnchor } from "#attestation";
import {
  TASK_ENVELOPE,
  governanceFor,
  type ExecutionResultBundle,
  type GovernanceState,
  type TaskEnvelope,
  type WorkOrder,
} from "#protocol";

import { judgeCriteria } from "./criteria.ts";
import { expectSame, expectThat } from "./reject.ts";
import type { RoundEvidence } from "./round-evidence.ts";
import { verifyEnvelope } from "./verify-envelope.ts";
import { verifyRound, type VerifiedRound } from "./verify-round.ts";

/** The most rounds a task has; the bound of `trainParametersSchema`. */
export const ROUNDS_MAX = 100;

/** Called for each part of the verification that held, in order. */
export type Observe = (check: string, detail: string) => void;

/** What a task's rounds are verified from. `anchors` are the verifier's own. */
export interface ExecutionClaim {
  readonly envelope: TaskEnvelope;
  readonly governance: GovernanceState;
  readonly anchors: readonly TrustAnchor[];
  /** In round order, from 0. */
  readonly rounds: readonly RoundEvidence[];
  readonly observe?: Observe;
}

/**
 * An execution that verification accepted. Only {@link verifyExecution} makes one, and settlement takes nothing else:
 * there is no settlement without accepted verification (SP-7).
 */
class VerifiedExecution {
  readonly #claim: ExecutionClaim;
  readonly #rounds: readonly VerifiedRound[];

  constructor(claim: ExecutionClaim, rounds: readonly VerifiedRound[]) {
    this.#claim = claim;
    this.#rounds = rounds;
    Object.freeze(this);
  }

  get envelope(): TaskEnvelope {
    return this.#claim.envelope;
  }

  /** The state it was verified under, with the policy version that the task is bound to. */
  get governance(): GovernanceState {
    return this.#claim.governance;
  }

  get envelopeDigest(): Uint8Array {
    return TASK_ENVELOPE.digest(this.envelope);
  }

  /** In round order. */
  get bundles(): readonly ExecutionResultBundle[] {
    return this.#rounds.map((round) => round.bundle);
  }

  get bundleDigests(): readonly Uint8Array[] {
    return this.#rounds.map((round) => round.bundleDigest.slice());
  }

  get orders(): readonly WorkOrder[] {
    return this.#rounds.flatMap((round) => round.orders);
  }

  /** Every attestation, to archive. */
  get reports(): readonly AttestationReport[] {
    return this.#rounds.flatMap((round) => round.reports);
  }

  /** Commitment of the last round. */
  get outputCommitment(): Uint8Array {
    return this.bundles.at(-1)?.output_commitment.slice() ?? new Uint8Array(0);
  }

  /** Vaults whose slice made it into any round, ascending. */
  get participants(): readonly string[] {
    const ids = this.bundles.flatMap((bundle) => bundle.slices.map((slice) => slice.vault_id));
    return [...new Set(ids)].sort();
  }

  get simulated(): boolean {
    return this.bundles.some((bundle) => bundle.platform === "sim");
  }
}

export type { VerifiedExecution };

/**
 * Verifies a finished execution from evidence alone: what the coordinator does before settlement and an auditor does
 * years later are this one function. Pure; never changes what it judges (SP-8).
 *
 * In this order: the envelope against the submitter's signature, policy and semantics; then each round (attestations in
 * replay mode, orders, slices, aggregate, sealed outcome, and that it starts from the state the last one committed to);
 * then the acceptance criteria of the class. Stops at the first fault.
 *
 * @throws VerificationError POLICY_NOT_ACTIVE, PROOF_*, EXECUTION_*, TEE_*; AppraisalError TEE_*, VERIFY_RESULT_REJECTED;
 * RefusedError COORDINATION_QUORUM_NOT_MET; MalformedError, LimitError
 */
export function verifyExecution(presented: ExecutionClaim): VerifiedExecution {
  const { envelope, observe = () => undefined } = presented;
  const governance = governanceFor(presented.governance, envelope);
  const claim = { ...presented, governance };
  verifyEnvelope(envelope, governance);
  observe("request and envelope", `${envelope.task_class} ${envelope.task_id}`);
  const count = claim.rounds.length;
  expectThat(count >= 1 && count <= ROUNDS_MAX, {
    subject: "rounds",
    expected: `1 to ${ROUNDS_MAX}`,
    got: `${count}`,
  });
  const rounds: VerifiedRound[] = [];
  for (const [index, evidence] of claim.rounds.entries()) {
    expectSame("round order", index, evidence.round);
    const inputState = rounds.at(-1)?.bundle.output_commitment ?? null;
    const round = verifyRound(claim, evidence, inputState);
    rounds.push(round);
    observe(`round ${index}`, summaryOf(round));
  }
  expectSame("last round", true, rounds.at(-1)?.bundle.final ?? false);
  judgeCriteria(claim, rounds);
  observe("acceptance criteria", acceptanceOf(envelope, rounds));
  return new VerifiedExecution(claim, rounds);
}

function summaryOf({ bundle, reports }: VerifiedRound): string {
  const vaults = bundle.slices.map((slice) => slice.vault_id).join(", ");
  return `${reports.length} attestations of ${bundle.platform}, slices of ${vaults}, ${bundle.aggregation_method}`;
}

function acceptanceOf(envelope: TaskEnvelope, rounds: readonly VerifiedRound[]): string {
  const { length: count } = rounds;
  const judged = `${envelope.task_class}, ${count} round${count === 1 ? "" : "s"}`;
  const threshold = envelope.iteration_policy?.convergence_threshold_micro ?? null;
  if (threshold === null) return judged;
  const change = rounds.at(-1)?.bundle.model_change_micro;
  return `${judged}, the last moved the model by ${change} of at most ${threshold} micro`;
}
