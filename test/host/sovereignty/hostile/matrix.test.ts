// Every call that a coordinator can make to a Vault, for a task in every state, forged in every way that can be
// generated: nothing is answered that was not answered before, and nothing in the store changes.
import { isDeepStrictEqual } from "node:util";

import { afterAll, beforeAll, expect, test } from "vitest";

import { hex, type CborValue, type ErrorCode } from "../../../../protocol/index.ts";
import { workItemSchema } from "../../../../protocol/work.ts";
import { bytesForgeries, encodedForgeries, forgeriesOf, type Forgery } from "./forgeries.ts";
import { watchStore, type StoreWatch } from "./store-state.ts";
import {
  STATES,
  TASK_CALLS,
  openWorld,
  type HostileTask,
  type State,
  type TaskCall,
  type Work,
  type World,
} from "./world.ts";

/** What an honest call comes to: it moves the task, is answered as before, does nothing, or is refused. */
type Outcome = "moves" | "again" | "nothing" | ErrorCode;

const NONE = "PRIVACY_BUDGET_UNKNOWN_RESERVATION";
const OVER = "PRIVACY_BUDGET_STATE_CONFLICT";
const STRANGER = "COORDINATION_SLICE_REFUSED";
const EARLY = "SETTLEMENT_NOT_FINAL";
const REFUSED = "DELIVERY_REFUSED";

const HONEST: Readonly<Record<State, Readonly<Record<TaskCall, Outcome>>>> = {
  unknown: { admit: "moves", slice: STRANGER, settle: NONE, release: REFUSED, abort: "nothing" },
  declined: { admit: "again", slice: STRANGER, settle: NONE, release: REFUSED, abort: "nothing" },
  reserved: { admit: "again", slice: "moves", settle: "moves", release: REFUSED, abort: "moves" },
  executing: { admit: "again", slice: OVER, settle: "moves", release: EARLY, abort: "moves" },
  settled: { admit: "again", slice: OVER, settle: "again", release: EARLY, abort: "nothing" },
  final: { admit: "again", slice: OVER, settle: "again", release: "moves", abort: "nothing" },
  released: { admit: "again", slice: OVER, settle: "again", release: "again", abort: "nothing" },
  given_back: { admit: "again", slice: OVER, settle: "moves", release: REFUSED, abort: "nothing" },
  charged: { admit: "again", slice: OVER, settle: "moves", release: EARLY, abort: "nothing" },
  overdue: { admit: "again", slice: STRANGER, settle: "moves", release: REFUSED, abort: "nothing" },
};

/** Families that a forged field of a call is refused with; `null` where the Vault does not judge by it. */
const FAMILIES = {
  admit: {
    signed_request: /^(SCHEMA|PROOF|AUTH|GOVERNANCE)_/,
    governance: /^(SCHEMA|PROOF|GOVERNANCE)_/,
  },
  slice: {
    envelope: /^(SCHEMA|COORDINATION|PROOF|AUTH|PRIVACY_BUDGET|GOVERNANCE|POLICY_NOT)_/,
    governance: /^(SCHEMA|PROOF|GOVERNANCE)_/,
    round: /^(COORDINATION|PRIVACY_BUDGET)_/,
    attempt: /^(COORDINATION|PRIVACY_BUDGET)_/,
    previous: /^(COORDINATION|PRIVACY_BUDGET)_/,
    artifact: /^(COORDINATION|PRIVACY_BUDGET)_/,
  },
  settle: {
    envelope: /^(SCHEMA|PRIVACY_BUDGET|EXECUTION)_/,
    bundles: /^(SCHEMA|PROOF|PRIVACY_BUDGET)_/,
  },
  release: {
    envelope: /^(SCHEMA|DELIVERY|SETTLEMENT|EXECUTION|PROOF|PRIVACY_BUDGET)_/,
    governance: /^(SCHEMA|PROOF|GOVERNANCE)_/,
    settlement: /^(SCHEMA|DELIVERY|SETTLEMENT|PROOF)_/,
    bundle: /^(SCHEMA|DELIVERY|SETTLEMENT|PROOF|PRIVACY_BUDGET)_/,
    sealed_share: /^(DELIVERY|SETTLEMENT|PROOF)_/,
  },
  // A coordinator may end any task at any time; what it calls the envelope says nothing.
  abort: { envelope_digest: null, request_digest: null },
} satisfies { [Call in TaskCall]: { [Field in FieldOf<Call>]: RegExp | null } };

