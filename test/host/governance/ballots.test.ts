import { afterEach, beforeEach, expect, test } from "vitest";

import { createGovernanceEvent } from "../../../host/governance/index.ts";
import type { StorePlace } from "../../../host/store/index.ts";
import {
  ConflictError,
  type GovernedDecision,
  type SigningKey,
  type Vote,
} from "../../../protocol/index.ts";
import { openGovernanceRig, type GovernanceRig } from "../../helpers/governance-rig.ts";
import { NETWORK_TIME_MS, createNetwork } from "../../helpers/network.ts";
import { describePlaces } from "../../helpers/store-places.ts";
import { VOTED, governanceKey, voteBy, votedOn } from "../../helpers/votes.ts";

const { window_ms: WINDOW_MS } = VOTED;
const network = await createNetwork({ policy: votedOn });

const SETTLED = new ConflictError({ code: "GOVERNANCE_CHALLENGE_CLOSED" }, "it has settled");
let at: StorePlace;
let rig: GovernanceRig;
let nowMs = NETWORK_TIME_MS;

async function open(): Promise<void> {
  rig = await openGovernanceRig({
    ...{ network, at, nowMs: () => nowMs },
    requireDisputed: () => Promise.reject(SETTLED),
  });
}

const keyOf = (index: number): SigningKey => governanceKey(network, index);

const BOUNDARY = { type: "epoch_boundary_requested", reason: "a test" } as const;

/** Opens a proposal, for a boundary unless `proposed` says otherwise. @returns Its identifier */
async function propose(
  timeMs: number = nowMs,
  proposed: GovernedDecision = BOUNDARY,
): Promise<string> {
  const decision = { type: "proposal_opened", decision: proposed } as const;
  const keys = [keyOf(0)];
  const state = rig.governance.state();
  await rig.governance.submit(createGovernanceEvent({ state, decision, keys, timeMs }));
  return [...rig.governance.state().proposals.keys()].at(-1) ?? "";
}

function vote(proposalId: string, key: SigningKey, choice: Vote = "approve", timeMs = nowMs) {
  return voteBy(network, key, { proposalId, vote: choice, time_ms: timeMs });
}

describePlaces((places) => {
  beforeEach(async () => {
    nowMs = NETWORK_TIME_MS;
    at = places.newPlace();
    await open();
  });

  afterEach(() => rig.store.close());

  test("[GS-4][GS-7] the vote that decides is kept and logged in one, and survives a restart", async () => {
    const id = await propose();
    await rig.ballots.cast(id, vote(id, keyOf(0)));
    expect(rig.governance.state().sequence).toBe(1);
    await rig.store.close();
    await open();
    expect(await rig.ballots.votes(id)).toHaveLength(1);
    await rig.ballots.cast(id, vote(id, keyOf(1)));
    expect(rig.governance.state()).toMatchObject({
      sequence: 2,
      epoch: { boundaryRequested: true },
    });
    await rig.ballots.cast(id, vote(id, keyOf(1), "approve", nowMs + 1));
    expect(await rig.ballots.votes(id), "the same vote again").toHaveLength(2);
    const late = rig.ballots.cast(id, vote(id, keyOf(2)));
    await expect(late).rejects.toMatchObject({ code: "GOVERNANCE_PROPOSAL_CLOSED" });
  });

  test("[GS-7] a vote is final", async () => {
    const id = await propose();
    await rig.ballots.cast(id, vote(id, keyOf(0), "reject"));
    const other = rig.ballots.cast(id, vote(id, keyOf(0)));
    await expect(other).rejects.toMatchObject({ code: "GOVERNANCE_VOTE_FINAL" });
    const changed = rig.store.write((trx) => trx.deleteFrom("governance_vote").execute());
    await expect(changed).rejects.toThrow(/append-only/);
  });

  test("[GS-7] votes that come at once decide once", async () => {
    const id = await propose();
    await Promise.allSettled(
      [0, 1, 2].map((index) => rig.ballots.cast(id, vote(id, keyOf(index)))),
    );
    expect(rig.governance.state().sequence).toBe(2);
    expect(rig.governance.state().proposals.get(id)?.outcome).toBe("approved");
  });

  test.for<{ title: string; afterMs: number; timeMs: number; code: string }>([
    {
      title: "when the window has ended",
      afterMs: WINDOW_MS,
      timeMs: NETWORK_TIME_MS,
      code: "GOVERNANCE_PROPOSAL_CLOSED",
    },
    {
      title: "dated past the window",
      afterMs: 0,
      timeMs: NETWORK_TIME_MS + WINDOW_MS,
      code: "GOVERNANCE_EVENT_INVALID",
    },
  ])("[GS-7] no vote is taken $title", async ({ afterMs, timeMs, code }) => {
    const id = await propose();
    nowMs += afterMs;
    const cast = rig.ballots.cast(id, vote(id, keyOf(0), "approve", timeMs));
    await expect(cast).rejects.toMatchObject({ code });
    expect(await rig.ballots.votes(id)).toEqual([]);
  });

  test("[GS-4] a proposal is opened now, and a vote is on one there is", async () => {
    for (const timeMs of [nowMs - 3_600_000, nowMs + 3_600_000]) {
      await expect(propose(timeMs)).rejects.toMatchObject({ code: "GOVERNANCE_EVENT_INVALID" });
    }
    expect(rig.governance.state().sequence).toBe(0);
    const nowhere = rig.ballots.cast("00".repeat(32), vote("00".repeat(32), keyOf(0)));
    await expect(nowhere).rejects.toMatchObject({ code: "GOVERNANCE_PROPOSAL_UNKNOWN" });
  });

  test("[GS-4][SP-10] votes on the challenge of a task that has settled are kept, and decide nothing", async () => {
    const id = await propose(nowMs, {
      ...{ type: "challenge_resolved", task_id: "t-1", resolution: "approved", reason: "late" },
      penalty: { actor_id: "vault-1", amount_minor: 500 },
    });
    for (const index of [0, 1]) await rig.ballots.cast(id, vote(id, keyOf(index)));
    expect(await rig.ballots.votes(id)).toHaveLength(2);
    expect(rig.governance.state().proposals.get(id)?.outcome).toBe("open");
    expect(rig.governance.pendingState()).toBe(rig.governance.state());
    expect(rig.governance.state().actors.get("vault-1")?.stake.slashes).toEqual([]);
    await propose();
    await rig.store.close();
    await open();
    expect(rig.governance.state().sequence).toBe(2);
  });
});
