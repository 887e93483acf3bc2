import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";

import type { EifMeasurement } from "#attestation";
import { utf8 } from "#protocol";

import { cpioOf, type Node } from "../archive/cpio.ts";
import { imageFault } from "../archive/faults.ts";
import { removeAbandoned, withFolder, withPartial } from "../archive/temporary.ts";
import type { ImageSigner } from "../eif/signature.ts";
import { writeImage } from "../eif/writer.ts";
import { fetchDebian, fetchNpm, type PackagePlaces } from "./fetch.ts";
import { readInputs, type DebianInput, type NpmInput, type ResolvedInputs } from "./inputs.ts";
import { compilePrograms } from "./programs.ts";
import { assembleFiles, readSources } from "./root-tree.ts";
import { digestTree, provenance, softwareBill, type BuiltImage } from "./statements.ts";
import { stripSources } from "./stripped.ts";
import { debianTar, npmTar, unpack } from "./unpack.ts";

/** What to build, of what, and where to. */
export interface BuildOptions {
  /** The checkout. */
  readonly root: string;
  readonly out: string;
  /** Where package files are kept between builds. */
  readonly cache: string;
  /** A development root to trust besides the built-in ones, DER; null for production. */
  readonly anchor: Uint8Array | null;
  readonly signer: ImageSigner | null;
  readonly progress: (line: string) => void;
}

/** What was built. */
export interface Build {
  readonly measurement: EifMeasurement;
  readonly sha256: string;
  /** Least memory to give an enclave of this image, MiB. */
  readonly memoryMib: number;
  /** Files beside the image. */
  readonly bill: string;
  readonly provenance: string;
}

const WORK_FOLDER = "symphony-image-build";
const MIB = 1024 * 1024;
/** Of Node with a job in it: 90 MB at rest, OCR and a model on top of that. */
const WORKING_MIB = 512;
const MEMORY_STEP_MIB = 64;

/**
 * Builds the enclave image of the checkout: the same bytes for the same checkout, wherever and by whomever.
 *
 * Everything that goes in is pinned by digest or is our own source as it stands. Writes the image, its bill of
 * materials and its provenance beside it. Needs npm and apt-get for what the cache has not, and dpkg-deb; no compiler,
 * no root and no Docker.
 *
 * @throws {@link UnavailableError} TEE_IMAGE_INPUT_UNAVAILABLE
 * @throws {@link VerificationError} TEE_IMAGE_INPUT_MISMATCH
 * @throws {@link MalformedError} TEE_IMAGE_MALFORMED, SCHEMA_CONFIG_MALFORMED
 */
export async function buildImage(options: BuildOptions): Promise<Build> {
  const resolved = await readInputs(options.root);
  await removeAbandoned(tmpdir(), WORK_FOLDER);
  await removeAbandoned(options.cache, "");
  await removeAbandoned(path.dirname(options.out), `${path.basename(options.out)}.`);
  return withFolder(tmpdir(), WORK_FOLDER, (folder) => buildIn(folder, resolved, options));
}

async function buildIn(
  folder: string,
  resolved: ResolvedInputs,
  options: BuildOptions,
): Promise<Build> {
  const { root, out, cache, anchor, signer, progress } = options;
  const packages = await unpackAll(folder, resolved, options);
  const sources = await readSources(root);
  progress("sources");
  const stripped = await stripSources(sources, packages, {
    root,
    folder: path.join(folder, "sources"),
  });
  progress("init, gate and kernel module");
  const programs = await compilePrograms(resolved.inputs, {
    root,
    cache,
    folder: path.join(folder, "toolchain"),
  });
  const files = assembleFiles({ packages, sources: stripped, programs, anchor });
  progress("writing the image");
  const ramdisks = [cpioOf(files.boot), cpioOf(files.root)] as const;
  const measurement = await writeImage(out, {
    kernel: files.kernel,
    cmdline: resolved.inputs.cmdline,
    metadata: metadataOf(resolved),
    ramdisks,
    signer,
  });
  const built: BuiltImage = {
    name: path.basename(out),
    sha256: await digestFile(out),
    measurement,
    resolved,
    anchor: anchor === null ? "aws" : "simulator",
    sources: await digestTree(sources),
  };
  const unpacked = ramdisks.reduce((sum, { bytes }) => sum + bytes, 0);
  return {
    measurement,
    sha256: built.sha256,
    memoryMib: memoryFor(unpacked),
    bill: await writeJson(`${out}.cdx.json`, softwareBill(built)),
    provenance: await writeJson(`${out}.provenance.json`, provenance(built)),
  };
}

async function unpackAll(
  folder: string,
  { inputs, npm }: ResolvedInputs,
  { cache, progress }: BuildOptions,
): Promise<ReadonlyMap<string, Node>> {
  const found = new Map<string, Node>();
  const add = async (
    { name, version, picks }: DebianInput | NpmInput,
    fetched: (places: PackagePlaces) => Promise<string>,
    archiveOf: typeof npmTar,
  ): Promise<void> => {
    progress(`${name} ${version}`);
    const part = await mkdtemp(path.join(folder, "package-"));
    const file = await fetched({ cache, folder: part });
    for (const [place, node] of await unpack(archiveOf(file), picks, part)) {
      if (found.has(place)) throw imageFault(place, "one file of that path", "two");
      found.set(place, node);
    }
    await rm(file);
  };
  // One after the other: they come over one network and go to one disk.
  for (const input of inputs.debian) {
    await add(input, (places) => fetchDebian(input, places), debianTar);
  }
  for (const input of npm) await add(input, (places) => fetchNpm(input, places), npmTar);
  return found;
}

/**
 * An image is unpacked into a file system that may have half of the memory, and stands in memory itself until then.
 * What does not fit is left out; `init` ends the machine then.
 */
function memoryFor(unpackedBytes: number): number {
  const wanted = (2 * unpackedBytes) / MIB + WORKING_MIB;
  return Math.ceil(wanted / MEMORY_STEP_MIB) * MEMORY_STEP_MIB;
}

/** As `nitro-cli describe-eif` shows it (aws-nitro-enclaves-image-format src/defs/mod.rs, EifIdentityInfo). */
function metadataOf({ inputs, version }: ResolvedInputs): Uint8Array {
  return utf8(
    JSON.stringify({
      ImageName: "symphony-enclave",
      ImageVersion: version,
      BuildMetadata: {
        BuildTime: inputs.build_time,
        BuildTool: "symphony image build",
        BuildToolVersion: version,
        OperatingSystem: "Debian GNU/Linux 12",
        KernelVersion: inputs.kernel_version,
      },
      DockerInfo: {},
    }),
  );
}

async function digestFile(file: string): Promise<string> {
  const hash = createHash("sha256");
  for await (const chunk of createReadStream(file)) hash.update(chunk);
  return hash.digest("hex");
}

/** @returns the path */
export async function writeJson(file: string, value: object): Promise<string> {
  const text = `${JSON.stringify(value, null, 2)}\n`;
  await withPartial(file, (partial) => writeFile(partial, text, { flag: "wx" }));
  return file;
}
