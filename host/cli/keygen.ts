import { randomBytes } from "node:crypto";
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { parseArgs } from "node:util";

import { EXIT, UsageError, type CliIo } from "#cli";
import { boxKeyPairFromSeed, hex, signingKeyFromSeed } from "#protocol";

export const KEYGEN_HELP = `symphony keygen FOLDER [--json]

Creates an actor's keys in FOLDER: signing.seed and box.seed, each 64 hex digits, readable by their owner alone, and
prints the public keys for the genesis. Refuses to replace existing seeds.
`;

/** `symphony keygen`. */
export async function runKeygen(argv: readonly string[], io: CliIo): Promise<number> {
  const { values, positionals } = parseArgs({
    args: [...argv],
    allowPositionals: true,
    options: { json: { type: "boolean", default: false } },
  });
  const [folder] = positionals;
  if (folder === undefined || positionals.length !== 1) {
    throw new UsageError("keygen: expected one folder");
  }
  await mkdir(folder, { recursive: true, mode: 0o700 });
  const signing = await createSeed(join(folder, "signing.seed"));
  const box = await createSeed(join(folder, "box.seed"));
  const keys = {
    key_id: signingKeyFromSeed(signing).keyId,
    signing_key: hex(signingKeyFromSeed(signing).publicKey),
    box_key: hex((await boxKeyPairFromSeed(box)).publicKey),
  };
  io.stdout(
    values.json
      ? `${JSON.stringify(keys)}\n`
      : `key id      ${keys.key_id}\nsigning key ${keys.signing_key}\nbox key     ${keys.box_key}\n`,
  );
  return EXIT.ok;
}

async function createSeed(path: string): Promise<Uint8Array> {
  const seed = new Uint8Array(randomBytes(32));
  await writeFile(path, `${hex(seed)}\n`, { mode: 0o600, flag: "wx" });
  return seed;
}
