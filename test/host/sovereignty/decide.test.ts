import { expect, test } from "vitest";

import { budgetOf } from "../../../sim/network/policy.ts";
import { TASK_REQUEST, hex, parseEvent, type Policy } from "../../../protocol/index.ts";
import {
  bytesIn,
  consent,
  customerCsv,
  decoded,
  envelopeOf,
  grantAll,
  ingestReceipt,
  newFixture,
  parseRequest,
  requestOf,
  reservedOf,
  stocked,
  targetOf,
  type Fixture,
} from "./vault-fixture.ts";

const ROUND = { round: 0, attempt: 0 };
/** Marketing allows 20 epsilon for each subject; a request costs 8. */
const ALLOWED_REQUESTS = 2;

async function ask(fixture: Fixture, name: string, changes = {}): Promise<Uint8Array> {
  const { signed } = await requestOf(fixture, name, changes);
  return await fixture.vault.decide(signed, fixture.governance);
}

function codeOf(fixture: Fixture, signed: Uint8Array): string {
  const { outcome } = decoded(fixture, signed);
  return outcome.decision === "declined" ? outcome.code : "reserved";
}

test("[DS-2] admits a request with commitments to inputs, consent and noise, and the same bytes again", async () => {
  const fixture = await newFixture();
  await stocked(fixture);
  const { signed } = await requestOf(fixture, "a");
  const first = await fixture.vault.decide(signed, fixture.governance);
  const outcome = reservedOf(fixture, first);
  expect(outcome).toMatchObject({ grant_id: "grant-query", epsilon_micro: 8_000_000 });
  fixture.clock.nowMs += 10_000_000;
  expect(await fixture.vault.decide(signed, fixture.governance)).toEqual(first);
  const reopened = await fixture.reopen();
  expect(await reopened.decide(signed, fixture.governance)).toEqual(first);
});

test("[PB-2] concurrent requests never jointly exceed the budget", async () => {
  const fixture = await newFixture();
  await stocked(fixture);
  const names = Array.from({ length: 6 }, (_, index) => `r${index}`);
  const answers = await Promise.all(names.map((name) => ask(fixture, name)));
  const codes = answers.map((answer) => codeOf(fixture, answer));
  expect(codes.filter((code) => code === "reserved")).toHaveLength(ALLOWED_REQUESTS);
  expect(codes.filter((code) => code === "POLICY_DECLINED")).toHaveLength(4);
});

test("[AP-4] a budget that one affected subject lacks declines the task for all", async () => {
  const fixture = await newFixture();
  await stocked(fixture, 6);
  await ask(fixture, "a");
  await ask(fixture, "b");
  const target = targetOf(fixture, "customers");
  const source = bytesIn(customerCsv(6, 100));
  await fixture.vault.ingest({ ...target, format: "csv", source, onError: "abort" });
  await consent(fixture.vault, "marketing");
  expect(codeOf(fixture, await ask(fixture, "c"))).toBe("POLICY_DECLINED");
  const old = Array.from({ length: 6 }, (_, index) => `c-${index}`);
  const decision = { state: "withdrawn" } as const;
  await fixture.vault.setConsent({ usageScope: "marketing", subjects: old, decision });
  expect(codeOf(fixture, await ask(fixture, "d"))).toBe("reserved");
});

/** A policy with a budget for personal use, so that parse can be priced and exhausted. */
function personalBudget(policy: Policy): Policy {
  const budgets = [budgetOf("personal_use", 5)];
  return { ...policy, privacy: { ...policy.privacy, budgets } };
}

