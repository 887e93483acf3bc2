import { beforeAll, expect, test } from "vitest";

import {
  assembleEnvelope,
  planAdmission,
  quorumOf,
  readDecisions,
} from "../../../host/admission/index.ts";
import {
  GOVERNANCE_SNAPSHOT,
  SymphonyError,
  TASK_ENVELOPE,
  TASK_REQUEST,
  VAULT_DECISION,
  hex,
  policyDigest,
  sha256,
  taskEnvelopeSchema,
  utf8,
  verifyGovernanceSnapshot,
  type GovernanceState,
  type TaskClass,
  type TaskEnvelope,
  type VaultDecision,
} from "../../../protocol/index.ts";
import { customerData } from "../../helpers/network-data.ts";
import { testDecision, testRequest } from "../../helpers/network-task.ts";
import {
  NETWORK_TIME_MS,
  artifactRegistered,
  createNetwork,
  governanceSnapshot,
  type TestNetwork,
} from "../../helpers/network.ts";
import { MODEL, PARAMETERS } from "./requests.ts";

let network: TestNetwork;
let state: GovernanceState;

beforeAll(async () => {
  network = await createNetwork();
  const bytes = governanceSnapshot(network, [artifactRegistered(MODEL, "model")]);
  state = verifyGovernanceSnapshot(GOVERNANCE_SNAPSHOT.decode(bytes), network.genesisDigest);
});

interface Answer {
  readonly vault: number;
  readonly change?: (decision: VaultDecision) => VaultDecision;
  /** Whose key signs; the Vault's own unless given. */
  readonly signer?: number;
}

const ALL: readonly Answer[] = [{ vault: 0 }, { vault: 1 }, { vault: 2 }];

async function planned(taskClass: TaskClass) {
  const vault_ids = taskClass === "parse" ? ["vault-1"] : ["vault-1", "vault-2", "vault-3"];
  const request = await testRequest(network, PARAMETERS[taskClass], { vault_ids });
  const signed = TASK_REQUEST.sign(request, network.submitter.signing);
  return { request, plan: planAdmission(signed, state, NETWORK_TIME_MS) };
}

async function admitted(taskClass: TaskClass, answers: readonly Answer[] = ALL) {
  const { request, plan } = await planned(taskClass);
  const data = customerData(["vault-1", "vault-2", "vault-3"], 10);
  const signed = new Map<string, Uint8Array>();
  for (const { vault: index, change, signer } of answers) {
    const vault = network.vaults[index];
    const own = data[index];
    const key = network.vaults[signer ?? index]?.signing;
    if (vault === undefined || own === undefined || key === undefined) throw new Error("vault");
    const decision = testDecision(request, vault, own);
    signed.set(vault.actorId, VAULT_DECISION.sign(change?.(decision) ?? decision, key));
  }
  return { request, plan, signed };
}

async function assemble(taskClass: TaskClass, answers: readonly Answer[] = ALL) {
  const { plan, signed } = await admitted(taskClass, answers);
  return assembleEnvelope({
    plan,
    state,
    decisions: readDecisions(plan, state, signed),
    taskId: "t-1",
    epochId: 7,
    admissionMs: NETWORK_TIME_MS + 5,
  });
}

const declined =
  (code: "AUTH_GRANT_MISSING" | "POLICY_DECLINED") =>
  (decision: VaultDecision): VaultDecision => ({
    ...decision,
    outcome: { decision: "declined", code },
  });

test("[TE-1] an envelope says everything that later stages are held to", async () => {
  const envelope = await assemble("query");
  const { request, plan } = await planned("query");
  const vaults = ["vault-1", "vault-2", "vault-3"];
  const perVault = (fields: Record<string, unknown>) =>
    vaults.map((vault_id) => expect.objectContaining({ vault_id, ...fields }));
  expect(taskEnvelopeSchema.parse(envelope)).toEqual(envelope);
  expect(envelope).toMatchObject({
    task_id: "t-1",
    task_class: "query",
    caller_context: {
      actor_id: "analyst",
      role: "submitter",
      request_digest: plan.requestDigest,
      signed_request: plan.signedRequest,
    },
    authorization_context: vaults.map((vault_id) => ({ vault_id, grant_id: `grant-${vault_id}` })),
    consent_references: perVault({ consent_commitment: expect.any(Uint8Array) }),
    semantic_version: "semantics-1",
    policy_version: "policy-1",
    policy_digest: policyDigest(state.policy),
    epoch_id: 7,
    attribute_composition: plan.resolution.attribute_composition,
    derivation_rule_refs: [],
    budget_lock_ref: "lock-t-1-0",
    privacy_budget_reservation: perVault({ epsilon_micro: request.epsilon_micro }),
    coordination_envelope: { parent_task_id: "t-1", participating_vault_ids: vaults },
    admission_timestamp: NETWORK_TIME_MS + 5,
    task_timeout: request.task_timeout_ms,
    genesis_digest: network.genesisDigest,
    parameters: request.parameters,
    delivery_key: request.delivery_key,
    inputs: perVault({ share_commitments: [expect.any(Uint8Array)] }),
  });
});

