import path from "node:path";

import { afterAll, beforeAll, expect, test } from "vitest";

import { SIM_ACTORS } from "../../sim/network/create.ts";
import { startLiveNetwork, type LiveNetwork } from "../helpers/live-network.ts";
import { LIVE_VAULTS, livePlan, taskOf } from "../helpers/live-plan.ts";
import { symphony as speak } from "../helpers/spoken.ts";

const [VAULT] = LIVE_VAULTS;

let live: LiveNetwork;

beforeAll(async () => {
  live = await startLiveNetwork(livePlan({ rounds: 1 }));
});

afterAll(() => live?.stop());

const at = (...names: string[]): string => path.join(live.directory, ...names);

async function symphony(...words: string[]): Promise<string> {
  const { exit, out, err } = await speak(...words, "--dir", live.directory);
  expect({ exit, err }).toEqual({ exit: 0, err: "" });
  return out;
}

/** What docs/governance.md tells an operator to do. */
async function rotate(actorId: string, former: Readonly<Record<string, unknown>>): Promise<void> {
  const next = at(actorId, "next");
  expect((await speak("keygen", next)).exit).toBe(0);
  // Its process ends here.
  await live.configure(actorId, { signing_seed_file: "next/signing.seed", ...former });
  const old = at(actorId, "signing.seed");
  const said = await symphony("governance", "actor", "rotate", actorId, next, "--key", old);
  expect(said).toContain("signing.seed.history");
  await live.network.restart(actorId);
}

/** A task whose result is there and waits for its challenge window: its shares are sealed to the present box keys. */
async function candidate(): Promise<string> {
  const taskId = await live.submit(taskOf(live.plan, "query"));
  const signal = AbortSignal.timeout(60_000);
  for await (const { type } of live.client.events(taskId, { signal })) {
    if (type === "settlement_candidate") return taskId;
  }
  throw new Error("task: expected it to become a candidate");
}

/** What an auditor finds, who has the trust file and nothing of what came before. */
async function isVerified(taskId: string): Promise<boolean> {
  const file = at(`${taskId}.symphony`);
  await symphony("export", taskId, "--out", file);
  return (await speak("verify", file, "--trust", at("trust.json"))).exit === 0;
}

// Starts a network of processes: that new keys are taken up is a matter of configuration, files and a restart.
test(
  "[GS-3] a Vault and the aggregator change their keys within a task and before another, both verified offline",
  { timeout: 120_000 },
  async () => {
    const during = await candidate();
    await rotate(VAULT, { box_seed_file: "next/box.seed", former_box_seed_files: ["box.seed"] });
    await rotate(SIM_ACTORS.aggregator, {});
    const delivered = { state: "completed", delivered: true };
    expect(await live.follow(during)).toMatchObject(delivered);
    const after = await live.run(taskOf(live.plan, "query"));
    expect(after).toMatchObject(delivered);
    for (const taskId of [during, after.taskId]) {
      expect(await isVerified(taskId), taskId).toBe(true);
    }
  },
);
