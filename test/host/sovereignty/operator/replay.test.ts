import { beforeEach, expect, test } from "vitest";

import { AuthorizationReplay } from "../../../../host/sovereignty/operator/replay.ts";
import { parseEvent, type LogEvent } from "../../../../protocol/index.ts";
import { operate } from "../../http/vault/operated.ts";
import { newFixture, stocked, type Fixture } from "../vault-fixture.ts";
import { ask, begin, runTask } from "./run-task.ts";

let fixture: Fixture;

beforeEach(async () => {
  fixture = await newFixture();
  await stocked(fixture);
});

async function events(): Promise<LogEvent[]> {
  const entries = await fixture.vault.log.entries(0, 1_000);
  return entries.map(({ event }) => parseEvent(event));
}

function replayOf(log: readonly LogEvent[]) {
  const replay = new AuthorizationReplay();
  for (const event of log) replay.take(event);
  return replay.report();
}

/** A whole life: admitted, begun, declined for want of a grant, revoked, narrow windows that open and close. */
async function live(): Promise<void> {
  const { vault, clock, network } = fixture;
  await runTask(fixture, "one");
  const asked = await ask(fixture, "two");
  await vault.revokeGrant("grant-query", "superseded");
  await expect(begin(fixture, asked)).rejects.toMatchObject({ code: "AUTH_GRANT_MISSING" });
  await ask(fixture, "none");
  const terms = {
    actor_id: network.submitter.actorId,
    task_class: "query",
    domain_id: "customer",
  } as const;
  const rest = { record_scope: "customers", usage_scope: "marketing" } as const;
  await vault.grant({
    ...{ grant_id: "narrow", ...terms, ...rest },
    ...{ not_before_ms: clock.nowMs + 10, not_after_ms: clock.nowMs + 20 },
  });
  await ask(fixture, "early");
  clock.nowMs += 10;
  await runTask(fixture, "within");
  clock.nowMs += 10;
  await ask(fixture, "late");
}

test("[AZ-2] every authorization follows from the grants and revocations in the log before it", async () => {
  await live();
  const report = await fixture.vault.operator.replayAuthorizations();
  expect(report).toEqual({
    events: fixture.vault.log.size,
    decisions: 8,
    differences: 0,
    listed: [],
  });
  expect(replayOf(await events())).toEqual(report);
});

test("[AZ-2] the command says so, and what the log does not bear out", async () => {
  await live();
  const operated = await operate(fixture);
  const { exit, out } = await operated.vault("audit", "replay");
  expect(exit).toBe(0);
  expect(out).toContain("8 authorizations");
  expect(out).toContain("0 of them differ");
});

type Damage = (log: readonly LogEvent[]) => LogEvent[];

function without(type: string): Damage {
  return (log) => log.filter((event) => event.type !== type);
}

function changed(type: string, change: Readonly<Record<string, string | number | null>>): Damage {
  return (log) =>
    log.map((event) =>
      event.type === type && typeof event.body === "object" && event.body !== null
        ? { ...event, body: { ...Object.fromEntries(Object.entries(event.body)), ...change } }
        : event,
    );
}

test.for<{ title: string; damage: Damage; type: string }>([
  {
    title: "grants that were never added",
    damage: without("grant.added"),
    type: "authorization.decided",
  },
  {
    title: "a revocation left out",
    damage: without("grant.revoked"),
    type: "authorization.decided",
  },
  {
    title: "a decision on another grant",
    damage: changed("authorization.decided", { grant_id: "grant-train" }),
    type: "authorization.decided",
  },
  {
    title: "a decision on no grant",
    damage: changed("authorization.decided", { grant_id: null }),
    type: "authorization.decided",
  },
  {
    title: "a decision for another purpose",
    damage: changed("grant.added", { usage_scope: "training" }),
    type: "authorization.decided",
  },
  {
    title: "a slice on another grant than its admission",
    damage: changed("budget.executing", { grant_id: "grant-train" }),
    type: "budget.executing",
  },
  {
    title: "a slice after the grant's end",
    damage: changed("budget.executing", { authorized_ms: 8_000_000_000_000 }),
    type: "budget.executing",
  },
  {
    title: "a slice without an admission",
    damage: without("authorization.decided"),
    type: "budget.executing",
  },
])("[AZ-2] replay finds $title", async ({ damage, type }) => {
  await live();
  const report = replayOf(damage(await events()));
  expect(report.differences).toBeGreaterThan(0);
  expect(report.listed.map((each) => each.type)).toContain(type);
});

test("[AZ-2] a log from before decisions said when and in which domain they were judged replays too", async () => {
  await live();
  const older = (await events()).map((event): LogEvent => {
    if (typeof event.body !== "object" || event.body === null) return event;
    const left = ["domain_id", "judged_ms", "authorized_ms", "reason"];
    const kept = Object.entries(event.body).filter(([name]) => !left.includes(name));
    return event.type === "grant.added" ? event : { ...event, body: Object.fromEntries(kept) };
  });
  expect(replayOf(older)).toMatchObject({ decisions: 8, differences: 0 });
});

test("a report lists at most 100 differences and counts all", () => {
  const body = { actor_id: "a", task_class: "query", record_scope: "s", usage_scope: "training" };
  const event = (sequence: number): LogEvent => ({
    ...{
      type: "authorization.decided",
      actor_id: "v",
      sequence,
      time_ms: 1,
      task_id: `t-${sequence}`,
    },
    ...{
      previous: new Uint8Array(32),
      body: { ...body, domain_id: "d", judged_ms: 1, grant_id: "g" },
    },
  });
  const report = replayOf(Array.from({ length: 150 }, (_, sequence) => event(sequence)));
  expect(report).toMatchObject({ decisions: 150, differences: 150 });
  expect(report.listed).toHaveLength(100);
});
