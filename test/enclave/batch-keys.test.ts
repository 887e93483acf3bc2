import { beforeAll, expect, test } from "vitest";

import { runSoleTask, type RunRequest } from "../helpers/enclave-round.ts";
import { customerData } from "../helpers/network-data.ts";
import { testTask, type TestTask } from "../helpers/network-task.ts";
import {
  artifactRegistered,
  createNetwork,
  governanceSnapshot,
  type TestNetwork,
} from "../helpers/network.ts";
import { AGE_MODEL, AGE_SCORES } from "../helpers/sample-parameters.ts";

/** Octets from the end of an envelope to its ciphertext: the ends of four indefinite lengths. */
const ENDS = 8;

type BatchKeys = RunRequest["batch_keys"];

let network: TestNetwork;
let task: TestTask;

beforeAll(async () => {
  network = await createNetwork();
  task = await testTask(network, { parameters: AGE_SCORES, data: customerData(["vault-1"], 40) });
});

/** What a host hears that hands over other keys than were released. */
async function heard(change: (keys: BatchKeys) => BatchKeys): Promise<unknown> {
  const governance = governanceSnapshot(network, [artifactRegistered(AGE_MODEL, "model")]);
  const run = (request: RunRequest) => ({ ...request, batch_keys: change(request.batch_keys) });
  return runSoleTask(task, { governance, artifact: AGE_MODEL, run }).then(
    () => "a result",
    (error: unknown) => error,
  );
}

function withCms(change: (cms: Uint8Array) => Uint8Array) {
  return (keys: BatchKeys): BatchKeys => keys.map((key) => ({ ...key, cms: change(key.cms) }));
}

function flippedFromEnd(distance: number) {
  return (cms: Uint8Array): Uint8Array =>
    cms.map((octet, at) => (at === cms.length - distance ? octet ^ 1 : octet));
}

test("[RT-5] a host hears the same of every batch key that does not open", async () => {
  expect(await heard((keys) => keys)).toBe("a result");
  const answers = [
    await heard(withCms(flippedFromEnd(ENDS + 1))),
    await heard(withCms(flippedFromEnd(ENDS + 17))),
    await heard(withCms(flippedFromEnd(ENDS + 33))),
    await heard(withCms((cms) => cms.with(200, (cms[200] ?? 0) ^ 1))),
    await heard(withCms((cms) => cms.subarray(0, 100))),
  ];
  for (const answer of answers) {
    expect(answer).toMatchObject({ method: "run", code: "INTERNAL_OPEN_FAILED" });
  }
  expect(new Set(answers.map(String))).toHaveProperty("size", 1);
});
