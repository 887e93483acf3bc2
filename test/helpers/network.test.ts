import { expect, test } from "vitest";

import {
  GOVERNANCE_SNAPSHOT,
  verifyGovernanceSnapshot,
} from "../../protocol/governance/governance-snapshot.ts";
import { openBatch } from "../../protocol/batch.ts";
import { utf8 } from "../../protocol/bytes.ts";
import { TASK_REQUEST } from "../../protocol/task-request.ts";
import { customerData } from "./network-data.ts";
import { testTask } from "./network-task.ts";
import { artifactRegistered, createNetwork, governanceSnapshot } from "./network.ts";

test("a generated network is accepted by the verifiers and the same every time", async () => {
  const network = await createNetwork();
  const bytes = governanceSnapshot(network, [artifactRegistered(utf8("a model"), "model")]);
  const state = verifyGovernanceSnapshot(GOVERNANCE_SNAPSHOT.decode(bytes), network.genesisDigest);
  expect(state.artifacts.size).toBe(1);
  expect((await createNetwork()).genesisDigest).toEqual(network.genesisDigest);
});

test("a generated task has batches that open and a request its submitter signed", async () => {
  const network = await createNetwork();
  const data = customerData(["vault-1", "vault-2", "vault-3"], 20);
  const parameters = {
    task_class: "query",
    predicate: {
      operator: "AND",
      operands: [{ attribute: "customer.age", op: "range", min: 30, max: 60 }],
    },
    audience_cap: 100,
  } as const;
  const task = await testTask(network, {
    parameters: {
      ...parameters,
      predicate: { operator: "AND", operands: [...parameters.predicate.operands] },
    },
    data,
  });
  const batch = data[0]?.batches[0];
  expect(batch && openBatch(batch.bytes, batch.dataKey).header.record_count).toBe(10);
  const key = network.submitter.signing.publicKey;
  expect(TASK_REQUEST.verify(task.signedRequest, key)).toEqual(task.request);
});
