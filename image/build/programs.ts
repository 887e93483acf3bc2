import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import path from "node:path";
import { promisify } from "node:util";

import { UnavailableError, VerificationError } from "#protocol";

import type { ImageInputs } from "./inputs.ts";

const COMPILE_MS_MAX = 120_000;
const FLAGS = [
  ...["-std=c11", "-O2", "-static", "-s", "-Wall", "-Wextra", "-Werror"],
  // A build identifier and the compiler's own name would tell one build from another.
  ...["-Wl,--build-id=none", "-fno-ident"],
];
const SOURCES = {
  init: { folder: "image/init", files: ["init.c"] },
  gate: { folder: "image/gate", files: ["gate.c", "nsm.c"] },
} as const;
const run = promisify(execFile);

/** Our own C programs by name, compiled. */
export type Programs = Readonly<Record<keyof typeof SOURCES, Uint8Array>>;

/**
 * Compiles init and gate of the checkout at `root` in `folder`. Relative paths, so that where they stand is not in them.
 *
 * @throws {@link UnavailableError} TEE_IMAGE_INPUT_UNAVAILABLE when gcc is not there, or refuses the source
 * @throws {@link VerificationError} TEE_IMAGE_INPUT_MISMATCH when it makes other bytes than `expected` says
 */
export async function compilePrograms(
  root: string,
  folder: string,
  expected: ImageInputs["programs"],
): Promise<Programs> {
  const init = await compile("init", root, folder);
  const gate = await compile("gate", root, folder);
  for (const [name, bytes] of [
    ["init", init],
    ["gate", gate],
  ] as const) {
    const sha256 = createHash("sha256").update(bytes).digest("hex");
    if (sha256 === expected[name]) continue;
    throw new VerificationError(
      { code: "TEE_IMAGE_INPUT_MISMATCH", input: name, sha256 },
      `${name}: expected ${expected.compiler} to make sha256 ${expected[name]}, got ${sha256}`,
    );
  }
  return { init, gate };
}

async function compile(
  name: keyof typeof SOURCES,
  root: string,
  folder: string,
): Promise<Uint8Array> {
  const source = SOURCES[name];
  const file = path.join(folder, name);
  try {
    await run("gcc", [...FLAGS, "-o", file, ...source.files], {
      cwd: path.join(root, source.folder),
      env: { PATH: process.env["PATH"] ?? "", LC_ALL: "C" },
      timeout: COMPILE_MS_MAX,
    });
  } catch (cause) {
    throw new UnavailableError(
      { code: "TEE_IMAGE_INPUT_UNAVAILABLE", input: name },
      `${name}: expected gcc to compile ${source.files.join(" and ")}, got a failure`,
      { cause },
    );
  }
  return new Uint8Array(await readFile(file));
}
