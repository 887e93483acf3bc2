import * as fs from "node:fs";
import path from "node:path";

import { parquetWriteBuffer } from "hyparquet-writer";
import { beforeEach, expect, test } from "vitest";

import { runIngest } from "../../../../host/cli/vault/ingest.ts";
import type { CliIo } from "../../../../cli/index.ts";
import { spoken, type Spoken } from "../../../helpers/spoken.ts";
import { operate, type Operated } from "../../http/vault/operated.ts";
import {
  CUSTOMER_HEADER,
  PNG,
  customerCsv,
  newFixture,
  newFolder,
  targetOf,
  type Fixture,
} from "../../sovereignty/vault-fixture.ts";
import { setTarget } from "./ingest-sets.ts";

let fixture: Fixture;
let operated: Operated;
/** Sources that the Vault was sent. */
let sent = 0;

beforeEach(async () => {
  fixture = await newFixture();
  sent = 0;
  const vault: Fixture["vault"] = {
    ...fixture.vault,
    ingest: (args) => {
      sent += 1;
      return fixture.vault.ingest(args);
    },
  };
  operated = await operate({ ...fixture, vault }, (scope) =>
    scope === "receipts" ? setTarget(scope) : targetOf(fixture, scope),
  );
});

function save(name: string, content: string | Uint8Array): string {
  const file = path.join(newFolder(), name);
  fs.writeFileSync(file, content);
  return file;
}

const ingest = (file: string, ...words: string[]) =>
  operated.ingest(file, "--scope", "customers", ...words);

async function records(): Promise<number> {
  return (await fixture.vault.status()).records;
}

const COLUMNS = CUSTOMER_HEADER.split(",");
const ROWS = [
  ["c-1", "a@example.org", "30", "10.50", "Porto", "1"],
  ["c-2", "b@example.org", "31", "-3.00", "Évora", "0"],
];

test.for<{ name: string; content: () => string | Uint8Array }>([
  {
    name: "rows.csv",
    content: () => [COLUMNS, ...ROWS].map((row) => `${row.join(",")}\n`).join(""),
  },
  {
    name: "rows.jsonl",
    content: () =>
      ROWS.map(
        (row) => `${JSON.stringify(Object.fromEntries(COLUMNS.map((c, i) => [c, row[i]])))}\n`,
      ).join(""),
  },
  {
    name: "rows.parquet",
    content: () =>
      new Uint8Array(
        parquetWriteBuffer({
          columnData: [
            { name: "customer.id", data: ["c-1", "c-2"] },
            { name: "customer.email", data: ["a@example.org", "b@example.org"] },
            { name: "customer.age", data: [30, 31], type: "INT32" },
            { name: "customer.balance", data: [10.5, -3], type: "DOUBLE" },
            { name: "customer.city", data: ["Porto", "Évora"] },
            { name: "customer.subscribed", data: [true, false], type: "BOOLEAN" },
          ],
        }),
      ),
  },
])("[PL-1] $name is told by its name and goes in, sent once", async ({ name, content }) => {
  const file = save(name, content());
  const spoken = await ingest(file);
  expect(spoken).toEqual({
    exit: 0,
    out: `${name}: 2 records in 1 batches, 0 rows set aside\n`,
    err: "",
  });
  expect(await ingest(file)).toEqual(spoken);
  expect(sent).toBe(1);
  expect(await fixture.vault.status()).toMatchObject({ records: 2, subjects: 2 });
});

test("[PL-1] --map and --ignore name columns, and --json gives the report", async () => {
  const renamed = customerCsv(3).replace("customer.age", "Years = a").replaceAll("\n", ",x\n");
  const file = save("rows.csv", `${renamed}c-9,z@x,old,1,Porto,1,x\n`);
  const words = ["--map", "Years = a=customer.age", "--ignore", "x", "--on-error", "quarantine"];
  const spoken = await ingest(file, ...words, "--json");
  expect(spoken).toMatchObject({ exit: 0, err: "" });
  expect(JSON.parse(spoken.out)).toMatchObject({
    records: 3,
    batches: 1,
    quarantined: 1,
    first_quarantined: [{ line: 5, column: "Years = a", expected: "a whole number" }],
  });
});

test("[PL-1] --mapping reads a mapping file", async () => {
  const mapping = save(
    "mapping.json",
    JSON.stringify({
      csv: { separator: "\t", columns: ["id", "email", "age", "balance", "yes"] },
      attributes: {
        "customer.id": { column: "id" },
        "customer.email": { column: "email" },
        "customer.age": { column: "age", number: "relaxed" },
        "customer.balance": { column: "balance" },
        "customer.city": { constant: "Porto" },
        "customer.subscribed": { column: "yes", values: { yes: "1", no: "0" } },
      },
    }),
  );
  const file = save("rows.txt", "c-1\ta@x\t030.0\t1.5\tyes\nc-2\tb@x\t31\t2\tmaybe\n");
  const words = ["--format", "csv", "--mapping", mapping];
  const refused = await ingest(file, ...words);
  expect(refused).toMatchObject({ exit: 1, out: "" });
  expect(refused.err).toContain(
    "SCHEMA_ROW_MALFORMED: line 2, column yes: expected a whole number",
  );
  expect(await records()).toBe(0);
  const taken = await ingest(file, ...words, "--on-error", "quarantine");
  expect(taken.out).toContain(
    "1 records in 1 batches, 1 rows set aside\n  line 2, column yes: expected",
  );
});

