import * as fs from "node:fs";
import path from "node:path";

import { expect, test } from "vitest";

import {
  batchWrapInfo,
  decryptOnce,
  hex,
  openBatch,
  rehashBatch,
  sha256,
  utf8,
} from "../../../protocol/index.ts";
import { cosignVault } from "../../helpers/witnesses.ts";
import {
  CUSTOMER_HEADER,
  OPEN_CUSTODY,
  beginning,
  bytesIn,
  consent,
  customerCsv,
  envelopeOf,
  newFixture,
  recordsIn,
  requestOf,
  stocked,
  targetOf,
  type Fixture,
} from "./vault-fixture.ts";

function ingest(fixture: Fixture, csv: string, onError: "abort" | "quarantine" = "abort") {
  const target = targetOf(fixture, "customers");
  const source = bytesIn(csv, 100);
  return fixture.vault.ingest({ ...target, format: "csv", source, onError, batchRows: 5 });
}

function files(fixture: Fixture): string[] {
  return fs.readdirSync(path.join(fixture.directory, "batches"));
}

test("[DS-1] records are sealed in batches that open to their commitments, and nothing plain is on disk", async () => {
  const release = (blob: Uint8Array) => OPEN_CUSTODY.open(blob);
  const fixture = await newFixture({ custody: { ...OPEN_CUSTODY, release } });
  await stocked(fixture, 12);
  const request = await requestOf(fixture, "a");
  const decision = await fixture.vault.decide(request.signed, fixture.governance);
  const envelope = envelopeOf(fixture, request, decision);
  const plan = await fixture.vault.prepareSlice(envelope, fixture.governance, {
    round: 0,
    attempt: 0,
  });
  await fixture.vault.beginExecution(beginning(fixture, envelope, plan));
  await cosignVault(fixture.vault, fixture.network);
  const { governance, vault } = fixture;
  const reference = { round: 0, attempt: 0 };
  const inputs = { envelope, reference, governance, evidence: new Uint8Array(0) };
  const commitments = await vault.custody.withSliceInputs(inputs, async (batches) => {
    const opened = batches.map(async (batch) => {
      const wrapped = await batch.release();
      const dataKey = decryptOnce(batch.secret, batchWrapInfo(batch.batchId), wrapped);
      return openBatch(await batch.read(), dataKey);
    });
    return (await Promise.all(opened)).flatMap((batch) => {
      expect(batch.columns.get("customer.balance")?.[0]).toBeTypeOf("number");
      return rehashBatch(batch).commitments.map(hex);
    });
  });
  const listed = await recordsIn(fixture.vault, "customers");
  expect(commitments).toEqual(listed.map(({ commitment }) => hex(commitment)));
  expect(new Set(commitments).size).toBe(12);
  await fixture.vault.close();
  expect(everythingIn(fixture.directory)).not.toContain("p3@example.org");
  expect(everythingIn(fixture.directory)).not.toContain(hex(utf8("p3@example.org")));
});

function everythingIn(folder: string): string {
  return fs
    .readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => fs.readFileSync(path.join(entry.parentPath, entry.name)).toString("latin1"))
    .join("\n");
}

test("[DS-5] no byte that the Vault answers or logs carries a value of a record", async () => {
  const fixture = await newFixture();
  await stocked(fixture, 12);
  await consent(fixture.vault, "personal_use", ["c-3"]);
  const request = await requestOf(fixture, "a");
  const decision = await fixture.vault.decide(request.signed, fixture.governance);
  const entries = await fixture.vault.log.entries(0, 100);
  expect(entries.length).toBeGreaterThan(8);
  const told = Buffer.concat([decision, ...entries.map(({ event }) => event)]).toString("latin1");
  for (const value of ["example.org", "c-3", sha256(utf8("c-3"))]) {
    expect(told).not.toContain(
      typeof value === "string" ? value : Buffer.from(value).toString("latin1"),
    );
  }
});

test("a header in another order is mapped, and the report counts", async () => {
  const fixture = await newFixture();
  const header = CUSTOMER_HEADER.split(",").reverse().join(",");
  const report = await ingest(fixture, `${header}\r\n1,Porto,10.5,30,a@example.org,c-1\r\n`);
  expect(report).toMatchObject({ records: 1, batches: 1, commitments: 1, quarantined_count: 0 });
  expect(await fixture.vault.status()).toMatchObject({ records: 1, batches: 1, subjects: 1 });
});

