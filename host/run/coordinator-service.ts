import {
  CONSUMPTION_RECORD,
  GOVERNANCE_SNAPSHOT,
  LOG_EXCERPT,
  SETTLEMENT_ENTRY,
  SETTLEMENT_PROOF,
  SETTLEMENT_ROOT,
  RefusedError,
  SymphonyError,
  TASK_ENVELOPE,
  UnavailableError,
  equalBytes,
  hex,
  parseCose,
  parseEvent,
  roundsOf,
  sha256,
  vaultKeysOf,
  type GovernanceSnapshot,
  type RoundMessage,
  type SigningKey,
} from "#protocol";
import type { AdmissionPlane } from "../admission/index.ts";
import type { ActorLog, ActorLogSchema } from "../evidence/actor-log.ts";
import { assembleBundle, excerptOf, verifyExcerpt } from "../evidence/index.ts";
import { readRoundMessage, requireEnvelope, type ExecutionPlane } from "../execution/index.ts";
import type {
  Ballots,
  Candidates,
  EpochRegister,
  Governance,
  GovernanceSchema,
} from "../governance/index.ts";
import type {
  GovernanceRoutesContext,
  NodeRoutesContext,
  TaskEventView,
  TaskRounds,
  TaskRoutesContext,
  TaskView,
} from "../http/index.ts";
import type { Queue, QueueSchema, WitnessRelay, WorkIssuer } from "../queue/index.ts";
import type { Settlement, SettlementSchema } from "../settlement/index.ts";
import type { Store } from "../store/index.ts";
import type { BlobSchema, TaskBlobs, TaskRegister, TaskRow, TaskSchema } from "../tasks/index.ts";
import type { RunEnvironment } from "./environment.ts";
import type { Footing } from "./files.ts";
import { governanceRoutesOf } from "./governance-routes.ts";
import { eventView } from "./event-view.ts";
import type { Pipeline } from "./pipeline.ts";
import { answersOf } from "./pipeline/context.ts";

/** All tables of a coordinator. Each belongs to one service. */
export type CoordinatorSchema = ActorLogSchema &
  TaskSchema &
  BlobSchema &
  QueueSchema &
  GovernanceSchema &
  SettlementSchema;

/** The services and planes of a coordinator. */
export interface CoordinatorParts {
  readonly coordinatorId: string;
  readonly store: Store<CoordinatorSchema>;
  readonly log: ActorLog;
  readonly key: SigningKey;
  readonly governance: Governance;
  readonly epochs: EpochRegister;
  readonly ballots: Ballots;
  readonly candidates: Candidates;
  readonly settlement: Settlement;
  readonly footing: Footing;
  readonly environment: RunEnvironment;
  readonly register: TaskRegister;
  readonly queue: Queue;
  readonly relay: WitnessRelay;
  readonly issuer: WorkIssuer;
  readonly blobs: TaskBlobs;
  readonly admission: AdmissionPlane;
  readonly execution: ExecutionPlane;
  readonly pipeline: Pipeline;
}

const COSIGN_MS_MAX = 24 * 60 * 60 * 1000;

/** What the coordinator's listeners and its clock drive. */
export class CoordinatorService {
  readonly #parts: CoordinatorParts;
  /** Size of the governance log for which cosignatures were asked last. */
  #askedSize = -1;

  constructor(parts: CoordinatorParts) {
    this.#parts = parts;
  }

  /** Asks for cosignatures over the governance log as it stands; then everything else can go on. */
  async start(): Promise<void> {
    await this.#askCosignatures();
  }

  async tick(): Promise<void> {
    await this.#takeCosignatures();
    await this.#parts.pipeline.tick();
    await this.#askCosignatures();
  }

  /** One piece of work for each Vault and size of the governance log, which grows by submission and with each epoch. */
  async #askCosignatures(): Promise<void> {
    const { governance, footing, issuer } = this.#parts;
    const state = governance.state();
    if (state.sequence === this.#askedSize) return;
    const note = governance.note();
    const events = governance.events();
    for (const { name: actorId } of vaultKeysOf(state)) {
      await issuer.issue({
        workId: `cosign:${state.sequence}:${actorId}`,
        actorId,
        taskId: "governance",
        timeoutMs: COSIGN_MS_MAX,
        work: {
          kind: "cosign",
          governance: GOVERNANCE_SNAPSHOT.encode({
            genesis: footing.genesisBytes,
            events,
            checkpoint: note,
          }),
        },
      });
    }
    this.#askedSize = state.sequence;
  }

