import { expect, test } from "vitest";

import {
  TASK_REQUEST,
  VAULT_DECISION,
  encodeCbor,
  hex,
  parseEvent,
  sha256,
  utf8,
  type Policy,
  type TaskRequest,
} from "../../../../protocol/index.ts";
import { firstSubjects } from "../../../../host/sovereignty/ledger/subject-set.ts";
import { budgetOf } from "../../../../sim/network/policy.ts";
import { ask, begin, runTask } from "../operator/run-task.ts";
import { customerCsv, newFixture, requestOf, stocked, type Fixture } from "../vault-fixture.ts";
import { changedTables, storeState } from "./store-state.ts";

const WITHDRAWN = { state: "withdrawn" } as const;

function customers(from: number, to: number): string[] {
  return Array.from({ length: to - from }, (_, index) => `c-${from + index}`);
}

function small(policy: Policy): Policy {
  const budgets = [budgetOf("marketing", 9_000_000), budgetOf("training", 9_000_000)];
  return { ...policy, privacy: { ...policy.privacy, budgets } };
}

/** Why a Vault declines, and how it comes to be so. All for one request. */
const CAUSES: Readonly<Record<string, (fixture: Fixture) => Promise<unknown>>> = {
  "no consent": ({ vault }) =>
    vault.setConsent({ usageScope: "marketing", subjects: "all-known", decision: WITHDRAWN }),
  "too few": ({ vault }) =>
    vault.setConsent({ usageScope: "marketing", subjects: customers(0, 9), decision: WITHDRAWN }),
  "exhausted budget": (fixture) => ask(fixture, "before", { epsilon_micro: 8_000_000 }),
  "consent that expired": async ({ vault, clock }) => {
    const decision = { state: "granted", expiresMs: clock.nowMs } as const;
    return vault.setConsent({ usageScope: "marketing", subjects: "all-known", decision });
  },
};

async function declined(cause: string) {
  const fixture = await newFixture({ policy: small });
  await stocked(fixture);
  await CAUSES[cause]?.(fixture);
  const before = storeState(fixture.directory);
  const size = fixture.vault.log.size;
  const { signed, request } = await requestOf(fixture, "the one", { epsilon_micro: 8_000_000 });
  const answer = await fixture.vault.decide(signed, fixture.governance);
  const events = await fixture.vault.log.entries(size, size + 100);
  return {
    answer,
    request,
    decision: VAULT_DECISION.verify(answer, fixture.actor.signing.publicKey),
    changed: changedTables(before, storeState(fixture.directory)),
    events: events.map(({ event }) => ({ length: event.length, ...parseEvent(event) })),
  };
}

test("[DS-5] [DS-7] whatever the cause about people, a refusal has the same bytes, event and traces", async () => {
  const all = [];
  for (const cause of Object.keys(CAUSES)) all.push(await declined(cause));
  const [first] = all;
  expect(first?.decision.outcome).toEqual({ decision: "declined", code: "POLICY_DECLINED" });
  for (const each of all) {
    expect(TASK_REQUEST.digest(each.request)).toEqual(
      TASK_REQUEST.digest(first?.request ?? each.request),
    );
    expect(hex(each.answer)).toBe(hex(first?.answer ?? new Uint8Array(0)));
    expect(each.changed).toEqual(first?.changed);
    expect(each.events.map(({ body }) => body)).toEqual(first?.events.map(({ body }) => body));
    expect(each.events.map(({ type }) => type)).toEqual(["authorization.decided"]);
  }
});

/** Everything of a subject that must stay inside, in every spelling that a reader could know. */
function secretsOf(count: number): string[] {
  const values = customerCsv(count)
    .split("\n")
    .slice(1)
    .flatMap((row) => row.split(",").slice(0, 2));
  const plain = values.filter((value) => value.length > 2);
  return plain.flatMap((value) => [
    value,
    Buffer.from(value).toString("hex"),
    Buffer.from(value).toString("base64").replace(/=+$/, ""),
    hex(sha256(utf8(value))),
  ]);
}

/** A value as text that shows its byte strings as hex and as the text they may hold. */
function readable(value: unknown): string {
  return JSON.stringify(value, (_, item: unknown) => {
    if (item instanceof Uint8Array) return `${hex(item)} ${Buffer.from(item).toString("latin1")}`;
    return item instanceof Map ? [...item] : item;
  });
}

