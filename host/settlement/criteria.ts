import {
  AppraisalError,
  VerificationError,
  asksVaultAlone,
  epsilonOfRound,
  hex,
  roundsOf,
  type ExecutionResultBundle,
  type TaskEnvelope,
} from "#protocol";

import { expectSame, expectThat, required } from "./reject.ts";
import type { TaskContext, VerifiedRound } from "./verify-round.ts";

/**
 * Judges verified rounds against the acceptance criteria of their task class, as far as an outsider sees them.
 *
 * Not seen here, because only the enclave sees values: that a parsed receipt fits its schema, that counts below the
 * minimum were suppressed, work units used. The attested measurement vouches for those.
 *
 * @throws AppraisalError VERIFY_RESULT_REJECTED, VERIFY_CONVERGENCE_NOT_MET; VerificationError
 * EXECUTION_WORKLOAD_UNREGISTERED, PROOF_COMMITMENT_MISMATCH
 */
export function judgeCriteria(context: TaskContext, rounds: readonly VerifiedRound[]): void {
  const { envelope } = context;
  judgeCoverage(context, rounds);
  judgeBudget(context, rounds);
  judgeArtifact(context);
  judgeConvergence(context, rounds);
  switch (envelope.task_class) {
    case "parse":
      return judgeParse(rounds);
    case "query":
      return judgeQuery(context);
    case "compute":
      return expectSame("rounds of compute", 1, rounds.length);
    case "train":
      return judgeTrain(context, rounds);
  }
}

/** Partial coverage stands only where the policy of admission accepts it (MV-4). */
function judgeCoverage(
  { envelope, governance }: TaskContext,
  rounds: readonly VerifiedRound[],
): void {
  const constraints = governance.policy.classes[envelope.task_class];
  const isAlone = asksVaultAlone(envelope.parameters) || !constraints.multi_vault;
  expectThat(isAlone || envelope.coordination_envelope !== null, {
    subject: "coordination",
    expected: `several Vaults for ${envelope.task_class}`,
    got: "one",
  });
  const partial = rounds.some(({ bundle }) => bundle.partial_coverage);
  expectThat(!partial || governance.policy.multi_vault.partial_coverage_accepted, {
    subject: "coverage",
    expected: "every participating Vault",
    got: "partial coverage",
  });
}

/** No round and no whole costs more than was declared and reserved, beyond the policy tolerance (XP-11, VR-2). */
function judgeBudget(
  { envelope, governance }: TaskContext,
  rounds: readonly VerifiedRound[],
): void {
  const tolerance = governance.policy.privacy.tolerance_micro;
  const roundMax = epsilonOfRound(envelope) + tolerance;
  const spent = new Map<string, number>();
  for (const { bundle } of rounds) {
    judgeRoundBudget(bundle, roundMax);
    for (const slice of bundle.slices) {
      spent.set(slice.vault_id, (spent.get(slice.vault_id) ?? 0) + slice.epsilon_micro);
    }
  }
  for (const [vaultId, epsilon] of spent) {
    const reserved = reservedFor(envelope, vaultId) + tolerance;
    expectThat(epsilon <= reserved, {
      subject: `epsilon of ${vaultId}`,
      expected: `at most ${reserved}`,
      got: `${epsilon}`,
    });
  }
}

function judgeRoundBudget(bundle: ExecutionResultBundle, roundMax: number): void {
  const charged = [bundle.epsilon_micro, ...bundle.slices.map((slice) => slice.epsilon_micro)];
  const highest = Math.max(...charged);
  expectThat(highest <= roundMax, {
    subject: `epsilon of round ${bundle.round}`,
    expected: `at most ${roundMax}`,
    got: `${highest}`,
  });
}

/**
 * What a Vault reserved for a task: its reservation, where an equal share of each round is rounded up.
 *
 * @throws AppraisalError VERIFY_RESULT_REJECTED for a Vault that reserved nothing
 */
export function reservedFor(envelope: TaskEnvelope, vaultId: string): number {
  const reservation = required(
    envelope.privacy_budget_reservation.find((each) => each.vault_id === vaultId),
    `reservation of ${vaultId}`,
  );
  const rounding = epsilonOfRound(envelope) * roundsOf(envelope) - envelope.epsilon_micro;
  return reservation.epsilon_micro + rounding;
}

function judgeArtifact({ envelope, governance }: TaskContext): void {
  const { parameters } = envelope;
  if (!("model_digest" in parameters)) return;
  const kind = parameters.task_class === "train" ? "step_graph" : "model";
  const artifact = governance.artifacts.get(hex(parameters.model_digest));
  if (artifact?.kind === kind) return;
  throw new VerificationError(
    { code: "EXECUTION_WORKLOAD_UNREGISTERED", expected: kind, actual: artifact?.kind },
    `model: expected a registered ${kind}, got ${artifact?.kind ?? "none"}`,
  );
}

/** VR-1: one Vault, and the slice commits to the input record it was ordered to read. */
function judgeParse(rounds: readonly VerifiedRound[]): void {
  expectSame("rounds of parse", 1, rounds.length);
  for (const { bundle, orders } of rounds) {
    expectSame("slices of parse", 1, bundle.slices.length);
    const input = orders[0]?.input_commitment ?? null;
    expectSame("parse input", input, bundle.slices[0]?.output_commitment ?? null);
  }
}

/** VR-2: the composition declares at least the policy's cardinality, and the audience has a cap. */
function judgeQuery({ envelope, governance }: TaskContext): void {
  const minimum = governance.policy.privacy.minimum_result_cardinality;
  const declared = envelope.attribute_composition?.minimum_result_cardinality ?? minimum;
  expectThat(declared >= minimum, {
    subject: "minimum result cardinality",
    expected: `at least ${minimum}`,
    got: `${declared}`,
  });
  const { parameters } = envelope;
  const cap = parameters.task_class === "query" ? parameters.audience_cap : 0;
  expectThat(cap > 0, { subject: "audience cap", expected: "a positive cap", got: `${cap}` });
}

/** VR-4: every round there is, each over at least the policy's number of Vaults. */
function judgeTrain({ envelope, governance }: TaskContext, rounds: readonly VerifiedRound[]): void {
  expectSame("rounds of train", roundsOf(envelope), rounds.length);
  const minimum = governance.policy.privacy.minimum_train_vaults;
  for (const { bundle } of rounds) {
    expectThat(bundle.slices.length >= minimum, {
      subject: `round ${bundle.round} Vaults`,
      expected: `at least ${minimum}`,
      got: `${bundle.slices.length}`,
    });
  }
}

/**
 * TC-5: the last round moved the model no further than the request allows, by the word of the attested aggregator.
 *
 * Every round says how far exactly when a threshold asks for it. Rounds before the last may go any way.
 */
function judgeConvergence({ envelope }: TaskContext, rounds: readonly VerifiedRound[]): void {
  const threshold = envelope.iteration_policy?.convergence_threshold_micro ?? null;
  for (const { bundle } of rounds) {
    const isTold = bundle.model_change_micro !== null;
    expectSame(`round ${bundle.round} model change`, threshold !== null, isTold);
  }
  if (threshold === null) return;
  const change = rounds.at(-1)?.bundle.model_change_micro ?? null;
  if (change !== null && change <= threshold) return;
  throw new AppraisalError(
    {
      code: "VERIFY_CONVERGENCE_NOT_MET",
      field: "model_change_micro",
      max: threshold,
      got: change,
    },
    `model_change_micro: expected at most ${threshold} in the last round, got ${change ?? "none"}`,
  );
}
