import { DatabaseSync } from "node:sqlite";
import path from "node:path";

import { beforeEach, expect, test } from "vitest";

import {
  eventDigest,
  eventLeaf,
  fromHex,
  hex,
  parseEvent,
  verifyInclusion,
} from "../../../../protocol/index.ts";
import { operate, type Operated } from "../../http/vault/operated.ts";
import { newFixture, stocked, type Fixture } from "../vault-fixture.ts";
import { ask, begin, runTask } from "./run-task.ts";

let fixture: Fixture;
let operated: Operated;

beforeEach(async () => {
  fixture = await newFixture();
  await stocked(fixture);
  operated = await operate(fixture);
});

interface Trail {
  readonly log: { readonly size: number; readonly root: string };
  readonly entries: readonly {
    readonly sequence: number;
    readonly type: string;
    readonly time_ms: number;
    readonly task_id: string | null;
    readonly grant_id: string | null;
    readonly actor_id: string | null;
    readonly record_scope: string | null;
    readonly usage_scope: string | null;
    readonly reservation_id: string | null;
    readonly digest: string;
    readonly proof: readonly string[] | null;
  }[];
  readonly next: number | null;
}

async function audit(...words: string[]): Promise<Trail> {
  const { out, err } = await operated.vault("audit", "--json", ...words);
  expect(err).toBe("");
  return JSON.parse(out);
}

async function typesOf(...words: string[]): Promise<string[]> {
  return (await audit(...words)).entries.map(({ type }) => type);
}

const TASK_TYPES = [
  "authorization.decided",
  "budget.reserved",
  "budget.executing",
  "budget.committed",
];

test("[DS-6] a task's trail links it to its grant, actor, record scope, purpose and reservation", async () => {
  const { task_id } = await runTask(fixture, "one");
  await runTask(fixture, "two");
  const { entries } = await audit("--task", task_id);
  expect(entries.map(({ type }) => type)).toEqual(TASK_TYPES);
  const linked = {
    ...{ task_id, grant_id: "grant-query", actor_id: fixture.network.submitter.actorId },
    ...{ record_scope: "customers", usage_scope: "marketing" },
  };
  for (const entry of entries) expect(entry).toMatchObject(linked);
  const reservations = entries.slice(1).map(({ reservation_id }) => reservation_id);
  expect(new Set(reservations).size).toBe(1);
  expect(await typesOf("--reservation", reservations[0] ?? "")).toEqual(TASK_TYPES.slice(1));
});

test("[DS-6] each link finds its events, and together they narrow", async () => {
  const begun = fixture.clock.nowMs;
  await runTask(fixture, "one");
  fixture.clock.nowMs += 60_000;
  const { task_id } = await begin(fixture, await ask(fixture, "two", { usage_scope: "analytics" }));
  expect(await typesOf("--grant", "grant-query")).toEqual([
    ...["grant.added", ...TASK_TYPES, ...TASK_TYPES.slice(0, 3)],
  ]);
  expect(await typesOf("--grant", "grant-train")).toEqual(["grant.added"]);
  expect(await typesOf("--purpose", "analytics")).toEqual([
    "consent.granted",
    ...TASK_TYPES.slice(0, 3),
  ]);
  expect(await typesOf("--type", "budget.executing")).toHaveLength(2);
  expect(await typesOf("--type", "budget.executing", "--task", task_id)).toHaveLength(1);
  const later = new Date(begun + 1).toISOString();
  expect(await typesOf("--since", later)).toEqual(TASK_TYPES.slice(0, 3));
  const earlier = await typesOf("--until", later, "--scope", "customers");
  expect(earlier.slice(-TASK_TYPES.length)).toEqual(TASK_TYPES);
  expect(await typesOf("--actor", "nobody")).toEqual([]);
});

