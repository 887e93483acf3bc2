import { join } from "node:path";

import { inTurn, propose } from "../../host/cli/governance/propose.ts";
import { readSeed } from "../../host/index.ts";
import { signingKeyFromSeed, type GovernedDecision } from "../../protocol/index.ts";
import type { LiveNetwork } from "./live-network.ts";

/** Has the governance of a running network decide, as its quorum of key holders does. */
export async function govern(
  { client, directory, network }: LiveNetwork,
  decision: GovernedDecision,
): Promise<void> {
  const files = [1, 2].map((n) => join(directory, "governance", `key-${n}.seed`));
  const keys = await Promise.all(files.map(async (f) => signingKeyFromSeed(await readSeed(f))));
  const state = await client.governance(network.genesisDigest);
  await inTurn({ client, state }, (newest) => propose({ client, state: newest, decision, keys }));
}
