// Runs one example on a network, over all of its Vaults: node examples/client/main.ts query [DIR]
import { SymphonyClient, readSubmitter } from "symphony/client";

import { TASK as COMPUTE, scoreEveryone } from "./compute.ts";
import { TASK as PARSE, readReceipt } from "./parse.ts";
import { TASK as QUERY, countReachable } from "./query.ts";
import { TASK as TRAIN, trainModel } from "./train.ts";

const [name = "query", directory = "symphony-demo"] = process.argv.slice(2);
const { network, genesisDigest, signingKey, deliveryKey } = await readSubmitter(directory);
const vault_ids = network.vaults.map((vault) => vault.vault_id);
const client = new SymphonyClient(
  { url: network.coordinator_url, genesisDigest },
  { actorId: network.submitter_id, signingKey, deliveryKey },
);

const EXAMPLES = new Map([
  ["query", () => countReachable(client, { ...QUERY, vault_ids })],
  ["compute", () => scoreEveryone(client, { ...COMPUTE, vault_ids })],
  ["train", () => trainModel(client, { ...TRAIN, vault_ids })],
  ["parse", () => readReceipt(client, PARSE)],
]);
console.log(await EXAMPLES.get(name)?.());
