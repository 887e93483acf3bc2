import { createCipheriv, createDecipheriv, randomUUID } from "node:crypto";
import { linkSync, mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import { z } from "zod";

import { base64, concat, encodeCbor, fromBase64, utf8 } from "#protocol";

import { keyPolicySchema, type KeyPolicy } from "./policy.ts";

/** A key of the simulated KMS. */
export interface SimKey {
  readonly keyId: string;
  readonly material: Uint8Array;
  readonly policy: KeyPolicy;
}

/** Names and values that a ciphertext is bound to. */
export type EncryptionContext = Readonly<Record<string, string>>;

const KEY_ID_BYTES = 36;
const IV_BYTES = 12;
const TAG_BYTES = 16;
const fileSchema = z.strictObject({
  warning: z.string(),
  key_id: z.uuid(),
  material: z.base64(),
  policy: keyPolicySchema,
});

/**
 * The keys of a simulated KMS: one file each, mode 0600, in `directory`.
 *
 * @throws ZodError or SyntaxError when a file in it is no key's.
 */
export class SimKeyStore {
  readonly #directory: string;
  readonly #keys = new Map<string, SimKey>();

  constructor(directory: string) {
    this.#directory = directory;
    mkdirSync(directory, { recursive: true, mode: 0o700 });
    for (const name of readdirSync(directory)) {
      if (!/^key-[0-9a-f-]{36}\.json$/.test(name)) continue;
      const text = readFileSync(join(directory, name), "utf8");
      const { key_id, material, policy } = fileSchema.parse(JSON.parse(text));
      this.#keys.set(key_id, { keyId: key_id, material: fromBase64(material), policy });
    }
  }

  create(policy: KeyPolicy, material: Uint8Array): SimKey {
    const key: SimKey = { keyId: randomUUID(), material, policy };
    const file = {
      warning: "SIMULATED KMS key",
      key_id: key.keyId,
      material: base64(material),
      policy,
    };
    const path = join(this.#directory, `key-${key.keyId}.json`);
    writeFileSync(`${path}.new`, `${JSON.stringify(file, null, 2)}\n`, {
      mode: 0o600,
      flush: true,
    });
    linkSync(`${path}.new`, path);
    rmSync(`${path}.new`);
    this.#keys.set(key.keyId, key);
    return key;
  }

  /** By key id or by the ARN that ends in it. */
  find(keyIdOrArn: string): SimKey | undefined {
    return this.#keys.get(keyIdOrArn.split("key/").pop() ?? keyIdOrArn);
  }
}

/**
 * Encrypts under `key`: 36 bytes of key id, 12 of IV, ciphertext, 16 of tag (AES-256-GCM). The context is
 * authenticated. AWS does not publish its own format; callers must not read this one.
 */
export function encryptUnder(
  key: SimKey,
  plaintext: Uint8Array,
  { context, iv }: { readonly context: EncryptionContext; readonly iv: Uint8Array },
): Uint8Array {
  const cipher = createCipheriv("aes-256-gcm", key.material, iv);
  cipher.setAAD(encodeCbor([key.keyId, context]));
  const body = concat(cipher.update(plaintext), cipher.final());
  return concat(utf8(key.keyId), iv, body, cipher.getAuthTag());
}

/** The id of the key that `ciphertext` names, or null. Not authentic until decrypted. */
export function keyIdOf(ciphertext: Uint8Array): string | null {
  if (ciphertext.length < KEY_ID_BYTES + IV_BYTES + TAG_BYTES) return null;
  const id = Buffer.from(ciphertext.subarray(0, KEY_ID_BYTES)).toString("latin1");
  return /^[0-9a-f-]{36}$/.test(id) ? id : null;
}

/** The plaintext of what {@link encryptUnder} made with the same key and context, or null. */
export function decryptUnder(
  key: SimKey,
  ciphertext: Uint8Array,
  context: EncryptionContext,
): Uint8Array | null {
  const iv = ciphertext.subarray(KEY_ID_BYTES, KEY_ID_BYTES + IV_BYTES);
  const body = ciphertext.subarray(KEY_ID_BYTES + IV_BYTES, -TAG_BYTES);
  const decipher = createDecipheriv("aes-256-gcm", key.material, iv, {
    authTagLength: TAG_BYTES,
  });
  decipher.setAAD(encodeCbor([key.keyId, context]));
  decipher.setAuthTag(ciphertext.subarray(-TAG_BYTES));
  try {
    return concat(decipher.update(body), decipher.final());
  } catch {
    return null;
  }
}
