import { beforeAll, describe, expect, test } from "vitest";

import { unpad } from "../../aggregation/index.ts";
import type { InputRows } from "../../enclave/jobs/inputs.ts";
import { querySlice } from "../../enclave/jobs/slices/query.ts";
import { verifyTask, type VerifiedTask } from "../../enclave/jobs/task.ts";
import type { Operand, QueryParameters } from "../../protocol/index.ts";
import { derivedSemantics } from "../helpers/derived-semantics.ts";
import { openResult, runRound } from "../helpers/enclave-round.ts";
import { customerData } from "../helpers/network-data.ts";
import { testTask } from "../helpers/network-task.ts";
import {
  createNetwork,
  governanceSnapshot,
  testSeed,
  type TestNetwork,
} from "../helpers/network.ts";

const VAULTS = ["vault-1", "vault-2", "vault-3"];
let network: TestNetwork;

beforeAll(async () => {
  network = await createNetwork({
    genesis: (genesis) => ({ ...genesis, semantics: derivedSemantics(genesis.semantics) }),
  });
});

function asking(operand: Operand): QueryParameters {
  return {
    task_class: "query",
    predicate: { operator: "AND", operands: [operand] },
    audience_cap: 1000,
  };
}

async function verified(parameters: QueryParameters): Promise<VerifiedTask> {
  const { envelopeBytes: envelope } = await testTask(network, {
    parameters,
    data: customerData(["vault-1", "vault-2"], 20),
  });
  const governance = governanceSnapshot(network);
  return verifyTask({ envelope, governance, round: 0, attempt: 0 }, network.genesisDigest);
}

/** Rows with these ages and balances, ten subjects with each. */
function rowsOf(
  cells: readonly { readonly age: number | null; readonly balance: number }[],
): InputRows {
  const rows = cells.flatMap((cell, at) =>
    Array.from({ length: 10 }, (_, n) => ({ ...cell, subject: `${at}-${n}` })),
  );
  return {
    rows: rows.length,
    subjects: rows.map(({ subject }) => subject),
    columns: new Map<string, (string | number | null)[]>([
      ["customer.age", rows.map(({ age }) => age)],
      ["customer.balance", rows.map(({ balance }) => balance)],
      ["customer.email", rows.map(({ subject }) => subject)],
      ["customer.subscribed", rows.map(() => 1)],
    ]),
  };
}

async function matched(operand: Operand, rows: InputRows): Promise<number> {
  const parameters = asking(operand);
  const output = querySlice(
    {
      ...{
        task: await verified(parameters),
        rows,
        vaultId: "vault-1",
        artifact: null,
        state: null,
      },
      tokenKey: testSeed("token key"),
      noiseShare: testSeed("noise share"),
      clockMs: () => 0,
    },
    parameters,
  );
  return unpad(output).length / 32;
}

describe("[QA-4] an enclave computes projections before it scans", () => {
  const rows = rowsOf([
    { age: 17, balance: 0 },
    { age: 35, balance: 50 },
    { age: 64, balance: -5 },
    { age: null, balance: 0 },
  ]);
  test.for<{ operand: Operand; expected: number }>([
    { operand: { attribute: "customer.age-band", op: "eq", value: "senior" }, expected: 10 },
    {
      operand: { attribute: "customer.age-band", op: "in", values: ["young", "middle"] },
      expected: 20,
    },
    { operand: { attribute: "customer.age-decade", op: "range", min: 30, max: 70 }, expected: 20 },
    { operand: { attribute: "customer.age-decade", op: "eq", value: 60 }, expected: 10 },
    { operand: { attribute: "customer.is-adult", op: "eq", value: 1 }, expected: 20 },
    { operand: { attribute: "customer.has-balance", op: "eq", value: 1 }, expected: 20 },
    { operand: { attribute: "customer.adult-subscriber", op: "eq", value: 1 }, expected: 30 },
    { operand: { attribute: "customer.age", op: "eq", value: 35 }, expected: 10 },
  ])("$operand.attribute: $expected subjects", async ({ operand, expected }) => {
    expect(await matched(operand, rows)).toBe(expected);
  });

  test("aggregates are of one subject's rows", async () => {
    const cells = [{ age: 30, balance: 6_000 }];
    const once = rowsOf(cells);
    const twice: InputRows = {
      rows: 20,
      subjects: [...once.subjects, ...once.subjects],
      columns: new Map([...once.columns].map(([name, values]) => [name, [...values, ...values]])),
    };
    const operand = { attribute: "customer.total-balance", op: "range", min: 10_000 } as const;
    expect(await matched({ ...operand, max: 10_000_001 }, once)).toBe(0);
    expect(await matched({ ...operand, max: 10_000_001 }, twice)).toBe(10);
  });
});

test("[QA-3][DR-1] an envelope that hides the rule of a derived operand is refused", async () => {
  const parameters = asking({ attribute: "customer.is-adult", op: "eq", value: 1 });
  const data = customerData(["vault-1", "vault-2"], 20);
  const { envelopeBytes } = await testTask(network, {
    parameters,
    data,
    envelope: (envelope) => ({ ...envelope, derivation_rule_refs: [] }),
  });
  const presented = {
    envelope: envelopeBytes,
    governance: governanceSnapshot(network),
    round: 0,
    attempt: 0,
  };
  expect(() => verifyTask(presented, network.genesisDigest)).toThrow(
    expect.objectContaining({ code: "EXECUTION_ORDER_MISMATCH" }),
  );
});

test("[TC-3][QA-1] a derived attribute counts over all Vaults, through sealed batches", async () => {
  const parameters = asking({
    attribute: "customer.age-band",
    op: "in",
    values: ["middle", "senior"],
  });
  const data = customerData(VAULTS, 120);
  const people = data.flatMap(({ batches }) => batches.flatMap(({ records }) => records));
  const expected = new Set(
    people
      .filter(({ attributes }) => Number(attributes["customer.age"]) >= 30)
      .map(({ attributes }) => attributes["customer.email"]),
  ).size;
  const task = await testTask(network, { parameters, data });
  const { result } = await openResult(task, await runRound(task));
  const size = result.result.kind === "audience" ? result.result.size : -1;
  expect(Math.abs(size - expected)).toBeLessThan(40);
});
