import * as fs from "node:fs";
import path from "node:path";

import { parquetWriteBuffer } from "hyparquet-writer";
import { expect, test } from "vitest";

import { operate } from "../host/http/vault/operated.ts";
import { PNG, newFixture, newFolder } from "../host/sovereignty/vault-fixture.ts";
import { setTarget } from "../host/cli/vault/ingest-sets.ts";

const PAGE = path.join(import.meta.dirname, "../../docs/ingest.md");

type Step =
  | { readonly kind: "file"; readonly name: string; readonly text: string }
  | { readonly kind: "command"; readonly words: readonly string[] };

/** What the page's indented blocks do: files that `cat` writes, and commands of `symphony`. */
function stepsOf(page: string): Step[] {
  const steps: Step[] = [];
  const writes = / {4}cat > (\S+) <<'END'\n([\s\S]*?) {4}END\n| {4}symphony (.*)\n/g;
  for (const [, name, text, command] of page.matchAll(writes)) {
    if (command !== undefined) steps.push({ kind: "command", words: command.split(" ") });
    else steps.push({ kind: "file", name: name ?? "", text: (text ?? "").replace(/^ {4}/gm, "") });
  }
  return steps;
}

/** Files of the page that are no text. */
function prepare(folder: string): void {
  const columnData = [
    { name: "id", data: ["p-5", "p-6"] },
    { name: "years", data: [70, 71], type: "INT32" as const },
    { name: "patient.sex", data: [true, false], type: "BOOLEAN" as const },
    { name: "patient.oldpeak", data: [0.5, null], type: "DOUBLE" as const },
    { name: "notes", data: ["x", "y"] },
  ];
  const parquet = new Uint8Array(parquetWriteBuffer({ columnData }));
  fs.writeFileSync(path.join(folder, "more.parquet"), parquet);
  fs.mkdirSync(path.join(folder, "scans"));
  fs.writeFileSync(path.join(folder, "scans", "1.png"), PNG);
}

test("[PL-1] the commands of docs/ingest.md do what the page says", async () => {
  const fixture = await newFixture();
  const operated = await operate(fixture, setTarget);
  const folder = newFolder();
  prepare(folder);
  const said: string[] = [];
  for (const step of stepsOf(fs.readFileSync(PAGE, "utf8"))) {
    if (step.kind === "file") {
      fs.writeFileSync(path.join(folder, step.name), step.text);
      continue;
    }
    const [first, ...rest] = step.words.filter((word) => word !== "--vault" && word !== "vault");
    const words = rest.map((word) => {
      const file = path.join(folder, word);
      return fs.existsSync(file) ? file : word;
    });
    const isIngest = first === "ingest";
    const spoken = isIngest ? await operated.ingest(...words) : await operated.vault(first ?? "");
    expect(spoken).toMatchObject({ exit: 0, err: "" });
    said.push(spoken.out);
  }
  expect(said.slice(0, -1)).toEqual([
    "patients.csv: 2 records in 1 batches, 0 rows set aside\n",
    "patients.jsonl: 2 records in 1 batches, 0 rows set aside\n",
    "more.parquet: 2 records in 1 batches, 0 rows set aside\n",
    "scans: 1 records in 1 batches, 0 rows set aside\n",
    "clinic.csv: 2 records in 1 batches, 0 rows set aside\n",
    expect.stringMatching(/^late\.csv: 1 records in 1 batches, 1 rows set aside\n {2}line 3/),
  ]);
  expect(
    said
      .at(-1)
      ?.split("\n")
      .filter((line) => line.includes("published")),
  ).toHaveLength(6);
});
