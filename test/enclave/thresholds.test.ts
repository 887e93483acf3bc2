import { beforeAll, describe, expect, test, vi } from "vitest";

import { unpad } from "../../aggregation/index.ts";
import { aggregateHistogram } from "../../enclave/workloads/aggregate/compute.ts";
import { countSensitivity } from "../../enclave/workloads/aggregate/privacy.ts";
import { aggregateQuery } from "../../enclave/workloads/aggregate/query.ts";
import { countPrivacy } from "../../enclave/jobs/aggregate-round.ts";
import { verifyArtifact } from "../../enclave/jobs/artifact.ts";
import type { InputRows } from "../../enclave/jobs/inputs.ts";
import { computeSlice } from "../../enclave/jobs/slices/compute.ts";
import { querySlice } from "../../enclave/jobs/slices/query.ts";
import { verifyTask, type VerifiedTask } from "../../enclave/jobs/task.ts";
import {
  concat,
  hkdf,
  sha256,
  utf8,
  type ComputeParameters,
  type QueryParameters,
} from "../../protocol/index.ts";
import { customerData } from "../helpers/network-data.ts";
import { testTask } from "../helpers/network-task.ts";
import {
  artifactRegistered,
  createNetwork,
  governanceSnapshot,
  testSeed,
  type TestNetwork,
} from "../helpers/network.ts";
import { ADULTS, AGE_MODEL, AGE_SCORES } from "../helpers/sample-parameters.ts";

const hashing = vi.hoisted(() => ({ calls: 0 }));
vi.mock("../../protocol/hash.ts", async (importOriginal) => {
  const real = await importOriginal<typeof import("../../protocol/hash.ts")>();
  const hmacSha256 = (key: Uint8Array, message: Uint8Array): Uint8Array => {
    hashing.calls += 1;
    return real.hmacSha256(key, message);
  };
  return { ...real, hmacSha256 };
});

let network: TestNetwork;
let queryTask: VerifiedTask;
let joinTask: VerifiedTask;
let computeTask: VerifiedTask;

beforeAll(async () => {
  network = await createNetwork();
  const governance = governanceSnapshot(network, [artifactRegistered(AGE_MODEL, "model")]);
  const data = customerData(["vault-1", "vault-2"], 20);
  const verified = async (parameters: QueryParameters | ComputeParameters) => {
    const { envelopeBytes: envelope } = await testTask(network, { parameters, data });
    const presented = { envelope, governance, round: 0, attempt: 0 };
    return verifyTask(presented, network.genesisDigest);
  };
  queryTask = await verified(ADULTS);
  joinTask = await verified(BOTH_AGES);
  computeTask = await verified(AGE_SCORES);
});

/** Whoever has a record of each age: no record has both. */
const BOTH_AGES: QueryParameters = {
  ...ADULTS,
  predicate: {
    operator: "JOIN",
    operands: [
      { attribute: "customer.age", op: "range", min: 20, max: 40 },
      { attribute: "customer.age", op: "range", min: 50, max: 70 },
    ],
  },
};

/** Rows of people of 30, one for each name; people of one name are one subject. */
function people(names: readonly string[], emails: readonly (string | null)[] = names): InputRows {
  return {
    rows: names.length,
    subjects: names,
    columns: new Map<string, (string | number | null)[]>([
      ["customer.age", names.map(() => 30)],
      ["customer.email", [...emails]],
    ]),
  };
}

function workOf(task: VerifiedTask, rows: InputRows) {
  return {
    task,
    rows,
    vaultId: "vault-1",
    artifact: task === computeTask ? verifyArtifact(AGE_MODEL, task) : null,
    tokenKey: testSeed("token key"),
    noiseShare: testSeed("noise share"),
    state: null,
    clockMs: () => 0,
  };
}

/** Distinct tokens that a query's slice output holds. */
function tokens(rows: InputRows): number {
  return unpad(querySlice(workOf(queryTask, rows), ADULTS)).length / 32;
}

const FOUR = ["a", "b", "c", "d"];
const FIVE = [...FOUR, "e"];

