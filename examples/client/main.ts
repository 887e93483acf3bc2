// Runs one example on the network that the demo left: node examples/client/main.ts query
import { SymphonyClient, readSubmitter } from "symphony/client";

import { scoreEveryone } from "./compute.ts";
import { readReceipt } from "./parse.ts";
import { countReachable } from "./query.ts";
import { trainModel } from "./train.ts";

const EXAMPLES = new Map([
  ["query", countReachable],
  ["compute", scoreEveryone],
  ["train", trainModel],
  ["parse", readReceipt],
]);

const [name = "query", directory = "symphony-demo"] = process.argv.slice(2);
const { network, genesisDigest, signingKey, deliveryKey } = await readSubmitter(directory);
const client = new SymphonyClient(
  { url: network.coordinator_url, genesisDigest },
  { actorId: network.submitter_id, signingKey, deliveryKey },
);
console.log(await EXAMPLES.get(name)?.(client));
