import path from "node:path";

import { createGovernanceEvent } from "../../../host/governance/index.ts";
import type { GovernanceDecision, GovernedDecision, SigningKey } from "../../../protocol/index.ts";
import { openGovernanceRig, type GovernanceRig } from "../../helpers/governance-rig.ts";
import { NETWORK_TIME_MS, createNetwork } from "../../helpers/network.ts";
import { AT_ONCE, governanceKey, voteBy, votedOn } from "../../helpers/votes.ts";

/** Everything is voted on but actors. */
const network = await createNetwork({ policy: (policy) => votedOn(policy, { actor: AT_ONCE }) });

const ANNOUNCED: GovernedDecision = {
  type: "policy_announced",
  policy: {
    ...network.genesis.policy,
    ...{ policy_version_id: "policy-2", predecessor_version_id: "policy-1" },
    effective_from_epoch: 1,
  },
};

/** What is asked of governance one after the other: each is taken again as often as it comes. */
export const ASKED = ["announcement", "first vote", "deciding vote", "suspension"] as const;

/** Governance over the store in `folder`. */
export function openKillWorld(folder: string): Promise<GovernanceRig> {
  const at = { kind: "sqlite", file: path.join(folder, "governance.db") } as const;
  return openGovernanceRig({ network, at, nowMs: () => NETWORK_TIME_MS });
}

/** Asks for one thing, with the same bytes every time: whoever has no answer asks again. */
export async function ask(rig: GovernanceRig, what: (typeof ASKED)[number]): Promise<void> {
  const [proposer, second] = [governanceKey(network, 0), governanceKey(network, 1)];
  const submit = async (size: number, decision: GovernanceDecision, keys: SigningKey[]) => {
    const state = rig.governance.stateAt(size);
    const timeMs = NETWORK_TIME_MS;
    await rig.governance.submit(createGovernanceEvent({ state, decision, keys, timeMs }));
  };
  const vote = (key: SigningKey): Promise<void> => {
    const proposalId = [...rig.governance.state().proposals.keys()][0] ?? "";
    return rig.ballots.cast(proposalId, voteBy(network, key, { proposalId }));
  };
  switch (what) {
    case "announcement":
      return submit(0, { type: "proposal_opened", decision: ANNOUNCED }, [proposer]);
    case "first vote":
      return vote(proposer);
    case "deciding vote":
      return vote(second);
    case "suspension":
      return submit(2, { type: "actor_suspended", actor_id: "analyst" }, [proposer, second]);
  }
}

/** The genesis that whoever has the log folds it over. */
export const { genesisBytes } = network;
