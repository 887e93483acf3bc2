// The order of admission, dry runs and controls through a running coordinator; no Vault answers here.
import * as fs from "node:fs";

import { afterAll, beforeAll, expect, test } from "vitest";

import { ADMISSION_STEPS } from "../../../host/requests/index.ts";
import {
  TASK_DRY_RUN,
  TASK_REQUEST,
  base64,
  type Genesis,
  type Operand,
  type Policy,
  type TaskRequest,
} from "../../../protocol/index.ts";
import { startCoordinator, type LiveCoordinator } from "../../helpers/live-coordinator.ts";
import { testRequest } from "../../helpers/network-task.ts";
import { createNetwork, openedNow, testSeed, type TestNetwork } from "../../helpers/network.ts";
import { submitterFolder, symphony } from "../../helpers/spoken.ts";
import { PARAMETERS } from "../admission/requests.ts";

const RATE = 5;
const LOCK_MINOR = 400;

let network: TestNetwork;
let live: LiveCoordinator;
let folder: string;
/** A request that has been taken. */
let taken: Uint8Array;

function strict(policy: Policy): Policy {
  const { admission, classes } = policy;
  const tight = { actor_tasks_max: RATE, window_ms: 3_600_000 };
  return {
    ...policy,
    classes: {
      ...classes,
      query: { ...classes.query, budget_lock_required: true },
    },
    admission: {
      ...admission,
      resolving_timeout_ms: 600_000,
      actor_concurrent_tasks_max: RATE + 2,
      rate_limits: { ...admission.rate_limits, query: tight },
    },
  };
}

beforeAll(async () => {
  network = await createNetwork({ genesis: openedNow, policy: strict });
  live = await startCoordinator(network);
  await live.cosign();
  folder = submitterFolder(live);
});

afterAll(async () => {
  await live.stop();
  for (const each of [folder, live.folder]) fs.rmSync(each, { recursive: true, force: true });
});

function requestOf(name: string, changes: Partial<TaskRequest> = {}): Promise<TaskRequest> {
  return testRequest(network, PARAMETERS.query, {
    request_id: testSeed(name).slice(0, 16),
    created_ms: Date.now(),
    budget_lock_minor: LOCK_MINOR,
    ...changes,
  });
}

/** A request of another class, which is free. */
function parseOf(name: string): Promise<TaskRequest> {
  return testRequest(network, PARAMETERS.parse, {
    request_id: testSeed(name).slice(0, 16),
    created_ms: Date.now(),
    vault_ids: ["vault-1"],
  });
}

async function post(path: string, signed: Uint8Array) {
  const response = await fetch(`${live.publicUrl}${path}`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ signed: base64(signed) }),
  });
  const body: Record<string, unknown> = JSON.parse(await response.text());
  return { status: response.status, body };
}

async function submit(request: TaskRequest) {
  return post("/v1/tasks", TASK_REQUEST.sign(request, network.submitter.signing));
}

async function ask(request: TaskRequest) {
  return live.client.dryRun(TASK_DRY_RUN.sign(request, network.submitter.signing));
}

/** A fault of each step of the coordinator's, in the order of admission. */
const FAULTS: readonly {
  readonly step: (typeof ADMISSION_STEPS)[number]["name"];
  readonly changes: Partial<TaskRequest>;
  readonly code: string;
}[] = [
  { step: "identity", changes: { actor_id: "nobody" }, code: "AUTH_UNKNOWN_ACTOR" },
  { step: "authorization", changes: { created_ms: 1 }, code: "AUTH_REPLAYED" },
  { step: "class", changes: { task_timeout_ms: 0 }, code: "POLICY_LIMIT_EXCEEDED" },
  { step: "semantics", changes: { record_scope: "shoes" }, code: "DERIVATION_UNRESOLVED" },
  { step: "price", changes: { epsilon_micro: 1 }, code: "PRIVACY_BUDGET_EXCEEDED" },
  {
    step: "controls",
    changes: { request_id: testSeed("taken").slice(0, 16) },
    code: "AUTH_REPLAYED",
  },
];

test("[AP-5][AP-6] of a request that is wrong at every step the first step in order refuses", async () => {
  taken = TASK_REQUEST.sign(await requestOf("taken"), network.submitter.signing);
  expect((await post("/v1/tasks", taken)).status).toBe(202);
  const steps = ADMISSION_STEPS.filter(({ by }) => by.some((party) => party === "coordinator"));
  expect([...FAULTS.map(({ step }) => step), "policy"]).toEqual(steps.map(({ name }) => name));
  for (const [index, { step, code }] of FAULTS.entries()) {
    const rest: Partial<TaskRequest> = Object.assign(
      {},
      ...FAULTS.slice(index).map(({ changes }) => changes),
    );
    const { status, body } = await submit(await requestOf("peeled", rest));
    expect({ step, code: body["code"] }).toEqual({ step, code });
    expect(status).toBeGreaterThanOrEqual(400);
    expect(ADMISSION_STEPS.find(({ name }) => name === step)?.refuses).toContain(code);
  }
});

