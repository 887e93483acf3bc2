import * as fs from "node:fs";
import path from "node:path";

import { expect, test, type TestContext } from "vitest";
import { z } from "zod";

import { openCsv, parseMapping } from "../../../../host/sovereignty/index.ts";
import { rowMappingOf } from "../../../../host/sovereignty/records/mapping.ts";
import { operate } from "../../http/vault/operated.ts";
import { newFixture, newFolder } from "../../sovereignty/vault-fixture.ts";
import { EXAMPLES, setTarget } from "./ingest-sets.ts";

const ROOT = path.join(import.meta.dirname, "../../../..");
const DATA = path.resolve(ROOT, process.env["SYMPHONY_SHARED"] ?? "../shared", "data");
/** Tens of thousands of rows. */

function dataOf(context: TestContext, ...names: string[]): string {
  const file = path.join(DATA, ...names);
  context.skip(!fs.existsSync(file), `${names.join("/")} of the folder SYMPHONY_SHARED is absent`);
  return file;
}

const reportSchema = z.object({
  records: z.number(),
  quarantined: z.number(),
  first_quarantined: z.array(z.unknown()),
});

/** `symphony ingest` into a new Vault, and how many subjects there are then. */
async function ingest(scope: string, ...words: string[]) {
  const fixture = await newFixture();
  const operated = await operate(fixture, setTarget);
  const spoken = await operated.ingest(...words, "--scope", scope, "--json");
  expect(spoken).toMatchObject({ exit: 0, err: "" });
  const { subjects } = await fixture.vault.status();
  return { ...reportSchema.parse(JSON.parse(spoken.out)), subjects };
}

/** Rows as the counts of the data's READMEs have them. */
const SETS = [
  { scope: "adult", file: ["adult", "adult-train.csv"], mapping: "adult-train", rows: 32_561 },
  { scope: "adult", file: ["adult", "adult-test.csv"], mapping: "adult-test", rows: 16_281 },
  {
    scope: "bank",
    file: ["bank-marketing", "bank-full.uci-layout.csv"],
    mapping: "bank-marketing",
    rows: 45_211,
  },
  ...[
    { centre: "cleveland", rows: 303 },
    { centre: "hungarian", rows: 294 },
    { centre: "switzerland", rows: 123 },
    { centre: "va", rows: 200 },
  ].map(({ centre, rows }) => ({
    scope: "heart",
    file: ["heart-disease", `processed.${centre}.data`],
    mapping: "heart-disease",
    rows,
  })),
];

test.for(SETS)("[PL-1] genuine $file.1 goes in without an error", async (set, context) => {
  const file = dataOf(context, ...set.file);
  const mapping = path.join(EXAMPLES, `${set.mapping}.json`);
  const words = [file, "--mapping", mapping, "--on-error", "quarantine"];
  expect(await ingest(set.scope, ...words)).toEqual({
    records: set.rows,
    subjects: set.rows,
    quarantined: 0,
    first_quarantined: [],
  });
});

test("[PL-1] genuine receipts go in as one ingest, each of its own subject", async (context) => {
  const folder = dataOf(context, "sroie-mini", "img");
  const names = fs.readdirSync(folder);
  const manifest = path.join(newFolder(), "manifest.csv");
  const lines = names.map((name) => `${name},payer-of-${name}\n`);
  fs.writeFileSync(manifest, `file,subject\n${lines.join("")}`);
  expect(await ingest("receipts", folder, "--manifest", manifest)).toMatchObject({
    records: 60,
    subjects: 60,
    quarantined: 0,
  });
});

/** How often each value of `attribute` stands in a genuine set, as its mapping reads it. */
async function counted(file: string, mapping: string, attribute: string) {
  const parsed = parseMapping(fs.readFileSync(path.join(EXAMPLES, `${mapping}.json`)));
  const { separator, columns } = parsed.csv;
  const source = await openCsv(fs.createReadStream(file), {
    separator,
    ...(columns === null ? {} : { columns }),
    blankLines: "skip",
  });
  const attributes = Object.keys(parsed.attributes);
  const { apply } = rowMappingOf(parsed, "csv").bind(source.columns, attributes);
  const counts = new Map<unknown, number>();
  for await (const group of source.rows) {
    for (const row of group) {
      const cells = "cells" in row ? apply(row.cells, row.line) : [];
      const cell = cells[attributes.indexOf(attribute)];
      counts.set(cell, (counts.get(cell) ?? 0) + 1);
    }
  }
  return Object.fromEntries(counts);
}

test("[PL-1] genuine labels are those that the sets' own papers count", async (context) => {
  const bank = dataOf(context, "bank-marketing", "bank-full.uci-layout.csv");
  expect(await counted(bank, "bank-marketing", "client.subscribed")).toEqual({
    0: 39_922,
    1: 5_289,
  });
  const adult = dataOf(context, "adult", "adult-train.csv");
  expect(await counted(adult, "adult-train", "person.income_over_50k")).toEqual({
    0: 24_720,
    1: 7_841,
  });
  const heart = dataOf(context, "heart-disease", "processed.cleveland.data");
  expect(await counted(heart, "heart-disease", "patient.disease")).toEqual({ 0: 164, 1: 139 });
});

const GENERATED = [
  {
    scope: "adult",
    mapping: "adult-train",
    text: [
      "39, State-gov, 77516, Bachelors, 13, Never-married, ?, Not-in-family, White, Male, 2174, 0, 40, ?, <=50K",
      "50, ?, 83311, Bachelors, 13, Divorced, Sales, Husband, White, Male, 0, 0, 13, Cuba, >50K.",
      "",
    ],
    rows: 2,
  },
  {
    scope: "bank",
    mapping: "bank-marketing",
    text: [
      '"age";"job";"marital";"education";"default";"balance";"housing";"loan";"contact";"day";"month";"duration";"campaign";"pdays";"previous";"poutcome";"y"',
      '58;"management";"married";"tertiary";"no";-2143;"yes";"no";"unknown";5;"may";261;1;-1;0;"unknown";"yes"',
    ],
    rows: 1,
  },
  {
    scope: "heart",
    mapping: "heart-disease",
    text: [
      "63.0,1.0,1.0,145.0,233.0,1.0,2.0,150.0,0.0,2.3,3.0,0.0,6.0,0",
      "32,1,1,95,?,?,0,127,0,.7,1,?,?,1",
      "38,0,4,?,0,?,0,?,?,-.9,?,?,7,4",
    ],
    rows: 3,
  },
];

test.for(GENERATED)("[PL-1] made-up $scope rows go in as genuine ones do", async (set) => {
  const file = path.join(newFolder(), "rows.csv");
  fs.writeFileSync(file, `${set.text.join("\n")}\n`);
  const mapping = path.join(EXAMPLES, `${set.mapping}.json`);
  expect(await ingest(set.scope, file, "--mapping", mapping)).toMatchObject({
    records: set.rows,
    subjects: set.rows,
    quarantined: 0,
  });
});
