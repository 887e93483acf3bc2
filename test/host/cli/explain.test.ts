import * as fs from "node:fs";
import os from "node:os";
import path from "node:path";

import { afterAll, beforeAll, expect, test } from "vitest";

import { hex } from "../../../protocol/index.ts";
import { closeRun, runTask } from "../../helpers/evidence-rig.ts";
import { settleRun, type SettledRun } from "../../helpers/settlement-rig.ts";
import { symphony } from "../../helpers/spoken.ts";

const folder = fs.mkdtempSync(path.join(os.tmpdir(), "symphony-explain-"));
const file = path.join(folder, "task.symphony");
let settled: SettledRun;

function networkFile(genesisDigest: Uint8Array): void {
  const network = {
    ...{ network: "test", simulated: true, coordinator_url: "http://127.0.0.1:1" },
    ...{ genesis_digest: hex(genesisDigest), submitter_id: "analyst", vaults: [] },
  };
  fs.writeFileSync(path.join(folder, "network.json"), JSON.stringify(network));
}

beforeAll(async () => {
  settled = await settleRun(await runTask());
  fs.writeFileSync(file, settled.file);
});

afterAll(async () => {
  await closeRun(settled.run);
  fs.rmSync(folder, { recursive: true, force: true });
});

async function explain(...words: string[]) {
  return symphony("explain", ...words, "--dir", folder);
}

test("[AC-2][AC-4][DT-1] a settled task is explained operand by operand, with its price and its versions", async () => {
  networkFile(settled.run.network.genesisDigest);
  const { envelope } = settled.run.task;
  const { exit, out } = await explain("--file", file, "--json");
  expect(exit).toBe(0);
  const explanation: unknown = JSON.parse(out);
  expect(explanation).toMatchObject({
    task_id: envelope.task_id,
    bound: { policy_version: envelope.policy_version, semantic_version: "semantics-1" },
    meaning: {
      operator: "AND",
      composition_id: envelope.attribute_composition?.composition_id,
      operands: [
        {
          name: "customer.age",
          asks: { op: "range", min: 20, max: 70 },
          sources: ["customer/customer.age"],
          ...{ rule: null, granularity: "exact", privacy_class: 2, epsilon_micro: 100_000 },
        },
        { name: "customer.subscribed", asks: { op: "in", values: [0, 1] } },
      ],
    },
    price: {
      least_epsilon_micro: 110_000,
      offered_epsilon_micro: envelope.epsilon_micro,
      vaults: envelope.inputs.map(({ vault_id }) => ({
        vault_id,
        consumed_epsilon_micro: envelope.epsilon_micro,
      })),
    },
    settlement: { epoch_id: envelope.epoch_id },
  });
  const told = await explain("--file", file);
  expect(told.out).toContain("customer.age in [20, 70) of customer@semantics-1");
});

test("evidence of another network explains nothing", async () => {
  networkFile(new Uint8Array(32));
  const { exit, err } = await explain("--file", file);
  expect({ exit, err }).toMatchObject({
    exit: 1,
    err: expect.stringContaining("GOVERNANCE_GENESIS_MISMATCH"),
  });
});

test.for([["t-1", "t-2"], [], ["t-1", "--file", "x"]])("%j is no question", async (words) => {
  networkFile(settled.run.network.genesisDigest);
  expect((await explain(...words)).exit).toBe(2);
});
