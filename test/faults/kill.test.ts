import { spawnSync } from "node:child_process";
import * as fs from "node:fs";
import path from "node:path";
import { DatabaseSync } from "node:sqlite";

import { afterAll, beforeAll, expect, test } from "vitest";
import { z } from "zod";

import { parseTrust, verifyBundle } from "../../host/index.ts";
import { openActorLog, type ActorLogSchema } from "../../host/evidence/actor-log.ts";
import { COORDINATOR_MIGRATIONS } from "../../host/run/coordinator-migrations.ts";
import { openStore } from "../../host/store/index.ts";
import { actorLogOrigin, fromHex, signingKeyFromSeed, type Policy } from "../../protocol/index.ts";
import { REPOSITORY_ROOT, startLiveNetwork, type LiveNetwork } from "../helpers/live-network.ts";
import { LIVE_VAULTS, livePlan, taskOf } from "../helpers/live-plan.ts";
import { SEED } from "../helpers/seed.ts";

const ROUNDS = 3;
const TASK_EPSILON_MICRO = 600_000;
/** No task of these tests may take longer to end, killed or not. */
const END_MS_MAX = 120_000;
const KILL_MS_MAX = 300_000;

let live: LiveNetwork;

beforeAll(async () => {
  live = await startLiveNetwork(livePlan({ rounds: ROUNDS, policy: impatient }));
});

afterAll(async () => {
  await live?.stop();
});

function impatient(policy: Policy): Policy {
  return {
    ...policy,
    multi_vault: { ...policy.multi_vault, per_vault_timeout_ms: 12_000 },
    classes: {
      ...policy.classes,
      train: { ...policy.classes.train, execution_ms_max: 60_000 },
    },
  };
}

/** Which message of a round's board the kill follows: [2, 16), drawn from the seed and the test's name. */
function momentOf(name: string): number {
  let state = SEED;
  for (const char of name) state = (Math.imul(state, 31) + char.charCodeAt(0)) >>> 0;
  return 2 + (state % 14);
}

/** Submits a train task and calls `kill` after as many messages as `name` and the seed say. */
async function interrupted(
  name: string,
  kill: () => Promise<void>,
  timeoutMs?: number,
): Promise<string> {
  const moment = momentOf(name);
  const taskId = await submitTrain(timeoutMs);
  const stop = new AbortController();
  let messages = 0;
  for await (const { type } of live.client.events(taskId, { signal: stop.signal })) {
    if (type === "round_message") messages += 1;
    if (messages >= moment) break;
  }
  stop.abort();
  process.stdout.write(`${name}: kill after message ${moment} of ${taskId}\n`);
  await kill();
  return taskId;
}

function submitTrain(timeoutMs = 100_000): Promise<string> {
  return live.submit(taskOf(live.plan, "train"), (request) => ({
    ...request,
    epsilon_micro: TASK_EPSILON_MICRO,
    task_timeout_ms: timeoutMs,
  }));
}

