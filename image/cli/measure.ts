import { parseArgs } from "node:util";

import { EXIT } from "#cli";

import { measureImage } from "../eif/reader.ts";
import { expectFiles, type ImageIo } from "./io.ts";
import { measurementJson, registerLines } from "./view.ts";

export const MEASURE_HELP = `symphony image measure FILE [--json]

Prints the registers that an enclave started from FILE, an enclave image (EIF), will have. PCR0 is over kernel, command
line and all ramdisks, PCR1 over kernel, command line and first ramdisk, PCR2 over the other ramdisks; PCR8 over the
certificate that the file names as its signer, whose signature is not verified here (symphony image verify does).
Exits 0, 1 when the file is damaged, 2 when called wrongly.

  --json    one JSON object
`;

/** `symphony image measure`. @returns the exit code */
export async function runMeasure(argv: readonly string[], io: ImageIo): Promise<number> {
  const { values, positionals } = parseArgs({
    args: [...argv],
    allowPositionals: true,
    options: { json: { type: "boolean", default: false } },
  });
  const [file] = expectFiles(positionals, ["FILE"]);
  const measurement = await measureImage(file);
  const text = values.json
    ? JSON.stringify(measurementJson(measurement))
    : registerLines(measurement).join("\n");
  io.stdout(`${text}\n`);
  return EXIT.ok;
}