test("[PL-1] a Parquet column that no attribute takes is named; ignored, it may be nested", async () => {
  const file = save(
    "rows.parquet",
    new Uint8Array(
      parquetWriteBuffer({
        columnData: [
          ...COLUMNS.map((name, index) => ({ name, data: [ROWS[0]?.[index] ?? ""] })),
          { name: "tags", data: ["{}"] },
          { name: "list", data: [["x"]] },
        ],
        schema: [
          { name: "root", num_children: COLUMNS.length + 2 },
          ...COLUMNS.map((name) => ({
            name,
            type: "BYTE_ARRAY" as const,
            converted_type: "UTF8" as const,
          })),
          { name: "tags", type: "BYTE_ARRAY", converted_type: "JSON" },
          { name: "list", num_children: 1, repetition_type: "OPTIONAL", converted_type: "LIST" },
          { name: "list", num_children: 1, repetition_type: "REPEATED" },
          {
            name: "element",
            type: "BYTE_ARRAY",
            converted_type: "UTF8",
            repetition_type: "OPTIONAL",
          },
        ],
      }),
    ),
  );
  const nested = await ingest(file);
  expect(nested).toMatchObject({ exit: 1 });
  expect(nested.err).toContain("parquet column list: expected one plain value a row");
  const unknown = await ingest(file, "--ignore", "list");
  expect(unknown.err).toContain("SCHEMA_UNKNOWN_COLUMN: line 1, column tags");
  expect((await ingest(file, "--ignore", "list", "--ignore", "tags")).exit).toBe(0);
  expect(await records()).toBe(1);
});

test("a damaged Parquet file is refused as such, though nobody knew before it was sent", async () => {
  const bytes = new Uint8Array(
    parquetWriteBuffer({ columnData: COLUMNS.map((name) => ({ name, data: ["1"] })) }),
  );
  const damaged = await ingest(save("rows.parquet", bytes.fill(0xff, 4, 40)));
  expect(damaged).toMatchObject({ exit: 1, out: "" });
  expect(damaged.err).toContain("SCHEMA_MALFORMED: parquet");
  expect(await records()).toBe(0);
});

function folderOf(files: Readonly<Record<string, string | Uint8Array>>): string {
  const folder = newFolder();
  for (const [name, content] of Object.entries(files)) {
    fs.writeFileSync(path.join(folder, name), content);
  }
  return folder;
}

const receipts = (folder: string, ...words: string[]) =>
  operated.ingest(folder, "--scope", "receipts", ...words);

test("[PL-1] a folder of documents goes in with the subjects of its manifest, in one ingest", async () => {
  const folder = folderOf({
    "b.PNG": PNG,
    "a.png": PNG,
    "notes.txt": "not sent",
    "manifest.csv": 'subject,file\n"anna, the first",a.png\nben,b.PNG\n',
  });
  const spoken = await receipts(folder);
  expect(spoken).toMatchObject({ exit: 0, err: "" });
  expect(spoken.out).toContain("2 records in 1 batches");
  expect(await fixture.vault.status()).toMatchObject({ records: 2, subjects: 2 });
  expect(await receipts(folder)).toEqual(spoken);
  expect(sent).toBe(1);
  expect(await records()).toBe(2);
  fs.writeFileSync(path.join(folder, "manifest.csv"), "subject,file\nanna,a.png\nben,b.PNG\n");
  await receipts(folder);
  expect(sent).toBe(2);
});

test("[PL-1] a document that is none is told by its file name", async () => {
  const folder = folderOf({ "1.png": PNG, "2.png": "secret text" });
  const taken = await receipts(folder, "--subject", "anna", "--on-error", "quarantine");
  expect(taken.out).toContain(
    "1 records in 1 batches, 1 rows set aside\n  2.png, column image: expected",
  );
  expect(taken.out).not.toContain("secret");
});

