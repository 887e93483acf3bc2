import { randomBytes } from "node:crypto";
import { duplexPair } from "node:stream";

import { parseNitroDocument } from "../../attestation/index.ts";
import { EnclaveSession } from "../../enclave/session.ts";
import type { EnclaveExit, EnclaveLauncher } from "../../host/execution/index.ts";
import { HeldGovernance } from "../../host/execution/held-governance.ts";
import type { Coordinator } from "../../host/execution/node-loop.ts";
import { runVaultNode } from "../../host/execution/vault-node.ts";
import type { Carried, Vault } from "../../host/sovereignty/index.ts";
import {
  genesisState,
  FRAME_BYTES_MAX,
  FrameReader,
  ROUND_MESSAGE,
  SESSION_MANIFEST,
  TASK_ENVELOPE,
  WORK_ITEM,
  decodeCbor,
  enclaveRequestSchema,
  encodeCbor,
  encodeFrame,
  parseCose,
  parseWith,
  peerNonce,
  type EnclaveRequest,
  type ErrorCode,
  type GovernanceStatement,
  type RoundMessage,
  type TaskEnvelope,
  type TaskParameters,
  type WorkItem,
} from "../../protocol/index.ts";
import { envelopeOf, requestOf, type Fixture } from "../host/sovereignty/vault-world.ts";
import {
  bootHosted,
  rigEnvironment,
  rigPlatform,
  startEnclave,
  type HostedEnclave,
} from "./enclave-rig.ts";
import { governanceSnapshot } from "./network.ts";
import { trustingAnswers } from "./witnesses.ts";

type Decision = GovernanceStatement["decision"];
type Body = RoundMessage["body"];

/** What a test does while a Vault's node works; each is awaited before the work goes on. */
export interface NodeHooks {
  /** The node has posted a message. */
  posted?: (body: Body) => Promise<void> | void;
  /** Nothing more will come in this round; absent: so once the board is silent for long. */
  over?: boolean;
  /** The node has sent its enclave a request. `hold` never answers it; the enclave dies when nobody ends it. */
  asked?: (request: EnclaveRequest) => Promise<"hold" | void> | void;
  /** The enclave has answered, and its host has not heard yet. */
  answered?: (request: EnclaveRequest) => Promise<void> | void;
  /** What becomes of a document on its way to the Vault; `again` asks the same enclave for another. */
  attested?:
    | ((
        document: Uint8Array,
        again: (nonce: Uint8Array) => Promise<Uint8Array>,
      ) => Promise<Uint8Array> | Uint8Array)
    | undefined;
  /** What becomes of the aggregator's document on its way to the slice. */
  aggregatorAttested?:
    ((document: Uint8Array, nonce: Uint8Array) => Promise<Uint8Array> | Uint8Array) | undefined;
  /** The Vault has charged the round and signed its order. */
  ordered?: () => Promise<void> | void;
  /** What becomes of the other Vaults' answers about this Vault's log. */
  witnessed?: (asked: {
    readonly about: "witness" | "witnessed";
    readonly question: Uint8Array;
    readonly answers: readonly Carried[];
  }) => Promise<readonly Carried[]> | readonly Carried[];
  /** The key service was asked for a key. */
  releasing?: () => Promise<void> | void;
  /** The node reads a sealed batch, whose key it has. */
  reading?: () => Promise<void> | void;
}

/** A Vault's node at work on messages that a test hands it, as a coordinator would. */
export interface NodeRig {
  readonly fixture: Fixture;
  readonly hooks: NodeHooks;
  /** Bodies the node has posted; a test may empty it. */
  readonly posted: Body[];
  /** Requests that reached its enclaves; a test may empty it. */
  readonly requests: EnclaveRequest["method"][];
  /** How many of its enclaves are still there. */
  enclavesAlive(): number;
  /** The aggregator's enclave of the last slice of many Vaults. */
  aggregator(): HostedEnclave;
  /** Module id of the aggregator's enclave. */
  aggregatorModule(): string;
  /** Has governance decide, and this Vault cosign it. */
  govern(decision: Decision): Promise<ErrorCode | null>;
  /** The governance there is now, cosigned. */
  governance(): Uint8Array;
  /** Admits a query of this Vault, or of three, and gives its envelope. */
  admit(vaultIds: readonly string[]): Promise<TaskEnvelope>;
  /** Hands a piece of work to the node; resolves with what it came to. */
  perform(work: WorkItem["work"]): Promise<{ answer: Uint8Array | null; code: ErrorCode | null }>;
  /** A slice's work under the governance there is now. */
  sliceOf(envelope: TaskEnvelope): Promise<WorkItem["work"]>;
  stop(): Promise<void>;
}

const bytes = (count: number): Uint8Array => new Uint8Array(randomBytes(count));
/** How long a read of an empty board lasts. */
const BOARD_WAIT_MS = 10;
/** After so many the round is over: nothing more will come. */
const SILENT_READS_MAX = 200;
/** How long an enclave that holds its answer lives when nobody ends it. */
const HELD_MS_MAX = 2_000;

