import { beforeAll, expect, test } from "vitest";

import {
  UNDECIDED,
  applyChallenge,
  composeEntry,
  composeSettlement,
  verifyConsumption,
  verifyExecution,
  type VerifiedExecution,
} from "../../../host/settlement/index.ts";
import {
  CHALLENGE,
  CHALLENGE_LIFECYCLE,
  EXECUTION_RESULT_BUNDLE,
  GOVERNANCE_SNAPSHOT,
  SETTLEMENT_LIFECYCLE,
  noOutput,
  parseCose,
  parseEvent,
  signingKeyFromSeed,
  verifyGovernanceSnapshot,
  verifySettlementProof,
  type Challenge,
  type ChallengeResolution,
  type ConsumptionRecord,
  type Genesis,
  type GovernanceState,
  type SettlementEntry,
} from "../../../protocol/index.ts";
import { z } from "zod";
import { runTask, verifyRun, type TestRun } from "../../helpers/evidence-rig.ts";
import {
  consumptionRecord,
  openSettlementRig,
  type SettlementRig,
} from "../../helpers/settlement-rig.ts";
import { someDigest } from "../../helpers/synthetic-round.ts";
import {
  NETWORK_TIME_MS,
  createNetwork,
  governanceSnapshot,
  testActor,
  testSeed,
  type TestActor,
  type TestNetwork,
} from "../../helpers/network.ts";

const WINDOW_MS = 2_000;
const EPOCH_MS = 60_000;

let network: TestNetwork;
let verifier: TestActor;
let run: TestRun;
let execution: VerifiedExecution;
let consumption: Uint8Array[];
let taskId: string;

const refused = (code: string) => expect.objectContaining({ code });

function withVerifier(genesis: Genesis, actor: TestActor): Genesis {
  const entry = {
    actor_id: actor.actorId,
    role: "verifier" as const,
    signing_key: actor.signing.publicKey,
    box_key: null,
    stake_minor: 1_000,
    status: "active" as const,
  };
  return { ...genesis, actors: [...genesis.actors, entry] };
}

beforeAll(async () => {
  verifier = await testActor("verifier-1", "verifier");
  network = await createNetwork({ genesis: (genesis) => withVerifier(genesis, verifier) });
  run = await runTask({ network });
  execution = verifyRun(run);
  consumption = await Promise.all(
    execution.participants.map((vaultId) => consumptionRecord(run, vaultId)),
  );
  taskId = run.task.envelope.task_id;
});

function challengeOf(changes: Partial<Challenge> = {}): Challenge {
  const [bundle] = execution.bundles;
  if (bundle === undefined) throw new Error("no bundle");
  return {
    version: 1,
    genesis_digest: network.genesisDigest,
    task_id: taskId,
    envelope_digest: execution.envelopeDigest,
    round_bundle: EXECUTION_RESULT_BUNDLE.digest(bundle),
    target: { kind: "aggregation" },
    reason: "a replay gave another commitment",
    challenger: "verifier-1",
    bond_minor: 100,
    opened_ms: NETWORK_TIME_MS,
    ...changes,
  };
}

/** Whom governance has pay, as the resolution asks. */
const PENALTIES = {
  approved: { actor_id: "vault-2", amount_minor: 500 },
  not_confirmed: { actor_id: "verifier-1", amount_minor: 100 },
  closed_without_penalty: null,
};

function decidedState(resolution: ChallengeResolution): GovernanceState {
  const decision = {
    type: "challenge_resolved",
    task_id: taskId,
    resolution,
    penalty: PENALTIES[resolution],
    reason: "reviewed",
  } as const;
  const snapshot = GOVERNANCE_SNAPSHOT.decode(governanceSnapshot(network, [decision]));
  return verifyGovernanceSnapshot(snapshot, network.genesisDigest);
}

async function ready(): Promise<SettlementRig> {
  const rig = await openSettlementRig(network, run.governance);
  await rig.settlement.candidate(execution, consumption);
  return rig;
}

async function challenged(changes: Partial<Challenge> = {}): Promise<SettlementRig> {
  const rig = await ready();
  await rig.settlement.openChallenge(CHALLENGE.sign(challengeOf(changes), verifier.signing));
  return rig;
}

async function statesOf(rig: SettlementRig): Promise<(string | null)[]> {
  const rows = await rig.log.entriesForTask(taskId);
  const shape = z.object({ to: z.string() });
  return rows
    .map(({ event }) => parseEvent(event))
    .filter((event) => event.type === "challenge_transition")
    .map((event) => shape.parse(event.body).to);
}

