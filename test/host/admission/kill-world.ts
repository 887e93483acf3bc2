import path from "node:path";

import { AdmissionPlane } from "../../../host/admission/index.ts";
import { openEpochRegister, openGovernance } from "../../../host/governance/index.ts";
import {
  GOVERNANCE_SNAPSHOT,
  TASK_REQUEST,
  WORK_ITEM,
  type Policy,
} from "../../../protocol/index.ts";
import { budgetOf } from "../../../sim/network/policy.ts";
import { openCoordinatorRig } from "../../helpers/coordinator-rig.ts";
import { testRequest } from "../../helpers/network-task.ts";
import { NETWORK_TIME_MS, governanceSnapshot, testSeed } from "../../helpers/network.ts";
import { openFixture, QUERY, type Fixture } from "../sovereignty/vault-world.ts";

/** What one request costs; two are paid for, the third is declined. */
export const COST_MICRO = 8_000_000;
export const LOCK_MINOR = 400;
export const TASKS = ["a", "b", "c"] as const;

function alone(policy: Policy): Policy {
  const { classes, privacy, admission } = policy;
  return {
    ...policy,
    classes: { ...classes, query: { ...classes.query, multi_vault: false } },
    privacy: { ...privacy, budgets: [budgetOf("marketing", 2 * COST_MICRO)] },
    admission: { ...admission, concurrent_tasks_max: TASKS.length },
  };
}

/** Opens the Vault of a kill world in a folder, by the clock that `read` stands for. */
export function openKillVault(folder: string, read: () => number): Promise<Fixture> {
  return openFixture({ directory: path.join(folder, "vault"), policy: alone, nowMs: read });
}

/**
 * A coordinator's admission and one Vault over one folder, both by the clock that `read` stands for; or a coordinator
 * with a Vault that has been running.
 */
export async function openKillWorld(
  folder: string,
  read: () => number = () => NETWORK_TIME_MS,
  running?: Fixture,
) {
  const rig = await openCoordinatorRig({ folder, policy: alone });
  Object.defineProperty(rig.clock, "nowMs", { get: read });
  const { store, network, nowMs, register, queue, issuer, state } = rig;
  const { coordinator, submitter, genesisBytes } = network;
  const { signing: signingKey } = coordinator;
  const governance = await openGovernance({
    ...{ store, genesisBytes, signingKey, nowMs },
    requireDisputed: () => Promise.resolve(),
  });
  const epochs = await openEpochRegister({ store, governance });
  let fixture = running ?? (await openKillVault(folder, read));
  let instance = "one";
  const admission = new AdmissionPlane({
    ...{ coordinatorId: coordinator.actorId, register, queue, issuer, nowMs },
    governanceState: () => state,
    governanceSnapshot: () => GOVERNANCE_SNAPSHOT.decode(governanceSnapshot(network)),
    assignEpoch: (trx, taskId) => epochs.assign(trx, taskId),
  });
  await queue.offerAgain();

  const submit = async (name: string): Promise<string | null> => {
    const request = await testRequest(network, QUERY, {
      ...{ request_id: testSeed(name).slice(0, 16), vault_ids: ["vault-1"] },
      ...{ epsilon_micro: COST_MICRO, budget_lock_minor: LOCK_MINOR },
    });
    const signed = TASK_REQUEST.sign(request, submitter.signing);
    return admission.submit(signed).then(
      ({ taskId }) => taskId,
      () => null,
    );
  };

  /** Does everything that the Vault has been asked for. */
  const play = async (): Promise<void> => {
    for (;;) {
      const item = await queue.claim({ actorId: "vault-1", instance, waitMs: 0 });
      if (item === undefined) return;
      const { work, work_id: workId } = WORK_ITEM.verify(item, signingKey.publicKey);
      if (work.kind !== "admit") throw new Error(`expected an admission, got ${work.kind}`);
      const answer = await fixture.vault.decide(work.signed_request, state);
      await queue.complete({ workId, actorId: "vault-1", answer, code: null });
    }
  };

  /** Takes every task as far as admission takes it. */
  const settle = async (): Promise<void> => {
    for (let visit = 0; visit < 4; visit += 1) {
      for (const taskId of await register.active()) {
        const row = await register.get(taskId);
        if (row.state === "accepted" || row.state === "resolving") await admission.advance(row);
      }
      await play();
    }
  };

  /** Tells the Vault of every task that ended, as the pipeline does. */
  const tellEnds = async (): Promise<void> => {
    for (const taskId of await register.ended()) {
      const { request_digest: requestDigest } = await register.get(taskId);
      await fixture.vault.abort({ envelopeDigest: new Uint8Array(32), requestDigest });
    }
  };

  const close = async (): Promise<void> => {
    await fixture.vault.close();
    await store.close();
  };
  /** The Vault's process died, and another has started. */
  const restartVault = (started: Fixture): void => {
    fixture = started;
    instance = "two";
  };
  const world = { rig, epochs, submit, settle, tellEnds, close, restartVault };
  return {
    ...world,
    get fixture() {
      return fixture;
    },
  };
}

export type KillWorld = Awaited<ReturnType<typeof openKillWorld>>;

/** What the killed process does: submits, the last two at once, and takes them through admission; ends one. */
export async function admitAll({ rig, submit, settle, tellEnds }: KillWorld): Promise<void> {
  const first = await submit(TASKS[0]);
  await settle();
  await Promise.all([submit(TASKS[1]), submit(TASKS[2]), submit("one too many")]);
  await settle();
  if (first === null) return;
  const by = { actorId: "coordinator" };
  await rig.register.transition(first, { to: "rejected", ...by, reason: "EXECUTION_TIMED_OUT" });
  await tellEnds();
}
