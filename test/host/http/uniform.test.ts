// What a submitter learns when Vaults refuse: a coordinator behind HTTP, and a Vault that decides about its own records.
import * as fs from "node:fs";

import fc from "fast-check";
import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import { z } from "zod";

import {
  GOVERNANCE_SNAPSHOT,
  TASK_ENVELOPE,
  TASK_REQUEST,
  base64,
  parseCose,
  VAULT_DECISION,
  verifyGovernanceSnapshot,
  type Operand,
  type Policy,
  type TaskParameters,
} from "../../../protocol/index.ts";
import { budgetOf } from "../../../sim/network/policy.ts";
import { startCoordinator, type LiveCoordinator } from "../../helpers/live-coordinator.ts";
import { createNetwork } from "../../helpers/network.ts";
import {
  consent,
  decoded,
  ingestReceipt,
  newFixture,
  parseRequest,
  requestOf,
  stocked,
  type Fixture,
} from "../sovereignty/vault-fixture.ts";

const SPENT_MICRO = 8_000_000;

function alone(policy: Policy): Policy {
  const { classes, privacy, admission } = policy;
  return {
    ...policy,
    classes: { ...classes, query: { ...classes.query, multi_vault: false } },
    privacy: {
      ...privacy,
      budgets: [budgetOf("marketing", SPENT_MICRO), budgetOf("personal_use", SPENT_MICRO)],
    },
    admission: { ...admission, resolving_timeout_ms: 60_000 },
    epoch: { ...policy.epoch, time_ms_max: 3_600_000 },
  };
}

let live: LiveCoordinator;

beforeAll(async () => {
  const opened = { opened_ms: Date.now() };
  const network = await createNetwork({
    policy: alone,
    genesis: (genesis) => ({ ...genesis, ...opened }),
  });
  live = await startCoordinator(network);
  await live.cosign();
});

afterAll(async () => {
  await live.stop();
  fs.rmSync(live.folder, { recursive: true, force: true });
});

/** The coordinator's network, with a Vault of this test's own. */
async function vaultOf(): Promise<Fixture> {
  const fixture = await newFixture({ policy: alone });
  const state = { ...fixture.governance, genesisDigest: live.network.genesisDigest };
  fixture.clock.nowMs = Date.now();
  return { ...fixture, network: live.network, governance: state };
}

/** Answers the next admission as the Vault's node does, and whatever comes before it. */
async function answerOnce(fixture: Fixture): Promise<void> {
  const { vault, actor } = fixture;
  const { work_id: workId, work } = await live.work(actor);
  if (work.kind !== "admit") {
    await live.node(actor).complete(workId, { answer: null, code: null });
    return answerOnce(fixture);
  }
  const snapshot = GOVERNANCE_SNAPSHOT.decode(work.governance);
  const governance = verifyGovernanceSnapshot(snapshot, live.network.genesisDigest);
  const answer = await vault.decide(work.signed_request, governance);
  await live.node(actor).complete(workId, { answer, code: null });
}

/** Everything a submitter can see of a task, but its name, its time and its place in the log. */
async function seenBy(signed: Uint8Array, fixture: Fixture) {
  const headers = { "content-type": "application/json" };
  const body = JSON.stringify({ signed: base64(signed) });
  const taken = await fetch(`${live.publicUrl}/v1/tasks`, { method: "POST", headers, body });
  const taskId = /t-[0-9a-f]{32}/.exec(await taken.clone().text())?.[0] ?? "none";
  await answerOnce(fixture);
  const events = [];
  for await (const event of live.client.events(taskId, { signal: AbortSignal.timeout(60_000) })) {
    events.push(event.type, event.body);
  }
  const paths = [`/v1/tasks/${taskId}`, `/v1/tasks/${taskId}/result`, `/v1/evidence/${taskId}`];
  const answers = [taken];
  for (const path of paths) answers.push(await fetch(`${live.publicUrl}${path}`));
  const digest = TASK_REQUEST.digest(TASK_REQUEST.decode(parseCose(signed).payload));
  const names = [taskId, Buffer.from(digest).toString("hex")];
  const texts = [JSON.stringify(events)];
  for (const answer of answers) {
    const told = [...answer.headers].filter(([name]) => name !== "date");
    texts.push(`${answer.status} ${JSON.stringify(told)} ${await answer.text()}`);
  }
  return texts.map((text) => names.reduce((rest, name) => rest.replaceAll(name, "?"), text));
}

