import { expect, test } from "vitest";

import {
  TASK_ENVELOPE,
  VAULT_DECISION,
  WORK_ORDER,
  hmacSha256,
  inputCommitment,
  parseCose,
  parseEvent,
  policyDigest,
  shareCommitment,
  verifyEvent,
  type GovernanceState,
  type PolicyVersion,
  type TaskEnvelope,
  type TaskParameters,
} from "../../../protocol/index.ts";
import { testSeed } from "../../helpers/network.ts";
import { cosignVault, freezeVault } from "../../helpers/witnesses.ts";
import {
  beginning,
  bytesIn,
  customerCsv,
  envelopeOf,
  newFixture,
  requestOf,
  stocked,
  targetOf,
  type Fixture,
} from "./vault-fixture.ts";

const ROUND = { round: 0, attempt: 0 };

async function admitted(name = "a", parameters?: TaskParameters, changes = {}) {
  const opened = await newFixture();
  const fixture = { ...opened, governance: withFourthVault(opened.governance) };
  await stocked(fixture);
  const request = await requestOf(fixture, name, changes, parameters);
  const decision = await fixture.vault.decide(request.signed, fixture.governance);
  return { ...fixture, fixture, request, envelope: envelopeOf(fixture, request, decision) };
}

function withFourthVault(governance: GovernanceState): GovernanceState {
  const third = governance.actors.get("vault-3");
  if (third === undefined) throw new Error("no vault-3");
  const fourth = { ...third, actor_id: "vault-4" };
  return { ...governance, actors: new Map([...governance.actors, ["vault-4", fourth]]) };
}

test("[DS-4] a slice gets batches and keys only for what this Vault decided, and what the commitments say", async () => {
  const { fixture, vault, envelope, governance } = await admitted();
  const plan = await vault.prepareSlice(envelope, governance, ROUND);
  await vault.beginExecution(beginning(fixture, envelope, plan));
  await cosignVault(vault, fixture.network);
  const lengths = await lengthsHandedOut(fixture, envelope);
  expect(lengths.every((length) => length > 100)).toBe(true);
  expect(lengths).toHaveLength(2);
  const [own] = envelope.inputs;
  expect(plan.inputCommitment).toEqual(own?.input_commitment);
  expect(shareCommitment(plan.noiseShare)).toEqual(own?.share_commitments[0]);
  expect(hmacSha256(plan.consentKey, plan.consentBitmap)).toEqual(plan.consentCommitment);
  expect(plan.consentCommitment).toEqual(envelope.consent_references[0]?.consent_commitment);
  expect(plan.inputCommitment).not.toEqual(inputCommitment([]));
});

