import { join } from "node:path";

import { UsageError } from "#cli";
import { fromHex, signingKeyFromSeed, type GovernanceState, type SigningKey } from "#protocol";
import { TaskClient } from "../../http/task-client.ts";
import { readJsonFile, readSeed } from "../../run/config.ts";
import { networkFileSchema } from "../network-files.ts";

/** A network's governance as a quorum of its Vaults has cosigned it, and the coordinator to talk to. */
export interface GovernedNetwork {
  readonly client: TaskClient;
  readonly state: GovernanceState;
}

/** Reaches the network whose folder this is. */
export async function reachNetwork(directory: string): Promise<GovernedNetwork> {
  const network = await readJsonFile(join(directory, "network.json"), networkFileSchema);
  const client = new TaskClient(network.coordinator_url);
  return { client, state: await client.governance(fromHex(network.genesis_digest)) };
}

/** The keys of the seed files given with `--key`. @throws UsageError for none */
export async function voterKeys(files: readonly string[] | undefined): Promise<SigningKey[]> {
  if (files === undefined || files.length === 0) {
    throw new UsageError("expected --key FILE, got none");
  }
  return Promise.all(files.map(async (path) => signingKeyFromSeed(await readSeed(path))));
}
