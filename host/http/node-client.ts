import {
  ConflictError,
  NODE_ANSWER,
  NODE_CALL,
  RefusedError,
  UnavailableError,
  type ErrorCode,
  type NodeAnswer,
  type NodeCall,
  type SigningKey,
} from "#protocol";
import { readBounded } from "./bounded-body.ts";
import type { Coordinator } from "../execution/node-loop.ts";
import type { BoardTransport } from "../execution/round-board.ts";

/** A node's identity towards its coordinator. */
export interface NodeIdentity {
  readonly actorId: string;
  readonly key: SigningKey;
}

/** Milliseconds between tries while the coordinator is away. */
const RETRY_MS = 250;
const CALL_MS_MAX = 30_000;
/** A page of messages is at most this much beyond its last message. */
const ANSWER_BYTES_MAX = 140 * 1024 * 1024;

/**
 * A node's signed calls to its coordinator. While the coordinator is away a call is repeated, each time newly signed,
 * until `giveUpMs` has passed; every call is idempotent.
 */
export class NodeClient {
  readonly #url: string;
  readonly #identity: NodeIdentity;
  readonly #instance: Uint8Array;
  readonly #nowMs: () => number;
  readonly #random: (bytes: number) => Uint8Array;
  readonly #giveUpMs: number;

  constructor(args: {
    readonly url: string;
    readonly identity: NodeIdentity;
    readonly nowMs: () => number;
    readonly random: (bytes: number) => Uint8Array;
    readonly giveUpMs: number;
  }) {
    this.#url = `${args.url}/v1/nodes/call`;
    this.#identity = args.identity;
    this.#nowMs = args.nowMs;
    this.#random = args.random;
    this.#giveUpMs = args.giveUpMs;
    this.#instance = args.random(16);
  }

  /** The next signed work item, or undefined after `waitMs`. `signal` ends the wait with COORDINATION_UNAVAILABLE. */
  async nextWork(waitMs: number, signal?: AbortSignal): Promise<Uint8Array | undefined> {
    const call = { name: "next_work", instance: this.#instance, wait_ms: waitMs } as const;
    const answer = await this.#call(call, signal);
    return answer.result === "work" ? answer.item : undefined;
  }

  /** Ends a piece of work, with an answer or a code. */
  async complete(
    workId: string,
    outcome: { readonly answer: Uint8Array | null; readonly code: ErrorCode | null },
  ): Promise<void> {
    await this.#call({ name: "complete", work_id: workId, ...outcome });
  }

  /** The longest governance log that a quorum of Vaults has cosigned, as the coordinator says; to be verified. */
  async governance(): Promise<Uint8Array> {
    const answer = await this.#call({ name: "governance" });
    return answer.result === "governance" ? answer.snapshot : new Uint8Array(0);
  }

  /** Hands in the excerpt of this node's own log that concerns a task. */
  async evidence(taskId: string, excerpt: Uint8Array): Promise<void> {
    await this.#call({ name: "evidence", task_id: taskId, excerpt });
  }

  /** Hands in what this Vault says of a column; see `Coordinator`. */
  async candidate(signed: Uint8Array): Promise<void> {
    await this.#call({ name: "candidate", signed });
  }

  /** Asks every other Vault about this actor's log; see `Coordinator`. */
  async askWitnesses(args: Parameters<Coordinator["askWitnesses"]>[0]) {
    const { askId, about, question, after, waitMs, signal } = args;
    const answer = await this.#call(
      {
        name: "ask_witnesses",
        ask_id: askId,
        ...{ about, question, after },
        wait_ms: Math.floor(waitMs),
      },
      signal,
    );
    const answers = answer.result === "witness_answers" ? answer.answers : [];
    return answers.map((each) => ({ actorId: each.actor_id, answer: each.answer }));
  }

  /** The message board of one round. */
  board(taskId: string, round: number): BoardTransport {
    return {
      post: async (message) => {
        await this.#call({ name: "post", task_id: taskId, message });
      },
      read: async (after, waitMs) => {
        const answer = await this.#call({
          name: "messages",
          task_id: taskId,
          round,
          after,
          wait_ms: Math.floor(waitMs),
        });
        return answer.result === "messages" ? answer : { messages: [], closed: false };
      },
    };
  }

  async #call(call: NodeCall["call"], signal?: AbortSignal): Promise<NodeAnswer> {
    const startedMs = this.#nowMs();
    for (;;) {
      try {
        return await this.#callOnce(call, signal);
      } catch (error) {
        const away = error instanceof UnavailableError;
        if (!away || signal?.aborted === true || this.#nowMs() - startedMs >= this.#giveUpMs)
          throw error;
        await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
      }
    }
  }

  async #callOnce(call: NodeCall["call"], signal?: AbortSignal): Promise<NodeAnswer> {
    const deadline = AbortSignal.timeout(CALL_MS_MAX);
    const signed = NODE_CALL.sign(
      {
        actor_id: this.#identity.actorId,
        at_ms: this.#nowMs(),
        nonce: this.#random(16),
        call,
      },
      this.#identity.key,
    );
    let response: Response;
    let body: Uint8Array;
    try {
      response = await fetch(this.#url, {
        method: "POST",
        redirect: "error",
        headers: { "content-type": "application/cbor" },
        body: Buffer.from(signed),
        signal: signal === undefined ? deadline : AbortSignal.any([signal, deadline]),
      });
      body = await readBounded(response, ANSWER_BYTES_MAX);
    } catch (cause) {
      throw away(cause);
    }
    if (response.status >= 500) throw away(new Error(`status ${response.status}`));
    if (!response.ok) {
      throw new RefusedError(
        { code: "COORDINATION_ROLE_REFUSED", status: response.status },
        `coordinator: expected it to take the call, got status ${response.status}`,
      );
    }
    const answer = NODE_ANSWER.decode(body);
    if (answer.result === "failed") {
      throw new ConflictError(
        { code: answer.code, call: call.name },
        `coordinator: expected it to take ${call.name}, got ${answer.code}`,
      );
    }
    return answer;
  }
}

function away(cause: unknown): UnavailableError {
  return new UnavailableError(
    { code: "COORDINATION_UNAVAILABLE" },
    "coordinator: expected an answer, got none",
    { cause },
  );
}
