// What takes a Vault's time when it refuses is the same whatever the cause: the same statements in the same order, of the
// same number of durable steps. Milliseconds are printed, never judged: they are the machine's.
import { expect, test } from "vitest";

import { VAULT_DECISION, type Policy } from "../../../../protocol/index.ts";
import { budgetOf } from "../../../../sim/network/policy.ts";
import {
  consent,
  ingestReceipt,
  newFixture,
  parseRequest,
  requestOf,
  stocked,
  type Fixture,
} from "../vault-fixture.ts";
import { ask } from "../operator/run-task.ts";
import { onStatement } from "./statements.ts";

const WITHDRAWN = { state: "withdrawn" } as const;
const TRIALS = 8;

const trace: string[] = [];
onStatement((sql, moment) => {
  if (moment === "before") trace.push(sql);
});

function small(policy: Policy): Policy {
  const budgets = [budgetOf("marketing", 9_000_000), budgetOf("personal_use", 9_000_000)];
  return { ...policy, privacy: { ...policy.privacy, budgets } };
}

/** How a request came to be declined, and the request. */
interface Cause {
  readonly title: string;
  readonly request: (fixture: Fixture, trial: number) => Promise<{ readonly signed: Uint8Array }>;
}

const QUERIES: readonly Cause[] = [
  {
    title: "no consent",
    request: async (fixture, trial) => {
      const usageScope = "marketing";
      const change = { usageScope, subjects: "all-known", decision: WITHDRAWN } as const;
      if (trial === 0) await fixture.vault.setConsent(change);
      return await requestOf(fixture, `one ${trial}`, { epsilon_micro: 8_000_000 });
    },
  },
  {
    title: "exhausted budget",
    request: async (fixture, trial) => {
      await ask(fixture, "before", { epsilon_micro: 8_000_000 });
      return await requestOf(fixture, `one ${trial}`, { epsilon_micro: 8_000_000 });
    },
  },
  {
    title: "more than there ever was",
    request: (fixture, trial) => requestOf(fixture, `one ${trial}`, { epsilon_micro: 80_000_000 }),
  },
];

const PARSES: readonly Cause[] = [
  {
    title: "unknown record",
    request: (fixture, trial) =>
      requestOfRecord(fixture, new Uint8Array(32).fill(7), `parse ${trial}`),
  },
  {
    title: "no consent of its subject",
    request: async (fixture, trial) =>
      requestOfRecord(fixture, await receiptIn(fixture), `parse ${trial}`),
  },
  {
    title: "spent by its subject",
    request: async (fixture, trial) => {
      const record = await receiptIn(fixture);
      if (trial === 0) await consent(fixture.vault, "personal_use", ["anna"]);
      const before = await requestOfRecord(fixture, record, "before");
      await fixture.vault.decide(before.signed, fixture.governance);
      return await requestOfRecord(fixture, record, `parse ${trial}`);
    },
  },
];

const receipts = new WeakMap<Fixture, Promise<Uint8Array>>();

/** The one receipt of a Vault. */
async function receiptIn(fixture: Fixture): Promise<Uint8Array> {
  const receipt = receipts.get(fixture) ?? ingestReceipt(fixture);
  receipts.set(fixture, receipt);
  return await receipt;
}

function requestOfRecord(fixture: Fixture, record: Uint8Array, name: string) {
  return parseRequest(fixture, name, record, 8_000_000);
}

/** Declines once in a Vault of its own: the answer's bytes, the statements, and the time of those that follow. */
async function declinedBy({ request }: Cause) {
  const fixture = await newFixture({ policy: small });
  await stocked(fixture);
  const { signed } = await request(fixture, 0);
  // What is read once, and kept until a consent changes, has been read.
  await fixture.vault.decide((await request(fixture, -1)).signed, fixture.governance);
  trace.length = 0;
  const answer = await fixture.vault.decide(signed, fixture.governance);
  const statements = [...trace];
  const { outcome } = VAULT_DECISION.verify(answer, fixture.actor.signing.publicKey);
  const took: number[] = [];
  for (let trial = 1; trial <= TRIALS; trial += 1) {
    const next = await request(fixture, trial);
    const begun = process.hrtime.bigint();
    await fixture.vault.decide(next.signed, fixture.governance);
    took.push(Number(process.hrtime.bigint() - begun) / 1e6);
  }
  const medianMs = took.toSorted((a, b) => a - b)[TRIALS / 2] ?? 0;
  return { size: answer.length, outcome, statements, medianMs };
}

test.for([
  { title: "a set of people", causes: QUERIES },
  { title: "one person", causes: PARSES },
])(
  "[AP-7] [DS-5] whatever the cause about $title, a refusal takes the same steps",
  async ({ causes }) => {
    const all = [];
    for (const cause of causes) all.push({ title: cause.title, ...(await declinedBy(cause)) });
    const [first] = all;
    expect(first?.statements.filter((sql) => sql === "commit")).toHaveLength(1);
    for (const { title, size, outcome, statements } of all) {
      expect({ title, outcome }).toEqual({
        ...{ title, outcome: { decision: "declined", code: "POLICY_DECLINED" } },
      });
      expect({ title, size }).toEqual({ title, size: first?.size });
      expect({ title, statements }).toEqual({ title, statements: first?.statements });
    }
    for (const { title, medianMs } of all) {
      const ratio = medianMs / (first?.medianMs ?? medianMs);
      process.stdout.write(`${title}: ${medianMs.toFixed(2)} ms, ratio ${ratio.toFixed(2)}\n`);
    }
  },
);