const nothing = new Uint8Array(32);
const DAMAGE: readonly { title: string; damage: (envelope: TaskEnvelope) => TaskEnvelope }[] = [
  { title: "another task id", damage: (e) => ({ ...e, task_id: "t-0" }) },
  { title: "another record scope", damage: (e) => ({ ...e, record_scope: "receipts" }) },
  { title: "another purpose", damage: (e) => ({ ...e, usage_scope: "analytics" }) },
  { title: "other parameters", damage: (e) => ({ ...e, parameters: otherParameters(e) }) },
  { title: "less epsilon", damage: (e) => ({ ...e, epsilon_micro: 1 }) },
  { title: "another delta", damage: (e) => ({ ...e, delta_pico: 1 }) },
  { title: "another delivery key", damage: (e) => ({ ...e, delivery_key: new Uint8Array(1216) }) },
  { title: "another timeout", damage: (e) => ({ ...e, task_timeout: e.task_timeout + 1 }) },
  { title: "no composition", damage: (e) => ({ ...e, attribute_composition: null }) },
  { title: "iterations", damage: (e) => ({ ...e, iteration_policy: ITERATION }) },
  {
    title: "another request digest",
    damage: (e) => ({ ...e, caller_context: { ...e.caller_context, request_digest: nothing } }),
  },
  {
    title: "another caller",
    damage: (e) => ({ ...e, caller_context: { ...e.caller_context, actor_id: "x" } }),
  },
  { title: "no grant of this Vault", damage: (e) => ({ ...e, authorization_context: [] }) },
  {
    title: "another decision",
    damage: (e) => ({
      ...e,
      authorization_context: e.authorization_context.map((a) => ({
        ...a,
        decision_digest: nothing,
      })),
    }),
  },
  {
    title: "another grant",
    damage: (e) => ({
      ...e,
      authorization_context: e.authorization_context.map((a) => ({ ...a, grant_id: "g" })),
    }),
  },
  {
    title: "another consent",
    damage: (e) => ({
      ...e,
      consent_references: e.consent_references.map((c) => ({ ...c, consent_commitment: nothing })),
    }),
  },
  {
    title: "another reservation",
    damage: (e) => ({
      ...e,
      privacy_budget_reservation: e.privacy_budget_reservation.map((r) => ({
        ...r,
        reservation_id: "r",
      })),
    }),
  },
  {
    title: "another input",
    damage: (e) => ({ ...e, inputs: e.inputs.map((i) => ({ ...i, input_commitment: nothing })) }),
  },
  { title: "this Vault twice", damage: (e) => ({ ...e, inputs: [...e.inputs, ...e.inputs] }) },
  { title: "no coordination", damage: (e) => ({ ...e, coordination_envelope: null }) },
  {
    title: "another share commitment",
    damage: (e) => ({
      ...e,
      inputs: e.inputs.map((i) => ({ ...i, share_commitments: [nothing] })),
    }),
  },
  {
    title: "a share commitment too many",
    damage: (e) => ({
      ...e,
      inputs: e.inputs.map((i) => ({
        ...i,
        share_commitments: [...i.share_commitments, ...i.share_commitments],
      })),
    }),
  },
  {
    title: "another method than the class'",
    damage: (e) => coordinated(e, { aggregation_method: "intersection" }),
  },
  { title: "a quorum of one", damage: (e) => coordinated(e, { minimum_vault_quorum: 1 }) },
  {
    title: "a strange Vault",
    damage: (e) => coordinated(e, { participating_vault_ids: ["vault-1", "vault-9"] }),
  },
  {
    title: "a Vault twice",
    damage: (e) => coordinated(e, { participating_vault_ids: ["vault-1", "vault-1"] }),
  },
  {
    title: "without this Vault",
    damage: (e) => coordinated(e, { participating_vault_ids: ["vault-2", "vault-3"] }),
  },
  { title: "another aggregator", damage: (e) => coordinated(e, { aggregator_id: "vault-2" }) },
  {
    title: "a method of another class",
    damage: (e) => coordinated(e, { aggregation_method: "federated_average" }),
  },
  {
    title: "another environment",
    damage: (e) => coordinated(e, { aggregation_environment: "mpc" }),
  },
  {
    title: "a time before",
    damage: (e) => ({ ...e, admission_timestamp: e.admission_timestamp - 80_000 }),
  },
  {
    title: "a time to come",
    damage: (e) => ({ ...e, admission_timestamp: e.admission_timestamp + 80_000 }),
  },
];

const ITERATION = {
  maximum_rounds: 2,
  convergence_threshold_micro: null,
  early_stop: false,
  failed_round: "reject" as const,
};

function otherParameters(envelope: TaskEnvelope): TaskParameters {
  const { parameters } = envelope;
  return parameters.task_class === "query" ? { ...parameters, audience_cap: 999 } : parameters;
}

function coordinated(
  envelope: TaskEnvelope,
  changes: Partial<NonNullable<TaskEnvelope["coordination_envelope"]>>,
): TaskEnvelope {
  const coordination = envelope.coordination_envelope;
  return coordination === null
    ? envelope
    : { ...envelope, coordination_envelope: { ...coordination, ...changes } };
}

test("[MV-3][XP-8] the Vault refuses every envelope but the one that follows from what it decided", async () => {
  const { vault, envelope, governance } = await admitted();
  for (const { title, damage } of DAMAGE) {
    const refused = vault.prepareSlice(damage(envelope), governance, ROUND);
    await expect(refused, title).rejects.toMatchObject({ code: "COORDINATION_SLICE_REFUSED" });
  }
  await expect(vault.prepareSlice(envelope, governance, ROUND)).resolves.toBeDefined();
});

