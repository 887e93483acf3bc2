import * as fs from "node:fs";
import os from "node:os";
import path from "node:path";

import { AdmissionPlane } from "../../host/admission/index.ts";
import { openActorLog, type ActorLog } from "../../host/evidence/actor-log.ts";
import { ExecutionPlane } from "../../host/execution/index.ts";
import { Queue, WorkIssuer } from "../../host/queue/index.ts";
import { COORDINATOR_MIGRATIONS } from "../../host/run/coordinator-migrations.ts";
import type { CoordinatorSchema } from "../../host/run/coordinator-service.ts";
import { openStore, type Store, type StorePlace } from "../../host/store/index.ts";
import {
  TaskBlobs,
  TaskRegister,
  type AdmissionControls,
  type NewTask,
} from "../../host/tasks/index.ts";
import {
  GOVERNANCE_SNAPSHOT,
  parseEvent,
  verifyGovernanceSnapshot,
  type GovernanceState,
  type LogEvent,
} from "../../protocol/index.ts";
import {
  NETWORK_TIME_MS,
  createNetwork,
  governanceSnapshot,
  testSeed,
  type NetworkOptions,
  type TestNetwork,
} from "./network.ts";

/** The planes of a coordinator over a real store in a folder of its own, with a clock that tests move. */
export interface CoordinatorRig {
  readonly at: StorePlace;
  readonly network: TestNetwork;
  readonly state: GovernanceState;
  readonly clock: { nowMs: number };
  readonly store: Store<CoordinatorSchema>;
  readonly log: ActorLog;
  readonly register: TaskRegister;
  readonly queue: Queue;
  readonly issuer: WorkIssuer;
  readonly blobs: TaskBlobs;
  readonly admission: AdmissionPlane;
  readonly execution: ExecutionPlane;
  readonly nowMs: () => number;
  /** Tasks and sub-tasks in the order they were given an epoch. */
  readonly assigned: string[];
  /** Every event of the log, in order. */
  events(): Promise<LogEvent[]>;
  close(): Promise<void>;
}

/** Opens a coordinator's planes in a new folder, or in the `folder` of an earlier rig. */
export async function openCoordinatorRig(
  options: NetworkOptions & {
    readonly folder?: string;
    /** Absent: a file in the folder. */
    readonly at?: StorePlace;
    readonly decisions?: Parameters<typeof governanceSnapshot>[1];
  } = {},
): Promise<CoordinatorRig & { readonly folder: string }> {
  const network = await createNetwork(options);
  const folder = options.folder ?? fs.mkdtempSync(path.join(os.tmpdir(), "symphony-coordinator-"));
  const snapshot = GOVERNANCE_SNAPSHOT.decode(governanceSnapshot(network, options.decisions ?? []));
  const state = verifyGovernanceSnapshot(snapshot, network.genesisDigest);
  const clock = { nowMs: NETWORK_TIME_MS };
  const nowMs = (): number => clock.nowMs;
  const at: StorePlace = options.at ?? {
    kind: "sqlite",
    file: path.join(folder, "coordinator.db"),
  };
  const store = await openStore<CoordinatorSchema>({
    at,
    migrations: COORDINATOR_MIGRATIONS,
  });
  const { actorId, signing: key } = network.coordinator;
  const log = await openActorLog({ store, actorId, key, origin: "symphony.test/log", nowMs });
  const register = new TaskRegister(store, log, nowMs);
  const queue = new Queue(store, nowMs);
  const issuer = new WorkIssuer({ queue, key, nowMs });
  const blobs = new TaskBlobs(store);
  const assigned: string[] = [];
  const common = {
    ...{ coordinatorId: actorId, register, queue, issuer, nowMs },
    governanceState: () => state,
    governanceSnapshot: () => snapshot,
    assignEpoch: (_: unknown, taskId: string) => Promise.resolve(assigned.push(taskId)),
  };
  return {
    ...{ at, network, state, clock, store, log, register, queue, issuer, blobs, nowMs, folder },
    assigned,
    admission: new AdmissionPlane(common),
    execution: new ExecutionPlane({ ...common, artifact: (digest) => blobs.artifact(digest) }),
    events: async () => (await log.entries(0, 1000)).map(({ event }) => parseEvent(event)),
    close: () => store.close(),
  };
}

/** A place that depends on nothing. */
export function placedIn(epochId: number): NewTask["place"] {
  return () => Promise.resolve({ epochId, policyVersion: "policy-1" });
}

/** Controls that hold nobody up, of a request of its own for each `name`. */
export function easyControls(
  name: string,
  changes: Partial<AdmissionControls> = {},
): AdmissionControls {
  return {
    actorId: "analyst",
    requestId: testSeed(name).slice(0, 16),
    taskClass: "query",
    rate: { tasksMax: 1_000, windowMs: 1_000 },
    runningMax: 1_000,
    actorRunningMax: 1_000,
    lock: null,
    ...changes,
  };
}

/** Closes a rig and removes its folder. */
export async function removeCoordinatorRig(rig: {
  readonly folder: string;
  readonly store: { close(): Promise<void> };
}): Promise<void> {
  await rig.store.close();
  fs.rmSync(rig.folder, { recursive: true, force: true });
}
