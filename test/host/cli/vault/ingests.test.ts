import * as fs from "node:fs";
import path from "node:path";

import { beforeEach, expect, test } from "vitest";

import { sha256, utf8 } from "../../../../protocol/index.ts";
import { operate, type Operated } from "../../http/vault/operated.ts";
import {
  bytesIn,
  customerCsv,
  newFixture,
  newFolder,
  type Fixture,
} from "../../sovereignty/vault-fixture.ts";

let fixture: Fixture;
let operated: Operated;

beforeEach(async () => {
  fixture = await newFixture();
  operated = await operate(fixture);
});

/** More than two batches. */
const ROWS = 25_000;
const CALL = { scope: "customers", format: "csv", name: "rows.csv", onError: "abort" } as const;

/** Sends all but the end of a source and goes away when a batch is staged. */
async function interrupted(csv: string): Promise<string> {
  const stop = new AbortController();
  async function* source() {
    yield* bytesIn(csv.slice(0, -1_000));
    for (;;) {
      const { open } = await operated.client.ingests();
      if ((open[0]?.staged.batches ?? 0) > 0) break;
    }
    stop.abort();
    await new Promise(() => undefined);
  }
  const sent = operated.client.ingest({ ...CALL, source: source(), signal: stop.signal });
  await expect(sent).rejects.toMatchObject({ code: "COORDINATION_UNAVAILABLE" });
  for (;;) {
    const { open } = await operated.client.ingests();
    if (open[0]?.state === "interrupted") return open[0].ingest_id;
  }
}

function save(name: string, content: string): string {
  const file = path.join(newFolder(), name);
  fs.writeFileSync(file, content);
  return file;
}

test("[DS-1] an interrupted ingest is listed, shows no record, and the same command ends it", async () => {
  const csv = customerCsv(ROWS);
  const ingest = await interrupted(csv);
  expect(await fixture.vault.status()).toMatchObject({ records: 0 });
  const listed = await operated.vault("ingests");
  expect(listed).toMatchObject({ exit: 0, err: "" });
  expect(listed.out).toMatch(
    new RegExp(
      `^${ingest} {2}interrupted {2}customers {2}rows\\.csv: \\d+ rows, [12] batches sealed\\n$`,
    ),
  );
  const file = save("rows.csv", csv);
  const ended = await operated.ingest(file, "--scope", "customers");
  expect(ended).toMatchObject({ exit: 0, err: "" });
  expect(ended.out).toContain(`${ROWS} records in 3 batches`);
  expect(await fixture.vault.status()).toMatchObject({ records: ROWS, subjects: ROWS });
  const after = await operated.vault("ingests");
  expect(after.out).toBe(
    `${ingest}  published    customers  ${ROWS} records in 3 batches, 0 rows set aside\n`,
  );
});

test("[DS-1] an abandoned ingest leaves nothing, and cannot be abandoned twice", async () => {
  const ingest = await interrupted(customerCsv(ROWS));
  const batches = path.join(fixture.directory, "batches");
  expect(fs.readdirSync(batches).length).toBeGreaterThan(0);
  expect(await operated.vault("abandon", ingest)).toEqual({
    exit: 0,
    out: `${ingest}: removed\n`,
    err: "",
  });
  expect(fs.readdirSync(batches)).toEqual([]);
  expect((await operated.vault("ingests")).out).toBe("no ingest\n");
  const again = await operated.vault("abandon", ingest);
  expect(again).toMatchObject({ exit: 1, out: "" });
  expect(again.err).toContain("SCHEMA_INGEST_UNKNOWN");
});

test("[PL-1] rows that were set aside are listed by page, without their values", async () => {
  const bad = Array.from({ length: 130 }, (_, row) => `x-${row},x@x,secret,1,Porto,1\n`).join("");
  const source = bytesIn(customerCsv(3) + bad);
  const report = await operated.client.ingest({ ...CALL, onError: "quarantine", source });
  expect(report).toMatchObject({ records: 3, quarantined: 130 });
  expect(report.first_quarantined).toHaveLength(100);
  const first = await operated.vault("quarantine", report.ingest_id, "--limit", "120");
  const lines = first.out.trimEnd().split("\n");
  expect(lines[0]).toBe("line 5, column customer.age: expected a whole number");
  expect(lines.at(-1)).toBe("more with --after 124");
  const rest = await operated.vault("quarantine", report.ingest_id, "--after", "124", "--json");
  expect(JSON.parse(rest.out)).toHaveLength(10);
  const end = await operated.vault("quarantine", report.ingest_id, "--after", "134");
  expect(end.out).toBe("no row\n");
  expect(first.out + rest.out).not.toContain("secret");
});

test.for([
  { path: "quarantine?ingest=x", field: "query.ingest" },
  { path: `quarantine?ingest=${"0".repeat(32)}&limit=1001`, field: "query.limit" },
  { path: `quarantine?ingest=${"0".repeat(32)}&after=-1`, field: "query.after" },
  { path: "quarantine", field: "query.ingest" },
])("refuses $path by its field", async ({ path: at, field }) => {
  expect(await operated.call(`/v1/vault/ingests/${at}`)).toMatchObject({
    status: 400,
    body: { code: "SCHEMA_MALFORMED", field },
  });
});

test("an ingest that nobody knows has no rows and is not abandoned", async () => {
  const ingest = "0".repeat(32);
  const rows = await operated.call(`/v1/vault/ingests/quarantine?ingest=${ingest}`);
  expect(rows).toEqual({ status: 200, body: [] });
  const body = { ingest_id: ingest };
  expect(await operated.post("/v1/vault/ingests/abandon", body)).toMatchObject({
    status: 403,
    body: { code: "SCHEMA_INGEST_UNKNOWN" },
  });
  expect(await operated.post("/v1/vault/ingests/abandon", {})).toMatchObject({
    body: { code: "SCHEMA_MALFORMED", field: "body.ingest_id" },
  });
});

test("a source's name has a limit", async () => {
  const source = bytesIn(customerCsv(1));
  const call = { ...CALL, name: "n".repeat(1_000), source };
  await expect(operated.client.ingest(call)).rejects.toMatchObject({ code: "SCHEMA_MALFORMED" });
});

test("[DS-1] a source that is published already is not sent again: the Vault says so at once", async () => {
  const csv = customerCsv(30);
  const file = save("rows.csv", csv);
  const words = [file, "--scope", "customers"];
  let sent = 0;
  const vault: Fixture["vault"] = {
    ...fixture.vault,
    ingest: (args) => {
      sent += 1;
      return fixture.vault.ingest(args);
    },
  };
  operated = await operate({ ...fixture, vault });
  const before = await operated.ingest(...words);
  expect(before).toMatchObject({ exit: 0 });
  const digest = sha256(utf8(csv));
  const source = { scope: "customers", format: "csv", digest } as const;
  const report = await operated.client.published(source);
  expect(report).toMatchObject({ records: 30 });
  // Other bytes, another scope, another reading of the same bytes: none of it was published.
  const mapping = utf8(JSON.stringify({ csv: { separator: ";" } }));
  for (const other of [
    { ...source, digest: sha256(utf8(`${csv} `)) },
    { ...source, scope: "receipts" },
    { ...source, format: "jsonl" as const },
    { ...source, mapping },
  ]) {
    expect(await operated.client.published(other)).toBeNull();
  }
  const events = fixture.vault.log.size;
  expect(await operated.ingest(...words)).toEqual(before);
  expect(fixture.vault.log.size).toBe(events);
  expect(sent).toBe(1);
});
