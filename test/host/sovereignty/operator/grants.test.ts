import { beforeEach, expect, test } from "vitest";

import { operate, type Operated } from "../../http/vault/operated.ts";
import { newFixture, type Fixture } from "../vault-fixture.ts";

let fixture: Fixture;
let operated: Operated;

beforeEach(async () => {
  fixture = await newFixture();
  operated = await operate(fixture);
});

const HOUR_MS = 3_600_000;

function iso(timeMs: number): string {
  return new Date(timeMs).toISOString();
}

function grant(id: string, ...more: string[]) {
  const words = ["--actor", "analyst", "--class", "query", "--scope", "customers", ...more];
  return operated.vault("grant", "--grant", id, ...words);
}

async function listed(...words: string[]) {
  const { out, err } = await operated.vault("grants", "--json", ...words);
  expect(err).toBe("");
  const answer: {
    grants: { grant_id: string; state: string; revoked_reason: string | null }[];
    next: string | null;
  } = JSON.parse(out);
  return answer;
}

async function statesOf(...words: string[]) {
  return (await listed(...words)).grants.map(({ grant_id, state }) => `${grant_id} ${state}`);
}

test("[AZ-1] grants are listed with the state that their window and revocation give them", async () => {
  const now = fixture.clock.nowMs;
  await grant("always");
  await grant("later", "--from", iso(now + HOUR_MS));
  await grant("now", "--from", iso(now), "--until", iso(now + HOUR_MS));
  await grant("past", "--until", iso(now), "--purpose", "marketing");
  await grant("taken");
  await operated.vault("revoke", "--grant", "taken", "--reason", "agreement_ended");
  expect(await statesOf()).toEqual([
    ...["always in_force", "later not_yet", "now in_force", "past ended", "taken revoked"],
  ]);
  for (const state of ["in_force", "not_yet", "ended", "revoked"]) {
    const own = await statesOf("--state", state);
    expect(own).toEqual((await statesOf()).filter((each) => each.endsWith(` ${state}`)));
  }
  fixture.clock.nowMs = now + HOUR_MS;
  expect(await statesOf()).toEqual([
    ...["always in_force", "later in_force", "now ended", "past ended", "taken revoked"],
  ]);
  expect((await listed("--state", "revoked")).grants[0]?.revoked_reason).toBe("agreement_ended");
  expect((await operated.vault("grants")).out).toContain("revoked (agreement_ended)");
});

test("grants come in pages, and of one actor alone", async () => {
  for (const id of ["a", "b", "c", "d", "e"]) await grant(id);
  await operated.vault(
    "grant",
    "--grant",
    "z",
    "--actor",
    "other",
    "--class",
    "train",
    "--scope",
    "customers",
  );
  const seen: string[] = [];
  let after: string | null = "0";
  while (after !== null) {
    const page = await listed("--limit", "2", "--after", after);
    expect(page.grants.length).toBeLessThanOrEqual(2);
    seen.push(...page.grants.map(({ grant_id }) => grant_id));
    after = page.next;
  }
  expect(seen).toEqual(["a", "b", "c", "d", "e", "z"]);
  expect(await statesOf("--actor", "other")).toEqual(["z in_force"]);
});

test("[AZ-1] a window that nothing is in, and a revocation without a known reason, are refused", async () => {
  const now = iso(fixture.clock.nowMs);
  const empty = await grant("empty", "--from", now, "--until", now);
  expect(empty.exit).toBe(1);
  expect(empty.err).toContain("SCHEMA_MALFORMED: grant not_after_ms: expected a time after");
  await grant("g");
  expect(await operated.vault("revoke", "--grant", "g", "--reason", "whim")).toMatchObject({
    exit: 2,
  });
  expect(
    await operated.post("/v1/vault/grants/revoke", { grant_id: "g", reason: "whim" }),
  ).toMatchObject({ status: 400, body: { code: "SCHEMA_MALFORMED", field: "body.reason" } });
  expect(await statesOf()).toEqual(["g in_force"]);
});

test.for([
  { query: "state=maybe", field: "query.state" },
  { query: "limit=0", field: "query.limit" },
  { query: "limit=1001", field: "query.limit" },
  { query: "actor=-", field: "query.actor" },
  { query: "x=1", field: "query" },
])("[CB-2] the list refuses ?$query by its field", async ({ query, field }) => {
  expect(await operated.call(`/v1/vault/grants?${query}`)).toMatchObject({
    status: 400,
    body: { code: "SCHEMA_MALFORMED", field },
  });
});

test("a grant is revoked once, also by two at once", async () => {
  await grant("g");
  const both = await Promise.all([
    operated.vault("revoke", "--grant", "g", "--reason", "misuse"),
    operated.vault("revoke", "--grant", "g", "--reason", "superseded"),
  ]);
  expect(new Set(both.map(({ exit }) => exit))).toEqual(new Set([0, 1]));
});