type FieldOf<Call extends TaskCall> = Exclude<keyof Extract<Work, { kind: Call }>, "kind">;

const LIMIT_MS = 300_000;
/** Of the forgeries of a field one in so many is tried in a state; in the states together each is, several times. */
const SHARE = process.env["SYMPHONY_FULL"] === "1" ? 1 : 3;

let world: World;
let store: StoreWatch;
/** Every answer that the Vault has given to an honest call. */
const given = new Set<string>();

beforeAll(async () => {
  world = await openWorld();
  store = watchStore(world.fixture.directory);
  for (const state of STATES) {
    for (const call of TASK_CALLS) {
      if (HONEST[state][call] !== "again") continue;
      const { answer } = await answered(world.tasks[state].work[call]);
      if (answer === null) throw new Error(`${state}: expected an answer to ${call}`);
      given.add(answer);
    }
  }
});

afterAll(async () => {
  store.close();
  await world.close();
});

interface Answered {
  readonly answer: string | null;
  readonly code: ErrorCode | null;
  readonly changed: readonly string[];
}

/** Has the node do a piece of work. A slice says by a message what it failed with. */
async function answered(work: Work): Promise<Answered> {
  const { rig } = world;
  rig.posted.length = 0;
  const { answer, code } = await rig.perform(work);
  const changed = store.changed();
  const [posted, ...more] = rig.posted;
  if (posted?.kind === "failed") {
    expect({ ...posted, more }).toEqual({
      ...{ kind: "failed", code: posted.code, executing: false, more: [] },
    });
    return { answer: null, code: posted.code, changed };
  }
  return { answer: answer === null ? null : hex(answer), code, changed };
}

test("every call that a coordinator can make is in these tables, with every field", () => {
  const kinds = workItemSchema.shape.work.options.map(({ shape }) => shape.kind.value);
  const others = ["aggregate", "cosign", "witness", "witnessed"];
  expect(kinds.toSorted()).toEqual([...TASK_CALLS, ...others].toSorted());
  for (const { shape } of workItemSchema.shape.work.options) {
    const call = TASK_CALLS.find((each) => each === shape.kind.value);
    if (call === undefined) continue;
    const fields = Object.keys(shape).filter((field) => field !== "kind");
    expect(Object.keys(FAMILIES[call]).toSorted()).toEqual(fields.toSorted());
  }
});

test("[DS-7] [AZ-2] an honest call out of order is refused with its code, and one that was made gives the same bytes", async () => {
  for (const state of STATES) {
    for (const call of TASK_CALLS) {
      const expected = HONEST[state][call];
      if (expected === "moves") continue;
      const first = await answered(world.tasks[state].work[call]);
      const code = expected === "again" || expected === "nothing" ? null : expected;
      expect({ state, call, ...first }).toMatchObject({ state, call, code, changed: [] });
      expect(first.answer === null).toBe(expected !== "again");
      expect(await answered(world.tasks[state].work[call])).toEqual(first);
    }
  }
});

/** A task that never began is settled at nothing, whatever comes with it, and so ends: see replay.test.ts. */
const NEVER_BEGUN: ReadonlySet<State> = new Set(["reserved", "given_back", "overdue"]);

/** What could stand in a field instead: forgeries of what does, and what other tasks have there. */
function insteadOf(task: HostileTask, call: TaskCall, field: string): Forgery<CborValue>[] {
  const at = (state: State): CborValue => {
    const work: Readonly<Record<string, CborValue>> = world.tasks[state].work[call];
    return work[field] ?? null;
  };
  const genuine = at(task.state);
  const others = STATES.map((other) => ({ title: `of the task ${other}`, value: at(other) }));
  if (field === "previous") {
    const { bundle, sealed_share } = world.tasks.final.work.release;
    return [{ title: "of a round that was", value: { bundle, sealed_share } }];
  }
  if (field === "bundles") {
    const { bundle } = task.work.release;
    const forged = bytesForgeries(bundle).map(({ title, value }) => ({ title, value: [value] }));
    const spliced = others.filter(({ value }) => !isDeepStrictEqual(value, []));
    return [...forged, ...spliced.filter(({ value }) => !isDeepStrictEqual(value, genuine))];
  }
  const spliced = others.filter(({ value }) => !isDeepStrictEqual(value, genuine));
  // In other calls the envelope, or the request, is all that says which task is meant.
  return [...forgeriesOf(genuine), ...(call === "release" ? spliced : [])];
}