function settled(proof: Uint8Array) {
  return verifySettlementProof(proof, {
    coordinatorKey: network.coordinator.signing.publicKey,
    genesisDigest: network.genesisDigest,
  });
}

test("[SP-6][ST-1][SP-11] a candidate settles once its window and epoch are over, not before", async () => {
  const rig = await ready();
  expect(await rig.settlement.nextDueMs()).toBe(NETWORK_TIME_MS + WINDOW_MS);
  await expect(rig.settlement.proofFor(taskId)).rejects.toThrow(refused("SETTLEMENT_NOT_FINAL"));
  rig.clock.ms += EPOCH_MS - 1;
  expect(await rig.settlement.finalizeDue()).toBeNull();
  rig.clock.ms += 1;
  const epoch = await rig.settlement.finalizeDue();
  expect(epoch).toMatchObject({ taskIds: [taskId], reason: "time", root: { entry_count: 1 } });
  const { root, entry } = settled(await rig.settlement.proofFor(taskId));
  expect(entry.output_commitment).toEqual(execution.outputCommitment);
  expect(root.reward_total_minor).toBe(400);
  expect(await rig.settlement.nextDueMs()).toBeNull();
});

test("[SP-11] an epoch that closes inside the challenge window defers the candidate", async () => {
  const rig = await openSettlementRig(network, run.governance);
  rig.clock.ms += EPOCH_MS - 1;
  await rig.settlement.candidate(execution, consumption);
  rig.clock.ms += WINDOW_MS - 1;
  const early = await rig.settlement.finalizeDue();
  expect(early).toMatchObject({ taskIds: [], root: { epoch_id: 0, entry_count: 0 } });
  rig.clock.ms += EPOCH_MS;
  const late = await rig.settlement.finalizeDue();
  expect(late).toMatchObject({ taskIds: [taskId], root: { epoch_id: 1 } });
  expect(late?.root.previous_root).toEqual(early?.rootDigest);
});

test("[SP-7] takes a verified execution and nothing else", async () => {
  const rig = await openSettlementRig(network, run.governance);
  rig.clock.ms += EPOCH_MS;
  const epoch = await rig.settlement.finalizeDue();
  expect(epoch?.taskIds).toEqual([]);
  const claim = {
    envelope: run.task.envelope,
    governance: run.governance,
    anchors: run.anchors,
    rounds: [],
  };
  expect(() => verifyExecution(claim)).toThrow(refused("VERIFY_RESULT_REJECTED"));
  // @ts-expect-error a look-alike of a verified execution does not compile
  const lookalike: VerifiedExecution = { envelope: run.task.envelope };
  expect(lookalike).toBeDefined();
});

test("[SP-9][DT-2] equal inputs give an equal root, in whatever order they come", () => {
  const records = verifyConsumption(execution, consumption, run.governance);
  const entry = composeEntry({ execution, consumption: records });
  const entries: SettlementEntry[] = ["a", "b", "c", "d", "e"].map((name) => ({
    ...entry,
    task_id: `t-${name}`,
  }));
  const compose = (list: readonly SettlementEntry[]) =>
    composeSettlement({
      state: run.governance,
      epochId: 3,
      previousRoot: noOutput(),
      entries: list,
      finalizedMs: NETWORK_TIME_MS,
    });
  const root = compose(entries);
  expect(compose(entries.toReversed())).toEqual(root);
  expect(root.root).toMatchObject({ entry_count: 5, reward_total_minor: 2000 });
  const changed = entries.map((each, index) => (index === 2 ? { ...each, epoch_id: 9 } : each));
  expect(compose(changed).root.entries_root).not.toEqual(root.root.entries_root);
  expect(() => compose([...entries, entry, entry])).toThrow(refused("SETTLEMENT_INVALID"));
});

test("[SP-10] what is finalized refuses every change, and the same task does not settle twice", async () => {
  const rig = await ready();
  rig.clock.ms += EPOCH_MS;
  await rig.settlement.finalizeDue();
  const before = await rig.settlement.proofFor(taskId);
  await rig.settlement.candidate(execution, consumption);
  rig.clock.ms += EPOCH_MS;
  const next = await rig.settlement.finalizeDue();
  expect(next?.taskIds).toEqual([]);
  expect(await rig.settlement.proofFor(taskId)).toEqual(before);
  for (const table of ["settlement_root", "settlement_proof"] as const) {
    const deleted = rig.store.write((trx) => trx.deleteFrom(table).execute());
    await expect(deleted).rejects.toThrow(/append-only/);
    const updated = rig.store.write((trx) => trx.updateTable(table).set({ epoch_id: 7 }).execute());
    await expect(updated).rejects.toThrow(/append-only/);
  }
});