test.for<{
  title: string;
  files: Record<string, string | Uint8Array>;
  words: string[];
  error: string;
}>([
  { title: "no images", files: { "a.txt": "" }, words: [], error: "expected PNG or JPEG" },
  { title: "nobody's images", files: { "a.png": PNG }, words: [], error: "--subject" },
  {
    title: "an image without a line",
    files: { "a.png": PNG, "b.png": PNG, "manifest.csv": "file,subject\na.png,anna\n" },
    words: [],
    error: "expected a line for b.png",
  },
  {
    title: "a line without an image",
    files: { "a.png": PNG, "manifest.csv": "file,subject\na.png,anna\n../b.png,ben\n" },
    words: [],
    error: "expected a document ../b.png",
  },
  {
    title: "a line twice",
    files: { "a.png": PNG, "manifest.csv": "file,subject\na.png,anna\na.png,ben\n" },
    words: [],
    error: "line 3: expected a file once",
  },
  {
    title: "a line too short",
    files: { "a.png": PNG, "manifest.csv": "file,subject\na.png\n" },
    words: [],
    error: "line 2: expected a file and a subject",
  },
  {
    title: "a manifest of other columns",
    files: { "a.png": PNG, "manifest.csv": "name,subject\na.png,anna\n" },
    words: [],
    error: "expected the columns file and subject",
  },
])("a folder with $title is a usage error", async ({ files, words, error }) => {
  const spoken = await receipts(folderOf(files), ...words);
  expect(spoken).toMatchObject({ exit: 2, out: "" });
  expect(spoken.err).toContain(error);
});

test("a document above 8 MiB is refused by its name", async () => {
  const folder = folderOf({ "1.png": PNG, "2.png": new Uint8Array(8 * 1024 * 1024 + 1) });
  const spoken = await receipts(folder, "--subject", "anna");
  expect(spoken).toMatchObject({ exit: 1, out: "" });
  expect(spoken.err).toMatch(/SCHEMA_TOO_LARGE: document .*2\.png/);
  expect(await records()).toBe(0);
});

test.for([
  { title: "a name that tells no format", words: ["x"], error: "--format" },
  { title: "an unknown format", words: ["x.csv", "--format", "xml"], error: "--format" },
  {
    title: "another choice on error",
    words: ["x.csv", "--on-error", "maybe"],
    error: "--on-error",
  },
  { title: "a pair without a sign", words: ["x.csv", "--map", "age"], error: "--map" },
  { title: "a pair without a column", words: ["x.csv", "--map", "=age"], error: "--map" },
  {
    title: "two kinds of mapping",
    words: ["x.csv", "--map", "a=b", "--mapping", "m"],
    error: "--mapping",
  },
  { title: "no such file", words: ["none.csv"], error: "none.csv" },
  { title: "an unknown option", words: ["x.csv", "--fast"], error: "--fast" },
])("$title is a usage error", async ({ words, error }) => {
  const folder = newFolder();
  fs.writeFileSync(path.join(folder, "x.csv"), "");
  fs.writeFileSync(path.join(folder, "x"), "");
  const [name = "", ...rest] = words;
  const spoken = await ingest(path.join(folder, name), ...rest);
  expect(spoken).toMatchObject({ exit: 2, out: "" });
  expect(spoken.err).toContain(error);
});

test("a mapping file at fault is named before anything is sent", async () => {
  const mapping = save("m.json", JSON.stringify({ colums: {} }));
  const spoken = await ingest(save("x.csv", ""), "--mapping", mapping);
  expect(spoken).toMatchObject({ exit: 1 });
  expect(spoken.err).toContain("SCHEMA_CONFIG_MALFORMED: mapping");
});

/** A clock that every look moves by `stepMs`. */
function clock(stepMs: number): () => number {
  let now = 0;
  return () => (now += stepMs);
}

async function watched(
  file: string,
  watcher: NonNullable<CliIo["watcher"]>,
  ...words: string[]
): Promise<Spoken> {
  const all = [file, "--scope", "customers", "--vault", fixture.directory, ...words];
  return await spoken((io) => runIngest(all, io), { watcher });
}

test("on a terminal one line says how far it is; elsewhere nothing, unless it is asked for", async () => {
  const file = (rows: number): string => save(`${rows}.csv`, customerCsv(rows));
  const quiet = { isTerminal: false, nowMs: clock(1_000), onInterrupt: () => () => undefined };
  expect((await watched(file(3_000), quiet)).err).toBe("");
  const shown = await watched(file(3_001), { ...quiet, isTerminal: true });
  expect(shown.err).toMatch(/^\r\d+\.\d of \d+\.\d MB sent, \d+ %, \d+\.\d MB\/s/);
  expect(shown.err).toMatch(/ 100 %, [^\n]*\n$/);
  const asked = await watched(file(3_002), quiet, "--progress");
  expect(asked.err).toMatch(/^\d+\.\d of [^\r]*\n/);
});

test("[DS-1] an interrupted ingest shows nothing, says how to go on, and goes on", async () => {
  const file = save("rows.csv", customerCsv(30_000));
  let stop = (): void => undefined;
  let released = 0;
  const interrupting = {
    isTerminal: true,
    nowMs: () => {
      stop();
      return 0;
    },
    onInterrupt: (asked: () => void) => {
      stop = asked;
      return () => void (released += 1);
    },
  };
  const spoken = await watched(file, interrupting);
  expect(spoken).toMatchObject({ exit: 3, out: "" });
  expect(spoken.err).toContain("interrupted; the same command goes on where it was");
  expect(released).toBe(1);
  expect(await records()).toBe(0);
});