/** Starts a node for `fixture`'s Vault, which must be stocked. */
export function startNodeRig(fixture: Fixture): NodeRig {
  const { network, actor, clock } = fixture;
  const hooks: NodeHooks = {};
  const decisions: Decision[] = [];
  const posted: Body[] = [];
  const board: { position: number; message: Uint8Array }[] = [];
  const requests: EnclaveRequest["method"][] = [];
  const alive = new Set<object>();
  const work = workQueue();
  let aggregator: HostedEnclave | undefined;
  let aggregatorModule = "";
  let tasks = 0;
  let silent = 0;

  const say = (sender: Fixture["actor"], message: RoundMessage): void => {
    board.push({
      position: board.length + 1,
      message: ROUND_MESSAGE.sign(message, sender.signing),
    });
  };

  /** What the aggregator's host and enclave say to a slice that has attested. */
  const answerSlice = async (message: RoundMessage): Promise<void> => {
    if (message.body.kind !== "slice_attested" || aggregator === undefined) return;
    const slice = SESSION_MANIFEST.decode(message.body.manifest);
    const nonce = peerNonce(slice.challenge, aggregator.manifestDigest);
    const genuine = await aggregator.attest(nonce);
    aggregatorModule = parseNitroDocument(genuine).moduleId;
    const evidence = (await hooks.aggregatorAttested?.(genuine, nonce)) ?? genuine;
    const body = { kind: "aggregator_evidence", vault_id: actor.actorId, evidence } as const;
    say(network.aggregator, { ...message, sender: network.aggregator.actorId, body });
  };

  const coordinator: Coordinator = {
    nextWork: (_, signal) => work.next(signal),
    complete: (workId, outcome) => Promise.resolve(work.complete(workId, outcome)),
    governance: () => Promise.resolve(governanceSnapshot(network, decisions)),
    evidence: () => Promise.resolve(),
    candidate: () => Promise.resolve(),
    askWitnesses: async ({ about, question, after }) => {
      const answers = trustingAnswers(network, actor.actorId, { about, question });
      const carried = await hooks.witnessed?.({ about, question, answers });
      return (carried ?? answers).slice(after);
    },
    board: () => ({
      post: async (signed) => {
        const message = ROUND_MESSAGE.decode(parseCose(signed).payload);
        posted.push(message.body);
        board.push({ position: board.length + 1, message: signed });
        await answerSlice(message);
        await hooks.posted?.(message.body);
      },
      read: async (after) => {
        const messages = board.filter(({ position }) => position > after);
        silent = messages.length === 0 ? silent + 1 : 0;
        if (silent > 0) await new Promise((done) => setTimeout(done, BOARD_WAIT_MS));
        return { messages, closed: hooks.over === true || silent > SILENT_READS_MAX };
      },
    }),
  };

  const vault: Vault = {
    ...fixture.vault,
    beginExecution: async (args) => {
      const order = await fixture.vault.beginExecution(args);
      await hooks.ordered?.();
      return order;
    },
    custody: {
      ...fixture.vault.custody,
      withSliceInputs: (inputs, use) =>
        fixture.vault.custody.withSliceInputs(inputs, (batches) =>
          use(
            batches.map((batch) => ({
              ...batch,
              release: async () => {
                await hooks.releasing?.();
                return batch.release();
              },
              read: async () => {
                await hooks.reading?.();
                return batch.read();
              },
            })),
          ),
        ),
    },
  };
  const stop = new AbortController();
  const done = runVaultNode(
    {
      self: {
        actorId: actor.actorId,
        key: actor.signing,
        coordinatorKey: network.coordinator.signing.publicKey,
      },
      coordinator,
      vault,
      boxKeys: [actor.box],
      launcher: rigLauncher({ hooks, requests, alive, nowMs: () => clock.nowMs }),
      anchors: [rigPlatform().anchor],
      genesis: network.genesisBytes,
      held: new HeldGovernance(genesisState(network.genesisBytes)),
      genesisDigest: network.genesisDigest,
      nowMs: () => clock.nowMs,
      random: bytes,
      report: () => undefined,
    },
    stop.signal,
  );

  done.catch((bug: unknown) => work.fail(bug));

  const perform: NodeRig["perform"] = (item) =>
    work.add((workId) =>
      WORK_ITEM.sign(
        {
          work_id: workId,
          actor_id: actor.actorId,
          task_id: "task",
          issued_ms: clock.nowMs,
          deadline_ms: clock.nowMs + 600_000,
          work: item,
        },
        network.coordinator.signing,
      ),
    );

  return {
    ...{ fixture, hooks, posted, requests, perform },
    enclavesAlive: () => alive.size,
    aggregator: () => {
      if (aggregator === undefined) throw new Error("no aggregator yet");
      return aggregator;
    },
    aggregatorModule: () => aggregatorModule,
    governance: () => governanceSnapshot(network, decisions),
    govern: async (decision) => {
      decisions.push(decision);
      const governance = governanceSnapshot(network, decisions);
      return (await perform({ kind: "cosign", governance })).code;
    },
    admit: async (vaultIds) => {
      tasks += 1;
      const request = await requestOf(
        fixture,
        `task ${tasks}`,
        { vault_ids: [...vaultIds] },
        EVERYBODY,
      );
      const decision = await fixture.vault.decide(request.signed, fixture.governance);
      return { ...envelopeOf(fixture, request, decision), epoch_id: 0 };
    },
    sliceOf: async (envelope) => {
      if (envelope.coordination_envelope !== null) {
        const end = startEnclave({ timeMs: clock.nowMs });
        aggregator = await bootHosted(end, "aggregate", network.genesisBytes);
        say(network.aggregator, {
          envelope_digest: TASK_ENVELOPE.digest(envelope),
          round: 0,
          attempt: 0,
          sender: network.aggregator.actorId,
          body: { kind: "aggregator_ready", manifest: aggregator.manifestBytes },
        });
      }
      return {
        kind: "slice",
        envelope: TASK_ENVELOPE.encode(envelope),
        governance: governanceSnapshot(network, decisions),
        round: 0,
        attempt: 0,
        previous: null,
        artifact: null,
      };
    },
    stop: async () => {
      stop.abort();
      await done;
    },
  };
}