test("[CO-3] [DS-5] no answer and no event tells a subject, a plain digest of one or of a set, or a bitmap", async () => {
  const fixture = await newFixture();
  await stocked(fixture);
  const { vault } = fixture;
  const messages: Uint8Array[] = [];
  await vault.setConsent({ usageScope: "marketing", subjects: ["c-3"], decision: WITHDRAWN });
  const asked = await ask(fixture, "one");
  messages.push(
    asked.decision,
    (await ask(fixture, "declined", { epsilon_micro: 900_000_000 })).decision,
  );
  const envelope = await begin(fixture, asked);
  messages.push(await vault.settle(envelope, []));
  await runTask(fixture, "two");
  const entries = await vault.log.entries(0, 1_000);
  const text = [
    ...messages.map((message) => readable([message])),
    ...entries.map(({ event }) => readable(parseEvent(event))),
  ].join("\n");
  for (const secret of secretsOf(12)) expect(text).not.toContain(secret);
  const everybody = firstSubjects(12);
  const bitmap = Uint8Array.of(0xff, 0x0f);
  for (const open of [
    everybody.digest,
    sha256(everybody.encoded),
    sha256(bitmap),
    sha256(encodeCbor(bitmap)),
  ]) {
    expect(text).not.toContain(hex(open));
  }
});

test("[CO-2] [PB-8] a withdrawal blocks new tasks and freezes the budget, leaves dispatched and final work alone", async () => {
  const fixture = await newFixture();
  await stocked(fixture);
  const { vault } = fixture;
  const final = await runTask(fixture, "final");
  const record = await vault.settle(final, []);
  const underWay = await begin(fixture, await ask(fixture, "under way"));
  const admitted = await ask(fixture, "admitted");
  await vault.setConsent({ usageScope: "marketing", subjects: "all-known", decision: WITHDRAWN });
  const outcomeOf = async (name: string, changes: Partial<TaskRequest> = {}) => {
    const { decision } = await ask(fixture, name, changes);
    return VAULT_DECISION.verify(decision, fixture.actor.signing.publicKey).outcome.decision;
  };
  expect(await outcomeOf("new")).toBe("declined");
  expect(await outcomeOf("another purpose", { usage_scope: "training" })).toBe("reserved");
  // Dispatched: it begins, ends and is charged as it was admitted. Final: not a byte of it changes.
  await begin(fixture, admitted);
  await vault.settle(underWay, []);
  expect(await vault.settle(final, [])).toEqual(record);
  const { budgets } = await vault.status();
  const marketing = budgets.find(({ usageScope }) => usageScope === "marketing");
  expect(marketing).toMatchObject({
    frozen: 12,
    consumedMaxMicro: 2_000_000,
    reservedMaxMicro: 1_000_000,
  });
  const again = { state: "granted", expiresMs: null } as const;
  await vault.setConsent({ usageScope: "marketing", subjects: "all-known", decision: again });
  expect(await outcomeOf("after")).toBe("reserved");
});

test("[CO-2] [PB-8] an expiry blocks new tasks from its moment on, and freezes nothing", async () => {
  const fixture = await newFixture();
  await stocked(fixture);
  const { vault, clock } = fixture;
  const decision = { state: "granted", expiresMs: clock.nowMs + 1_000 } as const;
  await vault.setConsent({ usageScope: "marketing", subjects: "all-known", decision });
  const outcomeOf = async (name: string) =>
    VAULT_DECISION.verify((await ask(fixture, name)).decision, fixture.actor.signing.publicKey)
      .outcome.decision;
  clock.nowMs += 999;
  expect(await outcomeOf("before")).toBe("reserved");
  clock.nowMs += 1;
  expect(await outcomeOf("at the end")).toBe("declined");
  const { budgets } = await vault.status();
  expect(budgets.find(({ usageScope }) => usageScope === "marketing")).toMatchObject({ frozen: 0 });
});

test("[CO-2] one person's withdrawal takes them alone out of the next task, across a restart", async () => {
  const fixture = await newFixture();
  await stocked(fixture);
  await fixture.vault.setConsent({
    usageScope: "marketing",
    subjects: ["c-3"],
    decision: WITHDRAWN,
  });
  const vault = await fixture.reopen();
  const reopened = { ...fixture, vault };
  const asked = await ask(reopened, "next");
  const trail = (subject: string) =>
    vault.operator.subjectTrail(subject, { afterConsent: 0, afterUse: 0 });
  const taskId = `t-${hex(TASK_REQUEST.digest(asked.request)).slice(0, 32)}`;
  expect((await trail("c-3")).uses).toEqual([]);
  expect((await trail("c-4")).uses.map(({ task_id }) => task_id)).toEqual([taskId]);
});
