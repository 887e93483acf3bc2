import { beforeAll, expect, test } from "vitest";

import { planAdmission } from "../../../host/admission/index.ts";
import {
  GOVERNANCE_SNAPSHOT,
  SymphonyError,
  TASK_REQUEST,
  sha256,
  utf8,
  verifyGovernanceSnapshot,
  type GovernanceState,
  type Policy,
  type TaskClass,
  type TaskRequest,
} from "../../../protocol/index.ts";
import { testRequest } from "../../helpers/network-task.ts";
import {
  NETWORK_TIME_MS,
  artifactRegistered,
  createNetwork,
  governanceSnapshot,
  testActor,
  type TestNetwork,
} from "../../helpers/network.ts";
import { MODEL, PARAMETERS } from "./requests.ts";

const NOW_MS = NETWORK_TIME_MS + 1_000;

async function open(policy?: (policy: Policy) => Policy) {
  const made = await createNetwork(policy === undefined ? {} : { policy });
  const bytes = governanceSnapshot(made, [artifactRegistered(MODEL, "model")]);
  const snapshot = GOVERNANCE_SNAPSHOT.decode(bytes);
  return { network: made, state: verifyGovernanceSnapshot(snapshot, made.genesisDigest) };
}

let network: TestNetwork;
let state: GovernanceState;

beforeAll(async () => {
  ({ network, state } = await open());
});

async function signed(
  taskClass: TaskClass,
  changes: Partial<TaskRequest> = {},
  from: TestNetwork = network,
): Promise<Uint8Array> {
  const vault_ids = taskClass === "parse" ? ["vault-1"] : ["vault-1", "vault-2", "vault-3"];
  const request = await testRequest(from, PARAMETERS[taskClass], { vault_ids, ...changes });
  return TASK_REQUEST.sign(request, from.submitter.signing);
}

function refusalOf(bytes: Uint8Array, under: GovernanceState = state, nowMs = NOW_MS) {
  try {
    planAdmission(bytes, under, nowMs);
  } catch (error) {
    if (!(error instanceof SymphonyError)) throw error;
    return { code: error.code, class: error.class, message: error.message, details: error.details };
  }
  throw new Error("expected a refusal");
}

test.for(["parse", "query", "compute", "train"] as const)(
  "[AP-1][TC-1] plans a %s whose identity, class, meaning and price hold",
  async (taskClass) => {
    const bytes = await signed(taskClass);
    const plan = planAdmission(bytes, state, NOW_MS);
    expect(plan.request.task_class).toBe(taskClass);
    expect(plan.signedRequest).toEqual(bytes);
    expect(plan.requestDigest).toEqual(TASK_REQUEST.digest(plan.request));
  },
);

interface Refused {
  readonly title: string;
  readonly code: string;
  readonly taskClass?: TaskClass;
  readonly changes?: Partial<TaskRequest>;
  readonly field?: string;
}

const REFUSED: readonly Refused[] = [
  { title: "an unknown actor", code: "AUTH_UNKNOWN_ACTOR", changes: { actor_id: "nobody" } },
  {
    title: "another network",
    code: "GOVERNANCE_GENESIS_MISMATCH",
    changes: { genesis_digest: sha256(utf8("other")) },
  },
  { title: "an old request", code: "AUTH_REPLAYED", changes: { created_ms: NOW_MS - 600_001 } },
  {
    title: "one from the future",
    code: "AUTH_REPLAYED",
    changes: { created_ms: NOW_MS + 600_001 },
  },
  { title: "no time", code: "POLICY_LIMIT_EXCEEDED", changes: { task_timeout_ms: 0 } },
  { title: "too much time", code: "POLICY_LIMIT_EXCEEDED", changes: { task_timeout_ms: 600_001 } },
  {
    title: "a parse over two Vaults",
    code: "SCHEMA_MALFORMED",
    taskClass: "parse",
    field: "vault_ids",
    changes: { vault_ids: ["vault-1", "vault-2"] },
  },
  {
    title: "a query over one Vault",
    code: "POLICY_DECLINED",
    field: "vault_ids",
    changes: { vault_ids: ["vault-1"] },
  },
  {
    title: "a model nobody registered",
    code: "EXECUTION_WORKLOAD_UNREGISTERED",
    taskClass: "compute",
    field: "parameters.model_digest",
    changes: {
      parameters: {
        ...PARAMETERS.compute,
        model_digest: sha256(utf8("mine")),
      } as TaskRequest["parameters"],
    },
  },
  {
    title: "a Vault nobody knows",
    code: "AUTH_UNKNOWN_ACTOR",
    changes: { vault_ids: ["vault-1", "vault-9"] },
  },
  {
    title: "an actor that is no Vault",
    code: "AUTH_UNKNOWN_ACTOR",
    field: "vault_ids",
    changes: { vault_ids: ["aggregator", "vault-1"] },
  },
  {
    title: "an unknown record scope",
    code: "DERIVATION_UNRESOLVED",
    changes: { record_scope: "shoes" },
  },
  {
    title: "a price that is not offered",
    code: "PRIVACY_BUDGET_EXCEEDED",
    changes: { epsilon_micro: 109_999 },
  },
];