test("[AC-2] a task of several attributes declares its composition, and its digest is of that one", async () => {
  const envelope = await assemble("query");
  const { parameters } = envelope;
  if (parameters.task_class !== "query") throw new Error("expected a query");
  const { operator, operands } = parameters.predicate;
  expect(operands.length).toBeGreaterThan(1);
  const { attribute_composition: declared } = envelope;
  expect(declared).toMatchObject({ operator, operand_attributes: operands });
  if (declared === null) throw new Error("expected a composition");
  const others = [
    null,
    { ...declared, operator: "OR" as const },
    { ...declared, operand_attributes: operands.slice(1) },
    { ...declared, minimum_result_cardinality: declared.minimum_result_cardinality - 1 },
  ];
  const digests = others.map((attribute_composition) =>
    hex(TASK_ENVELOPE.digest({ ...envelope, attribute_composition })),
  );
  expect(new Set([...digests, hex(TASK_ENVELOPE.digest(envelope))]).size).toBe(5);
});

test("[EP-5] a request means and takes the same in an epoch that is about to end", async () => {
  const request = await testRequest(network, PARAMETERS.query);
  const signed = TASK_REQUEST.sign(request, network.submitter.signing);
  const epoch = { epochId: 9, openedMs: 0, boundaryRequested: true };
  const planned = planAdmission(signed, state, NETWORK_TIME_MS);
  expect(planAdmission(signed, { ...state, epoch }, NETWORK_TIME_MS)).toEqual(planned);
});

test("[AP-8] each Vault's authorization, consent, reservation and input are those it signed", async () => {
  const { plan, signed } = await admitted("query");
  const envelope = await assemble("query");
  for (const [index, vault] of network.vaults.entries()) {
    const decision = VAULT_DECISION.verify(
      signed.get(vault.actorId) ?? new Uint8Array(0),
      vault.signing.publicKey,
    );
    if (decision.outcome.decision !== "reserved") throw new Error("expected a reservation");
    const { outcome } = decision;
    expect(envelope.authorization_context[index]).toEqual({
      vault_id: vault.actorId,
      grant_id: outcome.grant_id,
      decision_digest: VAULT_DECISION.digest(decision),
    });
    expect(envelope.consent_references[index]?.consent_commitment).toEqual(
      outcome.consent_commitment,
    );
    expect(envelope.privacy_budget_reservation[index]).toMatchObject({
      reservation_id: outcome.reservation_id,
      epsilon_micro: outcome.epsilon_micro,
      expires_ms: outcome.expires_ms,
    });
    expect(envelope.inputs[index]?.input_commitment).toEqual(outcome.input_commitment);
  }
  expect(envelope.caller_context.request_digest).toEqual(plan.requestDigest);
});

test("[AP-5] equal decisions give the same envelope, whatever order they came in", async () => {
  const one = await assemble("query");
  const other = await assemble("query", ALL.toReversed());
  expect(TASK_ENVELOPE.encode(other)).toEqual(TASK_ENVELOPE.encode(one));
});

test("[TE-3] parse has no lock, no coordination, no iteration and no composition", async () => {
  const envelope = await assemble("parse", [{ vault: 0 }]);
  const nulls: (keyof TaskEnvelope)[] = [
    "budget_lock_ref",
    "coordination_envelope",
    "iteration_policy",
    "attribute_composition",
  ];
  expect(nulls.map((field) => envelope[field])).toEqual([null, null, null, null]);
});

test("[TE-3] an atomic task of several Vaults has a lock and coordination, and no iteration", async () => {
  const envelope = await assemble("compute");
  expect(envelope.budget_lock_ref).not.toBeNull();
  expect(envelope.coordination_envelope).not.toBeNull();
  expect(envelope.iteration_policy).toBeNull();
});

test("[CT-4] a train envelope carries its iteration policy", async () => {
  expect((await assemble("train")).iteration_policy).toEqual({
    maximum_rounds: 4,
    convergence_threshold_micro: null,
    early_stop: false,
    failed_round: "reject",
  });
});

