import { randomBytes } from "node:crypto";
import { mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  openActorLog,
  actorLogStatements,
  type ActorLog,
  type ActorLogSchema,
} from "../../host/evidence/actor-log.ts";
import {
  collectRounds,
  reduceMessage,
  verifyExecution,
  type RoundEvidence,
  type VerifiedExecution,
} from "../../host/settlement/index.ts";
import { openStore, type Store } from "../../host/store/index.ts";
import type { TrustAnchor } from "../../attestation/index.ts";
import {
  GOVERNANCE_SNAPSHOT,
  ROUND_MESSAGE,
  SEALED_OUTCOME,
  TASK_REQUEST,
  actorLogOrigin,
  parseCose,
  resolveRequest,
  vaultNonce,
  verifyGovernanceSnapshot,
  type QueryParameters,
  type GovernanceState,
  type RoundMessage,
  type TaskEnvelope,
  type TaskParameters,
  type TaskRequest,
} from "../../protocol/index.ts";
import { runRound, type FinishedTestRound, type RoundOptions } from "./enclave-round.ts";
import {
  rigPlatform,
  startEnclave,
  type EnclaveEnd,
  type RigEnclaveOptions,
} from "./enclave-rig.ts";
import { customerData } from "./network-data.ts";
import { testTask, type TestTask } from "./network-task.ts";
import {
  NETWORK_TIME_MS,
  createNetwork,
  governanceSnapshot,
  type TestActor,
  type TestNetwork,
} from "./network.ts";

/** A query over the generated customers, whose composition has two operands. */
export const QUERY: QueryParameters = {
  task_class: "query",
  predicate: {
    operator: "AND",
    operands: [
      { attribute: "customer.age", op: "range", min: 20, max: 70 },
      { attribute: "customer.subscribed", op: "in", values: [0, 1] },
    ],
  },
  audience_cap: 1000,
};

/** What a run may differ in; every field has an honest default. */
export interface RunOptions {
  readonly network?: TestNetwork;
  readonly parameters?: TaskParameters;
  readonly request?: Partial<TaskRequest>;
  readonly envelope?: (envelope: TaskEnvelope) => TaskEnvelope;
  /** Events of the governance log. */
  readonly decisions?: Parameters<typeof governanceSnapshot>[1];
  readonly artifact?: Uint8Array;
  readonly rounds?: number;
  /** Vaults that take part in a round. */
  readonly vaultIds?: readonly string[];
  readonly enclave?: RigEnclaveOptions;
  readonly round?: Partial<RoundOptions>;
}

/** A task that real enclaves ran in this process, with every message and log it left. */
export interface TestRun {
  readonly network: TestNetwork;
  readonly task: TestTask;
  readonly snapshotBytes: Uint8Array;
  readonly governance: GovernanceState;
  readonly anchors: readonly TrustAnchor[];
  readonly messages: readonly Uint8Array[];
  readonly rounds: readonly RoundEvidence[];
  readonly finished: readonly FinishedTestRound[];
  /** By actor: each Vault's and the coordinator's. */
  readonly logs: ReadonlyMap<
    string,
    { readonly log: ActorLog; readonly store: Store<ActorLogSchema> }
  >;
}

/** The composition the resolver gives, so that generated envelopes say what admission would. */
function resolved(envelope: TaskEnvelope, governance: GovernanceState): TaskEnvelope {
  const request = TASK_REQUEST.decode(parseCose(envelope.caller_context.signed_request).payload);
  const { attribute_composition } = resolveRequest(request, governance);
  return { ...envelope, attribute_composition };
}