const ROW = "c-1,a@example.org,30,10.5,Porto,1";

test.for([
  { title: "an unknown column", header: `${CUSTOMER_HEADER},shoe`, column: "shoe" },
  {
    title: "a missing column",
    header: CUSTOMER_HEADER.replace("customer.age,", ""),
    column: "customer.age",
  },
  { title: "a column twice", header: `${CUSTOMER_HEADER},customer.age`, column: "customer.age" },
  { title: "no header", header: "", column: "customer.id" },
])("names $title", async ({ header, column }) => {
  const fixture = await newFixture();
  const refused = ingest(fixture, header === "" ? "" : `${header}\n${ROW}\n`);
  await expect(refused).rejects.toMatchObject({
    code: "SCHEMA_UNKNOWN_COLUMN",
    details: { column },
  });
});

test.for([
  { title: "a number out of range", row: "c-1,a@x,999,1,Porto,1", column: "customer.age" },
  { title: "text for a number", row: "c-1,a@x,secret-value,1,Porto,1", column: "customer.age" },
  { title: "too many decimals", row: "c-1,a@x,30,1.005,Porto,1", column: "customer.balance" },
  { title: "a cell too few", row: "c-1,a@x,30,1,Porto", column: null },
  { title: "nobody's record", row: " ,a@x,30,1,Porto,1", column: "customer.id" },
])(
  "$title aborts with its place, without its value, and leaves nothing",
  async ({ row, column }) => {
    const fixture = await newFixture();
    const csv = `${customerCsv(11)}${row}\n`;
    const error: unknown = await ingest(fixture, csv).catch((cause: unknown) => cause);
    expect(error).toMatchObject({ code: "SCHEMA_ROW_MALFORMED", details: { line: 13, column } });
    expect(String(error)).not.toContain("secret-value");
    expect(await fixture.vault.status()).toMatchObject({ records: 0, batches: 0, subjects: 0 });
    expect(files(fixture)).toEqual([]);
  },
);

test("quarantine leaves bad rows out and says where they were", async () => {
  const fixture = await newFixture();
  const csv = `${customerCsv(3)}c-9,a@x,secret-value,1,Porto,1\nshort\n${customerCsv(2, 5).split("\n").slice(1).join("\n")}`;
  const report = await ingest(fixture, csv, "quarantine");
  expect(report).toMatchObject({ records: 5, quarantined_count: 2 });
  expect(report.quarantined).toEqual([
    { line: 5, column: "customer.age", expected: "a whole number" },
    { line: 6, column: null, expected: "6 cells" },
  ]);
  expect(JSON.stringify(report)).not.toContain("secret-value");
});

test("the same source twice is ingested once, with the same report", async () => {
  const fixture = await newFixture();
  const first = await ingest(fixture, customerCsv(12));
  const again = await ingest(fixture, customerCsv(12));
  expect(again).toEqual(first);
  expect(await fixture.vault.status()).toMatchObject({ records: 12, batches: 3, subjects: 12 });
  expect(files(fixture)).toHaveLength(3);
  await ingest(fixture, customerCsv(12, 6));
  expect(await fixture.vault.status()).toMatchObject({ records: 24, subjects: 18 });
});

test("what a crash left behind is removed when the Vault opens, and nothing else", async () => {
  const fixture = await newFixture();
  await ingest(fixture, customerCsv(7));
  const folder = path.join(fixture.directory, "batches");
  const name = `${"0f".repeat(16)}.batch`;
  fs.writeFileSync(path.join(folder, `${name}.tmp`), "half");
  fs.writeFileSync(path.join(folder, name), "never published");
  fs.mkdirSync(path.join(folder, "lost+found"));
  const vault = await fixture.reopen();
  expect(files(fixture).filter((file) => file.endsWith(".batch"))).toHaveLength(2);
  expect(files(fixture)).toHaveLength(3);
  expect(await vault.status()).toMatchObject({ records: 7, batches: 2, batches_set_aside: 0 });
});

