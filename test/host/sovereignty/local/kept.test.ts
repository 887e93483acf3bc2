import path from "node:path";
import { DatabaseSync } from "node:sqlite";

import { expect, test } from "vitest";
import { z } from "zod";

import { parseMapping } from "../../../../host/sovereignty/index.ts";
import { sha256, utf8 } from "../../../../protocol/index.ts";
import { customersWith } from "../../../helpers/pool-sources.ts";
import { localKeys, openAll } from "../sealed-vault.ts";
import { bytesIn, newFixture, newFolder, targetOf, type Fixture } from "../vault-fixture.ts";

const HEADER = "customer.id,customer.email,customer.age,customer.balance,customer.city";
const CUSTOMER = HEADER.split(",");

function ingest(
  fixture: Fixture,
  source: { readonly text: string; readonly format: "csv" | "jsonl"; readonly name?: string },
  mapping: object,
) {
  const { text, ...how } = source;
  return fixture.vault.ingest({
    ...{ ...targetOf(fixture, "customers"), ...how, onError: "abort" },
    mapping: parseMapping(utf8(JSON.stringify(mapping))),
    source: bytesIn(text, 500),
  });
}

/** Customers as JSON Lines, with some more keys. */
function linesWith(rows: number, more: (row: number) => object): string {
  const lines = Array.from({ length: rows }, (_, row) => {
    const cells = [`j-${row}`, `j${row}@x.test`, 30, "10.5", "Porto"];
    const record = Object.fromEntries(CUSTOMER.map((name, at) => [name, cells[at]]));
    return JSON.stringify({ ...record, "customer.subscribed": 1, ...more(row) });
  });
  return `${lines.join("\n")}\n`;
}

test("[LA-1] kept values are in the sealed batches under a keyed name, of CSV and of JSON Lines, and counted", async () => {
  const directory = newFolder();
  const custody = localKeys(`${newFolder()}/keys.cbor`);
  const fixture = await newFixture({ directory, custody });
  const keep = { years: { type: "integer" }, score: { type: "decimal", scale: 2 } };
  const csv = customersWith(3, "years,score,note", (row) => `${row},${row}.5,n`);
  await ingest(fixture, { text: csv, format: "csv" }, { keep, ignore: ["note"] });
  const jsonl = linesWith(2, (row) =>
    row === 0 ? { years: 7, note: "n" } : { score: "0.25", h: 2 },
  );
  const more = { ...keep, h: { type: "text" } };
  await ingest(fixture, { text: jsonl, format: "jsonl" }, { keep: more, ignore: ["note"] });
  const batches = await openAll(directory, custody);
  const { attributes } = await fixture.vault.attributes.list("customers", fixture.governance);
  const idOf = (column: string): string =>
    attributes.find((each) => each.column === column)?.local_id ?? "";
  const valuesOf = (column: string) => batches.map(({ columns }) => columns.get(idOf(column)));
  expect(valuesOf("years")).toEqual([
    [0, 1, 2],
    [7, null],
  ]);
  expect(valuesOf("score")).toEqual([
    [50, 150, 250],
    [null, 25],
  ]);
  expect(valuesOf("note")).toEqual([undefined, undefined]);
  const names = batches.flatMap(({ header }) => header.columns.map(({ name }) => name));
  expect(names).not.toContain("years");
  expect(attributes.map(({ column, type }) => [column, type])).toEqual([
    // As it looked, not as what it is kept.
    ["h", "integer"],
    ["note", "text"],
    ["score", "decimal"],
    ["years", "integer"],
  ]);
});

test("[LA-1] of two ingests at once that keep a column as different types one is published, the other leaves nothing", async () => {
  const fixture = await newFixture();
  const sources = ["integer", "text"].map((type, index) => {
    const text = customersWith(2 + index, "years", String);
    return ingest(fixture, { text, format: "csv", name: type }, { keep: { years: { type } } });
  });
  const outcomes = await Promise.allSettled(sources);
  const failed = outcomes.filter((each) => each.status === "rejected");
  expect(failed).toMatchObject([{ reason: { code: "DERIVATION_LOCAL_REFUSED" } }]);
  const { open, published } = await fixture.vault.records.runs();
  expect([open.length, published.length]).toEqual([0, 1]);
  const vault = await fixture.reopen();
  expect((await vault.records.runs()).published).toHaveLength(1);
});