test("[SP-5][ST-2][PL-6][PL-8] pays from finalized roots only, and derives the same again", async () => {
  const rig = await ready();
  await expect(rig.settlement.payouts(0)).rejects.toThrow(refused("PAYOUT_NOT_FINAL"));
  rig.clock.ms += EPOCH_MS;
  const epoch = await rig.settlement.finalizeDue();
  const payouts = await rig.settlement.payouts(0);
  expect(payouts.map(({ actor_id, amount_minor }) => [actor_id, amount_minor])).toEqual([
    ["aggregator", 100],
    ["vault-1", 100],
    ["vault-2", 100],
    ["vault-3", 100],
  ]);
  expect(payouts[0]?.settlement_root).toEqual(epoch?.rootDigest);
  expect(epoch?.root).toMatchObject({ epoch_id: 0, reward_total_minor: 400 });
  expect(settled(await rig.settlement.proofFor(taskId)).entry).toMatchObject({ epoch_id: 0 });
  expect(await rig.settlement.payouts(0)).toEqual(payouts);
  const undone = rig.store.write((trx) => trx.deleteFrom("settlement_payout").execute());
  await expect(undone).rejects.toThrow(/append-only/);
});

test("settlement goes on where it was after a restart", async () => {
  const rig = await ready();
  await rig.store.close();
  const again = await openSettlementRig(network, run.governance, rig.file);
  again.clock.ms += EPOCH_MS;
  expect(await again.settlement.finalizeDue()).toMatchObject({ taskIds: [taskId] });
});

test.for<{ resolution: ChallengeResolution; path: string[] }>([
  { resolution: "not_confirmed", path: ["opened", "reviewing", "not_confirmed"] },
  { resolution: "closed_without_penalty", path: ["opened", "closed_without_penalty"] },
])(
  "[SP-2][CH-1] a challenge holds its task back until governance ends it $resolution",
  async ({ resolution, path }) => {
    const rig = await challenged();
    rig.clock.ms += EPOCH_MS - 1;
    expect(await rig.settlement.resolveChallenges()).toEqual([]);
    await rig.requestBoundary();
    expect(await rig.settlement.finalizeDue()).toMatchObject({ taskIds: [] });
    rig.governance.state = decidedState(resolution);
    expect(await rig.settlement.resolveChallenges()).toEqual([{ taskId, resolution }]);
    await rig.requestBoundary();
    expect(await rig.settlement.finalizeDue()).toMatchObject({
      taskIds: [taskId],
      reason: "governance",
    });
    const { entry } = settled(await rig.settlement.proofFor(taskId));
    expect(entry.output_commitment).toEqual(execution.outputCommitment);
    const bond = entry.accounting.find((line) => line.reason === "challenge_bond");
    expect(bond?.amount_minor).toBe(resolution === "not_confirmed" ? 100 : undefined);
    expect(await statesOf(rig)).toEqual(path);
    const steps = path.slice(1).map((to, index) => ({ from: path[index] ?? "", to }));
    expect(CHALLENGE_LIFECYCLE.replay(steps)).toBe(path.at(-1));
  },
);

test("[SP-4][CH-1] an approved challenge settles a penalty and no output", async () => {
  const rig = await challenged({ target: { kind: "slice", vault_id: "vault-2", round: 0 } });
  rig.governance.state = decidedState("approved");
  expect(await rig.settlement.resolveChallenges()).toEqual([{ taskId, resolution: "approved" }]);
  rig.clock.ms += EPOCH_MS;
  expect(await rig.settlement.finalizeDue()).toMatchObject({ root: { penalty_total_minor: 500 } });
  const { entry } = settled(await rig.settlement.proofFor(taskId));
  expect(entry.output_commitment).toEqual(noOutput());
  expect(entry.accounting).toEqual([
    { actor_id: "vault-2", kind: "penalty", amount_minor: 500, reason: "challenge_approved" },
  ]);
  expect(await rig.settlement.payouts(0)).toEqual([]);
  expect(await statesOf(rig)).toEqual([
    "opened",
    "reviewing",
    "confirmed",
    "approved",
    "penalty_recorded",
  ]);
});