  async #takeCosignatures(): Promise<void> {
    const { queue, governance } = this.#parts;
    for (const { workId, answer } of await queue.takeAnswers("governance", "cosign")) {
      if (answer === null) continue;
      try {
        await governance.addCosignature(new TextDecoder().decode(answer));
      } catch (error) {
        this.#parts.environment.report({ event: "cosignature_refused", work_id: workId });
        if (!(error instanceof Error)) throw error;
      }
    }
  }

  nodeRoutes(): NodeRoutesContext {
    const { queue, relay, register, pipeline, governance, candidates, environment } = this.#parts;
    return {
      queue,
      relay,
      governanceState: () => governance.state(),
      governanceSnapshot: () => GOVERNANCE_SNAPSHOT.encode(governance.snapshot()),
      readRoundMessage,
      roundsOf: async (taskId) => taskRounds(await register.get(taskId)),
      changed: (taskId) => {
        if (taskId === "governance") return;
        void pipeline.visit(taskId).then(() => queue.signals.notify(`task:${taskId}`));
      },
      posted: (taskId, message, signed) => this.#logMessage(taskId, message, signed),
      keepExcerpt: (taskId, actorId, excerpt) => this.#keepExcerpt(taskId, actorId, excerpt),
      takeCandidate: (actorId, signed) => candidates.take(actorId, signed),
      nowMs: environment.nowMs,
    };
  }

  /** Keeps an excerpt of the calling actor's own log, when the actor takes part and the excerpt holds. */
  async #keepExcerpt(taskId: string, actorId: string, bytes: Uint8Array): Promise<void> {
    const { register, governance, blobs } = this.#parts;
    const row = await register.get(taskId);
    const rounds = taskRounds(row);
    const takesPart = rounds.vaultIds.includes(actorId) || rounds.aggregatorId === actorId;
    if (!takesPart) {
      throw new RefusedError(
        { code: "COORDINATION_ROLE_REFUSED" },
        "excerpt: expected one of an actor that takes part in the task",
      );
    }
    const { epoch_id: epochId } = requireEnvelope(row);
    verifyExcerpt(bytes, { taskId, epochId, actorId, governance: governance.state() });
    await blobs.putExcerpt(taskId, actorId, bytes);
  }

  async #logMessage(taskId: string, message: RoundMessage, signed: Uint8Array): Promise<void> {
    const { round, sender, body } = message;
    await this.#parts.register.note(taskId, "round_message", {
      round,
      sender,
      kind: body.kind,
      vault_id: "vault_id" in body ? body.vault_id : null,
      digest: sha256(signed),
    });
  }

  governanceRoutes(): GovernanceRoutesContext {
    const { governance, epochs, ballots, candidates, environment } = this.#parts;
    const { nowMs } = environment;
    const changed = (): Promise<void> => this.#askCosignatures();
    return governanceRoutesOf({ governance, epochs, ballots, candidates, nowMs, changed });
  }

  taskRoutes(): TaskRoutesContext {
    const { admission, pipeline, queue, governance, register, blobs, settlement } = this.#parts;
    return {
      submit: async (signedRequest) => {
        const accepted = await admission.submit(signedRequest);
        void pipeline.visit(accepted.taskId);
        return accepted;
      },
      dryRun: (signedQuestion) => admission.dryRun(signedQuestion),
      view: (taskId) => this.#view(taskId),
      envelope: async (taskId) => TASK_ENVELOPE.encode(requireEnvelope(await register.get(taskId))),
      events: (taskId, after) => this.#events(taskId, after),
      wait: (taskId, waitMs) => queue.signals.wait(`task:${taskId}`, waitMs),
      delivery: (taskId) => pipeline.delivery(taskId),
      evidence: (taskId) => this.#evidence(taskId),
      openChallenge: async (taskId, signed) => {
        const known = await settlement.challengesFor(taskId);
        const challenge = await settlement.openChallenge(signed);
        if (known.some((each) => equalBytes(each, signed))) return;
        await pipeline.visit(challenge.task_id);
        queue.signals.notify(`task:${taskId}`);
      },
      governanceSnapshot: () => GOVERNANCE_SNAPSHOT.encode(governance.snapshot()),
      submitGovernanceEvent: async (event) => {
        await governance.submit(event);
        await this.#askCosignatures();
      },
      uploadArtifact: (bytes) => blobs.putArtifact(bytes, governance.state()),
      metrics: () => this.#metrics(),
    };
  }

  async #view(taskId: string): Promise<TaskView> {
    const { register, footing } = this.#parts;
    const row = await register.get(taskId);
    return {
      task_id: row.task_id,
      task_class: row.task_class,
      state: row.state,
      reason: row.reason,
      epoch_id: row.epoch_id,
      policy_version: row.policy_version,
      rounds: row.envelope === null ? 0 : roundsOf(requireEnvelope(row)),
      delivered: row.delivered === 1,
      simulated: footing.genesis.simulated,
    };
  }

  async #events(taskId: string, after: number): Promise<TaskEventView[]> {
    const entries = await this.#parts.log.entriesForTask(taskId, after);
    return entries.map(({ event }) => eventView(parseEvent(event)));
  }

  /** The evidence file of a delivered task. @throws UnavailableError DELIVERY_NOT_READY */
  async #evidence(taskId: string): Promise<Uint8Array> {
    const { register, queue, settlement, log, key, blobs } = this.#parts;
    const row = await register.get(taskId);
    if (row.delivered === 0) {
      throw new UnavailableError(
        { code: "DELIVERY_NOT_READY", state: row.state },
        `evidence: expected a delivered task, got one ${row.state}`,
      );
    }
    const envelope = requireEnvelope(row);
    const participants = new Set(envelope.inputs.map((input) => input.vault_id));
    const admitted = await queue.workOf(taskId, "admit");
    const excerpts = await blobs.excerpts(taskId);
    const proof = await settlement.proofFor(taskId);
    return assembleBundle(
      {
        governance: this.#settledGovernance(proof),
        envelope,
        decisions: admitted.flatMap(({ actorId, answer }) =>
          answer !== null && participants.has(actorId) ? [answer] : [],
        ),
        messages: await this.#messages(taskId, roundsOf(envelope)),
        consumption: settledConsumption(proof, answersOf(await queue.workOf(taskId, "settle"))),
        challenges: await settlement.challengesFor(taskId),
        settlement: proof,
        delivery: answersOf(await queue.workOf(taskId, "release")),
        logs: [
          LOG_EXCERPT.encode(await excerptOf(log, taskId)),
          ...excerpts.map(({ excerpt }) => excerpt),
        ],
      },
      key,
    );
  }

  /** The latest cosigned governance log; evidence needs all of it that its settlement saw. */
  #settledGovernance(proof: Uint8Array): GovernanceSnapshot {
    const snapshot = this.#parts.governance.snapshot();
    const root = SETTLEMENT_ROOT.decode(parseCose(SETTLEMENT_PROOF.decode(proof).root).payload);
    if (snapshot.events.length >= root.governance_size) return snapshot;
    throw new UnavailableError(
      { code: "DELIVERY_NOT_READY", expected: root.governance_size },
      `evidence: expected ${root.governance_size} cosigned governance events, got ${snapshot.events.length}`,
    );
  }

  async #messages(taskId: string, rounds: number): Promise<Uint8Array[]> {
    const messages: Uint8Array[] = [];
    for (let round = 0; round < rounds; round += 1) {
      const posted = await this.#parts.execution.messages(taskId, round);
      messages.push(...posted.map(({ message }) => message));
    }
    return messages;
  }

  async #metrics(): Promise<string> {
    const { register, log, epochs } = this.#parts;
    const counts = await register.counts();
    return [
      "# TYPE symphony_tasks gauge",
      ...counts.map(({ state, count }) => `symphony_tasks{state="${state}"} ${count}`),
      "# TYPE symphony_log_events counter",
      `symphony_log_events ${log.size}`,
      "# TYPE symphony_epoch gauge",
      `symphony_epoch ${epochs.current().epoch_id}`,
      "",
    ].join("\n");
  }
}

/** What the board needs to know of a dispatched task. @throws RefusedError EXECUTION_TASK_UNKNOWN */
function taskRounds(row: TaskRow): TaskRounds {
  const envelope = requireEnvelope(row);
  return {
    open: row.state === "dispatched",
    envelopeDigest: TASK_ENVELOPE.digest(envelope),
    count: roundsOf(envelope),
    vaultIds: envelope.authorization_context.map(({ vault_id: vaultId }) => vaultId),
    aggregatorId: envelope.coordination_envelope?.aggregator_id ?? null,
  };
}

/** The records that the settlement entry names; a Vault whose slice did not make it, or came late, has one too. */
function settledConsumption(proof: Uint8Array, records: readonly Uint8Array[]): Uint8Array[] {
  const { consumption } = SETTLEMENT_ENTRY.decode(SETTLEMENT_PROOF.decode(proof).entry);
  const named = new Set(consumption.map(hex));
  return records.filter((signed) => {
    try {
      const record = CONSUMPTION_RECORD.decode(parseCose(signed).payload);
      return named.has(hex(CONSUMPTION_RECORD.digest(record)));
    } catch (error) {
      if (error instanceof SymphonyError) return false;
      throw error;
    }
  });
}