test.for(REFUSED)(
  "[AP-5] refuses $title with $code",
  async ({ code, taskClass, changes, field }) => {
    const refusal = refusalOf(await signed(taskClass ?? "query", changes));
    expect(refusal.code).toBe(code);
    if (field !== undefined) expect(refusal.details).toMatchObject({ field });
  },
);

test("[AP-6] equal invalid input gives an equal rejection, down to its words", async () => {
  for (const { taskClass, changes } of REFUSED) {
    const bytes = await signed(taskClass ?? "query", changes);
    const again = verifyGovernanceSnapshot(
      GOVERNANCE_SNAPSHOT.decode(governanceSnapshot(network, [artifactRegistered(MODEL, "model")])),
      network.genesisDigest,
    );
    expect(refusalOf(bytes.slice(), again)).toEqual(refusalOf(bytes));
  }
});

test("the price of a composition is just enough", async () => {
  const plan = planAdmission(await signed("query", { epsilon_micro: 110_000 }), state, NOW_MS);
  expect(plan.request.epsilon_micro).toBe(110_000);
});

test("a request at the very edge of its age is taken", async () => {
  for (const created_ms of [NOW_MS - 600_000, NOW_MS + 600_000]) {
    expect(planAdmission(await signed("query", { created_ms }), state, NOW_MS)).toBeDefined();
  }
});

test("[AP-1] refuses a request that another key signed, or that was altered", async () => {
  const stranger = await testActor("stranger", "submitter");
  const request = await testRequest(network, PARAMETERS.query);
  const forged = TASK_REQUEST.sign(request, stranger.signing);
  expect(refusalOf(forged).code).toBe("PROOF_SIGNATURE_INVALID");
  const bytes = await signed("query");
  const altered = bytes.with(bytes.length - 1, (bytes.at(-1) ?? 0) ^ 1);
  expect(refusalOf(altered).code).toBe("PROOF_SIGNATURE_INVALID");
});

test("[AP-1] refuses an actor whose role is not to submit", async () => {
  const request = await testRequest(network, PARAMETERS.query, { actor_id: "vault-1" });
  const [vault] = network.vaults;
  if (vault === undefined) throw new Error("expected a Vault");
  expect(refusalOf(TASK_REQUEST.sign(request, vault.signing))).toMatchObject({
    code: "AUTH_ROLE_REFUSED",
    details: { expected: "submitter", actual: "enterprise" },
  });
});

test.for([
  { title: "no bytes", bytes: new Uint8Array(0), class: "malformed" },
  { title: "no COSE", bytes: utf8("{}"), class: "malformed" },
  { title: "too many bytes", bytes: new Uint8Array(96 * 1024 + 1), class: "limit" },
])("refuses $title as $class", ({ bytes, class: expected }) => {
  expect(refusalOf(bytes).class).toBe(expected);
});

test("[TC-2] the policy says which class needs several Vaults and a locked budget", async () => {
  const changed = await open((policy) => ({
    ...policy,
    classes: {
      ...policy.classes,
      query: { ...policy.classes.query, multi_vault: false, budget_lock_required: true },
    },
  }));
  const one = { vault_ids: ["vault-1"] };
  const bare = await signed("query", one, changed.network);
  expect(refusalOf(bare, changed.state)).toMatchObject({
    code: "POLICY_DECLINED",
    details: { field: "budget_lock_minor" },
  });
  const short = await signed("query", { ...one, budget_lock_minor: 99 }, changed.network);
  expect(refusalOf(short, changed.state).code).toBe("POLICY_DECLINED");
  const locked = await signed("query", { ...one, budget_lock_minor: 100 }, changed.network);
  expect(planAdmission(locked, changed.state, NOW_MS).request.vault_ids).toEqual(["vault-1"]);
  const compute = await signed("compute", {}, changed.network);
  expect(planAdmission(compute, changed.state, NOW_MS)).toBeDefined();
});

test("[TC-2] a class whose policy asks for no budget has no price", async () => {
  const changed = await open((policy) => ({
    ...policy,
    classes: { ...policy.classes, query: { ...policy.classes.query, budget_required: false } },
  }));
  const free = await signed("query", { epsilon_micro: 0 }, changed.network);
  expect(planAdmission(free, changed.state, NOW_MS)).toBeDefined();
  expect(refusalOf(await signed("query", { epsilon_micro: 0 })).code).toBe(
    "PRIVACY_BUDGET_EXCEEDED",
  );
});

test("[AP-5] refuses an epsilon that the rounds of a training do not divide", async () => {
  const rejection = refusalOf(await signed("train", { epsilon_micro: 8_000_001 }));
  expect(rejection).toMatchObject({
    code: "SCHEMA_MALFORMED",
    details: { field: "epsilon_micro" },
  });
});

test("[TC-1] a request whose parameters are of another class is none", async () => {
  const request = await testRequest(network, PARAMETERS.query);
  const mixed = { ...request, parameters: PARAMETERS.parse };
  expect(() => TASK_REQUEST.sign(mixed, network.submitter.signing)).toThrow(
    expect.objectContaining({
      code: "SCHEMA_MALFORMED",
      details: expect.objectContaining({ field: "task-request.parameters.task_class" }),
    }),
  );
});