/** Runs a task from request to bundles, through real enclave sessions. */
export async function runTask(options: RunOptions = {}): Promise<TestRun> {
  const network = options.network ?? (await createNetwork());
  const snapshotBytes = governanceSnapshot(network, options.decisions ?? []);
  const snapshot = GOVERNANCE_SNAPSHOT.decode(snapshotBytes);
  const governance = verifyGovernanceSnapshot(snapshot, network.genesisDigest);
  const data = customerData(
    network.vaults.map((vault) => vault.actorId),
    40,
  );
  const task = await testTask(network, {
    parameters: options.parameters ?? QUERY,
    data,
    ...(options.request === undefined ? {} : { request: options.request }),
    envelope: (plain) => {
      const envelope = resolved(plain, governance);
      return options.envelope?.(envelope) ?? envelope;
    },
  });
  const logs = await openLogs(network);
  const messages: Uint8Array[] = [];
  const finished: FinishedTestRound[] = [];
  for (let round = 0; round < (options.rounds ?? 1); round += 1) {
    const previous = finished.at(-1);
    const heads = await executingHeads(task, logs, round);
    const tracked = new Map<string, { evidence: Uint8Array; random: Uint8Array }>();
    const done = await runRound(task, {
      governance: snapshotBytes,
      round,
      ...(options.artifact === undefined ? {} : { artifact: options.artifact }),
      ...(previous === undefined ? {} : { previous }),
      ...(options.vaultIds === undefined ? {} : { vaultIds: options.vaultIds }),
      startAggregator: () => startEnclave(options.enclave),
      startSlice: (vaultId) => trackedSlice(task, { vaultId, round, tracked }, options.enclave),
      order: (vaultId) => heads.get(vaultId) ?? {},
      ...options.round,
    });
    finished.push(done);
    messages.push(...roundMessages(task, { round, done, tracked }));
  }
  return {
    network,
    task,
    snapshotBytes,
    governance,
    anchors: [(options.enclave?.platform ?? rigPlatform()).anchor],
    messages,
    rounds: collectRounds(
      messages.map(reduceMessage).filter((message) => message !== null),
      task.envelope,
    ),
    finished,
    logs,
  };
}

/** A slice enclave that, just before it runs, gives evidence for its Vault whose nonce we know. */
function trackedSlice(
  task: TestTask,
  slice: {
    readonly vaultId: string;
    readonly round: number;
    readonly tracked: Map<string, { evidence: Uint8Array; random: Uint8Array }>;
  },
  options?: RigEnclaveOptions,
): EnclaveEnd {
  const end = startEnclave(options);
  return {
    async call(request) {
      if (request.method === "run") {
        const random = new Uint8Array(randomBytes(32));
        const reference = {
          envelope_digest: task.envelopeDigest,
          vault_id: slice.vaultId,
          round: slice.round,
          attempt: 0,
        };
        const nonce = vaultNonce(reference, random);
        const attested = await end.call({ method: "attest", nonce });
        if (attested.result !== "attested") throw new Error("attest");
        slice.tracked.set(slice.vaultId, { evidence: attested.document, random });
      }
      return end.call(request);
    },
  };
}

async function openLogs(network: TestNetwork): Promise<TestRun["logs"]> {
  const directory = mkdtempSync(join(tmpdir(), "symphony-evidence-"));
  const logs = new Map<string, { log: ActorLog; store: Store<ActorLogSchema> }>();
  for (const actor of [network.coordinator, ...network.vaults]) {
    const store = await openStore<ActorLogSchema>({
      at: { kind: "sqlite", file: join(directory, `${actor.actorId}.db`) },
      migrations: [{ version: 1, statements: actorLogStatements }],
    });
    logs.set(actor.actorId, { store, log: await openTestLog(store, network, actor) });
  }
  return logs;
}

function openTestLog(
  store: Store<ActorLogSchema>,
  network: TestNetwork,
  actor: TestActor,
): Promise<ActorLog> {
  return openActorLog({
    store,
    actorId: actor.actorId,
    key: actor.signing,
    origin: actorLogOrigin(network.genesis.network, actor.actorId),
    nowMs: () => NETWORK_TIME_MS,
  });
}