test("[AP-7] [AP-6] unknown subject, no consent and exhausted budget decline with identical bytes", async () => {
  const [unknown, refusing, spent] = [
    await newFixture({ policy: personalBudget }),
    await newFixture({ policy: personalBudget }),
    await newFixture({ policy: personalBudget }),
  ];
  await Promise.all([unknown, refusing, spent].map((fixture) => stocked(fixture)));
  const commitment = await ingestReceipt(refusing);
  // Equal histories with equal randomness give equal records.
  expect(await ingestReceipt(spent)).toEqual(commitment);
  await consent(spent.vault, "personal_use", ["anna"]);
  const ask = async (fixture: Fixture, name: string, epsilon: number): Promise<Uint8Array> => {
    const { signed } = await parseRequest(fixture, name, commitment, epsilon);
    return await fixture.vault.decide(signed, fixture.governance);
  };
  expect(codeOf(spent, await ask(spent, "first", 3))).toBe("reserved");
  const answers = [
    await ask(unknown, "p", 4),
    await ask(refusing, "p", 4),
    await ask(spent, "p", 4),
  ];
  expect(answers.map((answer) => codeOf(spent, answer))).toEqual(Array(3).fill("POLICY_DECLINED"));
  expect(new Set(answers.map(hex)).size).toBe(1);
});

test("[AP-7] the log tells a refusal no more than its answer does", async () => {
  const [withdrawn, few] = [await newFixture(), await newFixture()];
  await stocked(withdrawn, 12);
  await stocked(few, 12);
  const decision = { state: "withdrawn" } as const;
  await withdrawn.vault.setConsent({ usageScope: "marketing", subjects: "all-known", decision });
  await few.vault.setConsent({
    usageScope: "marketing",
    subjects: Array.from({ length: 8 }, (_, index) => `c-${index}`),
    decision,
  });
  const bodies = [];
  for (const fixture of [withdrawn, few]) {
    const { signed, request } = await requestOf(fixture, "a");
    await fixture.vault.decide(signed, fixture.governance);
    const taskId = `t-${hex(TASK_REQUEST.digest(request)).slice(0, 32)}`;
    const events = await fixture.vault.log.entriesForTask(taskId);
    bodies.push(events.map(({ event }) => parseEvent(event).body));
  }
  expect(bodies[0]).toHaveLength(1);
  expect(bodies[0]).toEqual(bodies[1]);
});

test("[CO-1] [DS-2] consent counts for its purpose only, and without any there is none", async () => {
  const fixture = await newFixture();
  await grantAll(fixture);
  const source = bytesIn(customerCsv(12));
  const target = targetOf(fixture, "customers");
  await fixture.vault.ingest({ ...target, format: "csv", source, onError: "abort" });
  const before = await ask(fixture, "a", { usage_scope: "analytics" });
  expect(codeOf(fixture, before)).toBe("POLICY_DECLINED");
  await consent(fixture.vault, "analytics");
  expect(codeOf(fixture, await ask(fixture, "b"))).toBe("POLICY_DECLINED");
  const after = await ask(fixture, "c", { usage_scope: "analytics" });
  expect(codeOf(fixture, after)).toBe("reserved");
});

test("[AP-2] subjects without consent are neither used nor charged", async () => {
  const fixture = await newFixture();
  await stocked(fixture, 12);
  const decision = { state: "withdrawn" } as const;
  await fixture.vault.setConsent({ usageScope: "marketing", subjects: ["c-1", "c-4"], decision });
  const request = await requestOf(fixture, "a");
  const answer = await fixture.vault.decide(request.signed, fixture.governance);
  const envelope = envelopeOf(fixture, request, answer);
  const plan = await fixture.vault.prepareSlice(envelope, fixture.governance, ROUND);
  expect([...plan.consentBitmap]).toEqual([0b1110_1101, 0b1111]);
  const { budgets } = await fixture.vault.status();
  const marketing = budgets.find((each) => each.usageScope === "marketing");
  expect(marketing).toMatchObject({ subjects: 10, reservedMaxMicro: 8_000_000, frozen: 2 });
});