test("[EP-5] whatever epochs come and go, records are taken, a task is admitted, and what was authorized begins", async () => {
  const { fixture, vault, envelope, governance } = await admitted();
  const epoch = { epochId: 9, openedMs: fixture.clock.nowMs, boundaryRequested: true };
  const later = { ...governance, epoch };
  expect(envelope.epoch_id).toBe(3);
  const plan = await vault.prepareSlice(envelope, later, ROUND);
  await expect(vault.beginExecution(beginning(fixture, envelope, plan))).resolves.toBeDefined();
  const taken = await vault.ingest({
    ...targetOf({ ...fixture, governance: later }, "customers"),
    ...{ format: "csv", source: bytesIn(customerCsv(3, 100)), onError: "abort", batchRows: 8 },
  });
  expect(taken).toMatchObject({ records: 3 });
  const next = await requestOf(fixture, "b");
  const decision = VAULT_DECISION.decode(parseCose(await vault.decide(next.signed, later)).payload);
  expect(decision.outcome.decision).toBe("reserved");
});

test("[GS-6][PV-2] a task is executed under the version that this Vault decided by, and no other", async () => {
  const { vault, envelope, governance } = await admitted();
  const other = { ...envelope, policy_digest: nothing };
  await expect(vault.prepareSlice(other, governance, ROUND)).rejects.toMatchObject({
    code: "POLICY_NOT_ACTIVE",
  });
  const policy = { ...governance.policy, policy_version_id: "policy-2" };
  const [first] = governance.policies.values();
  if (first === undefined) throw new Error("no version");
  const policies = new Map<string, PolicyVersion>([
    ["policy-1", { ...first, status: "deprecated", activeUntil: 3 }],
    ["policy-2", { ...first, policy, activeFrom: 3 }],
  ]);
  const later = { ...governance, policy, policies };
  await expect(
    vault.prepareSlice({ ...envelope, epoch_id: 2 }, later, ROUND),
  ).resolves.toBeDefined();
  const bound = { policy_version: "policy-2", policy_digest: policyDigest(policy) };
  await expect(vault.prepareSlice({ ...envelope, ...bound }, later, ROUND)).rejects.toMatchObject({
    code: "COORDINATION_SLICE_REFUSED",
    details: { field: "policy_version" },
  });
});

test("[MV-4] a quorum that two groups of the Vaults could reach is refused", async () => {
  const vault_ids = ["vault-1", "vault-2", "vault-3"];
  const { vault, envelope, governance } = await admitted("a", undefined, { vault_ids });
  await expect(vault.prepareSlice(envelope, governance, ROUND)).resolves.toBeDefined();
  const four = { participating_vault_ids: [...vault_ids, "vault-4"] };
  const asked = await admitted("b", undefined, { vault_ids: four.participating_vault_ids });
  const split = coordinated(asked.envelope, { minimum_vault_quorum: 2 });
  await expect(asked.vault.prepareSlice(split, asked.governance, ROUND)).rejects.toMatchObject({
    code: "COORDINATION_SLICE_REFUSED",
    details: { field: "coordination_envelope.minimum_vault_quorum" },
  });
  const most = coordinated(asked.envelope, { minimum_vault_quorum: 3 });
  await expect(asked.vault.prepareSlice(most, asked.governance, ROUND)).resolves.toBeDefined();
});

test("[DS-7] a request that this Vault declined or never saw is not executed, whoever asks", async () => {
  const { fixture, vault, envelope, governance } = await admitted();
  const other = await requestOf(fixture, "unseen");
  const caller_context = { ...envelope.caller_context, signed_request: other.signed };
  const digest = TASK_ENVELOPE.digest(envelope);
  const forged = { ...envelope, caller_context: { ...caller_context, request_digest: digest } };
  await expect(vault.prepareSlice(forged, governance, ROUND)).rejects.toMatchObject({
    code: "COORDINATION_SLICE_REFUSED",
  });
  for (const round of [1, -1, 0.5]) {
    const refused = vault.prepareSlice(envelope, governance, { round, attempt: 0 });
    await expect(refused).rejects.toMatchObject({ code: "COORDINATION_SLICE_REFUSED" });
  }
});