describe("local thresholds", () => {
  test("[XP-12][AC-3] fewer matching subjects than the policy's minimum leave as none", () => {
    expect(tokens(people(FOUR))).toBe(0);
    expect(tokens(people(FIVE))).toBe(5);
    const [few, enough] = [FOUR, FIVE].map((names) =>
      querySlice(workOf(queryTask, people(names)), ADULTS),
    );
    expect(few?.length).toBe(enough?.length);
  });

  test("[AC-1][AC-3] a JOIN counts the subjects whose records together meet it, once each", () => {
    const joined = (names: readonly string[]): number => {
      const rows = people([...names, ...names, "f", "g"]);
      const ages = [...names.map(() => 30), ...names.map(() => 60), 30, 60];
      const columns = new Map([...rows.columns, ["customer.age", ages] as const]);
      const work = workOf(joinTask, { ...rows, columns });
      return unpad(querySlice(work, BOTH_AGES)).length / 32;
    };
    expect(joined(FIVE)).toBe(5);
    expect(joined(FOUR)).toBe(0);
  });

  test("[XP-12] a subject with many rows is one subject", async () => {
    expect(tokens(people(["a", "a", "b", "c", "d", "d"]))).toBe(0);
    const rows = people([...FOUR, "a", "b", "c"]);
    const histogram = await computeSlice(workOf(computeTask, rows), AGE_SCORES);
    expect(unpad(histogram).every((byte) => byte === 0)).toBe(true);
  });

  test("[XP-12] a histogram counts one row for each subject", async () => {
    const rows = people([...FIVE, "a", "b", "c"]);
    const histogram = unpad(await computeSlice(workOf(computeTask, rows), AGE_SCORES));
    expect(Array.from(new Int32Array(histogram.buffer.slice(0, 8)))).toEqual([5, 0]);
  });

  test("[TC-3] spelling of the linking attribute does not make two of one", () => {
    const emails = ["X@y.org", " x@Y.org ", "e\u0301@y.org", "\u00c9@y.org", "b", "c", "d"];
    expect(tokens(people(["1", "2", "3", "4", "5", "6", "7"], emails))).toBe(5);
  });

  test("[TC-3] subjects without the linking attribute are told apart by their pseudonyms", () => {
    expect(tokens(people(FIVE, [null, null, "", "x", "y"]))).toBe(5);
  });

  test("[PB-6] a subject with many links is one token, by the smallest", () => {
    const emails = ["m", "n", "o", "p", "q"];
    const plain = querySlice(workOf(queryTask, people(FIVE, emails)), ADULTS);
    const more = people([...FIVE, "a", "a", "a"], [...emails, "z", null, "y"]);
    expect(querySlice(workOf(queryTask, more), ADULTS)).toEqual(plain);
    const smaller = people([...FIVE, "a"], [...emails, "b"]);
    const byAnother = querySlice(workOf(queryTask, smaller), ADULTS);
    expect(unpad(byAnother)).toHaveLength(5 * 32);
    expect(byAnother).not.toEqual(plain);
  });

  test("[PB-6] two subjects with one link are one, whichever of their rows matches", () => {
    const rows = people([...FIVE, "f", "f"], ["x", "x", "b", "c", "d", "e", "e"]);
    const ages = [10, 30, 30, 30, 30, 10, 30];
    const columns = new Map([...rows.columns, ["customer.age", ages] as const]);
    expect(tokens({ ...rows, columns })).toBe(5);
  });

  test("[PB-6] as many tokens are computed for none as for all of a Vault's subjects", () => {
    const calls = (count: number, age: number): number => {
      const names = Array.from({ length: count }, (_, n) => `${n}`);
      const rows = people(names);
      const columns = new Map([...rows.columns, ["customer.age", names.map(() => age)] as const]);
      hashing.calls = 0;
      querySlice(workOf(queryTask, { ...rows, columns }), ADULTS);
      return hashing.calls;
    };
    const counted = [calls(0, 30), calls(5, 30), calls(256, 10), calls(256, 30)];
    expect(counted).toEqual([256, 256, 256, 256]);
  });
});

