import * as fs from "node:fs";
import os from "node:os";
import path from "node:path";

import { afterEach, beforeEach, expect, test } from "vitest";

import {
  ballotStatements,
  createGovernanceEvent,
  governanceStatements,
  openBallots,
  openGovernance,
  type Ballots,
  type Governance,
  type GovernanceSchema,
} from "../../../host/governance/index.ts";
import { openStore, type Store } from "../../../host/store/index.ts";
import type { SigningKey, Vote } from "../../../protocol/index.ts";
import { NETWORK_TIME_MS, createNetwork } from "../../helpers/network.ts";
import { VOTED, governanceKey, voteBy, votedOn } from "../../helpers/votes.ts";

const { window_ms: WINDOW_MS } = VOTED;
const network = await createNetwork({ policy: votedOn });

let folder: string;
let store: Store<GovernanceSchema>;
let governance: Governance;
let ballots: Ballots;
let nowMs = NETWORK_TIME_MS;

async function open(): Promise<void> {
  store = await openStore<GovernanceSchema>({
    at: { kind: "sqlite", file: path.join(folder, "governance.db") },
    migrations: [
      { version: 1, statements: governanceStatements },
      { version: 2, statements: ballotStatements },
    ],
  });
  governance = await openGovernance({
    store,
    genesisBytes: network.genesisBytes,
    signingKey: network.coordinator.signing,
    nowMs: () => nowMs,
  });
  ballots = openBallots({ store, governance, nowMs: () => nowMs });
}

beforeEach(async () => {
  nowMs = NETWORK_TIME_MS;
  folder = fs.mkdtempSync(path.join(os.tmpdir(), "symphony-ballots-"));
  await open();
});

afterEach(async () => {
  await store.close();
  fs.rmSync(folder, { recursive: true, force: true });
});

const keyOf = (index: number): SigningKey => governanceKey(network, index);

/** Opens a proposal for a boundary. @returns Its identifier */
async function propose(timeMs: number = nowMs): Promise<string> {
  const boundary = { type: "epoch_boundary_requested", reason: "a test" } as const;
  const decision = { type: "proposal_opened", decision: boundary } as const;
  const keys = [keyOf(0)];
  const state = governance.state();
  await governance.submit(createGovernanceEvent({ state, decision, keys, timeMs }));
  return [...governance.state().proposals.keys()].at(-1) ?? "";
}

function vote(proposalId: string, key: SigningKey, choice: Vote = "approve", timeMs = nowMs) {
  return voteBy(network, key, { proposalId, vote: choice, time_ms: timeMs });
}

test("[GS-4][GS-7] the vote that decides is kept and logged in one, and survives a restart", async () => {
  const id = await propose();
  await ballots.cast(id, vote(id, keyOf(0)));
  expect(governance.state().sequence).toBe(1);
  await store.close();
  await open();
  expect(await ballots.votes(id)).toHaveLength(1);
  await ballots.cast(id, vote(id, keyOf(1)));
  expect(governance.state()).toMatchObject({ sequence: 2, epoch: { boundaryRequested: true } });
  await ballots.cast(id, vote(id, keyOf(1), "approve", nowMs + 1));
  expect(await ballots.votes(id), "the same vote again").toHaveLength(2);
  const late = ballots.cast(id, vote(id, keyOf(2)));
  await expect(late).rejects.toMatchObject({ code: "GOVERNANCE_PROPOSAL_CLOSED" });
});

test("[GS-7] a vote is final", async () => {
  const id = await propose();
  await ballots.cast(id, vote(id, keyOf(0), "reject"));
  const other = ballots.cast(id, vote(id, keyOf(0)));
  await expect(other).rejects.toMatchObject({ code: "GOVERNANCE_VOTE_FINAL" });
  const changed = store.write((trx) => trx.deleteFrom("governance_vote").execute());
  await expect(changed).rejects.toThrow(/append-only/);
});

test("[GS-7] votes that come at once decide once", async () => {
  const id = await propose();
  await Promise.allSettled([0, 1, 2].map((index) => ballots.cast(id, vote(id, keyOf(index)))));
  expect(governance.state().sequence).toBe(2);
  expect(governance.state().proposals.get(id)?.outcome).toBe("approved");
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
  const cast = ballots.cast(id, vote(id, keyOf(0), "approve", timeMs));
  await expect(cast).rejects.toMatchObject({ code });
  expect(await ballots.votes(id)).toEqual([]);
});

test("[GS-4] a proposal is opened now, and a vote is on one there is", async () => {
  for (const timeMs of [nowMs - 3_600_000, nowMs + 3_600_000]) {
    await expect(propose(timeMs)).rejects.toMatchObject({ code: "GOVERNANCE_EVENT_INVALID" });
  }
  expect(governance.state().sequence).toBe(0);
  const nowhere = ballots.cast("00".repeat(32), vote("00".repeat(32), keyOf(0)));
  await expect(nowhere).rejects.toMatchObject({ code: "GOVERNANCE_PROPOSAL_UNKNOWN" });
});
