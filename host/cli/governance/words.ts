import { hex, votersOf, type GovernanceState } from "#protocol";
import { governanceView } from "../../governance/index.ts";
import type { CandidateReportView, CandidatesView } from "../../http/candidate-views.ts";
import type { ProposalStanding } from "../../http/governance-views.ts";
import type { Proposed } from "./propose.ts";

/** What became of a proposal, in words. */
export function proposedLines(proposed: Proposed): string {
  return proposed.outcome === "decided" ? "decided\n" : proposalLines(proposed.proposal);
}

/** A proposal and its votes, in words. */
export function proposalLines(proposal: ProposalStanding): string {
  const { process, tally } = proposal;
  const lines = [
    `${proposal.proposal_id} ${proposal.type}: ${proposal.status}`,
    `  ${proposal.kind} under ${proposal.policy_version}, by ${proposal.proposer_id}`,
    `  takes votes until ${new Date(proposal.closes_ms).toISOString()}`,
    `  approved by ${tally.approved_weight}, rejected by ${tally.rejected_weight} of ${tally.eligible_weight};`,
    `  needs ${process.quorum} voters and ${process.threshold_basis_points / 100} % of all weight`,
    ...proposal.votes.map(({ voter_id, vote }) => `  ${vote.padEnd(7)} ${voter_id}`),
  ];
  return `${lines.join("\n")}\n`;
}

/** What Vaults have handed in for an attribute, and what it comes to, in words. */
export function candidateLines(
  candidates: CandidatesView["candidates"],
  report: CandidateReportView | null,
): string {
  if (candidates.length === 0) return "no Vault has handed in a candidate\n";
  const lines = candidates.map(
    ({ vault_id, local_id, window: { first_epoch, last_epoch }, type, noised_rows: rows }) =>
      `${vault_id} ${local_id} epochs ${first_epoch} to ${last_epoch}: ${type}, about ${rows} rows`,
  );
  lines.push(...(report === null ? ["none is of a window that counts"] : reportLines(report)));
  return `${lines.join("\n")}\n`;
}

function reportLines(report: CandidateReportView): string[] {
  const { window, vaults, coverage_percent, stability_percent, noised_rows, signals } = report;
  return [
    `epochs ${window.first_epoch} to ${window.last_epoch} together: ${vaults.length} Vaults, ${coverage_percent}% of the active`,
    `  about ${noised_rows} rows, in at least ${stability_percent}% of the epochs`,
    ...signals.map((each) => `  ${each.kind} ${each.attribute_id} ${each.confidence_percent}%`),
  ];
}

/** Where governance stands, as a quorum of Vaults has cosigned it, and the proposals that the coordinator has. */
export function statusLines(
  state: GovernanceState,
  proposals: readonly ProposalStanding[],
  json: boolean,
): string {
  if (json) return `${JSON.stringify({ ...governanceView(state), proposals })}\n`;
  const { genesis, epoch, policy, semantics, policies } = state;
  const lines = [
    `network ${genesis.network}, genesis ${hex(state.genesisDigest)}, ${state.sequence} events`,
    `epoch ${epoch.epochId}, ${semantics.semantic_version}, policy:`,
    ...[...policies.values()].map(
      (each) =>
        `  ${each.policy.policy_version_id} ${each.status}, from epoch ${each.policy.effective_from_epoch}`,
    ),
    `${votersOf(state).length} voters decide:`,
    ...Object.entries(policy.governance.processes).map(
      ([kind, { quorum, threshold_basis_points: points, window_ms: windowMs, weight }]) =>
        `  ${kind.padEnd(22)} ${quorum} voters, ${points / 100} % by ${weight}, ${windowMs === 0 ? "at once" : `votes within ${windowMs} ms`}`,
    ),
    ...proposals.map((each) => `${each.proposal_id} ${each.type}: ${each.status}`),
  ];
  return `${lines.join("\n")}\n`;
}