test("[AZ-2] a grant revoked after admission stops the slice, and both decisions are in the log", async () => {
  const { vault, envelope, governance, actor } = await admitted();
  await vault.revokeGrant("grant-query");
  await expect(vault.prepareSlice(envelope, governance, ROUND)).rejects.toMatchObject({
    code: "AUTH_GRANT_MISSING",
  });
  const entries = await vault.log.entries(0, 100);
  const events = entries.map(({ event }) => verifyEvent(event, actor.signing.publicKey));
  const decided = events.find(({ type }) => type === "authorization.decided");
  expect(decided?.body).toMatchObject({ grant_id: "grant-query", decision: "reserved" });
  expect(events.at(-1)).toMatchObject({ type: "grant.revoked", body: { grant_id: "grant-query" } });
});

test("[CO-2] consent withdrawn after admission does not stop the slice", async () => {
  const { vault, envelope, governance } = await admitted();
  const decision = { state: "withdrawn" } as const;
  await vault.setConsent({ usageScope: "marketing", subjects: "all-known", decision });
  await expect(vault.prepareSlice(envelope, governance, ROUND)).resolves.toBeDefined();
});

test("a task that timed out, or whose reservation expired, is not executed", async () => {
  const { vault, envelope, governance, clock } = await admitted();
  clock.nowMs += 130_001;
  await expect(vault.prepareSlice(envelope, governance, ROUND)).rejects.toMatchObject({
    code: "PRIVACY_BUDGET_STATE_CONFLICT",
  });
  clock.nowMs += 60_000;
  await expect(vault.prepareSlice(envelope, governance, ROUND)).rejects.toMatchObject({
    code: "COORDINATION_SLICE_REFUSED",
  });
});

test("[DS-6] the order names a log that ends with its executing entry, linked to task, grant and consent", async () => {
  const { fixture, vault, envelope, governance, actor } = await admitted();
  const plan = await vault.prepareSlice(envelope, governance, ROUND);
  const signed = await vault.beginExecution(beginning(fixture, envelope, plan));
  const order = WORK_ORDER.verify(signed, actor.signing.publicKey);
  expect(order).toMatchObject({
    ...plan.reference,
    role: "slice",
    input_commitment: plan.inputCommitment,
    consent_commitment: plan.consentCommitment,
    share_commitment: plan.shareCommitment,
    ledger_size: vault.log.size,
    ledger_root: vault.log.root(),
  });
  const entries = await vault.log.entriesForTask(envelope.task_id);
  const types = entries.map(({ event }) => parseEvent(event).type);
  expect(types).toEqual(["authorization.decided", "budget.reserved", "budget.executing"]);
  expect(entries.at(-1)?.sequence).toBe(order.ledger_size - 1);
});

test("a round begins once, for one envelope, also when asked concurrently", async () => {
  const { fixture, vault, envelope, governance, clock } = await admitted();
  const plan = await vault.prepareSlice(envelope, governance, ROUND);
  const args = beginning(fixture, envelope, plan);
  const both = await Promise.allSettled([vault.beginExecution(args), vault.beginExecution(args)]);
  expect(both.map(({ status }) => status).sort()).toEqual(["fulfilled", "rejected"]);
  const conflict = { code: "PRIVACY_BUDGET_STATE_CONFLICT" };
  await expect(vault.beginExecution(args)).rejects.toMatchObject(conflict);
  const second = { ...plan, reference: { ...plan.reference, attempt: 1 } };
  await expect(vault.beginExecution({ ...args, plan: second })).rejects.toMatchObject(conflict);
  const other = { ...envelope, admission_timestamp: clock.nowMs + 1 };
  await expect(vault.prepareSlice(other, governance, ROUND)).rejects.toMatchObject(conflict);
});

