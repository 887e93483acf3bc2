import {
  CHALLENGE,
  CHALLENGE_LIFECYCLE,
  ConflictError,
  GOVERNANCE_CHALLENGER,
  RefusedError,
  SETTLEMENT_ENTRY,
  TASK_ENVELOPE,
  UnavailableError,
  VerificationError,
  activeActor,
  hex,
  keyIdOf,
  parseCose,
  voterKeysOf,
  votersOf,
  type Challenge,
  type ChallengeResolution,
  type ChallengeState,
  type GovernanceState,
  type ResolvedBy,
} from "#protocol";

import { UNDECIDED } from "./accounting.ts";
import {
  readCandidate,
  readChallenge,
  type CandidateRow,
  type ChallengeRow,
  type SettlementReader,
} from "./queries.ts";
import { expectSame } from "./reject.ts";

/** The largest signed challenge, bytes. */
const SIGNED_CHALLENGE_BYTES_MAX = 16 * 1024;

/** The states in which a challenge holds its task back from settlement. */
const UNRESOLVED_CHALLENGE_STATES: readonly ChallengeState[] = [
  "opened",
  "reviewing",
  "confirmed",
  "reopened",
];

/**
 * Verifies that a verifier signed a challenge of this network, or somebody who governs it or has governed it.
 *
 * @throws {@link RefusedError} AUTH_UNKNOWN_ACTOR, AUTH_ROLE_REFUSED; POLICY_DECLINED for too small a bond
 * @throws VerificationError PROOF_SIGNATURE_INVALID, GOVERNANCE_GENESIS_MISMATCH
 */
export function verifyChallenge(signed: Uint8Array, state: GovernanceState): Challenge {
  const parsed = parseCose(signed, SIGNED_CHALLENGE_BYTES_MAX);
  const claimed = CHALLENGE.decode(parsed.payload);
  const challenge = CHALLENGE.verify(signed, challengerKey(claimed, parsed.keyId, state));
  expectSame(
    "challenge genesis",
    state.genesisDigest,
    challenge.genesis_digest,
    "GOVERNANCE_GENESIS_MISMATCH",
  );
  return challenge;
}

function challengerKey(claimed: Challenge, keyId: string, state: GovernanceState): Uint8Array {
  const bond = state.policy.governance.challenge_bond_minor;
  if (claimed.challenger === GOVERNANCE_CHALLENGER) {
    const key = voterKeysOf(state).get(keyId);
    if (key === undefined) throw roleRefused("a governance key", "another key");
    return key;
  }
  const actor = activeActor(state, claimed.challenger);
  if (actor.role !== "verifier") throw roleRefused("a verifier or governance", actor.role);
  if (claimed.bond_minor < bond || actor.stake_minor < claimed.bond_minor) {
    throw new RefusedError(
      { code: "POLICY_DECLINED", expected: bond, actual: claimed.bond_minor },
      `challenge bond: expected at least ${bond}, covered by the challenger's stake, got ${claimed.bond_minor}`,
    );
  }
  return actor.signing_key;
}

/** Refuses a challenge in governance's name by a key that does not vote any more. @throws RefusedError AUTH_ROLE_REFUSED */
export function requireVoter(signed: Uint8Array, state: GovernanceState): void {
  const { keyId, payload } = parseCose(signed, SIGNED_CHALLENGE_BYTES_MAX);
  if (CHALLENGE.decode(payload).challenger !== GOVERNANCE_CHALLENGER) return;
  if (votersOf(state).some(({ publicKey }) => keyIdOf(publicKey) === keyId)) return;
  throw roleRefused("a key that votes now", "a former one");
}

/**
 * Holds a challenge against the candidate it disputes: the task, envelope and round bundle it names are the
 * candidate's, its target exists, and the challenge window is open (CH-2, CH-3).
 *
 * @throws {@link ConflictError} GOVERNANCE_CHALLENGE_CLOSED outside the window or the candidate context
 * @throws VerificationError PROOF_COMMITMENT_MISMATCH
 */
