// What becomes of a train task that sets a convergence threshold, as its submitter sees it: a coordinator behind its
// listeners, Vaults that answer what they are asked, and rounds of truly attested enclaves whose word the test chooses.
import * as fs from "node:fs";
import path from "node:path";

import { afterAll, beforeAll, expect, test } from "vitest";

import type { SymphonyClient } from "../../../host/client/index.ts";
import {
  TASK_ENVELOPE,
  hex,
  sha256,
  type Policy,
  type TaskState,
} from "../../../protocol/index.ts";
import { answerAll, askedOf, reached, say } from "../../helpers/answering-vaults.ts";
import { propose } from "../../helpers/govern.ts";
import { startCoordinator, type LiveCoordinator } from "../../helpers/live-coordinator.ts";
import { createNetwork, openedNow } from "../../helpers/network.ts";
import { deliveryKey } from "../../helpers/network-task.ts";
import { clientIn, submitterFolder, symphony, writeSeed } from "../../helpers/spoken.ts";
import { syntheticMessages, syntheticRound } from "../../helpers/synthetic-round.ts";
import { STEPS, TASKS } from "../../helpers/tasks.ts";

const THRESHOLD_MICRO = 250_000;

function patient(policy: Policy): Policy {
  return {
    ...policy,
    admission: { ...policy.admission, resolving_timeout_ms: 60_000 },
    epoch: { ...policy.epoch, time_ms_max: 3_600_000 },
  };
}

const network = await createNetwork({ genesis: openedNow, policy: patient });
let live: LiveCoordinator;
let folder: string;
let client: SymphonyClient;

beforeAll(async () => {
  live = await startCoordinator(network);
  await live.cosign();
  folder = submitterFolder(live);
  client = await clientIn(folder);
  const keyFiles = [1, 2].map((number) => path.join(folder, `key-${number}.seed`));
  for (const [index, file] of keyFiles.entries()) writeSeed(file, `governance ${index + 1}`);
  const artifact = { digest: hex(sha256(STEPS)), kind: "step_graph", description: "for a test" };
  await propose({ directory: folder, keyFiles }, { type: "artifact_registered", artifact });
  await live.cosign();
  await client.coordinator.uploadArtifact(STEPS);
});

afterAll(async () => {
  await live.stop();
  for (const each of [folder, live.folder]) fs.rmSync(each, { recursive: true, force: true });
});

/** Submits a train of one round over all Vaults and lets the round's aggregator say how far it moved the model. */
async function trained(changeMicro: number | null, end: TaskState): Promise<string> {
  const parameters = { ...TASKS.train.parameters, rounds: 1 };
  const task = {
    ...TASKS.train,
    parameters: { ...parameters, convergence_threshold_micro: THRESHOLD_MICRO },
  };
  const { task_id: taskId } = await client.submit(task);
  await answerAll(live, await askedOf(live, taskId));
  await reached(live, `${taskId}.r0`, "dispatched");
  const envelope = TASK_ENVELOPE.decode(await live.client.envelope(taskId));
  const envelopeDigest = TASK_ENVELOPE.digest(envelope);
  const made = { network, delivery: await deliveryKey(), envelope, envelopeDigest };
  const round = syntheticRound(made, {
    bundle: (bundle) => ({ ...bundle, model_change_micro: changeMicro }),
  });
  for (const { sender, body } of syntheticMessages(made, round)) {
    await say(live, sender, { taskId, body });
  }
  await reached(live, taskId, end);
  return taskId;
}

test("[TC-5][CT-4] the threshold of a request is part of its envelope, and a model that meets it goes on to settlement", async () => {
  const taskId = await trained(THRESHOLD_MICRO, "awaiting_settlement");
  const { iteration_policy: policy } = await client.envelope(taskId);
  expect(policy).toEqual({
    ...{ maximum_rounds: 1, convergence_threshold_micro: THRESHOLD_MICRO },
    ...{ early_stop: false, failed_round: "reject" },
  });
});

test("[TC-5][VR-4] a model that moved further is rejected with the reason, and so is its round", async () => {
  const taskId = await trained(THRESHOLD_MICRO + 1, "rejected");
  const rejected = { state: "rejected", reason: "VERIFY_CONVERGENCE_NOT_MET" };
  expect(await client.status(taskId)).toMatchObject(rejected);
  const { out } = await symphony("status", taskId, "--dir", folder);
  expect(out).toContain("VERIFY_CONVERGENCE_NOT_MET");
});

test("[TC-5] a model of which its aggregator does not say how far it moved is rejected", async () => {
  const taskId = await trained(null, "rejected");
  expect(await client.status(taskId)).toMatchObject({ reason: "PROOF_COMMITMENT_MISMATCH" });
});

test.for([0, 0.5, 1_000_000_001, "1"])(
  "[TC-5] a threshold of %o is no request",
  async (threshold) => {
    const parameters = { ...TASKS.train.parameters, convergence_threshold_micro: threshold };
    const refused = client.submit({ ...TASKS.train, parameters });
    await expect(refused).rejects.toMatchObject({ code: "SCHEMA_MALFORMED" });
  },
);
