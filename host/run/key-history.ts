import { open } from "node:fs/promises";

import {
  ConflictError,
  LimitError,
  bytes32,
  defineObject,
  identifier,
  type RegisteredActor,
  type SigningKey,
} from "#protocol";
import { z } from "zod";

import { writeWhole } from "./files.ts";

const HISTORY_BYTES_MAX = 4 * 1024;
/** With its signature. */
const HISTORY_FILE_BYTES_MAX = 2 * HISTORY_BYTES_MAX;

const keyHistorySchema = z.strictObject({
  version: z.literal(1),
  actor_id: identifier,
  /** Oldest first. */
  former_keys: z.array(bytes32).min(1).max(15),
});

/** What an actor's signing keys were before, in its own words: signed with the present one. */
const KEY_HISTORY = defineObject("key-history", keyHistorySchema, HISTORY_BYTES_MAX);

/** Whose signing key a history is of. */
export interface KeyHolder {
  readonly actorId: string;
  /** The key in the seed file. */
  readonly key: SigningKey;
}

function historyFileOf(seedFile: string): string {
  return `${seedFile}.history`;
}

/**
 * Writes beside a new seed which keys `actor`, whose present one is given up for it, has had so far.
 *
 * @param holder.key - The new key.
 * @returns the file's path.
 */
export async function writeKeyHistory(
  seedFile: string,
  { keys }: RegisteredActor,
  { actorId, key }: KeyHolder,
): Promise<string> {
  const former_keys = keys.map(({ signingKey }) => signingKey);
  const history = { version: 1 as const, actor_id: actorId, former_keys };
  const file = historyFileOf(seedFile);
  await writeWhole(file, KEY_HISTORY.sign(history, key));
  return file;
}

/**
 * The public keys that an actor had before the one in `seedFile`, oldest first: none where no history lies beside it.
 *
 * @throws VerificationError PROOF_SIGNATURE_INVALID for a history that another key signed; {@link ConflictError}
 * SCHEMA_CONFIG_MALFORMED for one of another actor; MalformedError, LimitError
 */
export async function readFormerKeys(
  seedFile: string,
  { actorId, key }: KeyHolder,
): Promise<readonly Uint8Array[]> {
  const file = historyFileOf(seedFile);
  const signed = await readHistory(file);
  if (signed === undefined) return [];
  const history = KEY_HISTORY.verify(signed, key.publicKey);
  if (history.actor_id === actorId) return history.former_keys;
  throw new ConflictError(
    { code: "SCHEMA_CONFIG_MALFORMED", file },
    `${file}: expected the keys of ${actorId}, got those of ${history.actor_id}`,
  );
}

/** The bytes of a history, never more than it can have; undefined where there is none. */
async function readHistory(file: string): Promise<Uint8Array | undefined> {
  const handle = await open(file, "r").catch((error: unknown) => {
    if (error instanceof Error && "code" in error && error.code === "ENOENT") return undefined;
    throw error;
  });
  if (handle === undefined) return undefined;
  try {
    const { bytesRead, buffer } = await handle.read(new Uint8Array(HISTORY_FILE_BYTES_MAX + 1));
    if (bytesRead <= HISTORY_FILE_BYTES_MAX) return buffer.subarray(0, bytesRead);
  } finally {
    await handle.close();
  }
  throw new LimitError(
    { code: "SCHEMA_TOO_LARGE", maxBytes: HISTORY_FILE_BYTES_MAX },
    `${file}: expected at most ${HISTORY_FILE_BYTES_MAX} bytes, got more`,
  );
}
