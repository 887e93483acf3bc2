import { readFile } from "node:fs/promises";
import { join } from "node:path";

import { boxKeyPairFromSeed, fromHex, identifier, signingKeyFromSeed } from "#protocol";
import { z } from "zod";

import { readJsonFile, readSeed } from "../run/config.ts";

/** What `symphony up` writes into a network's folder for its users: where things are, and how to reach them. */
export const networkFileSchema = z.strictObject({
  network: identifier,
  simulated: z.boolean(),
  coordinator_url: z.string(),
  genesis_digest: z.string().regex(/^[0-9a-f]{64}$/),
  submitter_id: identifier,
  vaults: z.array(z.strictObject({ vault_id: identifier, directory: z.string() })).max(64),
});

export type NetworkFile = z.infer<typeof networkFileSchema>;

/** A submitter's own keys and the network they belong to. */
export async function readSubmitter(directory: string) {
  const network = await readJsonFile(join(directory, "network.json"), networkFileSchema);
  const signingSeed = await readSeed(join(directory, "submitter", "signing.seed"));
  const deliverySeed = await readSeed(join(directory, "submitter", "box.seed"));
  return {
    network,
    genesisDigest: fromHex(network.genesis_digest),
    signingKey: signingKeyFromSeed(signingSeed),
    deliveryKey: await boxKeyPairFromSeed(deliverySeed),
  };
}

/** How to reach a Vault's operator listener: written by the Vault node when it starts. */
export const operatorFileSchema = z.strictObject({
  url: z.string(),
  token: z.string().regex(/^[0-9a-f]{64}$/),
});

/** The operator listener of the Vault whose folder this is. */
export async function readOperator(vaultDirectory: string) {
  return readJsonFile(join(vaultDirectory, "operator.json"), operatorFileSchema);
}

/** Bytes of a file that the user named. */
export async function readUserFile(path: string): Promise<Uint8Array> {
  return new Uint8Array(await readFile(path));
}