test("a dry run tells every step that does not hold, in order, and leaves nothing behind", async () => {
  const before = await tasksKnown();
  const faults = FAULTS.slice(2);
  const all: Partial<TaskRequest> = Object.assign({}, ...faults.map(({ changes }) => changes));
  const answer = await ask(await requestOf("asked", all));
  expect(answer.outcome).toBe("refused");
  // Nothing has a price that has no meaning: what `price` would say is what `semantics` says.
  expect(answer.faults.map(({ step, code }) => [step, code])).toEqual(
    faults.filter(({ step }) => step !== "price").map(({ step, code }) => [step, code]),
  );
  expect(answer).toMatchObject({ meaning: null, cost: null });
  const good = await requestOf("asked");
  const first = await ask(good);
  expect(first).toMatchObject({
    ...{ outcome: "admissible", faults: [], policy_version: "policy-1" },
    not_judged: ["grant", "consent", "budget", "policy"],
    cost: { price_micro: 110_000, charged_micro: 8_000_000, rounds: 1, lock_minor: LOCK_MINOR },
  });
  for (let again = 0; again < RATE + 1; again += 1) expect(await ask(good)).toEqual(first);
  expect(await tasksKnown()).toBe(before);
  expect((await submit(good)).status).toBe(202);
});

const CITY = { attribute: "customer.city", op: "eq", value: "Porto" } as const;

const UNRESOLVED: readonly {
  readonly title: string;
  readonly operands: readonly Operand[];
  readonly code: string;
  readonly says: RegExp;
}[] = [
  {
    title: "[AP-3] a name of nothing",
    operands: [CITY, { attribute: "customer.shoe", op: "eq", value: 42 }],
    ...{ code: "DERIVATION_UNRESOLVED", says: /customer\.shoe/ },
  },
  {
    title: "[AP-3] an attribute that nobody may query as it is",
    operands: [CITY, { attribute: "customer.email", op: "eq", value: "x" }],
    ...{ code: "DERIVATION_UNRESOLVED", says: /customer\.email/ },
  },
  {
    title: "[AP-3] a value that its attribute never has",
    operands: [CITY, { attribute: "customer.age", op: "eq", value: 121 }],
    ...{ code: "DERIVATION_VALUE_OUT_OF_RANGE", says: /customer\.age/ },
  },
  {
    title: "[AP-3][AP-10] an attribute of a domain that takes mediation, without a rule for it",
    operands: [CITY, { attribute: "receipt.id", op: "eq", value: "x" }],
    ...{ code: "COMPOSITION_INVALID", says: /receipt\.id/ },
  },
];

test.for(UNRESOLVED)("$title means nothing, and is refused as it is said", async (each) => {
  const predicate = { operator: "AND" as const, operands: [...each.operands] };
  const parameters = { task_class: "query" as const, predicate, audience_cap: 100 };
  const answer = await ask(await requestOf("unresolved", { parameters }));
  const fault = { step: "semantics", code: each.code, detail: expect.stringMatching(each.says) };
  expect(answer).toMatchObject({ outcome: "refused", faults: [fault], meaning: null });
  const { body } = await submit(await requestOf("unresolved", { parameters }));
  expect(body["code"]).toBe(each.code);
});

test("[AP-3][AP-9] a request means the same to every coordinator of one semantic version", async () => {
  const backwards = (genesis: Genesis): Genesis => {
    const { semantics } = genesis;
    const record_scopes = semantics.record_scopes.toReversed();
    const domains = semantics.domains.toReversed();
    const attributes = semantics.attributes.toReversed();
    return openedNow({
      ...genesis,
      semantics: { ...semantics, domains, attributes, record_scopes },
    });
  };
  const other = await startCoordinator(await createNetwork({ genesis: backwards, policy: strict }));
  try {
    await other.cosign();
    const { genesisDigest: genesis_digest, submitter } = other.network;
    const asked = await requestOf("meaning");
    const here = await ask(asked);
    const question = TASK_DRY_RUN.sign({ ...asked, genesis_digest }, submitter.signing);
    const there = await other.client.dryRun(question);
    expect(here).toMatchObject({
      semantic_version: "semantics-1",
      meaning: {
        ...{ operator: "AND", attribute_ids: ["customer.age", "customer.city"] },
        ...{ combined_privacy_class: 2, minimum_result_cardinality: 10 },
      },
    });
    expect(there).toEqual(here);
  } finally {
    await other.stop();
    fs.rmSync(other.folder, { recursive: true, force: true });
  }
});

