import { execFile } from "node:child_process";
import { chmod, open, readdir, rename, rm, writeFile } from "node:fs/promises";
import path from "node:path";
import { promisify } from "node:util";

import { UnavailableError } from "#protocol";

import { fetchDebian } from "./fetch.ts";
import type { ToolInput } from "./inputs.ts";

const UNPACK_MS_MAX = 120_000;
const ELF = "\u007fELF";
/** Where Debian's packages have programs. */
const PROGRAM_FOLDERS = ["usr/bin", "usr/lib"];
const LIBRARY_FOLDERS = ["lib/x86_64-linux-gnu", "usr/lib/x86_64-linux-gnu"];
const LOADER = "lib/x86_64-linux-gnu/ld-linux-x86-64.so.2";
const run = promisify(execFile);

/**
 * Unpacks the compiler's packages into `folder`, which is empty, so that its programs run from there.
 *
 * They do so on any Linux of this architecture, whatever its C library: each program becomes a script that starts it by
 * the loader of these packages, with their libraries. Nothing is installed, and no root is needed.
 *
 * @throws {@link UnavailableError} TEE_IMAGE_INPUT_UNAVAILABLE
 * @throws {@link VerificationError} TEE_IMAGE_INPUT_MISMATCH
 */
export async function unpackToolchain(
  folder: string,
  packages: readonly ToolInput[],
  cache: string,
): Promise<void> {
  // It stands in scripts and in makefiles, neither of which can have just any path.
  if (!/^[\w/.+-]+$/.test(folder)) {
    throw unavailable(folder, "a temporary folder of letters, digits and / . _ + - (TMPDIR)");
  }
  for (const input of packages) {
    const file = await fetchDebian(input, { cache, folder });
    await run("dpkg-deb", ["-x", file, folder], { timeout: UNPACK_MS_MAX }).catch((cause) => {
      throw unavailable(input.name, "dpkg-deb to unpack it", { cause });
    });
    await rm(file);
  }
  for (const name of PROGRAM_FOLDERS) await wrapPrograms(folder, path.join(folder, name));
}

async function wrapPrograms(root: string, folder: string): Promise<void> {
  for (const entry of await readdir(folder, { withFileTypes: true })) {
    const file = path.join(folder, entry.name);
    if (entry.isDirectory()) await wrapPrograms(root, file);
    else if (entry.isFile() && (await isProgram(file))) await wrap(root, file);
  }
}

/** Whether the file at `name` is a program, and no library and no script. */
async function isProgram(name: string): Promise<boolean> {
  if (path.basename(name).includes(".so")) return false;
  await using file = await open(name);
  const { mode } = await file.stat();
  if ((mode & 0o100) === 0) return false;
  const { buffer } = await file.read(Buffer.alloc(ELF.length), 0, ELF.length, 0);
  return buffer.toString("latin1") === ELF;
}

async function wrap(root: string, file: string): Promise<void> {
  const libraries = LIBRARY_FOLDERS.map((name) => path.join(root, name)).join(":");
  const words = `--argv0 "$0" --library-path ${libraries} ${file}.elf "$@"`;
  await rename(file, `${file}.elf`);
  await writeFile(file, `#!/bin/sh\nexec ${path.join(root, LOADER)} ${words}\n`);
  await chmod(file, 0o755);
}

function unavailable(input: string, expected: string, options?: ErrorOptions): UnavailableError {
  return new UnavailableError(
    { code: "TEE_IMAGE_INPUT_UNAVAILABLE", input },
    `${input}: expected ${expected}, got a failure`,
    options,
  );
}
