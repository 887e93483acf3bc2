import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import { constants, createReadStream } from "node:fs";
import { copyFile, mkdir, readdir, rename, stat } from "node:fs/promises";
import path from "node:path";
import { promisify } from "node:util";

import { UnavailableError, VerificationError } from "#protocol";

import { withFolder } from "../archive/temporary.ts";
import type { NpmInput, ToolInput } from "./inputs.ts";

const FETCH_MS_MAX = 10 * 60_000;
const run = promisify(execFile);

/** A package file and what it must hash to. */
interface Wanted {
  readonly name: string;
  /** Below the cache. */
  readonly file: string;
  readonly algorithm: "sha256" | "sha512";
  readonly digest: Uint8Array;
  /** Puts the file, alone, into the folder that it runs in. */
  readonly command: readonly [program: string, ...args: string[]];
}

/** Where package files are. */
export interface PackagePlaces {
  /** Kept between builds; others may write to it. */
  readonly cache: string;
  /** Of this process alone. */
  readonly folder: string;
}

/**
 * A copy in `folder` of the package file of `input` in `cache`, fetched by npm if it is not there. The copy is verified:
 * what is in the cache may be another file a moment later.
 *
 * @throws {@link UnavailableError} TEE_IMAGE_INPUT_UNAVAILABLE
 * @throws {@link VerificationError} TEE_IMAGE_INPUT_MISMATCH
 */
export function fetchNpm(
  { name, version, integrity }: NpmInput,
  places: PackagePlaces,
): Promise<string> {
  return fetchFile(places, {
    name: `${name}@${version}`,
    file: `${name.replace("/", "+")}-${version}.tgz`,
    algorithm: "sha512",
    digest: new Uint8Array(Buffer.from(integrity.slice("sha512-".length), "base64")),
    command: ["npm", "pack", "--silent", "--ignore-scripts", `${name}@${version}`],
  });
}

/** As {@link fetchNpm}, by apt-get; needs no root. */
export function fetchDebian(
  { name, version, sha256 }: ToolInput,
  places: PackagePlaces,
): Promise<string> {
  return fetchFile(places, {
    name: `${name}=${version}`,
    file: `${name}_${version.replace(":", "%3a")}.deb`,
    algorithm: "sha256",
    digest: new Uint8Array(Buffer.from(sha256, "hex")),
    command: ["apt-get", "download", "-qq", `${name}=${version}`],
  });
}

async function fetchFile({ cache, folder }: PackagePlaces, wanted: Wanted): Promise<string> {
  const kept = path.join(cache, wanted.file);
  if (!(await exists(kept))) await download(cache, kept, wanted);
  const file = path.join(folder, wanted.file);
  await copyFile(kept, file, constants.COPYFILE_FICLONE);
  const digest = await digestOf(file, wanted.algorithm);
  if (Buffer.compare(digest, wanted.digest) === 0) return file;
  throw new VerificationError(
    { code: "TEE_IMAGE_INPUT_MISMATCH", input: wanted.name },
    `${wanted.name}, ${kept}: expected ${wanted.algorithm} ${hexOf(wanted.digest)}, got ${hexOf(digest)}`,
  );
}

/** Fetches into a folder of its own, so that a fetch that breaks off leaves nothing half in the cache. */
async function download(cache: string, file: string, { name, command }: Wanted): Promise<void> {
  await mkdir(cache, { recursive: true });
  await withFolder(cache, "fetch", async (folder) => {
    try {
      const [program, ...args] = command;
      await run(program, args, { cwd: folder, timeout: FETCH_MS_MAX });
      const [fetched, ...more] = await readdir(folder);
      if (fetched === undefined || more.length > 0) throw new Error("expected one file");
      await rename(path.join(folder, fetched), file);
    } catch (cause) {
      throw new UnavailableError(
        { code: "TEE_IMAGE_INPUT_UNAVAILABLE", input: name },
        `${name}: expected ${command.join(" ")} to fetch it, got a failure; put it into ${file} by hand`,
        { cause },
      );
    }
  });
}

async function exists(file: string): Promise<boolean> {
  return (await stat(file).catch(() => null))?.isFile() === true;
}

async function digestOf(file: string, algorithm: string): Promise<Buffer> {
  const hash = createHash(algorithm);
  for await (const chunk of createReadStream(file)) hash.update(chunk);
  return hash.digest();
}

function hexOf(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString("hex");
}
