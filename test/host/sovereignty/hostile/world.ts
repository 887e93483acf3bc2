// One Vault with a task in every state that a task can be in there, and its node, for a coordinator that lies.
import * as fs from "node:fs";
import os from "node:os";
import path from "node:path";

import { taskIdOf } from "../../../../host/requests/index.ts";
import {
  RefusedError,
  TASK_ENVELOPE,
  TASK_REQUEST,
  type Policy,
  type TaskEnvelope,
  type WorkItem,
} from "../../../../protocol/index.ts";
import { budgetOf } from "../../../../sim/network/policy.ts";
import { testSeed } from "../../../helpers/network.ts";
import { startNodeRig, type NodeRig } from "../../../helpers/vault-node-rig.ts";
import {
  beginRound,
  finish,
  proofOf,
  releaseOf,
  resultOf,
  signedBundle,
  type Executed,
  type Finished,
} from "../finished-task.ts";
import { ask, type Asked } from "../operator/run-task.ts";
import { envelopeOf, openFixture, requestOf, stocked, type Fixture } from "../vault-world.ts";

export type Work = WorkItem["work"];

/** Calls about one task. */
export const TASK_CALLS = ["admit", "slice", "settle", "release", "abort"] as const;
export type TaskCall = (typeof TASK_CALLS)[number];

/** Where a task can stand in one Vault. */
export const STATES = [
  "unknown",
  "declined",
  "reserved",
  "executing",
  "settled",
  "final",
  "released",
  "given_back",
  "charged",
  "overdue",
] as const;
export type State = (typeof STATES)[number];

/** States that need no time to pass. */
export type Bringable = Exclude<State, "overdue" | "final" | "released">;

/** A task in one state, and the honest call of each kind for it. */
export interface HostileTask {
  readonly state: State;
  readonly envelope: TaskEnvelope;
  readonly requestDigest: Uint8Array;
  readonly work: { readonly [Call in TaskCall]: Extract<Work, { kind: Call }> };
}

/** See {@link openWorld}. */
export interface World {
  readonly fixture: Fixture;
  readonly rig: NodeRig;
  readonly tasks: Readonly<Record<State, HostileTask>>;
  /** Another task in that state. */
  bring(state: Bringable, name: string): Promise<HostileTask>;
  close(): Promise<void>;
}

const VAULTS = ["vault-1", "vault-2", "vault-3"];
const WINDOW_MS = 2_000;
const OVERDUE_MS = 200_000;

function generous(policy: Policy): Policy {
  const budgets = [budgetOf("marketing", 500_000_000)];
  return { ...policy, privacy: { ...policy.privacy, budgets } };
}

/** Opens a stocked Vault in a folder of its own, its node, and a task in each state. */
export async function openWorld(): Promise<World> {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), "symphony-hostile-"));
  const fixture = await openFixture({ directory: path.join(folder, "vault"), policy: generous });
  await stocked(fixture);
  const rig = startNodeRig(impatient(fixture));
  await rig.perform({ kind: "cosign", governance: rig.governance() });
  const sessions = await genuineSessions(fixture, rig);
  const maker = new Maker(fixture, rig, sessions);
  const overdue = await maker.reserved("overdue");
  fixture.clock.nowMs += OVERDUE_MS;
  const final = await maker.finished("final");
  const released = await maker.finished("released");
  fixture.clock.nowMs += WINDOW_MS;
  await fixture.vault.releaseShare(releaseOf(released));
  const bring: World["bring"] = (state, name) => maker.bring(state, name);
  const tasks: Record<State, HostileTask> = {
    unknown: await bring("unknown", "unknown"),
    declined: await bring("declined", "declined"),
    reserved: await bring("reserved", "reserved"),
    executing: await bring("executing", "executing"),
    settled: await bring("settled", "settled"),
    given_back: await bring("given_back", "given back"),
    charged: await bring("charged", "charged"),
    final: maker.finishedTask("final", final),
    released: maker.finishedTask("released", released),
    overdue: maker.task("overdue", overdue.envelope),
  };
  const close = async (): Promise<void> => {
    await rig.stop();
    await fixture.vault.close();
    fs.rmSync(folder, { recursive: true, force: true });
  };
  return { fixture, rig, tasks, bring, close };
}

/** The node waits for a challenge window to pass; its clock, not the Vault's, is put beyond its patience then. */
function impatient(fixture: Fixture): Fixture {
  let aheadMs = 0;
  const { vault } = fixture;
  return {
    ...fixture,
    clock: {
      get nowMs() {
        return fixture.clock.nowMs + aheadMs;
      },
    },
    vault: {
      ...vault,
      releaseShare: (args) =>
        vault.releaseShare(args).finally(() => {
          aheadMs += 60_000;
        }),
    },
  };
}

/** Sessions that were really accepted: a slice's and an aggregator's, of a round that ended after its charge. */
async function genuineSessions(fixture: Fixture, rig: NodeRig): Promise<Uint8Array> {
  const envelope = await rig.admit(VAULTS);
  rig.hooks.ordered = () => {
    throw new RefusedError({ code: "COORDINATION_SLICE_REFUSED" }, "slice: expected no more");
  };
  await rig.perform(await rig.sliceOf(envelope));
  delete rig.hooks.ordered;
  const [sessions] = await fixture.vault.sessionsOf(envelope);
  if (sessions === undefined) throw new Error("expected a round that began");
  return sessions;
}

