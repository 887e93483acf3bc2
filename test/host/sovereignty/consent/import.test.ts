import * as fs from "node:fs";
import path from "node:path";

import { beforeEach, expect, test } from "vitest";

import { firstSubjects } from "../../../../host/sovereignty/ledger/subject-set.ts";
import { hex, sha256 } from "../../../../protocol/index.ts";
import { operate, type Operated } from "../../http/vault/operated.ts";
import { bytesIn, newFixture, newFolder, type Fixture } from "../vault-fixture.ts";

const HEADER = "subject,purpose,state,expires";

let fixture: Fixture;
let operated: Operated;

beforeEach(async () => {
  fixture = await newFixture();
  operated = await operate(fixture);
});

function csvOf(...rows: string[]): string {
  return `${[HEADER, ...rows].join("\n")}\n`;
}

function importRows(csv: string, importId = "i-1", chunkRows = 4) {
  const source = bytesIn(csv, 97);
  return fixture.vault.operator.importConsents({ importId, source, chunkRows });
}

async function stateOf(subject: string, purpose: string): Promise<string | undefined> {
  const trail = await fixture.vault.operator.subjectTrail(subject, {
    afterConsent: 0,
    afterUse: 0,
  });
  return trail.consents.find(({ usage_scope }) => usage_scope === purpose)?.state;
}

function fileOf(text: string): string {
  const file = path.join(newFolder(), "consents.csv");
  fs.writeFileSync(file, text);
  return file;
}

const TEN = Array.from({ length: 10 }, (_, index) => `s-${index},marketing,granted,`);

test("[CO-1] [CO-2] a file records decisions by subject and purpose, with their end", async () => {
  const report = await importRows(
    csvOf(
      "anna,marketing,granted,",
      'ben,"training",granted,2030-01-01T00:00:00Z',
      "cleo,marketing,withdrawn,",
      "dora,analytics,granted,1999-01-01T00:00:00+01:00",
      "emil,identifiable_targeting,granted,",
    ),
  );
  expect(report).toEqual({ import_id: "i-1", rows: 5, repeated: 0, complete: true, faults: [] });
  expect(await stateOf("anna", "marketing")).toBe("granted");
  expect(await stateOf("anna", "training")).toBe("none");
  expect(await stateOf("ben", "training")).toBe("granted");
  expect(await stateOf("cleo", "marketing")).toBe("withdrawn");
  expect(await stateOf("dora", "analytics")).toBe("expired");
  expect(await stateOf("emil", "identifiable_targeting")).toBe("granted");
  expect(await stateOf("emil", "marketing")).toBe("none");
  fixture.clock.nowMs = Date.parse("2030-01-01T00:00:00Z");
  expect(await stateOf("ben", "training")).toBe("expired");
});

test("of several rows about one subject and purpose the last counts, in a chunk and across", async () => {
  await importRows(
    csvOf(
      ...["anna,marketing,granted,", "anna,marketing,withdrawn,", "ben,marketing,withdrawn,"],
      ...["anna,training,granted,", "ben,marketing,granted,"],
    ),
  );
  expect(await stateOf("anna", "marketing")).toBe("withdrawn");
  expect(await stateOf("anna", "training")).toBe("granted");
  expect(await stateOf("ben", "marketing")).toBe("granted");
});

test.for([
  { title: "no subject", row: " ,marketing,granted,", column: "subject" },
  { title: "a subject too long", row: `${"x".repeat(1025)},marketing,granted,`, column: "subject" },
  { title: "a purpose nobody knows", row: "secret,fun,granted,", column: "purpose" },
  { title: "a state nobody decides", row: "secret,marketing,expired,", column: "state" },
  {
    title: "a withdrawal that ends",
    row: "secret,marketing,withdrawn,2030-01-01T00:00:00Z",
    column: "expires",
  },
  {
    title: "a time without a zone",
    row: "secret,marketing,granted,2030-01-01T00:00:00",
    column: "expires",
  },
  {
    title: "a day that is none",
    row: "secret,marketing,granted,2030-02-31T25:00:00Z",
    column: "expires",
  },
  { title: "a cell too few", row: "secret,marketing,granted", column: null },
  { title: "a cell too many", row: "secret,marketing,granted,,", column: null },
])(
  "[CO-2] $title is named by line and column, its value is not, and its chunk is not recorded",
  async ({ row, column }) => {
    const report = await importRows(csvOf(...TEN.slice(0, 6), row, ...TEN.slice(6)));
    expect(report).toMatchObject({ rows: 4, complete: false, faults: [{ line: 8, column }] });
    expect(JSON.stringify(report)).not.toContain("secret");
    expect(await stateOf("s-3", "marketing")).toBe("granted");
    for (const subject of ["s-4", "s-5", "s-6", "s-9"]) {
      expect(await stateOf(subject, "marketing")).toBeUndefined();
    }
  },
);

test("[CO-2] corrected under the same identifier it goes on, and records nothing twice", async () => {
  await importRows(csvOf(...TEN.slice(0, 6), "s-6,fun,granted,", ...TEN.slice(7)));
  const size = fixture.vault.log.size;
  expect(await importRows(csvOf(...TEN))).toMatchObject({ rows: 10, repeated: 4, complete: true });
  expect(fixture.vault.log.size).toBe(size + 2);
  expect(await importRows(csvOf(...TEN))).toMatchObject({ rows: 10, repeated: 10, complete: true });
  expect(fixture.vault.log.size).toBe(size + 2);
  const trail = await fixture.vault.operator.subjectTrail("s-0", { afterConsent: 0, afterUse: 0 });
  expect(trail.decisions).toHaveLength(1);
});