/** Those that the shape of the call lets through. */
function shaped(
  genuine: Work,
  field: string,
  values: Iterable<Forgery<CborValue>>,
): Forgery<Work>[] {
  return [...values].flatMap(({ title, value }) => {
    const parsed = workItemSchema.shape.work.safeParse({ ...genuine, [field]: value });
    if (!parsed.success) return [];
    return [{ title: `${genuine.kind} ${field} ${title}`, value: parsed.data }];
  });
}

/** No forgery of a call is answered with anything that was not answered before, or changes anything. */
async function expectNothing(
  state: State,
  code: RegExp,
  forgeries: readonly Forgery<Work>[],
): Promise<void> {
  expect(forgeries.length).toBeGreaterThan(0);
  for (const { title, value } of forgeries) {
    const told = { state, title, ...(await answered(value)) };
    const { answer } = told;
    expect(answer === null || given.has(answer), `${state}: ${title}`).toBe(true);
    const expected = answer === null ? expect.stringMatching(code) : null;
    expect(told).toEqual({ state, title, answer, code: expected, changed: [] });
  }
}

test.for(STATES)(
  "[DS-4] [DS-7] [MV-3] no field of a call is forged to any effect: a task %s",
  { timeout: LIMIT_MS },
  async (state) => {
    const task = world.tasks[state];
    for (const call of TASK_CALLS) {
      if (call === "settle" && NEVER_BEGUN.has(state)) continue;
      for (const [field, code] of Object.entries(FAMILIES[call])) {
        if (code === null) continue;
        const forgeries = shaped(task.work[call], field, insteadOf(task, call, field));
        // Parts of one task put together again are a call for that task.
        const honest = STATES.map((other) => world.tasks[other].work[call]);
        const forged = forgeries.filter(
          ({ value }) => !honest.some((each) => isDeepStrictEqual(each, value)),
        );
        const first = STATES.indexOf(state) % SHARE;
        const mine = forged.filter((_, index) => index % SHARE === first);
        if (mine.length > 0) await expectNothing(state, code, mine);
      }
    }
  },
);

/** What the coordinator alone says of a task, when it first says it. Afterwards none of it changes. */
const ITS_OWN = [
  "admission_timestamp one more",
  "epoch_id one more",
  "epoch_id as large as can be",
  "coordination_envelope.per_vault_timeout one more",
  "coordination_envelope.per_vault_timeout as large as can be",
  "coordination_envelope.minimum_vault_quorum one more",
  "coordination_envelope.participating_vault_ids without its last",
  "coordination_envelope.participating_vault_ids in another order",
].map((title) => `slice envelope ${title}`);

const WHOLE: readonly {
  readonly state: State;
  readonly call: "slice" | "settle" | "release";
  /** Each so-many-th forgery: where all that counts is the digest of the whole. */
  readonly each: number;
}[] = [
  { state: "reserved", call: "slice", each: 1 },
  { state: "executing", call: "slice", each: 4 },
  { state: "executing", call: "settle", each: 1 },
  { state: "settled", call: "settle", each: 4 },
  { state: "final", call: "release", each: 8 },
  { state: "released", call: "release", each: 8 },
];

test.for(WHOLE)(
  "[DS-4] [MV-3] [PL-2] nothing in an envelope is forged to any effect: a task $state, asked to $call",
  { timeout: LIMIT_MS },
  async ({ state, call, each }) => {
    const task = world.tasks[state];
    const forged = encodedForgeries(task.envelope);
    const all = shaped(task.work[call], "envelope", forged);
    expect(all.length).toBeGreaterThan(150);
    const first = all.filter(({ title }) => ITS_OWN.includes(title));
    if (call === "slice") expect(first).toHaveLength(ITS_OWN.length);
    const forgeries = all.filter(({ title }, index) => {
      return index % each === 0 && !(state === "reserved" && ITS_OWN.includes(title));
    });
    await expectNothing(state, FAMILIES[call].envelope, forgeries);
  },
);
