import { readFile } from "node:fs/promises";
import { join } from "node:path";

import { afterAll, beforeAll, expect, test, vi } from "vitest";

import { SIM_ACTORS } from "../../sim/network/create.ts";
import {
  changingLauncher,
  liveLauncher,
  lyingLauncher,
  type ChangingLauncher,
} from "../helpers/live-launcher.ts";
import {
  startLiveNetwork,
  type EndedTask,
  type InProcessNode,
  type LiveNetwork,
} from "../helpers/live-network.ts";
import { LIVE_VAULTS, livePlan, taskOf } from "../helpers/live-plan.ts";

const NOTHING = new Uint8Array(0);
const EPSILON_MICRO = 1_000_000;
const USAGE = "marketing";
/** Enough for two and a half queries. */
const BUDGET_MICRO = 2_500_000;

vi.setConfig({ testTimeout: 60_000 });

let live: LiveNetwork;
let honest: ChangingLauncher["current"];
let aggregatorLauncher: ChangingLauncher;
let aggregator: InProcessNode;

/** The aggregator's host is this process. */
beforeAll(async () => {
  live = await startLiveNetwork(
    livePlan({
      network: "withhold",
      policy: (policy) => ({
        ...policy,
        privacy: {
          ...policy.privacy,
          budgets: policy.privacy.budgets.map((budget) =>
            budget.usage_scope === USAGE ? { ...budget, epsilon_micro: BUDGET_MICRO } : budget,
          ),
        },
      }),
    }),
  );
  honest = liveLauncher(live);
  aggregatorLauncher = changingLauncher(honest);
  aggregator = await live.runInProcess(SIM_ACTORS.aggregator, aggregatorLauncher);
});

afterAll(() => live?.stop());

const query = (): Promise<EndedTask> => live.run(taskOf(live.plan, "query"));

/** The task is refused and nothing of it is anywhere: no result, no open reservation. */
async function expectRefused(ended: EndedTask, reason: string, consumedMicro: number) {
  expect(ended).toMatchObject({ state: "rejected", reason, delivered: false });
  await expect(live.client.delivery(ended.taskId)).rejects.toMatchObject({
    code: "DELIVERY_NOT_READY",
  });
  for (const vaultId of LIVE_VAULTS) {
    expect(await live.settledBudget(vaultId, USAGE), vaultId).toEqual({
      consumedMicro,
      reservedMicro: 0,
      open: { reserved: 0, executing: 0 },
    });
  }
}

async function onEveryVault(act: (vaultId: string) => Promise<unknown>): Promise<void> {
  for (const vaultId of LIVE_VAULTS) await act(vaultId);
}

async function setConsent(vaultId: string, state: "granted" | "withdrawn"): Promise<void> {
  const operator = await live.operator(vaultId);
  await operator.setConsent({ usage_scope: USAGE, subjects: "all-known", state });
}

/** Codes of failed slices that a Vault's process told its operator, oldest first. */
async function sliceFailures(vaultId: string): Promise<string[]> {
  const log = await readFile(join(live.directory, "logs", `${vaultId}.log`), "utf8");
  return [...log.matchAll(/"work_failed","kind":"slice","code":"([A-Z_]+)"/g)].map(
    (match) => match[1] ?? "",
  );
}

test("[CO-1] [DS-4] without consent a task is refused before anything is dispatched", async () => {
  await onEveryVault((vaultId) => setConsent(vaultId, "withdrawn"));
  const ended = await query();
  await onEveryVault((vaultId) => setConsent(vaultId, "granted"));
  await expectRefused(ended, "COORDINATION_QUORUM_NOT_MET", 0);
  expect(ended.lines).toEqual(["rejected: COORDINATION_QUORUM_NOT_MET"]);
});