test("[SP-2] a challenge that nobody decides is closed without penalty at its deadline", async () => {
  const rig = await challenged();
  rig.clock.ms += EPOCH_MS - 1;
  expect(await rig.settlement.resolveChallenges()).toEqual([]);
  rig.clock.ms += 1;
  expect(await rig.settlement.resolveChallenges()).toEqual([
    { taskId, resolution: "closed_without_penalty" },
  ]);
  expect(await rig.settlement.resolveChallenges()).toEqual([]);
});

test.for<{ title: string; code: string; changes: Partial<Challenge> }>([
  {
    title: "another envelope",
    code: "PROOF_COMMITMENT_MISMATCH",
    changes: { envelope_digest: someDigest("other") },
  },
  {
    title: "a bundle that is not the candidate's",
    code: "PROOF_COMMITMENT_MISMATCH",
    changes: { round_bundle: someDigest("other") },
  },
  {
    title: "[CH-3] a round that is not the bundle's",
    code: "PROOF_COMMITMENT_MISMATCH",
    changes: { target: { kind: "round", round: 1 } },
  },
  {
    title: "[CH-3] a Vault that took no part",
    code: "PROOF_COMMITMENT_MISMATCH",
    changes: { target: { kind: "slice", vault_id: "vault-9", round: 0 } },
  },
  {
    title: "another network",
    code: "GOVERNANCE_GENESIS_MISMATCH",
    changes: { genesis_digest: someDigest("other") },
  },
  { title: "too small a bond", code: "POLICY_DECLINED", changes: { bond_minor: 99 } },
  { title: "a bond beyond its stake", code: "POLICY_DECLINED", changes: { bond_minor: 1_001 } },
  {
    title: "a task that is no candidate",
    code: "GOVERNANCE_CHALLENGE_CLOSED",
    changes: { task_id: "t-unknown" },
  },
  { title: "a Vault as challenger", code: "AUTH_ROLE_REFUSED", changes: { challenger: "vault-1" } },
  { title: "nobody as challenger", code: "AUTH_UNKNOWN_ACTOR", changes: { challenger: "nobody" } },
])("[CH-2] refuses a challenge of $title", async ({ code, changes }) => {
  const rig = await ready();
  const signed = CHALLENGE.sign(challengeOf(changes), verifier.signing);
  await expect(rig.settlement.openChallenge(signed)).rejects.toThrow(refused(code));
});

test.for<Challenge["target"]>([
  { kind: "slice", vault_id: "vault-2", round: 0 },
  { kind: "round", round: 0 },
  { kind: "aggregation" },
  { kind: "composite" },
])("[CH-3] a challenge is of %j", async (target) => {
  const rig = await challenged({ target });
  const [signed] = await rig.settlement.challengesFor(taskId);
  if (signed === undefined) throw new Error("no challenge");
  expect(CHALLENGE.decode(parseCose(signed).payload)).toMatchObject({ task_id: taskId, target });
  await rig.store.close();
});

test("[SP-11][CH-2] a challenge comes in the window, once, signed by its challenger", async () => {
  const rig = await ready();
  const signed = CHALLENGE.sign(challengeOf(), verifier.signing);
  const forged = CHALLENGE.sign(challengeOf(), signingKeyFromSeed(testSeed("a stranger")));
  const open = (bytes: Uint8Array) => rig.settlement.openChallenge(bytes);
  await expect(open(forged)).rejects.toThrow(refused("PROOF_SIGNATURE_INVALID"));
  rig.clock.ms += WINDOW_MS;
  await expect(open(signed)).rejects.toThrow(refused("GOVERNANCE_CHALLENGE_CLOSED"));
  rig.clock.ms -= 1;
  await open(signed);
  await open(signed);
  const second = CHALLENGE.sign(challengeOf({ reason: "another" }), verifier.signing);
  await expect(open(second)).rejects.toThrow(refused("GOVERNANCE_CHALLENGE_CLOSED"));
  expect(await rig.settlement.challengesFor(taskId)).toEqual([signed]);
  expect(await statesOf(rig)).toEqual(["opened"]);
});

/** The same network after its founders have handed over to actors who govern. */
function governedByActors(state: GovernanceState): GovernanceState {
  const actors = new Map(state.actors);
  const [some] = actors.values();
  if (some === undefined) throw new Error("no actor");
  for (const actor_id of ["one", "two", "three", "four"]) {
    actors.set(actor_id, { ...some, actor_id, role: "governance", status: "active" });
  }
  return { ...state, actors };
}

