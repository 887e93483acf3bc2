import * as fs from "node:fs";
import path from "node:path";

import { beforeEach, expect, test } from "vitest";
import { z } from "zod";

import { EXIT } from "../../../../cli/index.ts";
import { requestOf, stocked, newFixture, type Fixture } from "../../sovereignty/vault-fixture.ts";
import { operate, type Operated } from "./operated.ts";

const COST = 8_000_000;
const lines = z.array(z.looseObject({ position: z.number(), kind: z.string() }));
const subject = z.looseObject({ lines: z.array(z.looseObject({})), next: z.number().nullable() });

let fixture: Fixture;
let operated: Operated;

beforeEach(async () => {
  fixture = await newFixture();
  await stocked(fixture);
  operated = await operate(fixture);
  for (const name of ["a", "b", "c"]) await decide(name);
  await decide("d", { usage_scope: "analytics" });
});

async function decide(name: string, changes = {}): Promise<void> {
  const { signed } = await requestOf(fixture, name, changes);
  await fixture.vault.decide(signed, fixture.governance);
}

/** The file of a request that its author would give to `symphony submit`. */
function requestFile(epsilon_micro = COST) {
  return {
    record_scope: "customers",
    usage_scope: "analytics",
    vault_ids: ["vault-2", "vault-1"],
    parameters: {
      task_class: "query",
      predicate: {
        operator: "AND",
        operands: [{ attribute: "customer.age", op: "range", min: 20, max: 60 }],
      },
      audience_cap: 1000,
    },
    epsilon_micro,
  };
}

test("[PB-8] the statement pages through the ledger, by purpose and by record scope", async () => {
  const first = lines.parse((await operated.call("/v1/vault/ledger?limit=2")).body);
  expect(first.map(({ kind }) => kind)).toEqual(["reserve", "reserve"]);
  const after = first.at(-1)?.position ?? 0;
  const rest = lines.parse((await operated.call(`/v1/vault/ledger?after=${after}`)).body);
  expect(rest).toMatchObject([{ usage_scope: "analytics", epsilon_micro: COST, flagged: false }]);
  const marketing = await operated.call("/v1/vault/ledger?usage_scope=marketing");
  expect(marketing.body).toHaveLength(2);
  expect((await operated.call("/v1/vault/ledger?record_scope=customers")).body).toHaveLength(3);
  expect((await operated.call("/v1/vault/ledger?record_scope=receipts")).body).toEqual([]);
});

test.for([
  "/v1/vault/ledger?limit=0",
  "/v1/vault/ledger?limit=1001",
  "/v1/vault/ledger?after=-1",
  "/v1/vault/ledger?after=x",
  "/v1/vault/ledger?usage_scope=gossip",
  "/v1/vault/ledger?other=1",
  "/v1/vault/ledger/declines?limit=9999",
])("%s is malformed", async (at) => {
  expect(await operated.call(at)).toMatchObject({
    status: 400,
    body: { code: "SCHEMA_MALFORMED" },
  });
});

test("[PB-8] a subject's statement has its tasks and balances, page by page; a stranger's has nothing", async () => {
  const page = { subject: "c-3", limit: 2 };
  const { body } = await operated.post("/v1/vault/ledger/subject", page);
  expect(body).toMatchObject({
    balances: expect.arrayContaining([
      { usage_scope: "marketing", consumed_micro: 0, reserved_micro: 2 * COST },
      { usage_scope: "analytics", consumed_micro: 0, reserved_micro: COST },
    ]),
    lines: [
      { usage_scope: "marketing", state: "reserved", reserved_micro: COST, consumed_micro: 0 },
      { usage_scope: "marketing", state: "reserved" },
    ],
  });
  const after = subject.parse(body).next;
  const last = await operated.post("/v1/vault/ledger/subject", { ...page, after });
  expect(last.body).toMatchObject({ lines: [{ usage_scope: "analytics" }] });
  const beyond = { ...page, after: subject.parse(last.body).next ?? 0 };
  const end = await operated.post("/v1/vault/ledger/subject", beyond);
  expect(end.body).toMatchObject({ lines: [], next: null });
  const stranger = await operated.post("/v1/vault/ledger/subject", { subject: "c-999" });
  expect(stranger.body).toEqual({ balances: [], lines: [], next: null });
  const malformed = await operated.post("/v1/vault/ledger/subject", { subject: "" });
  expect(malformed.status).toBe(400);
});

test("the command line shows statement and declines", async () => {
  const whole = await operated.vault("statement");
  expect(whole).toMatchObject({ exit: EXIT.ok, err: "" });
  expect(whole.out.split("\n")).toHaveLength(3 + 1);
  expect(whole.out).toContain("reserve");
  const one = await operated.vault("statement", "--subject", "c-3", "--limit", "1");
  expect(one.out).toContain("16 reserved");
  expect(one.out).toContain("more: --after");
  const declined = await operated.vault("declines");
  expect(declined.out).toContain("budget_exhausted");
  expect(declined.out).toContain("12 exhausted");
  const json = await operated.vault("declines", "--json");
  expect(JSON.parse(json.out)).toMatchObject([{ reason: "budget_exhausted", subjects: 12 }]);
  expect((await operated.vault("statement", "--purpose", "gossip")).exit).toBe(EXIT.usage);
  expect((await operated.vault("statement", "--limit", "many")).exit).toBe(EXIT.usage);
});

test.for([
  { title: "fits", epsilon: COST, exit: EXIT.ok, said: "admitted" },
  { title: "is too cheap", epsilon: 1, exit: EXIT.refused, said: "refused: epsilon_micro" },
  {
    title: "is too dear",
    epsilon: 100 * COST,
    exit: EXIT.refused,
    said: "declined: budget_exhausted (the submitter is told POLICY_DECLINED)",
  },
])("symphony vault dry-run of a request that $title", async ({ epsilon, exit, said }) => {
  const file = path.join(fixture.directory, "request.json");
  fs.writeFileSync(file, JSON.stringify(requestFile(epsilon)));
  const { actorId } = fixture.network.submitter;
  const before = await fixture.vault.status();
  const spoken = await operated.vault("dry-run", file, "--actor", actorId);
  expect(spoken).toMatchObject({ exit, err: "" });
  expect(spoken.out).toContain(said);
  const json = await operated.vault("dry-run", file, "--actor", actorId, "--json");
  expect(JSON.parse(json.out)).toMatchObject({ governance_size: 0 });
  expect(await fixture.vault.status()).toEqual(before);
});
