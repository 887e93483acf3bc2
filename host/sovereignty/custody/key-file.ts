import * as fs from "node:fs";
import path from "node:path";

import { ConflictError, bytesOf, decodeCbor, encodeCbor, hex, natural, parseWith } from "#protocol";
import { z } from "zod";

import { storeUnavailable } from "../../store/index.ts";
import { destroyPrivateFile, readPrivateFile } from "./private-file.ts";
import { writeDurably } from "./secrets.ts";

const KEY_BYTES = 32;
const KEYS_MAX = 64;
const FILE_BYTES_MAX = 8192;

const masterKeySchema = z.strictObject({ version: natural, key: bytesOf(KEY_BYTES) });
const keyFileSchema = z.strictObject({
  version: z.literal(1),
  keys: z.array(masterKeySchema).min(1).max(KEYS_MAX),
});

/** One version of a Vault's master key; 32 secret bytes. Versions count up and are never given twice. */
export type MasterKey = z.infer<typeof masterKeySchema>;

/** Master keys as bytes, oldest first. */
function encodeKeys(keys: readonly MasterKey[]): Uint8Array {
  return encodeCbor({ version: 1, keys: keys.map(({ version, key }) => ({ version, key })) });
}

/** @throws MalformedError SCHEMA_CONFIG_MALFORMED, SCHEMA_CBOR_MALFORMED */
export function decodeKeys(bytes: Uint8Array): MasterKey[] {
  const content = decodeCbor(bytes, FILE_BYTES_MAX);
  const { keys } = parseWith(keyFileSchema, content, "key file", "SCHEMA_CONFIG_MALFORMED");
  return keys.toSorted((left, right) => left.version - right.version);
}

/**
 * Reads the master keys in `file`. When there is none and `create` is given, makes version 1: mode 0600, durable, and
 * never in the place of a file that another process has just made.
 *
 * @throws {@link ConflictError} SCHEMA_CONFIG_MALFORMED when others than the owner may read the file.
 * @throws UnavailableError INTERNAL_STORE_UNAVAILABLE when the file is gone.
 */
export function openKeyFile(
  file: string,
  create: { readonly random: (bytes: number) => Uint8Array } | null,
): MasterKey[] {
  if (!fs.existsSync(file)) {
    if (create === null) throw storeUnavailable(file, new Error("the keys of this Vault are gone"));
    createKeyFile(file, create.random);
  }
  return decodeKeys(readPrivateFile(file, FILE_BYTES_MAX));
}

/** Puts `keys` in the place of those in `file`, durably, and overwrites the old ones. */
export function replaceKeys(file: string, keys: readonly MasterKey[]): void {
  if (keys.length > KEYS_MAX) {
    throw new ConflictError(
      { code: "SCHEMA_CONFIG_MALFORMED", max: KEYS_MAX, actual: keys.length },
      `${file}: expected at most ${KEYS_MAX} keys, got ${keys.length}: finish a rotation first`,
    );
  }
  try {
    destroyPrivateFile(file, () => writeDurably(file, encodeKeys(keys)));
  } catch (cause) {
    throw storeUnavailable(file, cause);
  }
}

/** The name appears with its whole content or not at all; the first of two processes wins. */
function createKeyFile(file: string, random: (bytes: number) => Uint8Array): void {
  const temporary = `${file}.${hex(random(8))}.new`;
  try {
    fs.mkdirSync(path.dirname(file), { recursive: true, mode: 0o700 });
    writeDurably(temporary, encodeKeys([{ version: 1, key: random(KEY_BYTES) }]));
    fs.linkSync(temporary, file);
  } catch (cause) {
    if (!(cause instanceof Error && "code" in cause && cause.code === "EEXIST")) {
      throw storeUnavailable(file, cause);
    }
  } finally {
    fs.rmSync(temporary, { force: true });
  }
}
