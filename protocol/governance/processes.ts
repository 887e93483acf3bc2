import type { GovernedDecision } from "./governance-objects.ts";
import type { GovernanceProcess, Policy } from "./policy.ts";

/** What voters decide, in kinds that the policy gives a process each. */
export type ProposalKind = keyof Policy["governance"]["processes"];

/** Which kind a decision is of. A registration that makes an attribute active promotes it. */
export function kindOf(decision: GovernedDecision): ProposalKind {
  switch (decision.type) {
    case "policy_announced":
    case "policy_retired":
      return "policy_change";
    case "challenge_resolved":
      return "challenge_adjudication";
    case "protocol_upgraded":
      return "protocol_upgrade";
    case "measurement_accepted":
    case "measurement_revoked":
    case "platform_revoked":
      return "measurement";
    case "actor_registered":
    case "actor_key_replaced":
    case "actor_role_changed":
    case "actor_suspended":
    case "actor_reinstated":
    case "actor_retired":
    case "stake_deposited":
    case "stake_withdrawn":
    case "actor_slashed":
      return "actor";
    case "artifact_registered":
      return "artifact";
    case "semantics_registered": {
      const { attributes, transitions } = decision.registration;
      const promotes =
        attributes.some(({ status }) => status === "active") ||
        transitions.some(({ kind, to }) => kind === "attribute" && to === "active");
      return promotes ? "attribute_promotion" : "semantics";
    }
    case "budget_replenished":
      return "budget_replenishment";
    case "epoch_boundary_requested":
      return "epoch_boundary";
  }
}

/** How `policy` has a decision taken. */
export function processOf(policy: Policy, decision: GovernedDecision): GovernanceProcess {
  return policy.governance.processes[kindOf(decision)];
}