test("[AP-7] unknown record, no consent and spent budget look the same to the submitter, byte for byte", async () => {
  const fixture = await vaultOf();
  await stocked(fixture);
  const record = await ingestReceipt(fixture);
  const unknown = await parseRequest(fixture, "unknown", new Uint8Array(32).fill(7), SPENT_MICRO);
  const first = await seenBy(unknown.signed, fixture);
  expect(first.join()).toContain("COORDINATION_QUORUM_NOT_MET");
  const denied = await parseRequest(fixture, "denied", record, SPENT_MICRO);
  expect(await seenBy(denied.signed, fixture)).toEqual(first);
  await consent(fixture.vault, "personal_use", ["anna"]);
  const paid = await parseRequest(fixture, "paid", record, SPENT_MICRO);
  expect(
    decoded(fixture, await fixture.vault.decide(paid.signed, fixture.governance)),
  ).toMatchObject({
    outcome: { decision: "reserved" },
  });
  const spent = await parseRequest(fixture, "spent", record, SPENT_MICRO);
  expect(await seenBy(spent.signed, fixture)).toEqual(first);
});

/** Submits a query of one Vault's customers, has the Vault decide, and tells how its admission ended. */
async function admissionOf(fixture: Fixture, name: string, epsilon_micro: number) {
  const changes = { epsilon_micro, vault_ids: ["vault-1"] };
  const { signed } = await requestOf(fixture, name, changes);
  const { task_id: taskId } = await live.client.submit(signed);
  await answerOnce(fixture);
  for await (const { body } of live.client.events(taskId, {
    signal: AbortSignal.timeout(60_000),
  })) {
    const { data } = moveSchema.safeParse(body);
    if (data?.to === "dispatched" || data?.to === "rejected") return { taskId, ...data };
  }
  throw new Error("task: expected an end of its admission");
}

const moveSchema = z.object({ to: z.string(), reason: z.string().nullable() });
const DECLINED = { to: "rejected", reason: "COORDINATION_QUORUM_NOT_MET" };

test("[AP-2] a task is admitted by the consent of its subjects for its purpose, and says which", async () => {
  const fixture = await vaultOf();
  await stocked(fixture);
  const decide = (state: "granted" | "withdrawn") =>
    fixture.vault.setConsent({
      ...{ usageScope: "marketing", subjects: "all-known" },
      decision: state === "granted" ? { state, expiresMs: null } : { state },
    });
  await decide("withdrawn");
  expect(await admissionOf(fixture, "withdrawn", 1_000_000)).toMatchObject(DECLINED);
  await decide("granted");
  const { taskId, to } = await admissionOf(fixture, "granted", 1_000_000);
  expect(to).toBe("dispatched");
  const { consent_references } = TASK_ENVELOPE.decode(await live.client.envelope(taskId));
  expect(consent_references).toMatchObject([{ vault_id: "vault-1" }]);
});

test("[AP-4] what earlier tasks have reserved is gone, and the last of a budget can be reserved once", async () => {
  const fixture = await vaultOf();
  await stocked(fixture);
  const ends = [];
  for (const [index, share] of [5, 4, 3, 1].entries()) {
    const { to, reason } = await admissionOf(fixture, `share ${index}`, share * 1_000_000);
    ends.push({ share, to, reason });
  }
  expect(ends).toEqual([
    { share: 5, to: "dispatched", reason: null },
    { share: 4, ...DECLINED },
    { share: 3, to: "dispatched", reason: null },
    { share: 1, ...DECLINED },
  ]);
});