const EVERYBODY: TaskParameters = {
  task_class: "query",
  predicate: {
    operator: "AND",
    operands: [{ attribute: "customer.age", op: "range", min: 18, max: 121 }],
  },
  audience_cap: 1000,
};

async function attestAgain(session: EnclaveSession, nonce: Uint8Array): Promise<Uint8Array> {
  const { response } = await session.handle(encodeCbor({ method: "attest", nonce }));
  if (response.result !== "attested") throw new Error("expected a document");
  return response.document;
}

interface Outcome {
  readonly answer: Uint8Array | null;
  readonly code: ErrorCode | null;
}

/** Work for one node, in order; each piece resolves when the node has completed it. */
function workQueue() {
  const items: Uint8Array[] = [];
  const outcomes = new Map<string, PromiseWithResolvers<Outcome>>();
  let wake = Promise.withResolvers<void>();
  let count = 0;
  return {
    add: (sign: (workId: string) => Uint8Array): Promise<Outcome> => {
      count += 1;
      const workId = `work-${count}`;
      const outcome = Promise.withResolvers<Outcome>();
      outcomes.set(workId, outcome);
      items.push(sign(workId));
      wake.resolve();
      return outcome.promise;
    },
    complete: (workId: string, outcome: Outcome): void => outcomes.get(workId)?.resolve(outcome),
    /** The node ended by a fault: so does all its work. */
    fail: (bug: unknown): void => outcomes.forEach(({ reject }) => reject(bug)),
    next: async (signal: AbortSignal): Promise<Uint8Array | undefined> => {
      signal.addEventListener("abort", () => wake.resolve());
      if (items.length === 0) await wake.promise;
      wake = Promise.withResolvers<void>();
      return items.shift();
    },
  };
}

/** Starts enclaves in this process, over real streams. */
export function rigLauncher(args: {
  readonly hooks: NodeHooks;
  readonly requests: EnclaveRequest["method"][];
  readonly alive: Set<object>;
  readonly nowMs: () => number;
}): EnclaveLauncher {
  const { hooks, requests, alive } = args;
  return {
    launch: () => {
      const session = new EnclaveSession(rigEnvironment({ timeMs: args.nowMs() }));
      const [channel, inside] = duplexPair();
      const exited = Promise.withResolvers<EnclaveExit>();
      const reader = new FrameReader();
      const answer = async (frame: Uint8Array): Promise<void> => {
        const request = parseWith(
          enclaveRequestSchema,
          decodeCbor(frame, FRAME_BYTES_MAX),
          "request",
        );
        requests.push(request.method);
        if ((await hooks.asked?.(request)) === "hold") {
          const timer = setTimeout(() => handle.kill(), HELD_MS_MAX);
          return void exited.promise.then(() => clearTimeout(timer));
        }
        const { response } = await session.handle(frame);
        await hooks.answered?.(request);
        if (response.result === "attested" && hooks.attested !== undefined) {
          const document = await hooks.attested(response.document, (nonce) =>
            attestAgain(session, nonce),
          );
          return void inside.write(encodeFrame(encodeCbor({ ...response, document })));
        }
        inside.write(encodeFrame(encodeCbor(response)));
      };
      inside.on("data", (chunk: Uint8Array) => {
        for (const frame of reader.push(chunk)) void answer(frame);
      });
      const handle = {
        channel,
        exited: exited.promise,
        kill: () => {
          alive.delete(handle);
          exited.resolve({ code: null, signal: "SIGKILL" });
        },
      };
      alive.add(handle);
      return Promise.resolve(handle);
    },
  };
}
