import type { FastifyInstance } from "fastify";
import {
  CALL_AGE_MS_MAX,
  ConflictError,
  MalformedError,
  NODE_ANSWER,
  NODE_CALL,
  RefusedError,
  SymphonyError,
  activeActor,
  equalBytes,
  hex,
  parseCose,
  type GovernanceState,
  type NodeAnswer,
  type NodeCall,
  type RoundMessage,
} from "#protocol";
import { addRoute, content, fromBytes } from "./route.ts";
import { instanceName, type Queue, type WitnessRelay } from "../queue/index.ts";

/** Longest poll a node may ask for, milliseconds. */
const WAIT_MS_MAX = 10_000;

/** Largest body a node may post: a sealed slice output of 33 MiB and its frame. */
const CALL_BYTES_MAX = 36 * 1024 * 1024;

/** What calls of nodes need of the coordinator. */
export interface NodeRoutesContext {
  readonly queue: Queue;
  readonly relay: WitnessRelay;
  readonly governanceState: () => GovernanceState;
  /** The longest cosigned governance log, encoded. @throws UnavailableError until there is one. */
  readonly governanceSnapshot: () => Uint8Array;
  readonly readRoundMessage: (
    signed: Uint8Array,
    of: { readonly governance: GovernanceState; readonly epochId: number },
  ) => RoundMessage | undefined;
  /** Who takes part in a task's rounds; throws for a task that is not known or has no envelope. */
  readonly roundsOf: (taskId: string) => Promise<TaskRounds>;
  /** Told that something changed for a task. */
  readonly changed: (taskId: string) => void;
  /** Told of each message that takes its place on the board, before the sender is answered. */
  readonly posted: (taskId: string, message: RoundMessage, signed: Uint8Array) => Promise<void>;
  /** Keeps a node's excerpt of its own log for the task's evidence. */
  readonly keepExcerpt: (taskId: string, actorId: string, excerpt: Uint8Array) => Promise<void>;
  /** Keeps what a Vault says of a column of its own. */
  readonly takeCandidate: (actorId: string, signed: Uint8Array) => Promise<void>;
  readonly nowMs: () => number;
}

/** The rounds of one task, as far as the board judges messages. */
export interface TaskRounds {
  /** Whether messages are still taken. */
  readonly open: boolean;
  readonly envelopeDigest: Uint8Array;
  /** Rounds are [0, count). */
  readonly count: number;
  readonly vaultIds: readonly string[];
  /** Null for a sole task. */
  readonly aggregatorId: string | null;
}

/** Kinds that only the aggregator posts; the others are the Vaults'. `failed` is anybody's who takes part. */
const AGGREGATOR_KINDS: ReadonlySet<RoundMessage["body"]["kind"]> = new Set([
  "aggregator_ready",
  "aggregator_evidence",
  "round_secret",
  "round_result",
]);

/**
 * The listener of nodes: one route, one signed call a request.
 *
 * A call is its actor's by signature, recent by both clocks, and used once.
 */
export function addNodeRoutes(server: FastifyInstance, context: NodeRoutesContext): void {
  const nonces = new NonceWindow();
  addRoute(server, {
    method: "POST",
    path: "/v1/nodes/call",
    summary:
      "Takes one signed `node-call` of a Vault node or an aggregator; gives a `node-answer`.",
    takes: fromBytes("application/cbor"),
    gives: content("application/cbor"),
    bodyBytesMax: CALL_BYTES_MAX,
    handle: async (body) => {
      if (!(body instanceof Uint8Array)) {
        throw new MalformedError(
          { code: "SCHEMA_MALFORMED", field: "body" },
          "body: expected application/cbor",
        );
      }
      const call = verifyCall(new Uint8Array(body), context, nonces);
      return Buffer.from(NODE_ANSWER.encode(await answerCall(call, context)));
    },
  });
}

function verifyCall(signed: Uint8Array, context: NodeRoutesContext, nonces: NonceWindow): NodeCall {
  const claimed = NODE_CALL.decode(parseCose(signed).payload);
  const actor = activeActor(context.governanceState(), claimed.actor_id);
  const call = NODE_CALL.verify(signed, actor.signing_key);
  const nowMs = context.nowMs();
  if (Math.abs(nowMs - call.at_ms) > CALL_AGE_MS_MAX || !nonces.take(hex(call.nonce), nowMs)) {
    throw new RefusedError(
      { code: "AUTH_REPLAYED" },
      `call: expected a new one at most ${CALL_AGE_MS_MAX} ms old`,
    );
  }
  return call;
}

async function answerCall(call: NodeCall, context: NodeRoutesContext): Promise<NodeAnswer> {
  try {
    return await perform(call, context);
  } catch (error) {
    if (!(error instanceof SymphonyError)) throw error;
    return { result: "failed", code: error.code };
  }
}

