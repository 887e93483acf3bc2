import { expect, test } from "vitest";

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
