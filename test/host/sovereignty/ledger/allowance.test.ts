import { expect, test } from "vitest";

import { budgetOf } from "../../../../sim/network/policy.ts";
import {
  TASK_ENVELOPE,
  foldGovernance,
  parseEvent,
  type Budget,
  type GovernanceState,
  type Policy,
} from "../../../../protocol/index.ts";
import type { StorePlace } from "../../../../host/store/index.ts";
import { governanceEvents } from "../../../helpers/network.ts";
import { describePlaces } from "../../../helpers/store-places.ts";
import {
  beginning,
  decoded,
  envelopeOf,
  newFixture,
  requestOf,
  stocked,
  type Fixture,
} from "../vault-fixture.ts";

const COST = 8_000_000;

function marketing(changes: Partial<Budget>): (policy: Policy) => Policy {
  const budgets = [{ ...budgetOf("marketing", 2 * COST), ...changes }];
  return (policy) => ({ ...policy, privacy: { ...policy.privacy, budgets } });
}

async function world(changes: Partial<Budget>, store?: StorePlace): Promise<Fixture> {
  const at = store === undefined ? {} : { store };
  const fixture = await newFixture({ policy: marketing(changes), ...at });
  await stocked(fixture);
  return fixture;
}

async function ask(fixture: Fixture, name: string): Promise<string> {
  const { signed } = await requestOf(fixture, name);
  const { outcome } = decoded(fixture, await fixture.vault.decide(signed, fixture.governance));
  if (outcome.decision === "reserved") return "reserved";
  const declines = await fixture.vault.ledger.declines({ after: 0, limit: 1_000 });
  return declines.at(-1)?.reason ?? outcome.code;
}

/** Consumes a whole reservation. */
async function consume(fixture: Fixture, name: string): Promise<void> {
  const { vault, governance } = fixture;
  const request = await requestOf(fixture, name);
  const envelope = envelopeOf(fixture, request, await vault.decide(request.signed, governance));
  const plan = await vault.prepareSlice(envelope, governance, { round: 0, attempt: 0 });
  await vault.beginExecution(beginning(fixture, envelope, plan));
  await vault.abort({
    envelopeDigest: TASK_ENVELOPE.digest(envelope),
    requestDigest: envelope.caller_context.request_digest,
  });
}

test("[PB-1] a privacy class of its own lowers the allowance for what is as sensitive, and not below", async () => {
  const lower = { class_allowances: [{ privacy_class: 2, epsilon_micro: COST }] };
  const strict = await world(lower);
  expect(await ask(strict, "a")).toBe("reserved");
  expect(await ask(strict, "b")).toBe("budget_exhausted");
  const higher = await world({ class_allowances: [{ privacy_class: 3, epsilon_micro: 1 }] });
  expect(await ask(higher, "a")).toBe("reserved");
});

test("[PB-1] a record scope has a budget of its own, whoever its subjects are", async () => {
  const fixture = await world({ record_scope_epsilon_micro: COST });
  expect(await ask(fixture, "a")).toBe("reserved");
  expect(await ask(fixture, "b")).toBe("record_scope_exhausted");
  const reopened = { ...fixture, vault: await fixture.reopen() };
  expect(await ask(reopened, "c")).toBe("record_scope_exhausted");
});

/** Governance that has given back for `epochs`, in order. */
function replenished(fixture: Fixture, ...epochs: number[]): GovernanceState {
  const { network } = fixture;
  const events = governanceEvents(
    network,
    epochs.map((epoch_id) => ({
      type: "budget_replenished",
      usage_scope: "marketing",
      epoch_id,
      epsilon_micro: COST,
    })),
  );
  return foldGovernance(network.genesisBytes, events);
}

async function accept(fixture: Fixture, state: GovernanceState): Promise<void> {
  const previous = await fixture.vault.governanceHead();
  const head = { size: state.sequence, root: new Uint8Array(32).fill(state.sequence) };
  const { replenishments } = state;
  await fixture.vault.recordGovernanceHead({ head, previous, replenishments });
}

async function given({ vault }: Fixture) {
  const lines = await vault.ledger.statement({ after: 0, limit: 100 });
  const entries = await vault.log.entries(0, vault.log.size);
  const events = entries.map(({ event }) => parseEvent(event));
  return {
    lines: lines.filter(({ kind }) => kind === "replenish").map(({ epoch_id }) => epoch_id),
    events: events.filter(({ type }) => type === "budget.replenished").length,
  };
}

describePlaces((places) => {
  test("[PB-5] what governance gives back comes back once for each epoch, in the write that keeps its head", async () => {
    const fixture = await world({ replenish_epsilon_micro_max: COST }, places.newPlace());
    await consume(fixture, "a");
    await consume(fixture, "b");
    expect(await ask(fixture, "c")).toBe("budget_exhausted");
    const first = replenished(fixture, 4);
    await accept(fixture, first);
    await accept(fixture, first);
    expect(await given(fixture)).toEqual({ lines: [4], events: 1 });
    await consume(fixture, "d");
    expect(await ask(fixture, "e")).toBe("budget_exhausted");
    const reopened = { ...fixture, vault: await fixture.reopen() };
    await accept(reopened, replenished(fixture, 4, 7, 9));
    expect(await given(reopened)).toEqual({ lines: [4, 7, 9], events: 3 });
    expect(await ask(reopened, "f")).toBe("reserved");
    expect(await ask(reopened, "g")).toBe("reserved");
    expect(await ask(reopened, "h")).toBe("budget_exhausted");
  });

  test("[PB-5] of one head accepted twice at once, and of a head that was overtaken, nothing comes back twice", async () => {
    const fixture = await world({ replenish_epsilon_micro_max: COST }, places.newPlace());
    await consume(fixture, "a");
    const state = replenished(fixture, 4);
    await Promise.all([accept(fixture, state), accept(fixture, state)]);
    const stale = { head: { size: 5, root: new Uint8Array(32) }, previous: null };
    const { replenishments } = replenished(fixture, 4, 5);
    await expect(
      fixture.vault.recordGovernanceHead({ ...stale, replenishments }),
    ).rejects.toMatchObject({ code: "COORDINATION_CONFLICT" });
    expect(await given(fixture)).toEqual({ lines: [4], events: 1 });
  });
});
