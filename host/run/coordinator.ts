import { join } from "node:path";

import {
  UnavailableError,
  actorLogOrigin,
  signingKeyFromSeed,
  type GovernanceSnapshot,
  type SigningKey,
} from "#protocol";
import { AdmissionPlane } from "../admission/index.ts";
import { openActorLog, type ActorLog } from "../evidence/actor-log.ts";
import { ExecutionPlane } from "../execution/index.ts";
import {
  openBallots,
  openCandidates,
  openEpochRegister,
  openGovernance,
  type EpochRegister,
  type Governance,
} from "../governance/index.ts";
import {
  addGovernanceRoutes,
  addNodeRoutes,
  addTaskRoutes,
  createServer,
  listen,
} from "../http/index.ts";
import { Queue, WitnessRelay, WorkIssuer } from "../queue/index.ts";
import {
  openSettlement,
  requireDisputed,
  type Settlement,
  type SettlementTables,
} from "../settlement/index.ts";
import { openStore, type Store } from "../store/index.ts";
import { TaskBlobs, TaskRegister, type TaskTransaction } from "../tasks/index.ts";
import { readSeed, storePlaceOf, type CoordinatorConfig } from "./config.ts";
import { COORDINATOR_MIGRATIONS } from "./coordinator-migrations.ts";
import { CoordinatorService, type CoordinatorSchema } from "./coordinator-service.ts";
import type { RunEnvironment } from "./environment.ts";
import { readFooting, readyOf, writeWhole, type Footing } from "./files.ts";
import { Pipeline } from "./pipeline.ts";
import { unexpected } from "./vault.ts";

/** Milliseconds between visits of everything that may be due. */
const TICK_MS = 100;

/**
 * Runs a coordinator until told to stop: store, services, planes and two listeners.
 *
 * Writes `coordinator.json` with both URLs into its folder once it answers.
 */
export async function runCoordinator(
  config: CoordinatorConfig,
  environment: RunEnvironment,
): Promise<void> {
  const footing = await readFooting(config);
  const key = signingKeyFromSeed(await readSeed(config.signing_seed_file));
  const store = await openStore<CoordinatorSchema>({
    at: await storePlaceOf(config, "coordinator.db"),
    migrations: COORDINATOR_MIGRATIONS,
  });
  try {
    const service = await openService({ store, footing, key, config, environment });
    await serve({ service, config, environment, footing });
  } finally {
    await store.close();
  }
}

async function openService(args: {
  readonly store: Store<CoordinatorSchema>;
  readonly footing: Footing;
  readonly key: SigningKey;
  readonly config: CoordinatorConfig;
  readonly environment: RunEnvironment;
}): Promise<CoordinatorService> {
  const { store, footing, key, environment } = args;
  const { nowMs } = environment;
  const actorId = args.config.actor_id;
  const origin = actorLogOrigin(footing.genesis.network, actorId);
  const log = await openActorLog({ store, actorId, key, origin, nowMs });
  const governance = await openGovernance({
    store,
    genesisBytes: footing.genesisBytes,
    signingKey: key,
    nowMs,
    requireDisputed: (trx, taskId) => requireDisputed(trx.withTables<SettlementTables>(), taskId),
  });
  const epochs = await openEpochRegister({ store, governance });
  const ballots = openBallots({ store, governance, nowMs });
  const candidates = openCandidates({ store, log, governance: () => governance.state(), nowMs });
  const settlement = openSettlement({
    store,
    log,
    epochs,
    governance: () => governance.pendingState(),
    appendDecision: (...args) => governance.append(...args),
    signingKey: key,
    nowMs,
  });
  const shared = { store, log, key, governance, epochs, settlement, footing, environment };
  const planes = openPlanes(shared);
  await planes.queue.offerAgain();
  const services = { ...shared, ...planes, ballots, candidates };
  return new CoordinatorService({ ...services, coordinatorId: actorId });
}

function openPlanes(args: {
  readonly store: Store<CoordinatorSchema>;
  readonly log: ActorLog;
  readonly key: SigningKey;
  readonly governance: Governance;
  readonly epochs: EpochRegister;
  readonly settlement: Settlement;
  readonly footing: Footing;
  readonly environment: RunEnvironment;
}) {
  const { store, log, key, governance, epochs, settlement, environment } = args;
  const { nowMs } = environment;
  const register = new TaskRegister(store, log, nowMs);
  const queue = new Queue(store, nowMs);
  const issuer = new WorkIssuer({ queue, key, nowMs });
  const relay = new WitnessRelay({ signals: queue.signals, key, nowMs });
  const blobs = new TaskBlobs(store);
  const common = {
    coordinatorId: log.actorId,
    register,
    queue,
    issuer,
    governanceState: () => governance.state(),
    governanceSnapshot: () => wholeSnapshot(governance),
    governanceAt: (size: number) => governance.stateAt(size),
    assignEpoch: (trx: TaskTransaction, taskId: string) => epochs.assign(trx, taskId),
    nowMs,
  };
  const admission = new AdmissionPlane(common);
  const execution = new ExecutionPlane({
    ...common,
    artifact: (digest) => blobs.artifact(digest),
  });
  const pipeline = new Pipeline({
    ...common,
    admission,
    execution,
    settlement,
    resolveEpoch: (taskId) => epochs.resolve(taskId),
    anchors: args.footing.trust.anchors,
    report: (taskId, error) =>
      environment.report({ ...unexpected("pipeline", error), task_id: taskId }),
  });
  return { register, queue, relay, issuer, blobs, admission, execution, pipeline };
}

/**
 * The cosigned snapshot that goes out with work: of the whole log or none, because a Vault that has cosigned more takes
 * no shorter one. Whoever asks too early asks again at the next visit.
 */
function wholeSnapshot(governance: Governance): GovernanceSnapshot {
  if (governance.isCosigned()) return governance.snapshot();
  throw new UnavailableError(
    { code: "COORDINATION_UNAVAILABLE" },
    "governance log: expected cosignatures of a quorum of Vaults over all of it",
  );
}

async function serve(args: {
  readonly service: CoordinatorService;
  readonly config: CoordinatorConfig;
  readonly environment: RunEnvironment;
  readonly footing: Footing;
}): Promise<void> {
  const { service, config, environment, footing } = args;
  const report = (id: string, error: unknown): void => environment.report(unexpected(id, error));
  const nodes = createServer({ report });
  addNodeRoutes(nodes, service.nodeRoutes());
  const tasks = createServer({ report });
  addTaskRoutes(tasks, service.taskRoutes());
  addGovernanceRoutes(tasks, service.governanceRoutes());
  const nodeServer = await listen(nodes, config.node_listen);
  const taskServer = await listen(tasks, config.public_listen);
  const urls = { public_url: taskServer.url, node_url: nodeServer.url };
  try {
    await writeWhole(join(config.directory, "coordinator.json"), `${JSON.stringify(urls)}\n`);
    environment.report({ ...readyOf(config, footing), ...urls });
    await service.start();
    while (!environment.signal.aborted) {
      await service.tick();
      await new Promise((resolve) => setTimeout(resolve, TICK_MS));
    }
  } finally {
    await Promise.all([taskServer.close(), nodeServer.close()]);
  }
}
