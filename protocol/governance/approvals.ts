import { hex } from "../bytes.ts";
import { RefusedError, VerificationError } from "../errors.ts";
import { isOwnDecision, ownerOf } from "./actors.ts";
import {
  GOVERNANCE_STATEMENT,
  type GovernanceDecision,
  type GovernanceEvent,
  type GovernanceStatement,
  type GovernedDecision,
} from "./governance-objects.ts";
import { processOf } from "./processes.ts";
import { keyIdOf, parseCose, verifyCose } from "../signing.ts";
import { electorateOf, tallyOf, votersOf } from "./voters.ts";
import type { GovernanceState } from "./governance-state.ts";

/** Who may sign an event: by key id, the name its approval is counted under and the key. */
type Signers = ReadonlyMap<string, { readonly name: string; readonly publicKey: Uint8Array }>;

/**
 * Verifies the approvals of an event, and that they are enough for what it decides under the active policy.
 *
 * What the first approval claims to be about says whose approval is needed; that it is about that is verified with the
 * keys it leads to. Approvals by others count nothing.
 *
 * @throws {@link RefusedError} GOVERNANCE_QUORUM_NOT_MET, GOVERNANCE_PROPOSAL_REQUIRED
 * @throws {@link VerificationError} GOVERNANCE_EVENT_INVALID for approvals of several statements
 */
export function verifyApprovals(
  state: GovernanceState,
  event: GovernanceEvent,
): { readonly statement: GovernanceStatement; readonly approvers: readonly string[] } {
  const [first = new Uint8Array(0)] = event.approvals;
  const claimed = GOVERNANCE_STATEMENT.decode(parseCose(first).payload);
  const signers = signersOf(state, claimed.decision);
  const approvers = new Set<string>();
  let payload: Uint8Array | undefined;
  for (const approval of event.approvals) {
    const signer = signers.get(parseCose(approval).keyId);
    if (signer === undefined) continue;
    const { name, publicKey } = signer;
    const signed = verifyCose(approval, { contentType: GOVERNANCE_STATEMENT.name, publicKey });
    if (payload !== undefined && hex(payload) !== hex(signed)) {
      throw new VerificationError(
        { code: "GOVERNANCE_EVENT_INVALID" },
        "governance event: expected approvals of one statement, got several",
      );
    }
    payload = signed;
    approvers.add(name);
  }
  if (payload === undefined) throw tooFew(1, 0);
  const statement = GOVERNANCE_STATEMENT.decode(payload);
  requireAuthority(state, statement.decision, approvers);
  return { statement, approvers: [...approvers] };
}

/** One actor about what is its own, see {@link ownerOf}; voters about all else. */
function signersOf(state: GovernanceState, decision: GovernanceDecision): Signers {
  if (!isOwnDecision(decision)) {
    return new Map(
      votersOf(state).map(({ voterId, publicKey }) => [
        keyIdOf(publicKey),
        { name: voterId, publicKey },
      ]),
    );
  }
  const actor = ownerOf(state, decision);
  if (actor === undefined) return new Map();
  const { actor_id: name, signing_key: publicKey } = actor;
  return new Map([[keyIdOf(publicKey), { name, publicKey }]]);
}

function requireAuthority(
  state: GovernanceState,
  decision: GovernanceDecision,
  approvers: ReadonlySet<string>,
): void {
  // One approval is there: its owner's, or that of the voter who proposes.
  if (isOwnDecision(decision) || decision.type === "proposal_opened") return;
  requireVote(state, decision, approvers);
}

function requireVote(
  state: GovernanceState,
  decision: GovernedDecision,
  approvers: ReadonlySet<string>,
): void {
  const { policy_version_id: version } = state.policy;
  const process = processOf(state.policy, decision);
  if (process.window_ms > 0) {
    throw new RefusedError(
      { code: "GOVERNANCE_PROPOSAL_REQUIRED", type: decision.type, window_ms: process.window_ms },
      `${decision.type}: expected a proposal, which ${version} gives ${process.window_ms} ms to vote on, got the decision`,
    );
  }
  const votes = new Map([...approvers].map((voterId) => [voterId, "approve"] as const));
  const { outcome, voted } = tallyOf(electorateOf(state, process), votes);
  if (outcome !== "approved") throw tooFew(process.quorum, voted);
}

function tooFew(quorum: number, voted: number): RefusedError {
  return new RefusedError(
    { code: "GOVERNANCE_QUORUM_NOT_MET", expected: quorum, actual: voted },
    `governance event: expected approval by ${quorum} voters and the weight that the policy asks for, got ${voted}`,
  );
}