const operand: fc.Arbitrary<Operand> = fc.oneof(
  fc
    .tuple(fc.integer({ min: 18, max: 119 }), fc.integer({ min: 1, max: 60 }))
    .map(([min, width]) => ({
      attribute: "customer.age",
      op: "range" as const,
      min,
      max: Math.min(121, min + width),
    })),
  fc.constantFrom("Porto", "Lisboa", "nowhere").map((value) => ({
    attribute: "customer.city",
    op: "eq" as const,
    value,
  })),
);

const predicate: fc.Arbitrary<TaskParameters> = fc
  .tuple(
    fc.constantFrom("AND" as const, "OR" as const),
    fc.uniqueArray(operand, { minLength: 2, maxLength: 3, selector: (each) => each.attribute }),
  )
  .map(([operator, operands]) => ({
    task_class: "query",
    predicate: { operator, operands },
    audience_cap: 100,
  }));

/** What a Vault decides about predicates over one scope, and how it commits to its input. */
async function decisionsOf(fixture: Fixture, asked: readonly TaskParameters[]) {
  const told = [];
  for (const [index, parameters] of asked.entries()) {
    const changes = { epsilon_micro: 1_000_000, vault_ids: ["vault-1"] };
    const { signed } = await requestOf(fixture, `asked ${index}`, changes, parameters);
    const answer = await fixture.vault.decide(signed, fixture.governance);
    const { outcome } = VAULT_DECISION.verify(answer, fixture.actor.signing.publicKey);
    told.push(
      outcome.decision === "declined"
        ? outcome
        : {
            decision: outcome.decision,
            input: Buffer.from(outcome.input_commitment).toString("hex"),
          },
    );
  }
  return told;
}

test("[AP-7] a Vault decides alike about every predicate over one scope, whoever matches it", async () => {
  const asked = fc.sample(predicate, { numRuns: 40, seed: 7 });
  const rich = (policy: Policy): Policy => {
    const base = alone(policy);
    return { ...base, privacy: { ...base.privacy, budgets: [budgetOf("marketing", 40_000_000)] } };
  };
  for (const { prepare, decision } of [
    { prepare: () => Promise.resolve(), decision: "reserved" },
    {
      prepare: async ({ vault }: Fixture) => {
        const decision = { state: "withdrawn" } as const;
        await vault.setConsent({ usageScope: "marketing", subjects: "all-known", decision });
      },
      decision: "declined",
    },
  ]) {
    const fixture = await newFixture({ policy: rich });
    await stocked(fixture);
    await prepare(fixture);
    const told = await decisionsOf(fixture, asked);
    expect(new Set(told.map((each) => JSON.stringify(each))).size).toBe(1);
    expect(told[0]).toMatchObject({ decision });
  }
});

test("[AP-7] the last request that a budget pays for is no other for a predicate that matches nobody", async () => {
  const outcomes = [];
  for (const value of ["Porto", "nowhere"]) {
    const parameters: TaskParameters = {
      task_class: "query",
      predicate: {
        operator: "AND",
        operands: [
          { attribute: "customer.age", op: "range", min: 18, max: 121 },
          { attribute: "customer.city", op: "eq", value },
        ],
      },
      audience_cap: 100,
    };
    const fixture = await newFixture({ policy: alone });
    await stocked(fixture);
    const told = await decisionsOf(
      fixture,
      Array.from({ length: 10 }, () => parameters),
    );
    outcomes.push(told.map(({ decision }) => decision));
  }
  expect(outcomes[1]).toEqual(outcomes[0]);
  expect(outcomes[0]?.filter((decision) => decision === "reserved")).toHaveLength(8);
});

afterEach(() =>
  expect(live.reports.filter(({ event }) => event === "unexpected_error")).toEqual([]),
);