test("[CH-2] governance itself may challenge, with one of its keys", async () => {
  const rig = await ready();
  const challenge = challengeOf({ challenger: "governance", bond_minor: 0 });
  const [key] = network.governanceKeys;
  if (key === undefined) throw new Error("no governance key");
  const stranger = CHALLENGE.sign(challenge, verifier.signing);
  await expect(rig.settlement.openChallenge(stranger)).rejects.toThrow(
    refused("AUTH_ROLE_REFUSED"),
  );
  const signed = CHALLENGE.sign(challenge, key);
  const founded = rig.governance.state;
  rig.governance.state = governedByActors(founded);
  await expect(rig.settlement.openChallenge(signed)).rejects.toThrow(refused("AUTH_ROLE_REFUSED"));
  rig.governance.state = founded;
  const opened = await rig.settlement.openChallenge(signed);
  expect(opened.challenger).toBe("governance");
});

test("[ST-1] the settlement lifecycle is the specification's", () => {
  expect(SETTLEMENT_LIFECYCLE.states).toEqual([
    "collecting",
    "verifying_inputs",
    "candidate_ready",
    "finalizing",
    "finalized",
    "failed",
  ]);
  expect(() => SETTLEMENT_LIFECYCLE.assertTransition("finalized", "candidate_ready")).toThrow();
});

test("[PB-3][SP-4] a record beyond the tolerance must say so, and costs its Vault the penalty", async () => {
  const over = { consumed_epsilon_micro: 8_000_001 };
  const silent = await consumptionRecord(run, "vault-1", over);
  expect(() => verifyConsumption(execution, [silent], run.governance)).toThrow(
    refused("PROOF_COMMITMENT_MISMATCH"),
  );
  const flagged = await consumptionRecord(run, "vault-1", { ...over, flagged: true });
  const records = verifyConsumption(execution, [flagged], run.governance);
  const entry = composeEntry({ execution, consumption: records });
  expect(entry.accounting).toEqual([
    { actor_id: "aggregator", kind: "reward", amount_minor: 100, reason: "aggregation" },
    { actor_id: "vault-1", kind: "penalty", amount_minor: 500, reason: "budget_exceeded" },
  ]);
  const rig = await openSettlementRig(network, run.governance);
  for (const _ of ["once", "and again"]) await rig.settlement.candidate(execution, [flagged]);
  expect(rig.own.state().actors.get("vault-1")?.stake_minor).toBe(999_500);
  expect(rig.own.state().sequence).toBe(1);
});

test.for<{ title: string; code: string; changes: Partial<ConsumptionRecord> }>([
  {
    title: "less than its slices were charged",
    code: "VERIFY_RESULT_REJECTED",
    changes: { consumed_epsilon_micro: 7_999_999 },
  },
  {
    title: "another task",
    code: "PROOF_COMMITMENT_MISMATCH",
    changes: { envelope_digest: someDigest("other") },
  },
  {
    title: "another reservation",
    code: "PROOF_COMMITMENT_MISMATCH",
    changes: { reservation_id: "reservation-9" },
  },
  {
    title: "a larger reservation than it made",
    code: "PROOF_COMMITMENT_MISMATCH",
    changes: { reserved_epsilon_micro: 9_000_000 },
  },
  {
    title: "another Vault's signature",
    code: "PROOF_SIGNATURE_INVALID",
    changes: { vault_id: "vault-2" },
  },
])("[SP-1] refuses a consumption record of $title", async ({ code, changes }) => {
  const record = await consumptionRecord(run, "vault-1", changes);
  expect(() => verifyConsumption(execution, [record], run.governance)).toThrow(refused(code));
});

test("[SP-1] refuses two records of one Vault", async () => {
  const record = await consumptionRecord(run, "vault-1");
  expect(() => verifyConsumption(execution, [record, record], run.governance)).toThrow(
    refused("PROOF_COMMITMENT_MISMATCH"),
  );
});

test("[CT-6][SP-3] rewards are for rounds taken part in, and only with a proven commit", () => {
  const records = verifyConsumption(execution, consumption, run.governance);
  const [bundle] = execution.bundles;
  if (bundle === undefined) throw new Error("no bundle");
  const entry = composeEntry({
    execution,
    consumption: records.slice(0, 1),
  });
  expect(entry.accounting.map((line) => line.actor_id)).toEqual(["aggregator", "vault-1"]);
  expect(entry.round_bundles).toEqual([EXECUTION_RESULT_BUNDLE.digest(bundle)]);
  expect(applyChallenge(entry, UNDECIDED)).toEqual(entry);
});
