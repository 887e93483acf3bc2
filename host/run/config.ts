import { readFile } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";

import { MalformedError, fromHex, identifier, parseWith } from "#protocol";
import { z } from "zod";

import type { StorePlace } from "../store/index.ts";

const listen = z.strictObject({
  address: z.string().min(1).max(255),
  port: z.int().min(0).max(65_535),
});

const file = z.string().min(1).max(4096);

/** A schema of a PostgreSQL server; see `PostgresPlace`. The URL is in a file of its own, since it may hold a password. */
const postgresStore = z.strictObject({ url_file: file, schema: z.string().max(64) });

/** The unix socket behind which enclaves are; see `createSocketLauncher`. A configuration of the simulator has none. */
const enclavePlace = z.strictObject({ socket: file });

/** Configuration of a coordinator. Files are relative to the configuration's own folder. */
export const coordinatorConfigSchema = z.strictObject({
  role: z.literal("coordinator"),
  actor_id: identifier,
  directory: file,
  /** Where state is kept; absent: a SQLite file in the directory. */
  store: postgresStore.optional(),
  signing_seed_file: file,
  genesis_file: file,
  trust_file: file,
  /** For submitters, auditors and governance. */
  public_listen: listen,
  /** For Vault nodes and aggregators. */
  node_listen: listen,
});

/** Who keeps a Vault's keys: a file of this machine, or AWS KMS. */
const keyCustody = z.discriminatedUnion("kind", [
  z.strictObject({
    kind: z.literal("local"),
    /** Holds the master keys; made when the Vault is. Best on another disk than the Vault's directory. */
    file,
  }),
  z.strictObject({
    kind: z.literal("kms"),
    /** URL of a key service other than AWS's own, such as the simulator's; null for AWS. */
    endpoint: z.string().max(2048).nullable(),
    region: z.string().max(64),
    /** What new keys are kept under. After a change, re-wrap the others: `symphony vault keys rotate`. */
    key_id: z.string().max(2048),
  }),
]);

/** Configuration of a Vault node. */
export const vaultConfigSchema = z.strictObject({
  role: z.literal("vault"),
  actor_id: identifier,
  directory: file,
  /** Where state is kept; absent: a SQLite file in the directory. */
  store: postgresStore.optional(),
  signing_seed_file: file,
  box_seed_file: file,
  /** Seeds of box keys that the Vault had before: results are still sealed to them. The newest first; absent: none. */
  former_box_seed_files: z.array(file).max(15).optional(),
  /** The Vault's secrets; absent: `vault-secrets.cbor` in its directory, beside the batches they help to open. */
  secrets_file: file.optional(),
  genesis_file: file,
  trust_file: file,
  coordinator_url: z.string().max(2048),
  enclave: enclavePlace.optional(),
  operator_listen: listen,
  /** Absent: a key file `vault-keys.cbor` beside this configuration. */
  key_custody: keyCustody.default({ kind: "local", file: "vault-keys.cbor" }),
});

/** Configuration of an aggregator host. */
export const aggregatorConfigSchema = z.strictObject({
  role: z.literal("aggregator"),
  actor_id: identifier,
  directory: file,
  /** Where state is kept; absent: a SQLite file in the directory. */
  store: postgresStore.optional(),
  signing_seed_file: file,
  genesis_file: file,
  trust_file: file,
  coordinator_url: z.string().max(2048),
  enclave: enclavePlace.optional(),
});

/** Configuration of a node whose enclaves are behind a socket. */
export const enclaveConfigSchema = z.discriminatedUnion("role", [
  vaultConfigSchema.required({ enclave: true }),
  aggregatorConfigSchema.required({ enclave: true }),
]);

export type CoordinatorConfig = z.infer<typeof coordinatorConfigSchema>;
export type VaultConfig = z.infer<typeof vaultConfigSchema>;
export type AggregatorConfig = z.infer<typeof aggregatorConfigSchema>;
export type EnclaveConfig = z.infer<typeof enclaveConfigSchema>;
export type EnclavePlace = z.infer<typeof enclavePlace>;

const CONFIG_BYTES_MAX = 64 * 1024;

/** Reads JSON that a person wrote. @throws MalformedError SCHEMA_CONFIG_MALFORMED naming the file and the field */
export async function readJsonFile<T>(path: string, schema: z.ZodType<T>): Promise<T> {
  const text = await readFile(path, "utf8");
  let value: unknown;
  try {
    value = text.length > CONFIG_BYTES_MAX ? undefined : JSON.parse(text);
  } catch (cause) {
    throw new MalformedError(
      { code: "SCHEMA_JSON_MALFORMED", file: path },
      `${path}: expected JSON`,
      { cause },
    );
  }
  return parseWith(schema, value, path, "SCHEMA_CONFIG_MALFORMED");
}

/** Reads a configuration and makes its files absolute. */
export async function readConfig<T extends { readonly directory: string }>(
  path: string,
  schema: z.ZodType<T>,
): Promise<T> {
  const config = await readJsonFile(path, schema);
  const base = dirname(resolve(path));
  const absolute = Object.fromEntries(
    Object.entries(config).map(([name, value]) => [name, resolved(base, name, value)]),
  );
  return parseWith(schema, absolute, path, "SCHEMA_CONFIG_MALFORMED");
}

/** Fields that hold a path, besides those that end in `_file`. */
const PATHS = ["directory", "file", "socket"];

/** A value with its paths made absolute, inside another too; `_files` are several. */
function resolved(base: string, name: string, value: unknown): unknown {
  const isFile = PATHS.includes(name) || name.endsWith("_file");
  if (typeof value === "string") return isFile ? resolve(base, value) : value;
  if (Array.isArray(value) && name.endsWith("_files")) {
    return value.map((each) => resolved(base, "file", each));
  }
  if (typeof value !== "object" || value === null || Array.isArray(value)) return value;
  return Object.fromEntries(
    Object.entries(value).map(([inner, each]) => [inner, resolved(base, inner, each)]),
  );
}

/** Where a node's state is kept; `fileName` is the SQLite file in its directory. */
export async function storePlaceOf(
  config: {
    readonly directory: string;
    readonly store?: z.infer<typeof postgresStore> | undefined;
  },
  fileName: string,
): Promise<StorePlace> {
  if (config.store === undefined) {
    return { kind: "sqlite", file: join(config.directory, fileName) };
  }
  const { url_file, schema } = config.store;
  return { kind: "postgres", url: (await readFile(url_file, "utf8")).trim(), schema };
}

/** A 32-byte seed kept as 64 hex digits. @throws MalformedError SCHEMA_CONFIG_MALFORMED */
export async function readSeed(path: string): Promise<Uint8Array> {
  const seed = fromHex((await readFile(path, "utf8")).trim());
  if (seed.length === 32) return seed;
  throw new MalformedError(
    { code: "SCHEMA_CONFIG_MALFORMED", file: path },
    `${path}: expected 64 hex digits`,
  );
}
