import { chmod, open, readFile, rename, writeFile } from "node:fs/promises";

import { GENESIS, VerificationError, equalBytes, type Genesis } from "#protocol";
import { parseTrust, type Trust } from "../evidence/index.ts";

/** A node's view of its network: the genesis it runs under and the roots it trusts. */
export interface Footing {
  readonly genesis: Genesis;
  readonly genesisBytes: Uint8Array;
  readonly genesisDigest: Uint8Array;
  readonly trust: Trust;
  readonly coordinatorKey: Uint8Array;
}

/**
 * Reads the genesis and trust files of a configuration and holds them against each other.
 *
 * @throws VerificationError GOVERNANCE_GENESIS_MISMATCH when the genesis is not the trusted one.
 */
export async function readFooting(config: {
  readonly genesis_file: string;
  readonly trust_file: string;
}): Promise<Footing> {
  const genesisBytes = new Uint8Array(await readFile(config.genesis_file));
  const genesis = GENESIS.decode(genesisBytes);
  const genesisDigest = GENESIS.digest(genesis);
  const trust = parseTrust(await readFile(config.trust_file, "utf8"));
  const coordinator = genesis.actors.find((actor) => actor.actor_id === genesis.coordinator_id);
  if (!equalBytes(genesisDigest, trust.genesisDigest) || coordinator === undefined) {
    throw new VerificationError(
      { code: "GOVERNANCE_GENESIS_MISMATCH", file: config.genesis_file },
      `${config.genesis_file}: expected the genesis that ${config.trust_file} pins`,
    );
  }
  return {
    genesis,
    genesisBytes,
    genesisDigest,
    trust,
    coordinatorKey: coordinator.signing_key,
  };
}

/** What a node says once it serves; its operator sees whether its network's hardware is make-believe. */
export function readyOf({ actor_id }: { readonly actor_id: string }, { genesis }: Footing) {
  return { event: "ready", actor_id, simulated: genesis.simulated };
}

/** Writes a file whole or not at all, readable by its owner alone. */
export async function writeWhole(path: string, text: string | Uint8Array): Promise<void> {
  const temporary = `${path}.new`;
  await writeFile(temporary, text, { mode: 0o600 });
  await chmod(temporary, 0o600);
  const file = await open(temporary, "r");
  try {
    await file.sync();
  } finally {
    await file.close();
  }
  await rename(temporary, path);
}
