import { spawnSync } from "node:child_process";
import * as fs from "node:fs";
import os from "node:os";
import path from "node:path";

import { afterAll, beforeAll, expect, test } from "vitest";

import { accountOf } from "../../../host/tasks/index.ts";
import { TASK_LIFECYCLE } from "../../../protocol/index.ts";
import { NETWORK_TIME_MS } from "../../helpers/network.ts";
import { SEED } from "../../helpers/seed.ts";
import { stocked } from "../sovereignty/vault-world.ts";
import {
  LOCK_MINOR,
  TASKS,
  admitAll,
  openKillVault,
  openKillWorld,
  type KillWorld,
} from "./kill-world.ts";

const ROOT = path.resolve(import.meta.dirname, "../../..");
/** How often the process is killed; each starts one. */
const KILLS = process.env["SYMPHONY_FULL"] === undefined ? 2 : 50;
/** Past every deadline of admission, and of the reservations it made. */
const LATE_MS = 600_000;

const folder = fs.mkdtempSync(path.join(os.tmpdir(), "symphony-admission-kill-"));
const stock = path.join(folder, "stock");
let steps = 0;

/** Lets a process go through admission over a copy of the stock until it dies. @returns its folder, and steps if it lived */
function killed(at: number) {
  const copy = path.join(folder, `killed-${at}`);
  fs.cpSync(stock, copy, { recursive: true });
  const script = path.join(import.meta.dirname, "kill-child.ts");
  const child = spawnSync(process.execPath, [script, copy, String(at)], {
    cwd: ROOT,
    encoding: "utf8",
  });
  if (child.signal !== "SIGKILL") throw new Error(`expected SIGKILL, got: ${child.stderr}`);
  return { copy, taken: Number(child.stdout) };
}

beforeAll(async () => {
  const world = await openKillWorld(stock);
  await stocked(world.fixture);
  await world.close();
  steps = killed(0).taken;
});

afterAll(() => fs.rmSync(folder, { recursive: true, force: true }));

/** Moments in [1, count], drawn from the seed. */
function moments(count: number): number[] {
  let state = SEED;
  return Array.from({ length: KILLS }, () => {
    state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0;
    return 1 + ((state >>> 8) % count);
  });
}

/** Tasks that a Vault holds budget for. */
async function heldFor({ fixture }: KillWorld): Promise<string[]> {
  const lines = await fixture.vault.ledger.statement({ after: 0, limit: 1_000 });
  const ended = new Set(
    lines
      .filter(({ kind }) => kind === "commit" || kind === "release")
      .map((line) => line.reservation_id),
  );
  return lines
    .filter(({ kind, reservation_id: id }) => kind === "reserve" && !ended.has(id))
    .map((line) => line.task_id);
}

/** Whatever moment it is: budget, money and epochs are held for live tasks, and for nothing else. */
async function expectNoLeak(world: KillWorld): Promise<void> {
  const { store, register } = world.rig;
  const tasks = await store.db
    .selectFrom("task")
    .select(["task_id", "state", "epoch_id"])
    .execute();
  const live = tasks
    .filter(({ state }) => !TASK_LIFECYCLE.isState(state) || !TASK_LIFECYCLE.isTerminal(state))
    .map(({ task_id: taskId }) => taskId);
  expect(live.toSorted()).toEqual((await register.active()).toSorted());
  const members = await world.epochs.members(0);
  expect(members).toEqual(tasks.map(({ task_id: taskId }) => taskId).toSorted());
  const locks = await store.db.selectFrom("budget_lock").select(["task_id", "state"]).execute();
  const locked = locks.filter(({ state }) => state === "locked").map(({ task_id: id }) => id);
  expect(locked.toSorted()).toEqual(live.toSorted());
  const account = await accountOf(store.db, "analyst");
  expect(account).toMatchObject({ locked_minor: live.length * LOCK_MINOR, spent_minor: 0 });
}

async function expectLiveReservations(world: KillWorld): Promise<void> {
  const active = await world.rig.register.active();
  for (const taskId of await heldFor(world)) expect(active).toContain(taskId);
}

