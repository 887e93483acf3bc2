import { randomUUID } from "node:crypto";
import {
  linkSync,
  mkdirSync,
  readFileSync,
  readdirSync,
  renameSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";

import { z } from "zod";

import { MalformedError, base64, fromBase64 } from "#protocol";

import { SIM_ACCOUNT, SIM_REGION } from "./caller.ts";

/** What a key of the simulated KMS can be. */
export const KEY_SPECS = [
  "SYMMETRIC_DEFAULT",
  "RSA_2048",
  "RSA_3072",
  "RSA_4096",
  "ECC_NIST_P256",
  "ECC_NIST_P384",
  "ECC_NIST_P521",
] as const;
/** One of {@link KEY_SPECS}. */
export type KeySpec = (typeof KEY_SPECS)[number];
/** What a key is for. */
export type KeyUsage = "ENCRYPT_DECRYPT" | "KEY_AGREEMENT";

/** A key of the simulated KMS. */
export interface SimKey {
  readonly keyId: string;
  readonly spec: KeySpec;
  readonly usage: KeyUsage;
  /** 32 bytes for a symmetric key, PKCS #8 for the others. */
  readonly material: Uint8Array;
  /** The policy's JSON, as it was given. */
  readonly policy: string;
  readonly state: "Enabled" | "Disabled" | "PendingDeletion";
  readonly createdMs: number;
  /** When a key that is pending deletion is gone; null for others. */
  readonly deletionMs: number | null;
  readonly description: string;
}

const NAME = /^key-([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})\.json$/;
const ARN_PREFIX = `arn:aws:kms:${SIM_REGION}:${SIM_ACCOUNT}:key/`;
const WARNING = "SIMULATED KMS key";
const fileSchema = z.strictObject({
  warning: z.literal(WARNING),
  key_id: z.uuid(),
  key_spec: z.enum(KEY_SPECS),
  key_usage: z.enum(["ENCRYPT_DECRYPT", "KEY_AGREEMENT"]),
  material: z.base64(),
  policy: z.string(),
  state: z.enum(["Enabled", "Disabled", "PendingDeletion"]),
  created_ms: z.int(),
  deletion_ms: z.int().nullable(),
  description: z.string(),
});

/**
 * The keys of a simulated KMS: one file each, mode 0600, in `directory`.
 *
 * Nothing is kept in memory: what a call returns is on disk, whoever else uses the folder, and a process that is
 * killed leaves each file as it was or as it was to be.
 *
 * @throws {@link MalformedError} SCHEMA_CONFIG_MALFORMED when a file in it is no key's.
 */
export class SimKeyStore {
  readonly #directory: string;

  constructor(directory: string) {
    this.#directory = directory;
    mkdirSync(directory, { recursive: true, mode: 0o700 });
    for (const id of this.ids()) this.find(id);
  }

  create(given: Omit<SimKey, "keyId">): SimKey {
    const key = { keyId: randomUUID(), ...given };
    const temporary = this.#write(key);
    linkSync(temporary, this.#path(key.keyId));
    rmSync(temporary);
    return key;
  }

  replace(key: SimKey): void {
    renameSync(this.#write(key), this.#path(key.keyId));
  }

  /** By key id, or by its ARN in the simulator's own account and region. */
  find(keyIdOrArn: string): SimKey | undefined {
    const id = keyIdOrArn.startsWith(ARN_PREFIX) ? keyIdOrArn.slice(ARN_PREFIX.length) : keyIdOrArn;
    if (!NAME.test(`key-${id}.json`)) return undefined;
    const text = readOrNull(this.#path(id));
    return text === null ? undefined : parseKey(text, this.#path(id));
  }

  delete({ keyId }: SimKey): void {
    rmSync(this.#path(keyId), { force: true });
  }

  /** All key ids, sorted. */
  ids(): readonly string[] {
    return readdirSync(this.#directory)
      .flatMap((name) => NAME.exec(name)?.[1] ?? [])
      .sort();
  }

  #path(keyId: string): string {
    return join(this.#directory, `key-${keyId}.json`);
  }

  #write(key: SimKey): string {
    const file: z.infer<typeof fileSchema> = {
      warning: WARNING,
      key_id: key.keyId,
      key_spec: key.spec,
      key_usage: key.usage,
      material: base64(key.material),
      policy: key.policy,
      state: key.state,
      created_ms: key.createdMs,
      deletion_ms: key.deletionMs,
      description: key.description,
    };
    const temporary = join(this.#directory, `.${key.keyId}.${randomUUID()}.new`);
    const text = `${JSON.stringify(file, null, 2)}\n`;
    writeFileSync(temporary, text, { mode: 0o600, flush: true, flag: "wx" });
    return temporary;
  }
}

function parseKey(text: string, path: string): SimKey {
  try {
    const file = fileSchema.parse(JSON.parse(text));
    return {
      keyId: file.key_id,
      spec: file.key_spec,
      usage: file.key_usage,
      material: fromBase64(file.material),
      policy: file.policy,
      state: file.state,
      createdMs: file.created_ms,
      deletionMs: file.deletion_ms,
      description: file.description,
    };
  } catch (cause) {
    throw new MalformedError(
      { code: "SCHEMA_CONFIG_MALFORMED", path },
      `${path}: expected a key of the simulated KMS, got another file`,
      { cause },
    );
  }
}

function readOrNull(path: string): string | null {
  try {
    return readFileSync(path, "utf8");
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "ENOENT") return null;
    throw error;
  }
}
