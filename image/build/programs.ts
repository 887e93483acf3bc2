import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import { cp, mkdir, readFile, writeFile } from "node:fs/promises";
import path from "node:path";
import { promisify } from "node:util";

import { UnavailableError, VerificationError } from "#protocol";

import { withPartial, withTemporary } from "../archive/temporary.ts";
import type { ImageInputs } from "./inputs.ts";
import { unpackToolchain } from "./toolchain.ts";

const COMPILE_MS_MAX = 120_000;
const COMPILER = "usr/bin/x86_64-linux-gnu-gcc-12";
const FLAGS = [
  ...["-std=c11", "-O2", "-static", "-s", "-Wall", "-Wextra", "-Werror"],
  // A build identifier and the compiler's own name would tell one build from another.
  ...["-Wl,--build-id=none", "-fno-ident"],
];
const SOURCES = {
  init: { folder: "image/init", files: ["init.c"] },
  gate: { folder: "image/gate", files: ["gate.c", "nsm.c", "nsm.h"] },
  module: { folder: "image/module", files: ["nitro_devices.c", "Kbuild"] },
} as const;
type Name = keyof typeof SOURCES;
const run = promisify(execFile);

/** Our own C programs and our kernel module by name, compiled. */
export type Programs = Readonly<Record<Name, Uint8Array>>;

/** Of what programs are made, and where. */
export interface ProgramOptions {
  /** The checkout. */
  readonly root: string;
  /** Where the compiler is unpacked if it is needed: a folder to be made. */
  readonly folder: string;
  /** Where package files are kept, and what was compiled before. */
  readonly cache: string;
}

/**
 * Compiles init, the gate and the kernel module of a checkout, by the compiler that the inputs pin.
 *
 * What was compiled before, of the same sources by the same packages, is taken from the cache if it is what is pinned.
 *
 * @throws {@link UnavailableError} TEE_IMAGE_INPUT_UNAVAILABLE when a package cannot be had, or refuses the source
 * @throws {@link VerificationError} TEE_IMAGE_INPUT_MISMATCH when other bytes come out than are pinned
 */
export async function compilePrograms(
  inputs: ImageInputs,
  options: ProgramOptions,
): Promise<Programs> {
  return withTemporary(options.folder, async () => {
    // One after the other: the first that is not in the cache unpacks the compiler for all.
    const init = await programOf("init", inputs, options);
    const gate = await programOf("gate", inputs, options);
    return { init, gate, module: await programOf("module", inputs, options) };
  });
}

async function programOf(
  name: Name,
  inputs: ImageInputs,
  { root, folder, cache }: ProgramOptions,
): Promise<Uint8Array> {
  const file = path.join(cache, `${name}-${await keyOf(name, inputs, root)}`);
  const cached = await readFile(file).catch(() => null);
  if (cached !== null && digestOf(cached) === inputs.programs[name]) return new Uint8Array(cached);
  const made = await mkdir(folder, { recursive: true });
  if (made !== undefined) await unpackToolchain(folder, inputs.toolchain, cache);
  const source = path.join(root, SOURCES[name].folder);
  const bytes = await compile(name, { folder, source, kernel: inputs.kernel_version });
  expectPinned(name, bytes, inputs);
  await withPartial(file, (partial) => writeFile(partial, bytes, { flag: "wx" }));
  return bytes;
}

/** Of everything that a program is made of. */
async function keyOf(name: Name, inputs: ImageInputs, root: string): Promise<string> {
  const { folder, files } = SOURCES[name];
  const sources = await Promise.all(
    files.map(async (file) => digestOf(await readFile(path.join(root, folder, file)))),
  );
  const tools = inputs.toolchain.map(({ sha256 }) => sha256);
  const words = name === "module" ? moduleWords("", "", inputs.kernel_version) : FLAGS;
  return digestOf(JSON.stringify([words, tools, sources]));
}

function expectPinned(name: Name, bytes: Uint8Array, { programs }: ImageInputs): Uint8Array {
  const sha256 = digestOf(bytes);
  if (sha256 === programs[name]) return bytes;
  throw new VerificationError(
    { code: "TEE_IMAGE_INPUT_MISMATCH", input: name, sha256 },
    `${name}: expected its source to compile to sha256 ${programs[name]}, got ${sha256}`,
  );
}

function digestOf(bytes: Uint8Array | string): string {
  return createHash("sha256").update(bytes).digest("hex");
}

interface Compilation {
  /** With the compiler. */
  readonly folder: string;
  readonly source: string;
  readonly kernel: string;
}

async function compile(name: Name, { folder, source, kernel }: Compilation): Promise<Uint8Array> {
  const work = path.join(folder, "work", name);
  // A copy: the kernel's makefiles write beside the source. Relative paths, so that none is in what comes out.
  await cp(source, work, { recursive: true });
  const files = SOURCES[name].files.filter((file) => file.endsWith(".c"));
  const [program, words, made] =
    name === "module"
      ? (["usr/bin/make", moduleWords(folder, work, kernel), "nitro_devices.ko"] as const)
      : ([COMPILER, [`--sysroot=${folder}`, ...FLAGS, "-o", name, ...files], name] as const);
  try {
    await run(path.join(folder, program), words, {
      cwd: work,
      env: { PATH: `${path.join(folder, "usr/bin")}:/usr/bin:/bin`, LC_ALL: "C" },
      timeout: COMPILE_MS_MAX,
    });
    return new Uint8Array(await readFile(path.join(work, made)));
  } catch (cause) {
    throw new UnavailableError(
      { code: "TEE_IMAGE_INPUT_UNAVAILABLE", input: name },
      `${name}: expected the pinned compiler to take ${files.join(" and ")}, got ${faultOf(cause)}`,
      { cause },
    );
  }
}

/** What the compiler said first. */
function faultOf(cause: unknown): string {
  const said = cause instanceof Error && "stderr" in cause ? String(cause.stderr) : "";
  return said.split("\n").find((line) => line.includes("error: ")) ?? "a failure";
}

/** By the kernel's own makefiles. Without debugging information, which has paths in it. */
function moduleWords(folder: string, work: string, kernel: string): readonly string[] {
  const headers = path.join(folder, `usr/src/linux-headers-${kernel}+deb12`);
  const output = `${headers}-cloud-amd64`;
  return [
    ...["-s", "-C", output, "-f", `${headers}-common/Makefile`, `O=${output}`, `M=${work}`],
    ...[`MAKE=${path.join(folder, "usr/bin/make")}`, "CONFIG_DEBUG_INFO=", "modules"],
    "CONFIG_DEBUG_INFO_BTF_MODULES=",
  ];
}
