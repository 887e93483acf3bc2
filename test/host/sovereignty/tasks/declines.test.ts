import * as fs from "node:fs";

import { expect, test } from "vitest";

import { budgetOf } from "../../../../sim/network/policy.ts";
import { TASK_REQUEST, hex, type Policy } from "../../../../protocol/index.ts";
import {
  consent,
  decoded,
  ingestReceipt,
  newFixture,
  parseRequest,
  requestOf,
  stocked,
  type Fixture,
} from "../vault-fixture.ts";

const COST = 8_000_000;
const WITHDRAWN = { state: "withdrawn" } as const;
const ALL = Array.from({ length: 12 }, (_, index) => `c-${index}`);

async function ask(fixture: Fixture, name: string, changes = {}): Promise<string> {
  const { signed } = await requestOf(fixture, name, changes);
  const { outcome } = decoded(fixture, await fixture.vault.decide(signed, fixture.governance));
  return outcome.decision === "declined" ? outcome.code : "reserved";
}

async function lastDecline(fixture: Fixture) {
  const lines = await fixture.vault.ledger.declines({ after: 0, limit: 1_000 });
  return lines.at(-1);
}

function draftOf(fixture: Fixture, changes = {}) {
  return {
    actor_id: fixture.network.submitter.actorId,
    record_scope: "customers",
    usage_scope: "marketing" as const,
    vault_ids: ["vault-1", "vault-2"],
    vault_attributes: [],
    parameters: {
      task_class: "query" as const,
      predicate: {
        operator: "AND" as const,
        operands: [
          { attribute: "customer.age", op: "range" as const, min: 20, max: 60 },
          { attribute: "customer.city", op: "eq" as const, value: "Porto" },
        ],
      },
      audience_cap: 1000,
    },
    epsilon_micro: COST,
    task_timeout_ms: 120_000,
    ...changes,
  };
}

interface Cause {
  readonly title: string;
  readonly expected: Readonly<Record<string, unknown>>;
  readonly code: string;
  readonly cause: (fixture: Fixture) => Promise<unknown>;
}

const CAUSES: readonly Cause[] = [
  {
    title: "no grant",
    expected: { reason: "grant_missing", subjects: 0, exhausted: 0, frozen: 0 },
    code: "AUTH_GRANT_MISSING",
    cause: ({ vault }) => vault.revokeGrant("grant-query"),
  },
  {
    title: "no consent at all",
    expected: { reason: "consent_missing", subjects: 0, exhausted: 0, frozen: 0 },
    code: "POLICY_DECLINED",
    cause: ({ vault }) =>
      vault.setConsent({ usageScope: "marketing", subjects: "all-known", decision: WITHDRAWN }),
  },
  {
    title: "too few who consent",
    expected: { reason: "too_few_subjects", subjects: 1, exhausted: 0, frozen: 0 },
    code: "POLICY_DECLINED",
    cause: ({ vault }) =>
      vault.setConsent({
        usageScope: "marketing",
        subjects: ALL.slice(1),
        decision: WITHDRAWN,
      }),
  },
  {
    title: "spent budget",
    expected: { reason: "budget_exhausted", subjects: 12, exhausted: 12, frozen: 0 },
    code: "POLICY_DECLINED",
    cause: async (fixture) => [await ask(fixture, "one"), await ask(fixture, "two")],
  },
];

test.for(CAUSES)(
  "[PB-8] the operator alone learns of $title: the answer says one code",
  async ({ cause, expected, code }) => {
    const fixture = await newFixture();
    await stocked(fixture);
    await cause(fixture);
    const before = await fixture.vault.status();
    const dry = await fixture.vault.ledger.dryRun(draftOf(fixture), fixture.governance);
    const { reason, ...charge } = expected;
    expect(dry).toMatchObject({ outcome: "declined", code, reason, cost: charge });
    expect(await fixture.vault.status()).toEqual(before);
    expect(await ask(fixture, "asked")).toBe(code);
    const decline = await lastDecline(fixture);
    expect(decline).toMatchObject({ ...expected, usage_scope: "marketing", epsilon_micro: COST });
  },
);

test("[PB-8] the operator sees how many sets of subjects are exhausted: each once, and no other decline", async () => {
  const fixture = await newFixture();
  await stocked(fixture);
  const { vault } = fixture;
  const exhaustedSets = async () => (await vault.status()).exhausted_sets;
  await ask(fixture, "one");
  await ask(fixture, "two");
  expect(await exhaustedSets()).toBe(0);
  for (const name of ["three", "four"]) expect(await ask(fixture, name)).toBe("POLICY_DECLINED");
  expect(await exhaustedSets()).toBe(1);
  // One of them is not asked about any more: another set, which is exhausted too.
  await vault.setConsent({ usageScope: "marketing", subjects: ["c-3"], decision: WITHDRAWN });
  await ask(fixture, "five");
  expect(await exhaustedSets()).toBe(2);
  await vault.setConsent({ usageScope: "marketing", subjects: ALL, decision: WITHDRAWN });
  await ask(fixture, "six");
  expect(await exhaustedSets()).toBe(2);
});

