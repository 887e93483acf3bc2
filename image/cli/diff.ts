import { parseArgs } from "node:util";

import { EXIT } from "#cli";

import { compareImages, type ImageComparison, type ImageDifference } from "../eif/diff.ts";
import { readImage } from "../eif/reader.ts";
import { expectFiles, type ImageIo } from "./io.ts";

export const DIFF_HELP = `symphony image diff A B [--json]

Prints what differs between two enclave images: each file of each ramdisk, kernel, command line, metadata, signature and
header, and in which registers it shows. Exits 0 when nothing differs, 1 when something does or a file is damaged, 2
when called wrongly.

  --json    one JSON object
`;

const SIGNS = { added: "+", removed: "-", changed: "~" } as const;

/** `symphony image diff`. @returns the exit code */
export async function runDiff(argv: readonly string[], io: ImageIo): Promise<number> {
  const { values, positionals } = parseArgs({
    args: [...argv],
    allowPositionals: true,
    options: { json: { type: "boolean", default: false } },
  });
  const [from, to] = expectFiles(positionals, ["A", "B"]);
  const comparison = await compareImages(await readImage(from), await readImage(to));
  io.stdout(values.json ? `${JSON.stringify(comparison)}\n` : linesOf(comparison));
  return comparison.differences.length === 0 ? EXIT.ok : EXIT.refused;
}

function linesOf({ registers, differences }: ImageComparison): string {
  if (differences.length === 0) return "nothing differs\n";
  const names = registers.map((name) => name.toUpperCase()).join(", ");
  return [
    ...differences.map(lineOf),
    registers.length === 0 ? "no register differs" : `registers that differ: ${names}`,
    "",
  ].join("\n");
}

function lineOf({ part, path, change, fields, registers }: ImageDifference): string {
  const what = path === null ? part : `${part}  ${path}`;
  const which = fields.length === 0 ? "" : `  ${fields.join(", ")}`;
  const where = registers.length === 0 ? "in no register" : registers.join(" ").toUpperCase();
  return `${SIGNS[change]} ${what}${which}  (${where})`;
}