test.for<{ title: string; change: object }>([
  { title: "no aggregator for a slice", change: { aggregatorManifestDigest: null } },
  { title: "a state before the first round", change: { previousState: testSeed("state") } },
  { title: "a time gone by", change: { expiresMs: 1 } },
  { title: "a key of another size", change: { resultSigningKey: new Uint8Array(31) } },
])("an order with $title is not signed and nothing is charged", async ({ change }) => {
  const { fixture, vault, envelope, governance } = await admitted();
  const plan = await vault.prepareSlice(envelope, governance, ROUND);
  const refused = vault.beginExecution({ ...beginning(fixture, envelope, plan), ...change });
  await expect(refused).rejects.toMatchObject({ code: "SCHEMA_MALFORMED" });
  expect((await vault.status()).reservations).toEqual({ reserved: 1, executing: 0 });
  await expect(vault.beginExecution(beginning(fixture, envelope, plan))).resolves.toBeDefined();
});

test("a batch that was swapped on disk is not handed out", async () => {
  const { fixture, vault, envelope, governance } = await admitted();
  const plan = await vault.prepareSlice(envelope, governance, ROUND);
  await vault.beginExecution(beginning(fixture, envelope, plan));
  await cosignVault(vault, fixture.network);
  await swapBatches(fixture);
  const reading = lengthsHandedOut(fixture, envelope);
  await expect(reading).rejects.toMatchObject({ code: "EXECUTION_INPUT_MISMATCH" });
});

test.for<{ title: string; reference: typeof ROUND; begun: boolean }>([
  { title: "that has not begun", reference: ROUND, begun: false },
  { title: "of another attempt", reference: { round: 0, attempt: 1 }, begun: true },
  { title: "after the one that began", reference: { round: 1, attempt: 0 }, begun: true },
])("[RT-5] no key is released for a round $title", async ({ reference, begun }) => {
  const { fixture, vault, envelope, governance } = await admitted();
  const plan = await vault.prepareSlice(envelope, governance, ROUND);
  if (begun) await vault.beginExecution(beginning(fixture, envelope, plan));
  const reading = lengthsHandedOut(fixture, envelope, reference);
  await expect(reading).rejects.toMatchObject({ code: "PRIVACY_BUDGET_STATE_CONFLICT" });
});

test("[RT-5] no key is released once the task is settled", async () => {
  const { fixture, vault, envelope, governance } = await admitted();
  const plan = await vault.prepareSlice(envelope, governance, ROUND);
  await vault.beginExecution(beginning(fixture, envelope, plan));
  await vault.settle(envelope, []);
  const reading = lengthsHandedOut(fixture, envelope);
  await expect(reading).rejects.toMatchObject({ code: "PRIVACY_BUDGET_STATE_CONFLICT" });
});

test("[PB-2] no key is released before other Vaults have cosigned the charge, nor by a frozen Vault", async () => {
  const { fixture, vault, envelope, governance } = await admitted();
  const plan = await vault.prepareSlice(envelope, governance, ROUND);
  await cosignVault(vault, fixture.network);
  await vault.beginExecution(beginning(fixture, envelope, plan));
  const unwitnessed = { code: "PRIVACY_BUDGET_UNWITNESSED" };
  await expect(lengthsHandedOut(fixture, envelope)).rejects.toMatchObject(unwitnessed);
  await cosignVault(vault, fixture.network);
  await expect(lengthsHandedOut(fixture, envelope)).resolves.toHaveLength(2);
  await freezeVault(fixture);
  const frozen = { code: "PRIVACY_BUDGET_FROZEN" };
  await expect(lengthsHandedOut(fixture, envelope)).rejects.toMatchObject(frozen);
});

/** Length of each sealed batch that a slice of the round is handed. */
function lengthsHandedOut(fixture: Fixture, envelope: TaskEnvelope, reference = ROUND) {
  const { governance, vault } = fixture;
  const inputs = { envelope, reference, governance, evidence: new Uint8Array(0) };
  return vault.custody.withSliceInputs(inputs, (batches) =>
    Promise.all(batches.map(async (batch) => (await batch.read()).length)),
  );
}

async function swapBatches(fixture: Fixture): Promise<void> {
  const fs = await import("node:fs");
  const folder = `${fixture.directory}/batches`;
  const [first = "", second = ""] = fs.readdirSync(folder);
  const bytes = fs.readFileSync(`${folder}/${first}`);
  fs.copyFileSync(`${folder}/${second}`, `${folder}/${first}`);
  fs.writeFileSync(`${folder}/${second}`, bytes);
}