/** A Vault of two ingests, and its closed store as it was after the first. */
async function withOlderStore() {
  const fixture = await newFixture();
  await ingest(fixture, customerCsv(7));
  const { directory } = fixture;
  const older = path.join(directory, "older.db");
  await (await fixture.reopen()).close();
  fs.copyFileSync(path.join(directory, "vault.db"), older);
  const vault = await fixture.reopen();
  await ingest({ ...fixture, vault }, customerCsv(5, 7));
  await vault.close();
  const put = (from: string, to: string) =>
    fs.copyFileSync(path.join(directory, from), path.join(directory, to));
  return { fixture, put };
}

test("[DS-1] an older copy of the store sets batches aside that it does not know; the newer one has them back", async () => {
  const { fixture, put } = await withOlderStore();
  const all = files(fixture);
  put("vault.db", "newer.db");
  put("older.db", "vault.db");
  const behind = await fixture.reopen();
  expect(await behind.status()).toMatchObject({ records: 7, batches: 2, batches_set_aside: 1 });
  const again = await fixture.reopen();
  expect(await again.status()).toMatchObject({ batches: 2, batches_set_aside: 1 });
  expect(files(fixture)).toHaveLength(2);
  await again.close();
  put("newer.db", "vault.db");
  const newer = await fixture.reopen();
  expect(await newer.status()).toMatchObject({ records: 12, batches: 3, batches_set_aside: 0 });
  expect(files(fixture)).toEqual(all);
});

test.for([
  { title: "is gone", change: (file: string) => fs.rmSync(file) },
  { title: "is another", change: (file: string) => fs.writeFileSync(file, new Uint8Array(16)) },
  { title: "is empty", change: (file: string) => fs.writeFileSync(file, "") },
])("[DS-1] no batch is removed when what names the store's state $title", async ({ change }) => {
  const fixture = await newFixture();
  await ingest(fixture, customerCsv(7));
  const name = `${"0f".repeat(16)}.batch`;
  fs.writeFileSync(path.join(fixture.directory, "batches", name), "who knows");
  change(path.join(fixture.directory, "batches-state"));
  const vault = await fixture.reopen();
  expect(await vault.status()).toMatchObject({ records: 7, batches: 2, batches_set_aside: 1 });
  const aside = path.join(fixture.directory, "batches-set-aside", name);
  expect(fs.readFileSync(aside, "utf8")).toBe("who knows");
});

test("a custody that fails leaves what is staged, and the retry goes on from there", async () => {
  let calls = 0;
  const fixture = await newFixture({
    custody: {
      ...OPEN_CUSTODY,
      protect: (wrapped) => {
        calls += 1;
        return calls === 2 ? Promise.reject(new Error("gone")) : OPEN_CUSTODY.protect(wrapped);
      },
    },
  });
  await expect(ingest(fixture, customerCsv(12))).rejects.toThrow("gone");
  expect(files(fixture)).toHaveLength(1);
  expect(await fixture.vault.status()).toMatchObject({ records: 0, subjects: 0 });
  expect(await ingest(fixture, customerCsv(12))).toMatchObject({ records: 12, batches: 3 });
});

test("secrets that are gone, changed or open to others are refused", async () => {
  const fixture = await newFixture();
  await fixture.vault.close();
  const file = path.join(fixture.directory, "vault-secrets.cbor");
  const secrets = fs.readFileSync(file);
  expect(fs.statSync(file).mode % 0o1000).toBe(0o600);
  fs.chmodSync(file, 0o640);
  await expect(fixture.reopen()).rejects.toMatchObject({ code: "SCHEMA_CONFIG_MALFORMED" });
  fs.chmodSync(file, 0o600);
  fs.writeFileSync(
    file,
    secrets.map((byte, index) => (index === secrets.length - 1 ? byte ^ 1 : byte)),
  );
  await expect(fixture.reopen()).rejects.toMatchObject({ code: "SCHEMA_CONFIG_MALFORMED" });
  fs.rmSync(file);
  await expect(fixture.reopen()).rejects.toMatchObject({ code: "INTERNAL_STORE_UNAVAILABLE" });
  fs.writeFileSync(file, secrets, { mode: 0o600 });
  await expect(fixture.reopen()).resolves.toBeDefined();
});