test("[AZ-1] [DS-4] without a grant a task is refused before anything is dispatched", async () => {
  const grantId = `${SIM_ACTORS.submitter}-query-customers`;
  await onEveryVault(async (vaultId) => (await live.operator(vaultId)).revokeGrant(grantId));
  const ended = await query();
  await onEveryVault(async (vaultId) =>
    (await live.operator(vaultId)).grant({
      grant_id: `${grantId}-2`,
      actor_id: SIM_ACTORS.submitter,
      task_class: "query",
      record_scope: "customers",
      usage_scope: USAGE,
      not_before_ms: null,
      not_after_ms: null,
    }),
  );
  await expectRefused(ended, "AUTH_GRANT_MISSING", 0);
  expect(ended.lines).toEqual(["rejected: AUTH_GRANT_MISSING"]);
});

test("[MV-3] a Vault that refuses is left out and holds nobody up", async () => {
  await setConsent("vault-c", "withdrawn");
  const ended = await query();
  await setConsent("vault-c", "granted");
  expect(ended).toMatchObject({ state: "completed", delivered: true });
  expect(ended.lines.join()).not.toContain("vault-c");
  // Opened as the submitter; whether noise suppresses it is no matter here.
  expect((await live.open(ended.taskId)).task_class).toBe("query");
  expect((await live.settledBudget("vault-a", USAGE)).consumedMicro).toBe(EPSILON_MICRO);
  expect((await live.settledBudget("vault-c", USAGE)).consumedMicro).toBe(0);
});

test("[PB-4] without the aggregator's evidence no Vault records executing, and reservations are released", async () => {
  const before = await Promise.all(LIVE_VAULTS.map((each) => live.budget(each, USAGE)));
  aggregatorLauncher.current = lyingLauncher(honest, {
    response: (response) =>
      response.result === "attested" ? { ...response, document: NOTHING } : response,
  });
  const ended = await query();
  aggregatorLauncher.current = honest;
  expect(ended).toMatchObject({ state: "rejected", delivered: false });
  expect(ended.lines.join()).not.toContain("recorded executing");
  for (const [index, vaultId] of LIVE_VAULTS.entries()) {
    const after = await live.settledBudget(vaultId, USAGE);
    expect(after).toEqual({ ...before[index], open: { reserved: 0, executing: 0 } });
    expect((await sliceFailures(vaultId)).at(-1)).toBe("TEE_DOCUMENT_MALFORMED");
  }
});

test("[PB-4] [DS-5] without a slice's evidence the aggregator enclave opens nothing, and what executed is paid", async () => {
  const before = await Promise.all(LIVE_VAULTS.map((each) => live.budget(each, USAGE)));
  aggregatorLauncher.current = lyingLauncher(honest, {
    request: (request) =>
      request.method === "begin"
        ? {
            ...request,
            slices: request.slices.map((slice) => ({
              ...slice,
              peer: { ...slice.peer, evidence: NOTHING },
            })),
          }
        : request,
  });
  const ended = await query();
  aggregatorLauncher.current = honest;
  expect(ended).toMatchObject({ state: "rejected", delivered: false });
  expect(ended.lines.join()).not.toContain("finished its slice");
  expect(aggregator.events.at(-2)).toMatchObject({ event: "work_failed", kind: "aggregate" });
  for (const [index, vaultId] of LIVE_VAULTS.entries()) {
    const after = await live.settledBudget(vaultId, USAGE);
    const spent = after.consumedMicro - (before[index]?.consumedMicro ?? 0);
    expect({ vaultId, spent, reserved: after.reservedMicro }).toEqual({
      vaultId,
      spent: EPSILON_MICRO,
      reserved: 0,
    });
  }
});

test("[PB-4] without budget a task is refused, and nothing more is consumed", async () => {
  const before = await live.settledBudget("vault-a", USAGE);
  const left = BUDGET_MICRO - before.consumedMicro;
  const ended = await live.run(taskOf(live.plan, "query"), (request) => ({
    ...request,
    epsilon_micro: left + 1,
  }));
  expect(ended).toMatchObject({
    state: "rejected",
    reason: "COORDINATION_QUORUM_NOT_MET",
    delivered: false,
  });
  expect(ended.lines).toEqual(["rejected: COORDINATION_QUORUM_NOT_MET"]);
  expect(await live.settledBudget("vault-a", USAGE)).toEqual(before);
});
