import { signingKeyFromSeed } from "#protocol";
import { runAggregatorNode } from "../execution/index.ts";
import { NodeClient } from "../http/index.ts";
import { readSeed, type AggregatorConfig } from "./config.ts";
import { COORDINATOR_AWAY_MS_MAX, reporterOf, type EnclaveEnvironment } from "./environment.ts";
import { readFooting } from "./files.ts";

/** Runs an aggregator host until told to stop. It keeps no state. */
export async function runAggregator(
  config: AggregatorConfig,
  environment: EnclaveEnvironment,
): Promise<void> {
  const footing = await readFooting(config);
  const key = signingKeyFromSeed(await readSeed(config.signing_seed_file));
  const identity = { actorId: config.actor_id, key };
  const { nowMs, random } = environment;
  environment.report({ event: "ready", actor_id: config.actor_id });
  await runAggregatorNode(
    {
      self: { ...identity, coordinatorKey: footing.coordinatorKey },
      coordinator: new NodeClient({
        url: config.coordinator_url,
        identity,
        nowMs,
        random,
        giveUpMs: COORDINATOR_AWAY_MS_MAX,
      }),
      launcher: environment.launcher,
      genesis: footing.genesisBytes,
      genesisDigest: footing.genesisDigest,
      nowMs,
      report: reporterOf(environment),
    },
    environment.signal,
  );
}