/** Appends one event and returns the head after it. */
export async function logEvent(
  logs: TestRun["logs"],
  actorId: string,
  event: {
    readonly type: string;
    readonly taskId: string;
    readonly body?: { [key: string]: string | number | Uint8Array };
  },
): Promise<{ ledger_root: Uint8Array; ledger_size: number }> {
  const own = logs.get(actorId);
  if (own === undefined) throw new Error(`no log of ${actorId}`);
  const { root, size } = await own.store.write((trx) =>
    own.log.append(trx, { type: event.type, taskId: event.taskId, body: event.body ?? {} }),
  );
  return { ledger_root: root, ledger_size: size };
}

async function executingHeads(
  task: TestTask,
  logs: TestRun["logs"],
  round: number,
): Promise<Map<string, { ledger_root: Uint8Array; ledger_size: number }>> {
  const heads = new Map<string, { ledger_root: Uint8Array; ledger_size: number }>();
  for (const { vault_id } of task.envelope.inputs) {
    const body = { envelope_digest: task.envelopeDigest, round };
    const event = { type: "budget.executing", taskId: task.envelope.task_id, body };
    heads.set(vault_id, await logEvent(logs, vault_id, event));
  }
  return heads;
}

function roundMessages(
  task: TestTask,
  args: {
    readonly round: number;
    readonly done: FinishedTestRound;
    readonly tracked: ReadonlyMap<string, { evidence: Uint8Array; random: Uint8Array }>;
  },
): Uint8Array[] {
  const { aggregator } = task.network;
  const { started, ran, begun, bundleBytes, outcome } = args.done;
  const say = (actor: TestActor, body: RoundMessage["body"]): Uint8Array =>
    ROUND_MESSAGE.sign(
      {
        envelope_digest: task.envelopeDigest,
        round: args.round,
        attempt: 0,
        sender: actor.actorId,
        body,
      },
      actor.signing,
    );
  const slices = started.slices.flatMap((slice, index) => {
    const answer = ran[index];
    const tracked = args.tracked.get(slice.vault.actorId);
    const secret =
      begun.result === "begun"
        ? begun.secrets.find((each) => each.vault_id === slice.vault.actorId)
        : undefined;
    if (answer?.result !== "ran" || tracked === undefined || secret === undefined) return [];
    const vault_id = slice.vault.actorId;
    return [
      say(slice.vault, {
        kind: "slice_attested",
        manifest: slice.enclave.manifestBytes,
        evidence_for_aggregator: slice.evidenceForAggregator,
        vault_evidence: tracked.evidence,
        vault_random: tracked.random,
      }),
      say(aggregator, {
        kind: "aggregator_evidence",
        vault_id,
        evidence: slice.aggregatorEvidence,
      }),
      say(slice.vault, {
        kind: "contribution",
        order: slice.presentation.order,
        sealed: slice.presentation.contribution,
      }),
      say(aggregator, { kind: "round_secret", vault_id, sealed: secret.sealed }),
      say(slice.vault, {
        kind: "slice_result",
        order: null,
        bundle: answer.bundle,
        sealed: answer.sealed,
      }),
    ];
  });
  return [
    say(aggregator, {
      kind: "aggregator_ready",
      manifest: started.aggregator.manifestBytes,
    }),
    ...slices,
    say(aggregator, {
      kind: "round_result",
      bundle: bundleBytes,
      outcome: SEALED_OUTCOME.encode(outcome),
    }),
  ];
}

/** Verifies a run as the coordinator does. */
export function verifyRun(
  run: TestRun,
  changes: Partial<Parameters<typeof verifyExecution>[0]> = {},
): VerifiedExecution {
  const { governance, anchors, rounds } = run;
  return verifyExecution({ envelope: run.task.envelope, governance, anchors, rounds, ...changes });
}

/** Closes the stores of a run. */
export async function closeRun(run: TestRun): Promise<void> {
  for (const { store } of run.logs.values()) await store.close();
}