describe("noise", () => {
  const privacy = { k: 10, epsilonMicro: 1_000_000, deltaPico: 1_000_000, sensitivity: 9 };

  test("[AC-3] sensitivity counts what a subject at a local threshold brings with it", () => {
    expect(countSensitivity({ vaults: 3, localMin: 1, deduplicated: true })).toBe(1);
    expect(countSensitivity({ vaults: 3, localMin: 5, deduplicated: true })).toBe(13);
    expect(countSensitivity({ vaults: 3, localMin: 0, deduplicated: false })).toBe(3);
    expect(countSensitivity({ vaults: 3, localMin: 5, deduplicated: false })).toBe(15);
  });

  test("[AC-3][PB-6] a person may be in every Vault under another link, unless the link identifies", async () => {
    expect(countPrivacy(queryTask).sensitivity).toBe(2 * 5);
    expect(countPrivacy(computeTask).sensitivity).toBe(2 * 5);
    const linked = await createNetwork({
      genesis: (genesis) => ({
        ...genesis,
        semantics: {
          ...genesis.semantics,
          record_scopes: genesis.semantics.record_scopes.map((scope) => ({
            ...scope,
            link_attribute_id: scope.subject_attribute_id,
          })),
        },
      }),
    });
    const data = customerData(["vault-1", "vault-2"], 20);
    const task = await testTask(linked, { parameters: ADULTS, data });
    const governance = governanceSnapshot(linked);
    const presented = { envelope: task.envelopeBytes, governance, round: 0, attempt: 0 };
    const verified = verifyTask(presented, linked.genesisDigest);
    expect(countPrivacy(verified).sensitivity).toBe(1 + 2 * (5 - 1));
  });

  /** Mean magnitude of discrete Laplace noise of scale b is close to b. */
  function meanMagnitude(draws: readonly number[]): number {
    return draws.reduce((sum, draw) => sum + Math.abs(draw), 0) / draws.length;
  }

  test("[TC-3] an audience's size carries the noise of its sensitivity", () => {
    const members = Array.from({ length: 2000 }, (_, n) => sha256(utf8(`member ${n}`)));
    const content = concat(...members);
    const padded = new Uint8Array(4 + content.length);
    new DataView(padded.buffer).setUint32(0, content.length);
    padded.set(content, 4);
    const draws = Array.from({ length: 400 }, (_, n) => {
      const result = aggregateQuery({
        outputs: [padded],
        outputBytes: padded.length,
        method: "union",
        audienceCap: 10_000,
        noiseKey: hkdf(utf8(`key ${n}`), utf8("test")),
        privacy,
      });
      return result.kind === "audience" ? result.size - 2000 : Number.NaN;
    });
    expect(meanMagnitude(draws)).toBeGreaterThan(7.5);
    expect(meanMagnitude(draws)).toBeLessThan(10.5);
  });

  test("[XP-12] every bin of a histogram carries the noise of the whole sensitivity", () => {
    const output = new Uint8Array(12);
    const view = new DataView(output.buffer);
    view.setUint32(0, 8);
    view.setInt32(4, 5000, true);
    view.setInt32(8, 5000, true);
    const draws = Array.from({ length: 300 }, (_, n) => {
      const result = aggregateHistogram({
        outputs: [output],
        outputBytes: 12,
        parameters: AGE_SCORES,
        rowsMax: 10_000,
        noiseKey: hkdf(utf8(`bins ${n}`), utf8("test")),
        privacy,
      });
      const counts = result.kind === "histogram" ? result.counts : [];
      return counts.map((count) => (count ?? Number.NaN) - 5000);
    }).flat();
    expect(meanMagnitude(draws)).toBeGreaterThan(7.5);
    expect(meanMagnitude(draws)).toBeLessThan(10.5);
  });

  test("[AG-1] refuses a slice output of another size", () => {
    const aggregation = {
      outputs: [new Uint8Array(36)],
      outputBytes: 68,
      method: "union" as const,
      audienceCap: 10,
      noiseKey: testSeed("key"),
      privacy,
    };
    const code = "EXECUTION_INPUT_MISMATCH";
    expect(() => aggregateQuery(aggregation)).toThrow(expect.objectContaining({ code }));
  });

  test("[AG-1] an intersection counts those in every part, a union those in any", () => {
    const part = (names: readonly string[]): Uint8Array => {
      const content = concat(...names.map((name) => sha256(utf8(name))));
      const padded = new Uint8Array(4 + 32 * 3000);
      new DataView(padded.buffer).setUint32(0, content.length);
      padded.set(content, 4);
      return padded;
    };
    const range = (from: number, to: number): string[] =>
      Array.from({ length: to - from }, (_, n) => `${from + n}`);
    const outputs = [part(range(0, 2000)), part(range(1000, 3000))];
    const sizes = (["union", "intersection"] as const).map((method) => {
      const result = aggregateQuery({
        outputs,
        outputBytes: 4 + 32 * 3000,
        method,
        audienceCap: 10_000,
        noiseKey: testSeed("key"),
        privacy,
      });
      return result.kind === "audience" ? result.size : Number.NaN;
    });
    expect(Math.abs((sizes[0] ?? 0) - 3000)).toBeLessThan(300);
    expect(Math.abs((sizes[1] ?? 0) - 1000)).toBeLessThan(300);
  });
});
