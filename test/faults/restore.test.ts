import * as fs from "node:fs";
import path from "node:path";

import { afterAll, beforeAll, expect, test } from "vitest";
import { z } from "zod";

import { startLiveNetwork, type LiveNetwork } from "../helpers/live-network.ts";
import { LIVE_VAULTS, livePlan, taskOf } from "../helpers/live-plan.ts";
import { runSymphony } from "../helpers/symphony-process.ts";

const FROZEN_MS_MAX = 60_000;

let live: LiveNetwork;

beforeAll(async () => {
  live = await startLiveNetwork(livePlan({ rounds: 1 }));
});

afterAll(async () => {
  await live?.stop();
});

const VAULT = LIVE_VAULTS[0];

function home(): string {
  return path.join(live.directory, VAULT);
}

async function symphony(...words: string[]) {
  const ended = await runSymphony(words, { cwd: live.directory });
  return { ...ended, said: `${ended.stdout}${ended.stderr}` };
}

const witnessSchema = z.object({
  standing: z.string(),
  frozen: z.object({ reason: z.string() }).nullable(),
});

/** How the restored Vault stands once its witnesses have answered. */
async function settledStanding() {
  const deadlineMs = Date.now() + FROZEN_MS_MAX;
  for (;;) {
    const client = await live.operator(VAULT);
    const standing = witnessSchema.parse(await client.get("/v1/vault/witness"));
    if (standing.standing !== "unconfirmed" || Date.now() >= deadlineMs) return standing;
    await new Promise((resolve) => setTimeout(resolve, 200));
  }
}

/** The Vault's machine is lost, but for seeds, configuration and the register of backups. */
async function lose(): Promise<void> {
  const running = live.network.processes.get(VAULT);
  running?.kill();
  await running?.exited;
  for (const name of fs.readdirSync(home())) {
    const isLost = /^(vault\.db.*|batches.*|vault-secrets\.cbor|ledger-.*|operator\.json)$/;
    if (isLost.test(name)) fs.rmSync(path.join(home(), name), { recursive: true });
  }
}

test("[PB-5] what is spent after a backup does not come back with it: the Vault is frozen, and thawed without a budget", async () => {
  const task = taskOf(live.plan, "query");
  expect(await live.run(task)).toMatchObject({ state: "completed" });
  const before = await live.settledBudget(VAULT, task.usageScope);
  const made = await symphony("vault", "backup", "make", "b", "--keys", "k", "--vault", VAULT);
  expect(made).toMatchObject({ code: 0 });
  expect(await live.run(task)).toMatchObject({ state: "completed" });
  const spent = await live.settledBudget(VAULT, task.usageScope);
  expect(spent.consumedMicro).toBeGreaterThan(before.consumedMicro);

  await lose();
  const config = path.join(VAULT, "config.json");
  const restored = await symphony("vault", "restore", "b", "--keys", "k", "--config", config);
  expect(restored).toMatchObject({ code: 0 });
  await live.network.restart(VAULT);
  expect(await settledStanding()).toMatchObject({
    standing: "frozen",
    frozen: { reason: "behind" },
  });
  const doctor = await symphony("doctor", "--vault", VAULT);
  expect(doctor.code).toBe(1);
  expect(doctor.stdout).toContain("FROZEN since");
  expect((await live.settledBudget(VAULT, task.usageScope)).consumedMicro).toBe(
    before.consumedMicro,
  );

  expect(
    await symphony("vault", "thaw", "--write-off", "--confirm", "--vault", VAULT),
  ).toMatchObject({
    code: 0,
  });
  const after = await live.budget(VAULT, task.usageScope);
  expect(after.consumedMicro).toBeGreaterThanOrEqual(spent.consumedMicro);
  const policy = live.network.genesis.policy.privacy.budgets;
  const allowance = policy.find(({ usage_scope }) => usage_scope === task.usageScope);
  expect(after.consumedMicro).toBeGreaterThanOrEqual(allowance?.epsilon_micro ?? Infinity);
});
