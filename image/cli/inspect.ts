import { parseArgs } from "node:util";

import { EXIT } from "#cli";

import type { CpioEntry } from "../archive/cpio-reader.ts";
import {
  CMDLINE_BYTES_MAX,
  METADATA_BYTES_MAX,
  readImage,
  readRamdisks,
  readSection,
  type Image,
  type Ramdisk,
} from "../eif/reader.ts";
import { expectFiles, type ImageIo } from "./io.ts";
import { measurementJson, plain, registerLines } from "./view.ts";

export const INSPECT_HELP = `symphony image inspect FILE [--files] [--json]

Prints what an enclave image (EIF) is made of: registers, command line, metadata, sections, and how many files each
ramdisk has. Files of a ramdisk that is packed, or that another builder made, are not told apart.
Exits 0, 1 when the file is damaged, 2 when called wrongly.

  --files   every file of every ramdisk, with mode, size and SHA-256
  --json    one JSON object, with the files
`;

/** `symphony image inspect`. @returns the exit code */
export async function runInspect(argv: readonly string[], io: ImageIo): Promise<number> {
  const { values, positionals } = parseArgs({
    args: [...argv],
    allowPositionals: true,
    options: {
      files: { type: "boolean", default: false },
      json: { type: "boolean", default: false },
    },
  });
  const [file] = expectFiles(positionals, ["FILE"]);
  const image = await readImage(file);
  const found = {
    image,
    cmdline: await textOf(image, "cmdline", CMDLINE_BYTES_MAX),
    metadata: await textOf(image, "metadata", METADATA_BYTES_MAX),
    ramdisks: await readRamdisks(image),
  };
  io.stdout(values.json ? `${JSON.stringify(jsonOf(found))}\n` : linesOf(found, values.files));
  return EXIT.ok;
}

interface Found {
  readonly image: Image;
  readonly cmdline: string | null;
  readonly metadata: string | null;
  readonly ramdisks: readonly Ramdisk[];
}

async function textOf(
  image: Image,
  type: "cmdline" | "metadata",
  bytesMax: number,
): Promise<string | null> {
  const bytes = await readSection(image, type, bytesMax);
  return bytes === null ? null : Buffer.from(bytes).toString("utf8");
}

function jsonOf({ image, ...texts }: Found) {
  const { measurement } = image;
  const { sections } = measurement;
  return { ...measurementJson(measurement), sections, ...texts };
}

function linesOf({ image, cmdline, metadata, ramdisks }: Found, withFiles: boolean): string {
  const { measurement } = image;
  const sections = measurement.sections.map(({ type, bytes }) => `  ${type.padEnd(9)} ${bytes}`);
  return [
    ...registerLines(measurement),
    `command line  ${plain(cmdline ?? "")}`,
    `metadata      ${plain(metadata ?? "")}`,
    `sections      ${measurement.bytes} bytes in all`,
    ...sections,
    ...ramdisks.flatMap((ramdisk, index) => [
      `ramdisk ${index}     ${summaryOf(ramdisk)}`,
      ...(withFiles ? (ramdisk ?? []).map(fileLine) : []),
    ]),
    "",
  ].join("\n");
}

function summaryOf(ramdisk: Ramdisk): string {
  if (ramdisk === null) return "packed, or by another builder: files are not told apart";
  return `${ramdisk.length} entries`;
}

function fileLine({ path, kind, mode, bytes, sha256, target }: CpioEntry): string {
  const name = target === null ? path : `${path} -> ${target}`;
  const size = String(bytes).padStart(10);
  return `  ${kind.padEnd(6)} ${mode.toString(8).padStart(3, "0")} ${size} ${sha256 ?? "-"} ${name}`;
}