async function perform({ actor_id: actorId, call }: NodeCall, context: NodeRoutesContext) {
  const { queue } = context;
  switch (call.name) {
    case "next_work": {
      const instance = instanceName(call.instance);
      const waitMs = Math.min(call.wait_ms, WAIT_MS_MAX);
      const item = await nextWork(context, { actorId, instance, waitMs });
      return item === undefined ? NONE : ({ result: "work", item } as const);
    }
    case "complete": {
      const { work_id: workId, answer, code } = call;
      if (context.relay.complete({ workId, actorId, answer })) return DONE;
      const { taskId } = await queue.complete({ workId, actorId, answer, code });
      context.changed(taskId);
      return DONE;
    }
    case "post":
      return postMessage(actorId, call, context);
    case "messages": {
      const rounds = await context.roundsOf(call.task_id);
      requireParticipant(actorId, rounds);
      const { open } = rounds;
      const messages = await queue.messages({
        taskId: call.task_id,
        round: call.round,
        after: call.after,
        waitMs: open ? Math.min(call.wait_ms, WAIT_MS_MAX) : 0,
      });
      return { result: "messages", messages, closed: !open } as const;
    }
    case "ask_witnesses":
      return askWitnesses(actorId, call, context);
    case "governance":
      return { result: "governance", snapshot: context.governanceSnapshot() } as const;
    case "evidence":
      await context.keepExcerpt(call.task_id, actorId, call.excerpt);
      context.changed(call.task_id);
      return DONE;
    case "candidate":
      await context.takeCandidate(actorId, call.signed);
      return DONE;
  }
}

const NONE = { result: "none" } as const;
const DONE = { result: "done" } as const;

/** Questions between Vaults come before work: others wait for them. */
async function nextWork(
  { queue, relay }: NodeRoutesContext,
  args: { readonly actorId: string; readonly instance: string; readonly waitMs: number },
): Promise<Uint8Array | undefined> {
  const { actorId, instance } = args;
  const relayed = relay.next(actorId, instance);
  if (relayed !== undefined) return relayed;
  return (await queue.claim(args)) ?? relay.next(actorId, instance);
}

async function askWitnesses(
  actorId: string,
  call: Extract<NodeCall["call"], { name: "ask_witnesses" }>,
  { relay, governanceState }: NodeRoutesContext,
): Promise<NodeAnswer> {
  const vaults = [...governanceState().actors.values()]
    .filter(({ role, status }) => role === "enterprise" && status === "active")
    .map(({ actor_id }) => actor_id);
  if (!vaults.includes(actorId)) {
    throw new RefusedError(
      { code: "COORDINATION_ROLE_REFUSED" },
      "witnesses: expected a Vault to ask for them",
    );
  }
  const { ask_id: askId, about, question, after } = call;
  const actorIds = vaults.filter((each) => each !== actorId);
  relay.ask({ askId, askerId: actorId, actorIds, work: { kind: about, question } });
  const waitMs = Math.min(call.wait_ms, WAIT_MS_MAX);
  const answers = await relay.answers({ askId, askerId: actorId, after, waitMs });
  return { result: "witness_answers", answers: [...answers] };
}

async function postMessage(
  actorId: string,
  call: Extract<NodeCall["call"], { name: "post" }>,
  context: NodeRoutesContext,
): Promise<NodeAnswer> {
  const governance = context.governanceState();
  const { epochId } = governance.epoch;
  const message = context.readRoundMessage(call.message, { governance, epochId });
  if (message === undefined || message.sender !== actorId) {
    throw new RefusedError(
      { code: "AUTH_SIGNATURE_INVALID" },
      "message: expected one signed by the calling actor",
    );
  }
  const rounds = await context.roundsOf(call.task_id);
  requireParticipant(actorId, rounds);
  if (!rounds.open) {
    throw new ConflictError(
      { code: "COORDINATION_CONFLICT" },
      "message: expected a round that is still open",
    );
  }
  requirePlace(message, rounds);
  const first = await context.queue.post(call.task_id, message, call.message);
  if (!first) {
    throw new ConflictError(
      { code: "COORDINATION_CONFLICT" },
      "message: expected the first of its kind from this actor in this round",
    );
  }
  await context.posted(call.task_id, message, call.message);
  context.changed(call.task_id);
  return DONE;
}

function requireParticipant(actorId: string, rounds: TaskRounds): void {
  if (rounds.vaultIds.includes(actorId) || rounds.aggregatorId === actorId) return;
  throw new RefusedError(
    { code: "COORDINATION_ROLE_REFUSED" },
    "round: expected an actor that takes part in it",
  );
}

/** A message has a place on the board only when its sender may say it, in this task, in a round there is. */
function requirePlace(message: RoundMessage, rounds: TaskRounds): void {
  const { body, sender } = message;
  const byAggregator = AGGREGATOR_KINDS.has(body.kind);
  const mayPost =
    body.kind === "failed" ||
    (byAggregator ? sender === rounds.aggregatorId : rounds.vaultIds.includes(sender));
  const addressed = !("vault_id" in body) || rounds.vaultIds.includes(body.vault_id);
  const inRound =
    message.round < rounds.count &&
    message.attempt === 0 &&
    equalBytes(message.envelope_digest, rounds.envelopeDigest);
  if (mayPost && addressed && inRound) return;
  throw new RefusedError(
    { code: "COORDINATION_ROLE_REFUSED", kind: body.kind },
    `message: expected ${body.kind} of this task's rounds from an actor whose message it is`,
  );
}

/** Nonces seen within the age limit. Old ones cannot come back: their calls are too old. */
class NonceWindow {
  #current = new Set<string>();
  #previous = new Set<string>();
  #turnedMs = 0;

  /** @returns false when `nonce` was taken before. */
  take(nonce: string, nowMs: number): boolean {
    if (nowMs - this.#turnedMs > 2 * CALL_AGE_MS_MAX) {
      this.#previous = this.#current;
      this.#current = new Set();
      this.#turnedMs = nowMs;
    }
    if (this.#current.has(nonce) || this.#previous.has(nonce)) return false;
    this.#current.add(nonce);
    return true;
  }
}