test("[CO-2] consent that has expired or was withdrawn blocks new admission, a new grant admits again", async () => {
  const fixture = await newFixture();
  await stocked(fixture);
  const expiresMs = fixture.clock.nowMs + 1000;
  const all = { usageScope: "marketing", subjects: "all-known" } as const;
  await fixture.vault.setConsent({ ...all, decision: { state: "granted", expiresMs } });
  expect(codeOf(fixture, await ask(fixture, "a"))).toBe("reserved");
  fixture.clock.nowMs = expiresMs;
  expect(codeOf(fixture, await ask(fixture, "b"))).toBe("POLICY_DECLINED");
  await fixture.vault.setConsent({ ...all, decision: { state: "granted", expiresMs: null } });
  expect(codeOf(fixture, await ask(fixture, "c"))).toBe("reserved");
});

test("[PB-8] withdrawal freezes the budget, and the operator sees it, also after a restart", async () => {
  const fixture = await newFixture();
  await stocked(fixture, 12);
  await ask(fixture, "a");
  const decision = { state: "withdrawn" } as const;
  await fixture.vault.setConsent({ usageScope: "marketing", subjects: ["c-1"], decision });
  const before = await fixture.vault.status();
  expect(before.budgets).toContainEqual({
    usageScope: "marketing",
    subjects: 12,
    consumedMaxMicro: 0,
    reservedMaxMicro: 8_000_000,
    frozen: 1,
    writtenOffMicro: 0,
  });
  const reopened = await fixture.reopen();
  expect(await reopened.status()).toEqual(before);
  const [line] = await reopened.ledger.statement({ after: 0, limit: 10 });
  expect(line).toMatchObject({ kind: "reserve", epsilon_micro: 8_000_000, privacy_class: 2 });
});

test.for([
  { title: "another actor", change: { actor_id: "someone" } },
  { title: "another class", change: { task_class: "compute" as const } },
  { title: "another domain", change: { domain_id: "receipt" } },
  { title: "another record scope", change: { record_scope: "receipts" } },
  { title: "another purpose", change: { usage_scope: "training" as const } },
  { title: "a time to come", change: { not_before_ms: 8_000_000_000_000 } },
  { title: "a time gone by", change: { not_after_ms: 1_000 } },
])("[AZ-1] a grant for $title does not admit", async ({ change }) => {
  const fixture = await newFixture();
  await stocked(fixture);
  await fixture.vault.revokeGrant("grant-query");
  const grant = {
    grant_id: "narrow",
    actor_id: fixture.network.submitter.actorId,
    task_class: "query" as const,
    domain_id: "customer",
    record_scope: "customers",
    usage_scope: "marketing" as const,
    not_before_ms: 0,
    not_after_ms: 8_000_000_000_001,
  };
  await fixture.vault.grant({ ...grant, ...change });
  expect(codeOf(fixture, await ask(fixture, "a"))).toBe("AUTH_GRANT_MISSING");
  await fixture.vault.grant({ ...grant, grant_id: "fitting" });
  expect(codeOf(fixture, await ask(fixture, "b"))).toBe("reserved");
});

test("[AP-1] a request by a stranger, of a wrong signature or of another role is refused outright", async () => {
  const fixture = await newFixture();
  await stocked(fixture);
  const { vault, governance, network } = fixture;
  const { request, signed } = await requestOf(fixture, "a");
  const altered = signed.with(-1, (signed.at(-1) ?? 0) ^ 1);
  await expect(vault.decide(altered, governance)).rejects.toMatchObject({
    code: "PROOF_SIGNATURE_INVALID",
  });
  const stranger = TASK_REQUEST.sign({ ...request, actor_id: "x" }, network.submitter.signing);
  await expect(vault.decide(stranger, governance)).rejects.toMatchObject({
    code: "AUTH_UNKNOWN_ACTOR",
  });
  const master = { ...request, actor_id: network.coordinator.actorId };
  const byMaster = TASK_REQUEST.sign(master, network.coordinator.signing);
  await expect(vault.decide(byMaster, governance)).rejects.toMatchObject({
    code: "AUTH_ROLE_REFUSED",
  });
});