test("[LA-1] what a crash left to publish and keeps too many columns by now is given up, and the Vault opens", async () => {
  const fixture = await newFixture();
  await fixture.vault.close();
  const file = path.join(fixture.directory, "vault.db");
  const query = (statement: string) => {
    using database = new DatabaseSync(file);
    database.exec(statement);
  };
  query("create trigger crash before insert on ingest begin select raise(abort, 'crash'); end");
  const vault = await fixture.reopen();
  const source = { text: customersWith(2, "years", String), format: "csv" } as const;
  const ingested = ingest({ ...fixture, vault }, source, { keep: { years: { type: "integer" } } });
  await expect(ingested).rejects.toThrow();
  await vault.close();
  query("drop trigger crash");
  query(`insert into local_kept with recursive n (i) as (select 1 union all select i + 1 from n where i < 32)
         select 'customers', 'column ' || i, 'local ' || i, 'text', 0, 0 from n`);
  const { records } = await fixture.reopen();
  expect(await records.runs()).toEqual({ open: [], published: [] });
});

const recordLine = z.object({ attributes: z.record(z.string(), z.unknown()) });

test("[LA-1] a subject's export has an attribute and a kept column whose sources call it the same", async () => {
  const fixture = await newFixture();
  const mapping = {
    attributes: { "customer.age": { column: "years" } },
    keep: { "customer.age": { type: "integer" } },
  };
  await ingest(fixture, { text: customersWith(2, "years", () => "44"), format: "csv" }, mapping);
  const records: Record<string, unknown>[] = [];
  for await (const line of fixture.vault.custody.exportSubject("c-1")) {
    if (line.type === "record") records.push(recordLine.parse(line).attributes);
  }
  const [record = {}] = records;
  expect(record).toMatchObject({ "customer.age": 44 });
  expect(Object.entries(record).filter(([name]) => name.startsWith("local-"))).toMatchObject([
    [expect.any(String), 30],
  ]);
});

/** What no mapping can keep, by column and type; what it ignores besides. */
const REFUSED: readonly (readonly [Readonly<Record<string, object>>, ...string[]])[] = [
  [{ "customer.age": { type: "integer" } }, "years"],
  [{ years: { type: "text" } }, "years"],
  [{ tears: { type: "text" } }, "years"],
  [{ years: { type: "integer", scale: 2 } }],
  [{ years: { type: "bytes" } }],
  [{ [`y${"x".repeat(64)}`]: { type: "text" } }],
  [Object.fromEntries(Array.from({ length: 33 }, (_, n) => [`c${n}`, { type: "text" }]))],
];

test("[LA-1] columns that are taken, ignored, absent, misnamed or too many are not kept", async () => {
  const fixture = await newFixture();
  const source = { text: customersWith(2, "years", String), format: "csv" } as const;
  for (const [keep, ...ignore] of REFUSED) {
    const work = async () => ingest(fixture, source, { keep, ignore });
    await expect(work()).rejects.toMatchObject({ code: expect.stringMatching(/^SCHEMA_/) });
  }
  const keep = { years: { type: "integer" } };
  const report = await ingest(fixture, source, { keep });
  expect(await ingest(fixture, source, { keep })).toEqual(report);
  const { records } = fixture.vault;
  expect((await records.runs()).published).toHaveLength(1);
  const digest = sha256(utf8(source.text));
  const about = { ...targetOf(fixture, "customers"), format: "csv", digest } as const;
  const mapping = parseMapping(utf8(JSON.stringify({ keep })));
  expect(await records.published({ ...about, mapping })).toEqual(report);
  expect(await records.published(about)).toBeNull();
});