test("[AP-7] why a request was declined is in no event of the log and in no answer", async () => {
  const fixture = await newFixture();
  await stocked(fixture);
  await ask(fixture, "one");
  await ask(fixture, "two");
  const { signed, request } = await requestOf(fixture, "three");
  const answer = await fixture.vault.decide(signed, fixture.governance);
  const decline = await lastDecline(fixture);
  const taskId = `t-${hex(TASK_REQUEST.digest(request)).slice(0, 32)}`;
  const events = await fixture.vault.log.entriesForTask(taskId);
  expect(events).toHaveLength(1);
  const leaving = Buffer.concat([answer, ...events.map(({ event }) => event)]);
  expect(decline?.reason).toBe("budget_exhausted");
  for (const secret of ["exhausted", "budget_", Buffer.from(decline?.set_digest ?? [])]) {
    expect(leaving.includes(secret)).toBe(false);
  }
});

function personalBudget(policy: Policy): Policy {
  return {
    ...policy,
    privacy: { ...policy.privacy, budgets: [budgetOf("personal_use", 5)] },
  };
}

test("[PB-8] of one record the operator learns whether it is unknown, without consent, or spent", async () => {
  const fixture = await newFixture({ policy: personalBudget });
  await stocked(fixture);
  const commitment = await ingestReceipt(fixture);
  const { vault, governance } = fixture;
  const decided = async (name: string, of: Uint8Array) => {
    const { signed } = await parseRequest(fixture, name, of, 3);
    await vault.decide(signed, governance);
    return (await lastDecline(fixture))?.reason;
  };
  expect(await decided("a", new Uint8Array(32))).toBe("record_unknown");
  expect(await decided("b", commitment)).toBe("consent_missing");
  await consent(vault, "personal_use", ["anna"]);
  await decided("c", commitment);
  expect(await decided("d", commitment)).toBe("budget_exhausted");
});

test("a declined request is kept once, and takes no change", async () => {
  const fixture = await newFixture();
  await stocked(fixture);
  await fixture.vault.revokeGrant("grant-query");
  await ask(fixture, "a");
  await ask(fixture, "a");
  expect(await fixture.vault.ledger.declines({ after: 0, limit: 10 })).toHaveLength(1);
  await fixture.vault.close();
  const { DatabaseSync } = await import("node:sqlite");
  const database = new DatabaseSync(`${fixture.directory}/vault.db`);
  expect(() => database.exec("delete from decline")).toThrow("append-only");
  database.close();
});

test("[AC-4] a dry run says the price and whom it would charge, and leaves no trace", async () => {
  const fixture = await newFixture();
  await stocked(fixture);
  const { vault, governance, clock } = fixture;
  await ask(fixture, "held");
  await ask(fixture, "held too");
  clock.nowMs += 130_000;
  // Both reservations are overdue: the next admission gives them back, so the dry run must count them so.
  const logged = vault.log.size;
  const before = await vault.status();
  const file = fs.readFileSync(`${fixture.directory}/vault.db`);
  const dry = await vault.ledger.dryRun(draftOf(fixture), governance);
  expect(dry).toMatchObject({ outcome: "admitted", code: null, reason: null, message: null });
  expect(dry.cost).toMatchObject({
    charged_micro: COST,
    rounds: 1,
    allowance_micro: 20_000_000,
    privacy_class: 2,
    grant_id: "grant-query",
    records: 12,
    subjects: 12,
    exhausted: 0,
  });
  expect(vault.log.size).toBe(logged);
  expect(await vault.status()).toEqual(before);
  expect(fs.readFileSync(`${fixture.directory}/vault.db`).equals(file)).toBe(true);
  expect(await ask(fixture, "real")).toBe("reserved");
});

test.for([
  { title: "too cheap", changes: { epsilon_micro: 1 }, code: "PRIVACY_BUDGET_EXCEEDED" },
  { title: "by a stranger", changes: { actor_id: "nobody" }, code: "AUTH_UNKNOWN_ACTOR" },
  { title: "by a Vault", changes: { actor_id: "vault-2" }, code: "AUTH_ROLE_REFUSED" },
  { title: "for one Vault", changes: { vault_ids: ["vault-1"] }, code: "POLICY_DECLINED" },
  {
    title: "with Vaults out of order",
    changes: { vault_ids: ["vault-2", "vault-1"] },
    code: "SCHEMA_MALFORMED",
  },
])("a dry run of a request $title says what refuses it", async ({ changes, code }) => {
  const fixture = await newFixture();
  await stocked(fixture);
  const dry = await fixture.vault.ledger.dryRun(draftOf(fixture, changes), fixture.governance);
  expect(dry).toMatchObject({ outcome: "refused", code, cost: null });
  expect(dry.message).not.toBe(null);
});