test.for([
  {
    title: "of another genesis",
    change: { genesis_digest: new Uint8Array(32) },
    code: "GOVERNANCE_GENESIS_MISMATCH",
  },
  { title: "too old", change: { created_ms: 1_767_000_000_000 }, code: "AUTH_REPLAYED" },
  {
    title: "to other Vaults",
    change: { vault_ids: ["vault-2", "vault-3"] },
    code: "POLICY_DECLINED",
  },
  { title: "to one Vault alone", change: { vault_ids: ["vault-1"] }, code: "POLICY_DECLINED" },
  { title: "of another scope", change: { record_scope: "nothing" }, code: "DERIVATION_UNRESOLVED" },
  { title: "below its price", change: { epsilon_micro: 1 }, code: "PRIVACY_BUDGET_EXCEEDED" },
  { title: "without a timeout", change: { task_timeout_ms: 0 }, code: "POLICY_LIMIT_EXCEEDED" },
])(
  "[AP-1] a request $title is refused before any subject is looked at",
  async ({ change, code }) => {
    const fixture = await newFixture();
    await expect(ask(fixture, "a", change)).rejects.toMatchObject({ code });
  },
);

test("too few consenting subjects decline", async () => {
  const fixture = await newFixture();
  await stocked(fixture, 4);
  expect(codeOf(fixture, await ask(fixture, "a"))).toBe("POLICY_DECLINED");
});

test("more rows than the class takes decline, however many consent", async () => {
  const rowsMax = (rows_max: number) => (policy: Policy) => ({
    ...policy,
    classes: { ...policy.classes, query: { ...policy.classes.query, rows_max } },
  });
  const [small, exact] = [
    await newFixture({ policy: rowsMax(11) }),
    await newFixture({ policy: rowsMax(12) }),
  ];
  await Promise.all([stocked(small, 12), stocked(exact, 12)]);
  expect(codeOf(small, await ask(small, "a"))).toBe("POLICY_DECLINED");
  expect(codeOf(exact, await ask(exact, "a"))).toBe("reserved");
});

test("[AP-1] a delivery key that takes no result is refused before it costs any budget", async () => {
  const fixture = await newFixture();
  await stocked(fixture);
  const unusable = { delivery_key: new Uint8Array(1216).fill(0xff) };
  await expect(ask(fixture, "a", unusable)).rejects.toMatchObject({ code: "SCHEMA_MALFORMED" });
  expect((await fixture.vault.status()).reservations).toEqual({ reserved: 0, executing: 0 });
});

test("a reservation that expires without executing gives its budget back", async () => {
  const fixture = await newFixture();
  await stocked(fixture);
  await ask(fixture, "a");
  await ask(fixture, "b");
  expect(codeOf(fixture, await ask(fixture, "c"))).toBe("POLICY_DECLINED");
  fixture.clock.nowMs += 130_000;
  expect(codeOf(fixture, await ask(fixture, "d"))).toBe("reserved");
});

test("parse charges nobody but whose the record is, and sends its batch alone", async () => {
  const fixture = await newFixture({ policy: personalBudget });
  await stocked(fixture);
  const commitment = await ingestReceipt(fixture);
  await ingestReceipt(fixture, "berta");
  await consent(fixture.vault, "personal_use", ["anna"]);
  const request = await parseRequest(fixture, "p", commitment, 4);
  const answer = await fixture.vault.decide(request.signed, fixture.governance);
  const envelope = envelopeOf(fixture, request, answer);
  const plan = await fixture.vault.prepareSlice(envelope, fixture.governance, ROUND);
  expect(plan).toMatchObject({ role: "sole", consentBitmap: Uint8Array.of(1) });
  expect(plan.inputCommitment).toEqual(envelope.inputs[0]?.input_commitment);
  const { budgets } = await fixture.vault.status();
  expect(budgets.find((each) => each.usageScope === "personal_use")?.subjects).toBe(1);
});
