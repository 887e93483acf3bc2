import * as fs from "node:fs";
import os from "node:os";
import path from "node:path";

import { afterAll, beforeAll, expect, test } from "vitest";

import { measureSimImage } from "../../sim/measure.ts";
import { SIM_ACTORS } from "../../sim/network/create.ts";
import { createInsecureSimPlatform } from "../../sim/platform.ts";
import { canBuildGate, startImageGate, type ImageGate } from "../helpers/gate.ts";
import { REPOSITORY_ROOT, startLiveNetwork, type LiveNetwork } from "../helpers/live-network.ts";
import { LIVE_VAULTS, livePlan, taskOf } from "../helpers/live-plan.ts";
import { startNode, type StartedNode } from "../helpers/started-node.ts";
import { symphony as speak } from "../helpers/spoken.ts";

const [VAULT] = LIVE_VAULTS;

let live: LiveNetwork;
let folder = "";
const nodes: StartedNode[] = [];
const gates: ImageGate[] = [];

beforeAll(async () => {
  folder = fs.mkdtempSync(path.join(os.tmpdir(), "symphony-gates-"));
  live = await startLiveNetwork(livePlan({ rounds: 1 }));
});

afterAll(async () => {
  await Promise.all(nodes.map((node) => node.stop()));
  for (const gate of gates) gate.stop();
  await live?.stop();
  fs.rmSync(folder, { recursive: true, force: true });
});

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
test("[GS-3] a Vault and the aggregator change their keys within a task and before another, both verified offline", async () => {
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
});

/** Ends an actor's process, and runs it as in production: by its command, its enclaves behind a gate of its own. */
async function produce(role: "vault" | "aggregator", actorId: string): Promise<StartedNode> {
  const platform = createInsecureSimPlatform(at("platform"));
  const measurement = measureSimImage(REPOSITORY_ROOT, platform.anchor);
  const directory = path.join(folder, role);
  fs.mkdirSync(directory);
  const gate = await startImageGate({ directory, platform, measurement });
  gates.push(gate);
  await live.configure(actorId, { enclave: { socket: gate.socket } });
  const node = await startNode([role, "run", at(actorId, "config.json")]);
  nodes.push(node);
  return node;
}

// A whole task, because every step of it goes through the socket; on the network that is up already.
test.skipIf(!canBuildGate)(
  "[RT-2] a Vault and the aggregator run by the commands of production, their enclaves behind the image's gate",
  async () => {
    const vault = await produce("vault", VAULT);
    const aggregator = await produce("aggregator", SIM_ACTORS.aggregator);
    const ended = await live.run(taskOf(live.plan, "compute"));
    expect(ended).toMatchObject({ state: "completed", delivered: true });
    expect(await isVerified(ended.taskId)).toBe(true);
    expect(vault.events).toContainEqual(
      expect.objectContaining({ event: "work_done", kind: "slice", task_id: ended.taskId }),
    );
    expect(aggregator.events).toContainEqual(
      expect.objectContaining({ event: "work_done", kind: "aggregate", task_id: ended.taskId }),
    );
    expect([await vault.stop(), await aggregator.stop()]).toEqual([0, 0]);
  },
);