test("an identifier that recorded other bytes is refused, and they are not recorded", async () => {
  await importRows(csvOf(...TEN));
  await expect(importRows(csvOf("eve,marketing,granted,", ...TEN))).rejects.toMatchObject({
    code: "AUTH_REPLAYED",
  });
  expect(await stateOf("eve", "marketing")).toBeUndefined();
  expect(await importRows(csvOf("eve,marketing,granted,"), "i-2")).toMatchObject({ rows: 1 });
});

test("the same import twice at once records everything once", async () => {
  const size = fixture.vault.log.size;
  const both = await Promise.all([importRows(csvOf(...TEN)), importRows(csvOf(...TEN))]);
  expect(both.map(({ rows }) => rows)).toEqual([10, 10]);
  expect(both.reduce((sum, { repeated }) => sum + repeated, 0)).toBe(10);
  expect(fixture.vault.log.size).toBe(size + 3);
});

test("[CO-2] an import that breaks off goes on after a restart, exactly once", async () => {
  async function* broken() {
    yield* bytesIn(csvOf(...TEN), 40);
    throw new Error("gone");
  }
  const cut = fixture.vault.operator.importConsents({
    importId: "i",
    source: broken(),
    chunkRows: 4,
  });
  await expect(cut).rejects.toThrow("gone");
  const vault = await fixture.reopen();
  const before = vault.log.size;
  const again = await vault.operator.importConsents({
    ...{ importId: "i", source: bytesIn(csvOf(...TEN)), chunkRows: 4 },
  });
  expect(again).toMatchObject({ rows: 10, repeated: 8, complete: true });
  expect(vault.log.size).toBe(before + 1);
});

test.for([
  { title: "another column", header: "subject,purpose,state,until" },
  { title: "a column twice", header: "subject,purpose,state,state,expires" },
  { title: "a column missing", header: "subject,purpose,state" },
  { title: "nothing at all", header: "" },
])("a header with $title is refused", async ({ header }) => {
  await expect(importRows(`${header}\na,marketing,granted,\n`)).rejects.toMatchObject({
    code: "SCHEMA_UNKNOWN_COLUMN",
  });
});

test("a report lists at most 100 faulty rows", async () => {
  const rows = Array.from({ length: 300 }, (_, index) => `s-${index},fun,granted,`);
  const { faults } = await importRows(csvOf(...rows), "i", 1_000);
  expect(faults).toHaveLength(100);
});

test("[CO-3] what an import leaves in the log is a keyed commitment: no subject, and no plain digest", async () => {
  await importRows(csvOf("anna@example.org,marketing,granted,"));
  const { out } = await operated.vault("audit", "--type", "consent.imported", "--json");
  const { entries }: { entries: { body: Record<string, unknown> }[] } = JSON.parse(out);
  expect(entries[0]?.body).toEqual({
    ...{ import_id: "i-1", chunk: 0, rows: 1, subjects: expect.stringMatching(/^[0-9a-f]{64}$/) },
  });
  const plain = firstSubjects(1);
  for (const open of [plain.digest, sha256(plain.encoded)]) expect(out).not.toContain(hex(open));
  expect(out).not.toContain("anna");
});

test("the command imports, names faulty rows, and goes on by its identifier", async () => {
  const bad = fileOf(csvOf("anna,marketing,granted,", "ben,fun,granted,"));
  const first = await operated.vault("consent", "import", bad, "--id", "c-1");
  expect(first).toMatchObject({ exit: 1, err: "" });
  expect(first.out).toContain("line 3, purpose: expected one of personal_use");
  expect(first.out).toContain("--id c-1");
  const good = fileOf(csvOf("anna,marketing,granted,", "ben,training,withdrawn,"));
  const second = await operated.vault("consent", "import", good, "--id", "c-1", "--json");
  expect(second.exit).toBe(0);
  expect(JSON.parse(second.out)).toMatchObject({ rows: 2, repeated: 0, complete: true });
  const shown = await operated.vault("consent", "show", "anna");
  expect(shown.out).toContain("marketing: granted");
  expect((await operated.vault("consent", "show", "nobody")).out).toBe("no such subject\n");
  const gone = await operated.vault("consent", "import", "/nowhere.csv", "--id", "c-2");
  expect(gone.exit).not.toBe(0);
  expect(gone.err).toContain("--id c-2");
});

test("[CB-2] an import without an identifier, or of another type, is refused", async () => {
  const csv = { method: "POST", headers: { "content-type": "text/csv" }, body: csvOf(...TEN) };
  expect(await operated.call("/v1/vault/consent/import", csv)).toMatchObject({
    ...{ status: 400, body: { code: "SCHEMA_MALFORMED", field: "query.id" } },
  });
  expect(await operated.post("/v1/vault/consent/import?id=i", {})).toMatchObject({
    ...{ status: 400, body: { code: "SCHEMA_MALFORMED", field: "body" } },
  });
  expect(await operated.call("/v1/vault/consent/import?id=i", csv)).toMatchObject({
    ...{ status: 200, body: { rows: 10, complete: true } },
  });
});
