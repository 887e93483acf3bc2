import fc from "fast-check";
import { afterEach, beforeEach, expect, test } from "vitest";

import {
  accountOf,
  refilled,
  type AdmissionControls,
  type NewTask,
  type RateLimit,
  type TokenWindow,
} from "../../../host/tasks/index.ts";
import { sha256, utf8 } from "../../../protocol/index.ts";
import {
  easyControls,
  openCoordinatorRig,
  placedIn,
  removeCoordinatorRig,
  type CoordinatorRig,
} from "../../helpers/coordinator-rig.ts";
import { describePlaces } from "../../helpers/store-places.ts";

const BY = { actorId: "coordinator" } as const;
const TO_SETTLEMENT = ["resolving", "dispatched", "verifying", "awaiting_settlement"] as const;

describePlaces((places) => {
  let rig: CoordinatorRig & { readonly folder: string };

  beforeEach(async () => {
    rig = await openCoordinatorRig({ at: places.newPlace() });
  });

  afterEach(() => removeCoordinatorRig(rig));

  function taskOf(name: string, changes: Partial<AdmissionControls> = {}): NewTask {
    return {
      ...{ taskId: name, parentTaskId: null, round: 0, taskClass: "query", place: placedIn(0) },
      ...{ signedRequest: utf8(name), requestDigest: sha256(utf8(name)) },
      deadlineMs: rig.clock.nowMs + 1_000,
      controls: easyControls(name, changes),
    };
  }

  const take = (name: string, changes: Partial<AdmissionControls> = {}): Promise<boolean> =>
    rig.register.create(taskOf(name, changes));
  const lockOf = (amountMinor: number) => ({ lock: { amountMinor, fundsMinor: 1_000 } });
  const account = () => accountOf(rig.store.db, "analyst");

  async function complete(taskId: string, rewardedMinor: number): Promise<void> {
    for (const to of TO_SETTLEMENT) await rig.register.transition(taskId, { to, ...BY });
    await rig.register.transition(taskId, { to: "completed", ...BY, rewardedMinor });
  }

  test("[AP-5] other bytes under a used request identifier are a replay, another actor's are not", async () => {
    const { requestId } = easyControls("a");
    expect(await take("t-a", { requestId })).toBe(true);
    expect(await take("t-a", { requestId })).toBe(false);
    const replayed = { code: "AUTH_REPLAYED", details: { field: "request_id" } };
    await expect(take("t-b", { requestId })).rejects.toMatchObject(replayed);
    await rig.register.transition("t-a", { to: "rejected", ...BY });
    await expect(take("t-b", { requestId })).rejects.toMatchObject(replayed);
    expect(await take("t-c", { requestId, actorId: "another" })).toBe(true);
  });

  test("[PV-1] of tasks that come at once as many are taken as there are tokens, then one as each comes", async () => {
    const rate: RateLimit = { tasksMax: 3, windowMs: 300 };
    const names = Array.from({ length: 6 }, (_, index) => `t-${index}`);
    const taken = await Promise.allSettled(names.map((name) => take(name, { rate })));
    expect(taken.filter(({ status }) => status === "fulfilled")).toHaveLength(3);
    const over = { code: "POLICY_LIMIT_EXCEEDED", class: "limit", details: { limit: "rate" } };
    rig.clock.nowMs += 99;
    await expect(take("t-x", { rate })).rejects.toMatchObject(over);
    rig.clock.nowMs += 1;
    expect(await take("t-x", { rate })).toBe(true);
    await expect(take("t-y", { rate })).rejects.toMatchObject(over);
    expect(await take("t-p", { rate, taskClass: "compute" })).toBe(true);
    expect(await take("t-z", { rate, actorId: "another" })).toBe(true);
  });

  test("[PV-1] one actor's tasks leave room for another's", async () => {
    await take("t-1", { actorRunningMax: 1 });
    await expect(take("t-2", { actorRunningMax: 1 })).rejects.toMatchObject({
      code: "POLICY_LIMIT_EXCEEDED",
      details: { limit: "actor_running", max: 1 },
    });
    expect(await take("t-3", { actorRunningMax: 1, actorId: "another" })).toBe(true);
    await rig.register.transition("t-1", { to: "timed_out", ...BY });
    expect(await take("t-2", { actorRunningMax: 1 })).toBe(true);
  });

  test("[PV-1] no unit of money is locked twice, also by tasks that come at once", async () => {
    const both = await Promise.allSettled([take("t-1", lockOf(600)), take("t-2", lockOf(600))]);
    expect(both.map(({ status }) => status)).toEqual(["fulfilled", "rejected"]);
    await expect(take("t-2", lockOf(401))).rejects.toMatchObject({
      code: "POLICY_DECLINED",
      details: { field: "budget_lock_minor" },
    });
    expect(await take("t-3", lockOf(400))).toBe(true);
    expect(await account()).toMatchObject({ locked_minor: 1_000, spent_minor: 0 });
  });

  test("[PV-1] a lock pays what its task's rewards came to and frees the rest, once", async () => {
    await take("t-1", lockOf(600));
    await complete("t-1", 250);
    expect(await account()).toMatchObject({ locked_minor: 0, spent_minor: 250 });
    await expect(take("t-2", lockOf(751))).rejects.toMatchObject({ code: "POLICY_DECLINED" });
    await take("t-2", lockOf(750));
    await rig.register.transition("t-2", { to: "rejected", ...BY, rewardedMinor: 700 });
    expect(await account()).toMatchObject({ locked_minor: 0, spent_minor: 250 });
    await take("t-3", lockOf(100));
    await complete("t-3", 101);
    expect(await account()).toMatchObject({ locked_minor: 0, spent_minor: 350 });
  });

  test("[AP-5] a task that is not taken leaves neither token nor lock nor place", async () => {
    const place = () => Promise.reject(new Error("no epoch"));
    const controls = easyControls("a", lockOf(600));
    await expect(rig.register.create({ ...taskOf("t-1"), controls, place })).rejects.toThrow(
      "no epoch",
    );
    expect(await account()).toMatchObject({ locked_minor: 0, spent_minor: 0 });
    expect(await rig.store.db.selectFrom("admission_window").selectAll().execute()).toEqual([]);
    expect(await rig.events()).toEqual([]);
    expect(await rig.register.create({ ...taskOf("t-1"), controls })).toBe(true);
  });
});

test("[PV-1] tokens come evenly and exactly, however often they are counted", () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 0, max: 1_000_000 }),
      fc.integer({ min: 1, max: 366 * 86_400_000 }),
      fc.array(fc.integer({ min: -50, max: 1_000_000 }), { maxLength: 20 }),
      (tasksMax, windowMs, steps) => {
        const limit = { tasksMax, windowMs };
        const empty: TokenWindow = { tokens: 0, remainder: 0, atMs: 1_000 };
        let nowMs = empty.atMs;
        let latestMs = nowMs;
        let window = empty;
        for (const step of steps) {
          nowMs += step;
          latestMs = Math.max(latestMs, nowMs);
          window = refilled(window, limit, nowMs);
        }
        const elapsed = BigInt(latestMs - empty.atMs);
        const come = (elapsed * BigInt(tasksMax)) / BigInt(windowMs);
        expect(window.tokens).toBe(Math.min(tasksMax, Number(come)));
      },
    ),
    { numRuns: 200 },
  );
});

test("[PV-1] a clock that goes back brings no tokens and takes none", () => {
  const window = { tokens: 5, remainder: 3, atMs: 1_000 };
  expect(refilled(window, { tasksMax: 10, windowMs: 100 }, 950)).toEqual(window);
});