test("[DS-6] the trail pages to its end without gap or repetition", async () => {
  for (const name of ["one", "two", "three"]) await runTask(fixture, name);
  const seen: number[] = [];
  let page = await audit("--limit", "4");
  for (;;) {
    seen.push(...page.entries.map(({ sequence }) => sequence));
    if (page.next === null) break;
    page = await audit("--limit", "4", "--after", String(page.next));
  }
  expect(seen).toEqual(Array.from({ length: fixture.vault.log.size }, (_, sequence) => sequence));
});

test("[DS-6] each entry has the digest of its event, and its proof leads to the root that is printed", async () => {
  await runTask(fixture, "one");
  const { log, entries } = await audit("--proofs");
  expect(log).toMatchObject({ size: fixture.vault.log.size, root: hex(fixture.vault.log.root()) });
  for (const { sequence, digest, proof } of entries) {
    const signed = (await fixture.vault.log.entry(sequence))?.event ?? new Uint8Array(0);
    expect(digest).toBe(hex(eventDigest(signed)));
    verifyInclusion({
      ...{ leafHash: eventLeaf(signed), index: sequence, size: log.size },
      ...{ proof: (proof ?? []).map(fromHex), root: fromHex(log.root) },
    });
  }
  expect((await audit()).entries[0]?.proof).toBeNull();
});

test("the trail reads as a table, too", async () => {
  const { task_id } = await runTask(fixture, "one");
  const { out } = await operated.vault("audit", "--task", task_id, "--limit", "2");
  expect(out).toMatch(/^# +TIME +TYPE +TASK/);
  expect(out).toContain("authorization.decided");
  expect(out).toMatch(/more: --after \d+\n$/);
});

/** The links of a store, without whatever made them. */
function linksIn(directory: string, statement?: string) {
  const database = new DatabaseSync(path.join(directory, "vault.db"));
  if (statement !== undefined) database.exec(statement);
  const rows = database.prepare("select * from audit_link order by sequence").all();
  database.close();
  return rows;
}

test("[DS-6] events from before there were links are linked at the next start, each once", async () => {
  await runTask(fixture, "one");
  await fixture.vault.close();
  const linked = linksIn(fixture.directory);
  for (const statement of ["delete from audit_link", "delete from audit_link where sequence > 3"]) {
    linksIn(fixture.directory, statement);
    await fixture.reopen().then((vault) => vault.close());
    expect(linksIn(fixture.directory)).toEqual(linked);
  }
});

test("[DS-6] an event and its link are written together or not at all", async () => {
  const { vault } = fixture;
  const before = vault.log.size;
  await expect(vault.revokeGrant("unknown")).rejects.toMatchObject({ code: "AUTH_GRANT_MISSING" });
  const taken = vault.grant({
    ...{ grant_id: "grant-query", actor_id: "a", task_class: "query", domain_id: "customer" },
    ...{ record_scope: null, usage_scope: null, not_before_ms: null, not_after_ms: null },
  });
  await expect(taken).rejects.toMatchObject({ code: "AUTH_REPLAYED" });
  expect(vault.log.size).toBe(before);
  expect((await audit("--limit", "500")).entries).toHaveLength(before);
});

test.for([
  { query: "limit=501", field: "query.limit" },
  { query: "after=-2", field: "query.after" },
  { query: "since_ms=yesterday", field: "query.since_ms" },
  { query: "task=", field: "query.task" },
  { query: "subject=ann", field: "query" },
])("[CB-2] the trail refuses ?$query by its field", async ({ query, field }) => {
  expect(await operated.call(`/v1/vault/audit?${query}`)).toMatchObject({
    status: 400,
    body: { code: "SCHEMA_MALFORMED", field },
  });
});

test("no event of the log, and so nothing of its trail, names a subject", async () => {
  await fixture.vault.setConsent({
    ...{ usageScope: "training", subjects: ["c-3"], decision: { state: "withdrawn" } },
  });
  for (const { event } of await fixture.vault.log.entries(0, 1_000)) {
    expect(JSON.stringify(parseEvent(event))).not.toContain("c-3");
  }
  const { out } = await operated.vault("audit", "--json");
  expect(out).not.toContain("c-3");
});
