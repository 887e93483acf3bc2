import { beforeAll, describe, expect, test } from "vitest";

import type { TaskParameters } from "../../protocol/index.ts";
import { RESULT_BYTES } from "../../protocol/index.ts";
import { openResult, runRound } from "../helpers/enclave-round.ts";
import { customerData } from "../helpers/network-data.ts";
import { testTask, type TestTask } from "../helpers/network-task.ts";
import { createNetwork, type TestNetwork } from "../helpers/network.ts";

const ADULTS: TaskParameters = {
  task_class: "query",
  predicate: {
    operator: "AND",
    operands: [{ attribute: "customer.age", op: "range", min: 18, max: 200 }],
  },
  audience_cap: 1000,
};
const VAULTS = ["vault-1", "vault-2", "vault-3"];

let network: TestNetwork;
let query: TestTask;

beforeAll(async () => {
  network = await createNetwork();
  query = await testTask(network, { parameters: ADULTS, data: customerData(VAULTS, 120) });
});

describe("query", () => {
  test("[RT-4][XP-3][AG-4] counts distinct subjects over all Vaults and signs what it did", async () => {
    const round = await runRound(query);
    const { result, padded } = await openResult(query, round);
    expect(result).toMatchObject({ task_class: "query", simulated: true, partial_coverage: false });
    // 120 people in the first Vault and 60 more in each other.
    const size = result.result.kind === "audience" ? result.result.size : -1;
    expect(Math.abs(size - 240)).toBeLessThan(30);
    expect(padded).toHaveLength(RESULT_BYTES.query);
    expect(round.bundle.slices.map((slice) => slice.vault_id)).toEqual(VAULTS);
  });
});
