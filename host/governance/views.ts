import {
  PROTOCOL_VERSION,
  hex,
  keyIdOf,
  policyDigest,
  proposalStatus,
  tallyOf,
  votersOf,
  type GovernanceState,
  type PolicyVersion,
  type Proposal,
  type VerifiedVote,
} from "#protocol";

/** Governance at a glance, as JSON can carry it. */
export function governanceView(state: GovernanceState) {
  const { genesis, epoch, policy, semantics, protocolUpgrades } = state;
  return {
    network: genesis.network,
    simulated: genesis.simulated,
    genesis_digest: hex(state.genesisDigest),
    sequence: state.sequence,
    head: hex(state.head),
    policy_version: policy.policy_version_id,
    semantic_version: semantics.semantic_version,
    epoch: {
      epoch_id: epoch.epochId,
      opened_ms: epoch.openedMs,
      boundary_requested: epoch.boundaryRequested,
    },
    voters: votersOf(state).map(({ voterId, publicKey, stakeMinor }) => ({
      voter_id: voterId,
      key_id: keyIdOf(publicKey),
      stake_minor: stakeMinor,
    })),
    processes: policy.governance.processes,
    protocol: {
      version: PROTOCOL_VERSION,
      upgrades: protocolUpgrades.map(({ version, fromEpoch, specification }) => ({
        version,
        from_epoch: fromEpoch,
        specification: hex(specification),
      })),
    },
    accepted_measurements: state.acceptedMeasurements.map(({ value, fromEpoch }) => ({
      ...value,
      from_epoch: fromEpoch,
    })),
    revoked_measurements: state.revokedMeasurements,
    revoked_platforms: state.revokedModuleIds,
  };
}

/** A policy version without its document. */
export function policyView({ policy, ...version }: PolicyVersion) {
  return {
    policy_version_id: policy.policy_version_id,
    predecessor_version_id: policy.predecessor_version_id,
    effective_from_epoch: policy.effective_from_epoch,
    status: version.status,
    active_from: version.activeFrom,
    active_until: version.activeUntil,
    retires_from: version.retiresFrom,
    policy_digest: hex(policyDigest(policy)),
  };
}

/** A proposal and how its votes stand. Weights are decimal digits: sums of stake can be longer than a JSON number. */
export function proposalView(proposal: Proposal, votes: readonly VerifiedVote[], nowMs: number) {
  const { electorate } = proposal;
  const tally = tallyOf(electorate, new Map(votes.map((each) => [each.voterId, each.vote])));
  return {
    proposal_id: proposal.proposalId,
    kind: proposal.kind,
    status: proposalStatus(proposal, nowMs),
    type: proposal.decision.type,
    proposer_id: proposal.proposerId,
    policy_version: proposal.policyVersionId,
    opened_ms: proposal.openedMs,
    closes_ms: proposal.closesMs,
    process: electorate.process,
    votes: votes.map(({ voterId, vote, timeMs }) => ({
      voter_id: voterId,
      vote,
      time_ms: timeMs,
    })),
    tally: {
      voted: tally.voted,
      approved_weight: String(tally.approvedWeight),
      rejected_weight: String(tally.rejectedWeight),
      eligible_weight: String(tally.eligibleWeight),
    },
  };
}