export function appraiseChallenge(
  challenge: Challenge,
  candidate: CandidateRow | undefined,
  { state, nowMs }: { readonly state: GovernanceState; readonly nowMs: number },
): void {
  if (candidate === undefined || candidate.state !== "candidate_ready") {
    throw challengeClosed("a task in candidate context", candidate?.state ?? "none");
  }
  const closesMs = candidate.ready_at_ms + state.policy.governance.challenge_window_ms;
  if (nowMs >= closesMs) throw challengeClosed(`a challenge before ${closesMs}`, `${nowMs}`);
  if (state.challengeResolutions.has(challenge.task_id)) {
    throw challengeClosed("a task that governance has not decided about", "a decision");
  }
  const envelope = TASK_ENVELOPE.decode(candidate.envelope);
  expectSame("challenge envelope", TASK_ENVELOPE.digest(envelope), challenge.envelope_digest);
  const { round_bundles } = SETTLEMENT_ENTRY.decode(candidate.entry);
  const round = round_bundles.findIndex((each) => hex(each) === hex(challenge.round_bundle));
  const { target } = challenge;
  const vaults = envelope.inputs.map((input) => input.vault_id);
  const named =
    round >= 0 &&
    (!("round" in target) || target.round === round) &&
    (!("vault_id" in target) || vaults.includes(target.vault_id));
  if (!named) {
    throw new VerificationError(
      { code: "PROOF_COMMITMENT_MISMATCH", subject: "challenge target" },
      "challenge target: expected a round bundle, round and Vault of this task, got others",
    );
  }
}

/**
 * How a challenge ends now, one that has not settled: as governance has decided, or without penalty when nobody has by
 * the deadline. A decision that comes after the deadline and before the entry is final counts: the challenge is reopened.
 *
 * @returns null while it does not end, or has ended so.
 */
export function endOf(
  row: ChallengeRow,
  { state, nowMs }: { readonly state: GovernanceState; readonly nowMs: number },
): ResolvedBy | null {
  const decided = state.challengeResolutions.get(row.task_id);
  const ended = resolutionOf(challengeStateOf(row.state));
  if (ended !== null) return decided !== undefined && decided.resolution !== ended ? decided : null;
  return decided ?? (nowMs >= row.deadline_ms ? UNDECIDED : null);
}

/** Whether a challenge keeps its task from settling: nobody has decided it, or the entry does not say yet what was decided. */
export function holdsBack(row: ChallengeRow, state: GovernanceState): boolean {
  const isOpen = resolutionOf(challengeStateOf(row.state)) === null;
  return isOpen || endOf(row, { state, nowMs: row.opened_ms }) !== null;
}

/** The states that governance's decision leads a challenge through, the last of them its outcome. */
export function resolutionPath(
  from: ChallengeState,
  resolution: ChallengeResolution,
): readonly ChallengeState[] {
  const again: readonly ChallengeState[] = resolutionOf(from) === null ? [] : ["reopened"];
  switch (resolution) {
    case "approved":
      return [...again, "reviewing", "confirmed", "approved"];
    case "not_confirmed":
      return [...again, "reviewing", "not_confirmed"];
    case "closed_without_penalty":
      return [...again, "closed_without_penalty"];
  }
}

/**
 * Refuses a decision about a challenge that there is none of, or whose task has settled: nothing would say what the
 * stake was taken for, and what is final does not change (SP-10).
 *
 * @throws {@link ConflictError} GOVERNANCE_CHALLENGE_CLOSED
 */
export async function requireDisputed(db: SettlementReader, taskId: string): Promise<void> {
  const challenge = await readChallenge(db, taskId);
  if (challenge === undefined) throw challengeClosed("a challenge of this task", "none");
  const candidate = await readCandidate(db, taskId);
  if (candidate?.state === "candidate_ready") return;
  throw challengeClosed("a task that has not settled", candidate?.state ?? "none");
}

/** The decision that led a challenge to `state`; null while there is none. */
export function resolutionOf(state: ChallengeState): ChallengeResolution | null {
  if (UNRESOLVED_CHALLENGE_STATES.includes(state)) return null;
  return state === "not_confirmed" || state === "closed_without_penalty" ? state : "approved";
}

/** A state of the challenge lifecycle as the store has it. */
export function challengeStateOf(text: string): ChallengeState {
  if (CHALLENGE_LIFECYCLE.isState(text)) return text;
  throw new UnavailableError(
    { code: "INTERNAL_STORE_UNAVAILABLE" },
    "challenge: expected a state of the challenge lifecycle in the store",
  );
}

/** Refuses a challenge that comes at the wrong time or twice. */
export function challengeClosed(expected: string, got: string): ConflictError {
  return new ConflictError(
    { code: "GOVERNANCE_CHALLENGE_CLOSED", expected, got },
    `challenge: expected ${expected}, got ${got}`,
  );
}

function roleRefused(expected: string, got: string): RefusedError {
  return new RefusedError(
    { code: "AUTH_ROLE_REFUSED", expected, actual: got },
    `challenger: expected ${expected}, got ${got}`,
  );
}
