import { MalformedError, fromHex, keyIdOf } from "#protocol";
import { z } from "zod";

import { readBoundedFile } from "./bounded-file.ts";
import { parseJsonText, parseStrict } from "./json-file.ts";

const KEYS_BYTES_MAX = 16 * 1024;

/** The public keys of an actor, as `symphony keygen --json` prints them. */
const publicKeysSchema = z.strictObject({
  key_id: z.string().max(64),
  signing_key: z.string().regex(/^[0-9a-f]{64}$/, { error: "expected 64 hex digits" }),
  box_key: z.string().regex(/^[0-9a-f]{2432}$/, { error: "expected 2432 hex digits" }),
});

/** An actor's public keys. */
export interface PublicKeys {
  readonly signingKey: Uint8Array;
  readonly boxKey: Uint8Array;
}

/**
 * Reads what `symphony keygen --json` printed.
 *
 * @throws {@link MalformedError} SCHEMA_JSON_MALFORMED, SCHEMA_CONFIG_MALFORMED; and as `readBoundedFile`
 */
export async function readPublicKeys(path: string): Promise<PublicKeys> {
  const subject = `public keys ${path}`;
  const bytes = await readBoundedFile(path, { subject: "public keys", bytesMax: KEYS_BYTES_MAX });
  const keys = parseStrict(publicKeysSchema, parseJsonText(bytes, subject), subject);
  const signingKey = fromHex(keys.signing_key);
  if (keyIdOf(signingKey) === keys.key_id) return { signingKey, boxKey: fromHex(keys.box_key) };
  throw new MalformedError(
    { code: "SCHEMA_CONFIG_MALFORMED", field: "key_id" },
    `${subject}, key_id: expected that of the signing key, ${keyIdOf(signingKey)}, got ${keys.key_id}`,
  );
}