test.for([
  { taskClass: "query", method: "union" },
  { taskClass: "compute", method: "secure_sum" },
  { taskClass: "train", method: "federated_average" },
] as const)(
  "[MV-1] the coordination envelope of $taskClass names Vaults, quorum, $method and time-out",
  async ({ taskClass, method }) => {
    const envelope = await assemble(taskClass, [{ vault: 0 }, { vault: 2 }]);
    expect(envelope.coordination_envelope).toEqual({
      parent_task_id: "t-1",
      participating_vault_ids: ["vault-1", "vault-3"],
      minimum_vault_quorum: 2,
      aggregation_method: method,
      aggregation_environment: "tee",
      aggregator_id: "aggregator",
      per_vault_timeout: 30_000,
    });
  },
);

function codeOf(error: unknown): unknown {
  return error instanceof SymphonyError ? error.code : error;
}

async function rejection(answers: readonly Answer[]): Promise<unknown> {
  return assemble("query", answers).then(() => "admitted", codeOf);
}

test("[MV-4] below its quorum a task is rejected, at its quorum it goes on without the others", async () => {
  const no = declined("POLICY_DECLINED");
  expect(await rejection([{ vault: 0 }])).toBe("COORDINATION_QUORUM_NOT_MET");
  expect(await rejection([{ vault: 0 }, { vault: 1, change: no }, { vault: 2, change: no }])).toBe(
    "COORDINATION_QUORUM_NOT_MET",
  );
  expect(await rejection([])).toBe("COORDINATION_QUORUM_NOT_MET");
  const envelope = await assemble("query", [{ vault: 0 }, { vault: 1, change: no }, { vault: 2 }]);
  expect(envelope.inputs.map(({ vault_id }) => vault_id)).toEqual(["vault-1", "vault-3"]);
});

test("[MV-4] a lack of grants is told only when it is the whole reason", async () => {
  const grant = declined("AUTH_GRANT_MISSING");
  const other = declined("POLICY_DECLINED");
  const all = (change: Answer["change"]) =>
    ALL.map((answer) => (change === undefined ? answer : { ...answer, change }));
  expect(await rejection(all(grant))).toBe("AUTH_GRANT_MISSING");
  expect(
    await rejection([
      { vault: 0, change: other },
      { vault: 1, change: grant },
    ]),
  ).toBe("COORDINATION_QUORUM_NOT_MET");
  expect(await rejection([{ vault: 0 }, { vault: 1, change: grant }])).toBe(
    "COORDINATION_QUORUM_NOT_MET",
  );
});

test("[AP-8] a decision that its Vault did not sign does not count", async () => {
  expect(await rejection([{ vault: 0, signer: 1 }, { vault: 1 }])).toBe(
    "COORDINATION_QUORUM_NOT_MET",
  );
  const envelope = await assemble("query", [{ vault: 0, signer: 1 }, { vault: 1 }, { vault: 2 }]);
  expect(envelope.inputs.map(({ vault_id }) => vault_id)).toEqual(["vault-2", "vault-3"]);
});

test("[AP-8] a decision on another request, or in another Vault's name, does not count", async () => {
  const other = (decision: VaultDecision): VaultDecision => ({
    ...decision,
    request_digest: sha256(utf8("another")),
  });
  const renamed = (decision: VaultDecision): VaultDecision => ({
    ...decision,
    vault_id: "vault-3",
  });
  for (const change of [other, renamed]) {
    expect(await rejection([{ vault: 0, change }, { vault: 1 }])).toBe(
      "COORDINATION_QUORUM_NOT_MET",
    );
  }
});

test("the quorum is one for one Vault, and the highest floor for several", async () => {
  const { plan } = await planned("parse");
  expect(quorumOf(plan, state)).toBe(1);
  const train = (await planned("train")).plan;
  const under = (minimum_train_vaults: number, minimum_vault_quorum: number): GovernanceState => ({
    ...state,
    policy: {
      ...state.policy,
      privacy: { ...state.policy.privacy, minimum_train_vaults },
      multi_vault: { ...state.policy.multi_vault, minimum_vault_quorum },
    },
  });
  expect(quorumOf(train, under(3, 2))).toBe(3);
  expect(quorumOf((await planned("query")).plan, under(3, 2))).toBe(2);
  expect(quorumOf(train, under(1, 0))).toBe(2);
  expect(quorumOf(train, under(1, 3))).toBe(3);
});

test("[MV-4] the quorum is more than half of the Vaults that a request names", async () => {
  const { plan } = await planned("query");
  const named = (count: number) => ({
    ...plan,
    request: {
      ...plan.request,
      vault_ids: Array.from({ length: count }, (_, index) => `vault-${index}`),
    },
  });
  expect([2, 3, 4, 5, 8].map((count) => quorumOf(named(count), state))).toEqual([2, 2, 3, 3, 5]);
});
