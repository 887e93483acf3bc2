import {
  GOVERNANCE_EVENT,
  GOVERNANCE_STATEMENT,
  type GovernanceDecision,
  type GovernanceState,
  type GovernanceStatement,
  type SigningKey,
} from "#protocol";

/**
 * Makes the event that puts `decision` next in the log of `state`, approved by `keys`.
 *
 * Says nothing about whether the keys are governance keys or enough of them; folding the event does.
 *
 * @returns Canonical bytes of the event.
 */
export function createGovernanceEvent(args: {
  readonly state: GovernanceState;
  readonly decision: GovernanceDecision;
  readonly keys: readonly SigningKey[];
  readonly timeMs: number;
}): Uint8Array {
  const { state, decision, keys, timeMs } = args;
  const statement: GovernanceStatement = {
    genesis_digest: state.genesisDigest,
    sequence: state.sequence,
    previous: state.head,
    time_ms: timeMs,
    decision,
  };
  return GOVERNANCE_EVENT.encode({
    approvals: keys.map((key) => GOVERNANCE_STATEMENT.sign(statement, key)),
  });
}