/** Brings tasks to their states. */
class Maker {
  readonly #fixture: Fixture;
  readonly #rig: NodeRig;
  readonly #sessions: Uint8Array;
  #template: Finished | undefined;

  constructor(fixture: Fixture, rig: NodeRig, sessions: Uint8Array) {
    this.#fixture = fixture;
    this.#rig = rig;
    this.#sessions = sessions;
  }

  async reserved(
    name: string,
  ): Promise<{ readonly asked: Asked; readonly envelope: TaskEnvelope }> {
    const asked = await ask(this.#fixture, name, { vault_ids: VAULTS });
    return {
      asked,
      envelope: { ...envelopeOf(this.#fixture, asked, asked.decision), epoch_id: 0 },
    };
  }

  async executed(name: string): Promise<Executed> {
    const { envelope } = await this.reserved(name);
    return await beginRound(this.#fixture, envelope, this.#sessions);
  }

  async finished(name: string): Promise<Finished> {
    const task = await finish(await this.executed(name));
    this.#template ??= task;
    return task;
  }

  async bring(state: Bringable, name: string): Promise<HostileTask> {
    switch (state) {
      case "unknown":
      case "declined":
        return await this.#notAdmitted(state, name);
      case "reserved":
        return this.task(state, (await this.reserved(name)).envelope);
      case "given_back": {
        const task = this.task(state, (await this.reserved(name)).envelope);
        await this.#abort(task);
        return task;
      }
      case "executing":
        return await this.#executing(state, name);
      case "charged": {
        const task = await this.#executing(state, name);
        await this.#abort(task);
        return task;
      }
      case "settled":
        return this.finishedTask(state, await this.finished(name));
    }
  }

  async #abort({ envelope, requestDigest }: HostileTask): Promise<void> {
    const envelopeDigest = TASK_ENVELOPE.digest(envelope);
    await this.#fixture.vault.abort({ envelopeDigest, requestDigest });
  }

  async #executing(state: State, name: string): Promise<HostileTask> {
    const result = await resultOf(await this.executed(name));
    const task = this.task(state, result.envelope);
    const bundle = signedBundle(result, result.bundle);
    const { settle, release } = task.work;
    const work = {
      ...task.work,
      settle: { ...settle, bundles: [bundle] },
      release: { ...release, bundle, sealed_share: result.sealedShare },
    };
    return { ...task, work };
  }

  /** The envelope of a task that this Vault admitted, for a request that it did not. */
  async #notAdmitted(state: "unknown" | "declined", name: string): Promise<HostileTask> {
    const epsilon_micro = state === "declined" ? 900_000_000 : 1_000_000;
    const changes = { vault_ids: VAULTS, epsilon_micro };
    const { request, signed } = await requestOf(this.#fixture, name, changes);
    if (state === "declined") await this.#fixture.vault.decide(signed, this.#fixture.governance);
    const { envelope } = await this.reserved(`${name}, as another`);
    const request_digest = TASK_REQUEST.digest(request);
    return this.task(state, {
      ...envelope,
      task_id: taskIdOf(request_digest),
      epsilon_micro,
      caller_context: { ...envelope.caller_context, request_digest, signed_request: signed },
    });
  }

  finishedTask(state: State, finished: Finished): HostileTask {
    const task = this.task(state, finished.envelope);
    const bundle = signedBundle(finished, finished.bundle);
    const { settle, release } = task.work;
    const settlement = proofOf(finished);
    const work = {
      ...task.work,
      settle: { ...settle, bundles: [bundle] },
      release: { ...release, settlement, bundle, sealed_share: finished.sealedShare },
    };
    return { ...task, work };
  }

  /** With another task's result, where it has none of its own. */
  task(state: State, envelope: TaskEnvelope): HostileTask {
    const template = this.#template;
    const governance = this.#rig.governance();
    const encoded = TASK_ENVELOPE.encode(envelope);
    const { request_digest: requestDigest, signed_request } = envelope.caller_context;
    const nothing = testSeed("nothing");
    return {
      ...{ state, envelope, requestDigest },
      work: {
        admit: { kind: "admit", signed_request, governance },
        slice: {
          ...{ kind: "slice", envelope: encoded, governance, round: 0, attempt: 0 },
          ...{ previous: null, artifact: null },
        },
        settle: { kind: "settle", envelope: encoded, bundles: [] },
        release: {
          ...{ kind: "release", envelope: encoded, governance },
          settlement: template === undefined ? nothing : proofOf(template),
          bundle: template === undefined ? nothing : signedBundle(template, template.bundle),
          sealed_share: template?.sealedShare ?? nothing,
        },
        abort: {
          kind: "abort",
          envelope_digest: TASK_ENVELOPE.digest(envelope),
          request_digest: requestDigest,
        },
      },
    };
  }
}
