import { randomBytes } from "node:crypto";
import { setTimeout } from "node:timers/promises";

import {
  TASK_DRY_RUN,
  TASK_ENVELOPE,
  TASK_REQUEST,
  UnavailableError,
  governanceOnceOf,
  parseWith,
  type BoxKeyPair,
  type GovernanceState,
  type SigningKey,
  type TaskEnvelope,
  type TaskRequest,
  type TaskResult,
} from "#protocol";
import type { z } from "zod";

import { openDelivery } from "../delivery/index.ts";
import { requestFileSchema, requestOf } from "../http/request-file.ts";
import { TaskClient, type ClientLimits } from "../http/task-client.ts";
import { verifyEnvelope } from "../settlement/verify-envelope.ts";
import { isOver, type TaskDryRun, type TaskEventView, type TaskView } from "../http/task-views.ts";

/** Who asks. */
export interface Submitter {
  readonly actorId: string;
  readonly signingKey: SigningKey;
  /** What results are sealed to. */
  readonly deliveryKey: BoxKeyPair;
}

/** A task as a request file has it (examples/README.md): digests in hex, what is signed with it left out. */
export type Task = z.input<typeof requestFileSchema>;

/** Between two tries to follow a task whose stream was cut off, milliseconds. */
const AGAIN_MS = 250;

/**
 * A network as one submitter uses it, `symphony/client`.
 *
 * Every call throws `RemoteProblem` with the coordinator's code, UnavailableError COORDINATION_UNAVAILABLE when
 * nobody answers in time, and the reason of `limits.signal` once that is aborted.
 */
export class SymphonyClient {
  /** The coordinator's routes one by one, for what is signed elsewhere. */
  readonly coordinator: TaskClient;
  readonly #submitter: Submitter;
  readonly #genesisDigest: Uint8Array;
  readonly #limits: ClientLimits;

  /**
   * @param network - Where the coordinator answers, and the digest of the genesis that this submitter trusts.
   */
  constructor(
    network: { readonly url: string; readonly genesisDigest: Uint8Array },
    submitter: Submitter,
    limits: ClientLimits = {},
  ) {
    this.coordinator = new TaskClient(network.url, limits);
    this.#genesisDigest = network.genesisDigest;
    this.#submitter = submitter;
    this.#limits = limits;
  }

  /** Signs a task and sends it. Sent twice it is two tasks. @throws MalformedError SCHEMA_MALFORMED */
  async submit(task: Task): Promise<TaskView> {
    const { signingKey } = this.#submitter;
    return this.coordinator.submit(TASK_REQUEST.sign(this.#requestOf(task), signingKey));
  }

  /** What would come of a task; nothing is reserved and no Vault is asked. @throws MalformedError SCHEMA_MALFORMED */
  async dryRun(task: Task): Promise<TaskDryRun> {
    const { signingKey } = this.#submitter;
    return this.coordinator.dryRun(TASK_DRY_RUN.sign(this.#requestOf(task), signingKey));
  }

  async status(taskId: string): Promise<TaskView> {
    return this.coordinator.status(taskId);
  }

  /**
   * What admission bound a task to for good; verified against governance from the genesis on.
   *
   * @throws RemoteProblem EXECUTION_TASK_UNKNOWN until it is dispatched; AppraisalError, VerificationError when it is no
   * envelope that admission could have assembled
   */
  async envelope(taskId: string): Promise<TaskEnvelope> {
    const envelope = TASK_ENVELOPE.decode(await this.coordinator.envelope(taskId));
    verifyEnvelope(envelope, governanceOnceOf(await this.governance(), envelope));
    return envelope;
  }

  /**
   * The task's events, each once, until nothing more can happen to it. A connection that is cut off is taken up where
   * it ended, until nobody has answered for `limits.deadlineMs`.
   */
  async *watch(taskId: string): AsyncGenerator<TaskEventView> {
    let after = 0;
    for (;;) {
      try {
        for await (const event of this.coordinator.events(taskId, { after })) {
          yield event;
          after = event.sequence + 1;
        }
      } catch (error) {
        if (!(error instanceof UnavailableError)) throw error;
      }
      if (isOver(await this.coordinator.status(taskId))) return;
      const { signal } = this.#limits;
      await setTimeout(AGAIN_MS, undefined, signal === undefined ? {} : { signal });
    }
  }

  /** Waits until nothing more can happen to a task. */
  async ended(taskId: string): Promise<TaskView> {
    for await (const _ of this.watch(taskId)) continue;
    return this.status(taskId);
  }

  /** The opened result of a delivered task. @throws as `openDelivery`; RemoteProblem DELIVERY_NOT_READY */
  async result(taskId: string): Promise<TaskResult> {
    return openDelivery({
      delivery: await this.coordinator.delivery(taskId),
      deliveryKey: this.#submitter.deliveryKey,
      governance: await this.governance(),
    });
  }

  /** The evidence file of a task, for `symphony verify`. */
  async evidence(taskId: string): Promise<Uint8Array> {
    return this.coordinator.evidence(taskId);
  }

  /** The governance state: policy, registry, actors; verified from the genesis on. */
  async governance(): Promise<GovernanceState> {
    return this.coordinator.governance(this.#genesisDigest);
  }

  #requestOf(task: Task): TaskRequest {
    const { actorId, deliveryKey } = this.#submitter;
    return requestOf(parseWith(requestFileSchema, task, "task"), {
      actorId,
      genesisDigest: this.#genesisDigest,
      deliveryKey: deliveryKey.publicKey,
      requestId: new Uint8Array(randomBytes(16)),
      createdMs: Date.now(),
    });
  }
}