/** What has been killed goes on to where it would have come, and gives everything back in the end. */
async function expectGoesOn(world: KillWorld, wait: () => void): Promise<void> {
  await expectNoLeak(world);
  await world.tellEnds();
  await expectLiveReservations(world);
  for (const name of TASKS) await world.submit(name);
  await world.settle();
  await world.tellEnds();
  await expectNoLeak(world);
  await expectLiveReservations(world);
  const { register } = world.rig;
  for (const taskId of await register.active()) {
    expect(await register.get(taskId)).toMatchObject({ state: "dispatched" });
    await register.transition(taskId, { to: "timed_out", actorId: "coordinator" });
  }
  await expectNoLeak(world);
  wait();
  // Nobody tells the Vault: its own deadline ends what it held, when the next request comes.
  const late = await world.submit("late");
  await world.settle();
  expect((await heldFor(world)).filter((taskId) => taskId !== late)).toEqual([]);
}

test(
  "[PB-4][AP-5] killed at any moment of admission, nothing is held but for live tasks, and nothing for ever",
  async () => {
    const seen = new Set(moments(steps));
    for (const at of seen) {
      const { copy } = killed(at);
      let nowMs = NETWORK_TIME_MS;
      const world = await openKillWorld(copy, () => nowMs);
      await expectGoesOn(world, () => void (nowMs += LATE_MS));
      await world.close();
      fs.rmSync(copy, { recursive: true, force: true });
    }
  },
  30_000 * KILLS,
);

/** One of the two processes at its clock: at its `at`th reading its files are copied as a kill leaves them, and it is dead. */
class Mortal {
  nowMs = NETWORK_TIME_MS;
  readings = 0;
  /** Once it has started. */
  armed = false;
  dead = false;
  readonly #kill: { readonly at: number; readonly keep: () => void };

  constructor(kill: { readonly at: number; readonly keep: () => void }) {
    this.#kill = kill;
  }

  readonly read = (): number => {
    if (this.armed) this.readings += 1;
    if (!this.dead && this.readings === this.#kill.at && this.armed) {
      this.dead = true;
      this.#kill.keep();
    }
    if (this.dead) throw new Error("killed");
    return this.nowMs;
  };
}

/** Goes through admission while one of the two is killed, starts that one again, and lets both go on. */
async function killedAlone(victim: "coordinator" | "vault", at: number): Promise<number> {
  const copy = path.join(folder, `${victim}-${at}`);
  const image = `${copy}-image`;
  fs.cpSync(stock, copy, { recursive: true });
  const ofVault = (file: string): boolean => file.startsWith(path.join(copy, "vault"));
  const keep = (): void =>
    fs.cpSync(copy, image, {
      recursive: true,
      filter: (file) => file === copy || ofVault(file) === (victim === "vault"),
    });
  const mortal = new Mortal({ at, keep });
  const survivor = { nowMs: NETWORK_TIME_MS };
  const alive = (): number => survivor.nowMs;
  const [ofCoordinator, forVault] =
    victim === "vault" ? [alive, mortal.read] : [mortal.read, alive];
  const running = await openKillVault(copy, forVault);
  const first = await openKillWorld(copy, ofCoordinator, running);
  mortal.armed = true;
  await admitAll(first).catch((error: unknown) => {
    if (!mortal.dead) throw error;
  });
  if (!mortal.dead) {
    await first.close();
    return mortal.readings;
  }
  const world = victim === "vault" ? first : await openKillWorld(image, alive, running);
  if (victim === "vault") world.restartVault(await openKillVault(image, alive));
  await expectGoesOn(world, () => void (survivor.nowMs += LATE_MS));
  await world.close();
  if (victim === "vault") await running.vault.close();
  else await first.rig.store.close();
  return mortal.readings;
}

test.for(["coordinator", "vault"] as const)(
  "[PB-4][AP-5] the %s killed alone at any moment of admission: nothing is held but for live tasks, and nothing for ever",
  { timeout: 150_000 * KILLS },
  async (victim) => {
    const readings = await killedAlone(victim, 0);
    expect(readings).toBeGreaterThan(5);
    for (const at of new Set(moments(readings))) await killedAlone(victim, at);
  },
);