test("[TC-2] the policy says which class needs several Vaults, a locked budget and epsilon", async () => {
  const faultsOf = async (request: TaskRequest) =>
    (await ask(request)).faults.map(({ step, code }) => [step, code]);
  expect(await faultsOf(await requestOf("alone", { vault_ids: ["vault-1"] }))).toEqual([
    ["class", "POLICY_DECLINED"],
  ]);
  expect(await faultsOf(await requestOf("unlocked", { budget_lock_minor: 0 }))).toEqual([
    ["price", "POLICY_DECLINED"],
  ]);
  expect(await faultsOf(await requestOf("free", { epsilon_micro: 0 }))).toEqual([
    ["price", "PRIVACY_BUDGET_EXCEEDED"],
  ]);
  const parse = await parseOf("alone, unlocked and free");
  expect(parse).toMatchObject({ vault_ids: ["vault-1"], budget_lock_minor: 0, epsilon_micro: 0 });
  expect(await faultsOf(parse)).toEqual([]);
});

test("[AP-7] only a submitter is told by a dry run, and its question is no request", async () => {
  const { signing } = network.submitter;
  const question = TASK_DRY_RUN.sign(await requestOf("question"), signing);
  const refused = { status: 401, body: { code: "PROOF_SIGNATURE_INVALID" } };
  expect(await post("/v1/tasks", question)).toMatchObject(refused);
  const request = TASK_REQUEST.sign(await requestOf("question"), signing);
  expect(await post("/v1/tasks/dry-run", request)).toMatchObject(refused);
  const [vault] = network.vaults;
  if (vault === undefined) throw new Error("expected a Vault");
  const curious = await requestOf("question", { actor_id: vault.actorId });
  expect(await post("/v1/tasks/dry-run", TASK_DRY_RUN.sign(curious, vault.signing))).toMatchObject({
    status: 403,
    body: { code: "AUTH_ROLE_REFUSED" },
  });
});

test("symphony submit --dry-run says what a request means and costs, and submits nothing", async () => {
  const file = `${folder}/query.json`;
  const request = {
    ...{ record_scope: "customers", usage_scope: "marketing", parameters: PARAMETERS.query },
    ...{ vault_ids: ["vault-1", "vault-2"], epsilon_micro: 200_000, budget_lock_minor: LOCK_MINOR },
  };
  fs.writeFileSync(file, JSON.stringify(request));
  const words = ["submit", file, "--dir", folder, "--dry-run"];
  const before = await tasksKnown();
  const said = await symphony(...words);
  expect(said).toMatchObject({ exit: 0, err: "" });
  expect(said.out).toContain("admissible");
  expect(said.out).toContain("110000 micro-epsilon");
  fs.writeFileSync(file, JSON.stringify({ ...request, epsilon_micro: 1 }));
  const refused = await symphony(...words, "--json");
  expect(refused.exit).toBe(1);
  expect(JSON.parse(refused.out)).toMatchObject({
    outcome: "refused",
    faults: [{ step: "price", code: "PRIVACY_BUDGET_EXCEEDED" }],
  });
  expect(await tasksKnown()).toBe(before);
});

test("[PV-1] a submitter's rate and room are the policy's, and a resubmission takes none", async () => {
  const answers = [];
  for (let task = 2; task < RATE; task += 1) {
    answers.push(await submit(await requestOf(`rate ${task}`)));
  }
  expect(answers.map(({ status }) => status)).toEqual(Array.from({ length: RATE - 2 }, () => 202));
  const over = await submit(await requestOf("one too many"));
  expect(over).toMatchObject({
    status: 429,
    body: { code: "POLICY_LIMIT_EXCEEDED", limit: "rate", max: RATE },
  });
  expect(await submit(await requestOf("one too many", { created_ms: Date.now() + 5 }))).toEqual(
    over,
  );
  expect(await post("/v1/tasks", taken)).toMatchObject({ status: 202 });
  for (const name of ["other class 1", "other class 2"]) {
    expect(await submit(await parseOf(name))).toMatchObject({ status: 202 });
  }
  expect(await submit(await parseOf("other class 3"))).toMatchObject({
    status: 429,
    body: { code: "POLICY_LIMIT_EXCEEDED", limit: "actor_running", max: RATE + 2 },
  });
});

/** Tasks that there are. */
async function tasksKnown(): Promise<number> {
  const text = await (await fetch(`${live.publicUrl}/metrics`)).text();
  const lines = text.match(/^symphony_tasks\{.*\} (\d+)$/gm) ?? [];
  return lines.reduce((sum, line) => sum + Number(line.split(" ").at(-1)), 0);
}