/** Where a task ends, asked again while the coordinator is away. @throws when it takes too long */
async function endOf(taskId: string) {
  const untilMs = Date.now() + END_MS_MAX;
  for (;;) {
    const view = await live.client.status(taskId).catch(() => undefined);
    const ended =
      view?.state === "rejected" ||
      view?.state === "timed_out" ||
      (view?.state === "completed" && view.delivered);
    if (view !== undefined && ended) return view;
    if (Date.now() > untilMs) {
      throw new Error(`${taskId}: expected an end within ${END_MS_MAX} ms, got ${view?.state}`);
    }
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}

async function kill(name: string): Promise<void> {
  const running = live.network.processes.get(name);
  running?.kill();
  await running?.exited;
}

const lineSchema = z.object({
  kind: z.enum(["reserve", "executing", "commit", "release"]),
  reservation_id: z.string(),
  task_id: z.string(),
  round: z.number().nullable(),
  epsilon_micro: z.number(),
});
type Line = z.infer<typeof lineSchema>;

/** The ledger of a Vault as its file has it, read beside the running Vault. */
function ledgerOf(vaultId: string): Line[] {
  const file = path.join(live.directory, vaultId, "vault.db");
  const database = new DatabaseSync(file, { readOnly: true });
  try {
    const rows = database.prepare("select * from ledger order by position").all();
    return z.array(lineSchema).parse(rows);
  } finally {
    database.close();
  }
}

function linesOf(vaultId: string, taskId: string): Line[] {
  return ledgerOf(vaultId).filter((line) => line.task_id === taskId);
}

/** Waits until every Vault has ended its reservation for a task. */
async function ledgersClosed(taskId: string): Promise<void> {
  const untilMs = Date.now() + END_MS_MAX;
  const open = (): string[] =>
    LIVE_VAULTS.filter((vaultId) => {
      const lines = linesOf(vaultId, taskId);
      return lines.length > 0 && !lines.some(({ kind }) => kind === "commit" || kind === "release");
    });
  while (open().length > 0) {
    if (Date.now() > untilMs) throw new Error(`${taskId}: still reserved at ${open().join(", ")}`);
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}

/**
 * Each Vault's ledger for one task: reserved once, each round begun at most once, ended once, by a release when
 * nothing began and by a commit of no more than was reserved when something did.
 */
function expectConsistentLedgers(taskId: string): void {
  for (const vaultId of LIVE_VAULTS) {
    const lines = linesOf(vaultId, taskId);
    const of = (kind: Line["kind"]): Line[] => lines.filter((line) => line.kind === kind);
    const rounds = of("executing").map(({ round }) => round);
    expect(of("reserve")).toHaveLength(1);
    expect(new Set(rounds).size).toBe(rounds.length);
    expect({ vaultId, ends: of("commit").length + of("release").length }).toEqual({
      vaultId,
      ends: 1,
    });
    expect(of("release")).toHaveLength(rounds.length === 0 ? 1 : 0);
    for (const commit of of("commit")) {
      expect(commit.epsilon_micro).toBeLessThanOrEqual(TASK_EPSILON_MICRO);
      expect(commit.epsilon_micro).toBeGreaterThanOrEqual(
        Math.floor((TASK_EPSILON_MICRO * rounds.length) / ROUNDS),
      );
    }
  }
}

const statusSchema = z.object({
  reservations: z.object({ reserved: z.number(), executing: z.number() }),
  budgets: z.array(
    z.object({
      usageScope: z.string(),
      consumedMaxMicro: z.number(),
      reservedMaxMicro: z.number(),
    }),
  ),
});

/** What each Vault says it has consumed is the sum of its commits: nothing lost, nothing counted twice. */
async function expectBalancedBooks(): Promise<void> {
  for (const vaultId of LIVE_VAULTS) {
    const status = statusSchema.parse(await (await live.operator(vaultId)).status());
    const committed = ledgerOf(vaultId)
      .filter(({ kind }) => kind === "commit")
      .reduce((sum, { epsilon_micro }) => sum + epsilon_micro, 0);
    const training = status.budgets.find(({ usageScope }) => usageScope === "training");
    expect(status.reservations).toEqual({ reserved: 0, executing: 0 });
    expect(training).toMatchObject({ consumedMaxMicro: committed, reservedMaxMicro: 0 });
  }
}

async function expectVerifiedResult(taskId: string): Promise<void> {
  const { result } = await live.open(taskId);
  expect(result).toMatchObject({ kind: "model", rounds: ROUNDS });
  const trust = parseTrust(fs.readFileSync(path.join(live.directory, "trust.json"), "utf8"));
  const report = verifyBundle(await live.client.evidence(taskId), trust);
  expect(report.checks.filter(({ ok }) => !ok)).toEqual([]);
}

/** Whatever became of a killed task: it ended, its ledgers agree, and what was delivered holds. */
async function expectSound(taskId: string) {
  const view = await endOf(taskId);
  await ledgersClosed(taskId);
  expectConsistentLedgers(taskId);
  await expectBalancedBooks();
  if (view.state === "completed") await expectVerifiedResult(taskId);
  process.stdout.write(`  ${view.state} ${view.reason ?? ""}\n`);
  return view;
}

test(
  "[PL-7] kill -9 of the coordinator: the task ends, no budget is lost or spent twice",
  async () => {
    const taskId = await interrupted("coordinator", async () => {
      await kill("coordinator");
      await live.network.restart("coordinator");
    });
    const view = await expectSound(taskId);
    expect(view.state).toBe("completed");
  },
  KILL_MS_MAX,
);

test(
  "[PL-7][PB-4] kill -9 of a Vault's node: the task goes on without it or ends",
  async () => {
    const [vaultId] = LIVE_VAULTS;
    const taskId = await interrupted("vault", async () => {
      await kill(vaultId);
      await live.network.restart(vaultId);
    });
    await expectSound(taskId);
  },
  KILL_MS_MAX,
);

test(
  "[TT-4] kill -9 of one enclave: the task goes on without it, or ends",
  async () => {
    const taskId = await interrupted("enclave", async () => {
      for (const vaultId of LIVE_VAULTS) {
        const [enclave] = enclavesOf(live.network.processes.get(vaultId)?.pid ?? 0);
        if (enclave === undefined) continue;
        process.kill(enclave, "SIGKILL");
        return;
      }
    });
    await expectSound(taskId);
  },
  KILL_MS_MAX,
);

test(
  "[TT-4] kill -9 of the aggregator's host: the task times out, for the platform failed",
  async () => {
    const restart = async (): Promise<void> => {
      await kill("aggregator");
      await live.network.restart("aggregator");
    };
    const taskId = await interrupted("aggregator", restart, 40_000);
    const view = await expectSound(taskId);
    expect(["timed_out", "completed"]).toContain(view.state);
  },
  KILL_MS_MAX,
);

test(
  "[MV-4] a Vault that stays away leaves partial coverage, and catches up when it is back",
  async () => {
    const [, vaultId] = LIVE_VAULTS;
    const taskId = await interrupted("absent", () => kill(vaultId));
    const view = await endOf(taskId);
    await live.network.restart(vaultId);
    process.stdout.write(`  ${view.state} ${view.reason ?? ""}\n`);
    expect(view.state).toBe("completed");
    expect((await live.open(taskId)).partial_coverage).toBe(true);
    await expectVerifiedResult(taskId);
    await ledgersClosed(taskId);
    expectConsistentLedgers(taskId);
    await expectBalancedBooks();
  },
  KILL_MS_MAX,
);

test("a second process on a Vault's folder is refused, and the first goes on", async () => {
  const [vaultId] = LIVE_VAULTS;
  const words = [
    "sim",
    "node",
    "vault",
    "--config",
    path.join(live.directory, vaultId, "config.json"),
  ];
  const platform = path.join(live.directory, "platform");
  const second = spawnSync(
    process.execPath,
    [path.join(REPOSITORY_ROOT, "sim", "main.ts"), ...words, "--platform", platform],
    { encoding: "utf8", cwd: REPOSITORY_ROOT },
  );
  expect({
    status: second.status,
    locked: second.stderr.includes("INTERNAL_STORE_LOCKED"),
  }).toEqual({ status: 3, locked: true });
  const status = await (await live.operator(vaultId)).status();
  expect(status).toMatchObject({ vault_id: vaultId });
});

test(
  "two tasks at once on the network that was killed so often: both are done",
  async () => {
    const taskIds = await Promise.all([submitTrain(), submitTrain()]);
    expect(new Set(taskIds).size).toBe(2);
    // Books balance when nothing is under way any more: both end before either is judged.
    for (const taskId of taskIds) {
      await endOf(taskId);
      await ledgersClosed(taskId);
    }
    for (const taskId of taskIds) {
      const view = await expectSound(taskId);
      expect(view.state).toBe("completed");
    }
  },
  KILL_MS_MAX,
);

test("the coordinator's log verifies from its start, and holds every task's history", async () => {
  await live.network.stop();
  const folder = path.join(live.directory, "coordinator");
  const seed = fs.readFileSync(path.join(folder, "signing.seed"), "utf8").trim();
  const store = await openStore<ActorLogSchema>({
    at: { kind: "sqlite", file: path.join(folder, "coordinator.db") },
    migrations: COORDINATOR_MIGRATIONS,
  });
  try {
    const log = await openActorLog({
      store,
      actorId: "coordinator",
      key: signingKeyFromSeed(fromHex(seed)),
      origin: actorLogOrigin(live.network.genesis.network, "coordinator"),
      nowMs: Date.now,
    });
    expect(log.size).toBeGreaterThan(100);
  } finally {
    await store.close();
  }
});

/** Processes that a node started: its enclaves, under bubblewrap or bare. */
function enclavesOf(pid: number): number[] {
  const children = fs
    .readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8")
    .split(" ")
    .filter((text) => text !== "")
    .map(Number);
  return children.flatMap((child) => [...enclavesOf(child), child]);
}
