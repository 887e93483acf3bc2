import { LOG_EXCERPT, actorLogOrigin, signingKeyFromSeed } from "#protocol";
import {
  actorLogStatements,
  openActorLog,
  type ActorLog,
  type ActorLogSchema,
} from "../evidence/actor-log.ts";
import { excerptOf } from "../evidence/index.ts";
import { runAggregatorNode, type AggregatorJournal } from "../execution/index.ts";
import { NodeClient } from "../http/index.ts";
import { openStore, type Store } from "../store/index.ts";
import { readSeed, storePlaceOf, type AggregatorConfig } from "./config.ts";
import { COORDINATOR_AWAY_MS_MAX, reporterOf, type EnclaveEnvironment } from "./environment.ts";
import { readFooting, readyOf } from "./files.ts";
import { readFormerKeys } from "./key-history.ts";

const MIGRATIONS = [{ version: 1, statements: actorLogStatements }];

/** Runs an aggregator host until told to stop. It keeps its signed log and no other state. */
export async function runAggregator(
  config: AggregatorConfig,
  environment: EnclaveEnvironment,
): Promise<void> {
  const footing = await readFooting(config);
  const key = signingKeyFromSeed(await readSeed(config.signing_seed_file));
  const identity = { actorId: config.actor_id, key };
  const formerKeys = await readFormerKeys(config.signing_seed_file, identity);
  const { nowMs, random } = environment;
  const at = await storePlaceOf(config, "aggregator.db");
  const store = await openStore<ActorLogSchema>({ at, migrations: MIGRATIONS });
  try {
    const origin = actorLogOrigin(footing.genesis.network, config.actor_id);
    const log = await openActorLog({ store, ...identity, formerKeys, origin, nowMs });
    environment.report(readyOf(config, footing));
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
        journal: journalOf(store, log),
        anchors: footing.trust.anchors,
        genesis: footing.genesisBytes,
        genesisDigest: footing.genesisDigest,
        nowMs,
        report: reporterOf(environment),
      },
      environment.signal,
    );
  } finally {
    await store.close();
  }
}

function journalOf(store: Store<ActorLogSchema>, log: ActorLog): AggregatorJournal {
  return {
    append: async (taskId, type, body) => {
      await store.write((trx) => log.append(trx, { type, taskId, body }));
    },
    excerpt: async (taskId) => LOG_EXCERPT.encode(await excerptOf(log, taskId)),
  };
}
