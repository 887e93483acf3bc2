import fc from "fast-check";
import { expect, test } from "vitest";

import {
  BUDGET_RESERVATION_LIFECYCLE,
  CANONICAL_ATTRIBUTE_LIFECYCLE,
  CHALLENGE_LIFECYCLE,
  CONSENT_LIFECYCLE,
  DOMAIN_LIFECYCLE,
  EPOCH_LIFECYCLE,
  POLICY_VERSION_LIFECYCLE,
  QUERY_ATTRIBUTE_LIFECYCLE,
  SETTLEMENT_LIFECYCLE,
  TASK_LIFECYCLE,
  TASK_TRANSITION_CONDITIONS,
  assertTaskTransition,
  defineLifecycle,
  type ChallengeState,
  type LifecycleStep,
} from "#protocol";

const illegal = expect.objectContaining({
  class: "conflict",
  code: "EXECUTION_ILLEGAL_TRANSITION",
});

/** Written out from the specification, on purpose not from the table under test. */
const TASK_STATES = [
  ...["accepted", "resolving", "dispatched", "verifying", "awaiting_settlement", "completed"],
  ...["challenged", "rejected", "timed_out"],
];
const FORWARD = "accepted resolving dispatched verifying awaiting_settlement completed".split(" ");
const REJECTED_FROM = ["accepted", "resolving", "dispatched", "verifying"];
const TIMED_OUT_FROM = ["accepted", "dispatched", "verifying"];
const CHALLENGE_PATH = [
  ...["verifying>challenged", "awaiting_settlement>challenged"],
  ...["challenged>awaiting_settlement", "challenged>rejected"],
];
const LEGAL = new Set([
  ...stepsAlong(FORWARD).map(({ from, to }) => `${from}>${to}`),
  ...REJECTED_FROM.map((from) => `${from}>rejected`),
  ...TIMED_OUT_FROM.map((from) => `${from}>timed_out`),
  ...CHALLENGE_PATH,
]);

function stepsAlong(states: readonly string[]): LifecycleStep[] {
  return states.slice(1).map((to, index) => ({ from: states[index] ?? "", to }));
}

function allows(lifecycle: typeof TASK_LIFECYCLE, from: string, to: string): boolean {
  try {
    lifecycle.assertTransition(from, to);
    return true;
  } catch (error) {
    expect(error).toEqual(illegal);
    return false;
  }
}

test("[TL-1] a task has nine states and begins accepted", () => {
  expect([...TASK_LIFECYCLE.states].sort()).toEqual([...TASK_STATES].sort());
  expect(TASK_LIFECYCLE.initial).toBe("accepted");
});

test("[TL-2] the forward path leads to completed", () => {
  expect(TASK_LIFECYCLE.replay(stepsAlong(FORWARD))).toBe("completed");
});

test("[TL-3] rejection and time-out leave from the states that are listed, and no others", () => {
  const from = (to: string): string[] =>
    TASK_STATES.filter((state) => allows(TASK_LIFECYCLE, state, to));
  expect(from("rejected").sort()).toEqual([...REJECTED_FROM, "challenged"].sort());
  expect(from("timed_out").sort()).toEqual([...TIMED_OUT_FROM].sort());
});

test("[TL-5] every pair of states that is not listed is refused", () => {
  for (const from of TASK_STATES) {
    for (const to of TASK_STATES) {
      expect([from, to, allows(TASK_LIFECYCLE, from, to)]).toEqual([
        from,
        to,
        LEGAL.has(`${from}>${to}`),
      ]);
    }
  }
});

test("[TL-5] terminal states permit nothing", () => {
  const terminal = TASK_LIFECYCLE.states.filter((state) => TASK_LIFECYCLE.isTerminal(state));
  expect(terminal.sort()).toEqual(["completed", "rejected", "timed_out"]);
});

test("[TL-5] a refusal names the lifecycle and both states, and knows no others", () => {
  expect(() => TASK_LIFECYCLE.assertTransition("accepted", "verifying")).toThrow(
    expect.objectContaining({
      code: "EXECUTION_ILLEGAL_TRANSITION",
      details: { lifecycle: "task", from: "accepted", to: "verifying" },
      message: "task: expected a transition of the lifecycle, got accepted -> verifying",
    }),
  );
  const stateOrName = fc.oneof(
    fc.constantFrom(...TASK_STATES),
    fc.string(),
    fc.constant("toString"),
  );
  fc.assert(
    fc.property(stateOrName, stateOrName, (from, to) => {
      expect(allows(TASK_LIFECYCLE, from, to)).toBe(LEGAL.has(`${from}>${to}`));
    }),
  );
});

test.for<{ from: string; role: string; passes: boolean }>([
  { from: "verifying", role: "verifier", passes: true },
  { from: "verifying", role: "governance", passes: true },
  { from: "verifying", role: "submitter", passes: false },
  { from: "verifying", role: "", passes: false },
  { from: "awaiting_settlement", role: "submitter", passes: true },
])("[TL-4] challenge from $from by role '$role': $passes", ({ from, role, passes }) => {
  const step = { from, to: "challenged", role, resolution: null };
  const refused = expect.objectContaining({ class: "refused", code: "AUTH_ROLE_REFUSED" });
  if (passes) expect(() => assertTaskTransition(step)).not.toThrow();
  else expect(() => assertTaskTransition(step)).toThrow(refused);
});

test("[TL-4] a challenged task goes where the resolution leads, and nowhere without one", () => {
  const leads = (to: string): (ChallengeState | null)[] =>
    [...CHALLENGE_LIFECYCLE.states, null].filter((resolution) => {
      try {
        assertTaskTransition({ from: "challenged", to, role: "governance", resolution });
        return true;
      } catch (error) {
        expect(error).toMatchObject({ class: "refused", code: "EXECUTION_ILLEGAL_TRANSITION" });
        return false;
      }
    });
  expect(leads("awaiting_settlement")).toEqual(["not_confirmed", "closed_without_penalty"]);
  expect(leads("rejected")).toEqual(["approved"]);
});

test("[TL-4] the conditions are on transitions that exist, and do not stand in for them", () => {
  for (const { from, to } of TASK_TRANSITION_CONDITIONS) {
    expect(() => TASK_LIFECYCLE.assertTransition(from, to)).not.toThrow();
  }
  const step = { from: "completed", to: "challenged", role: "governance", resolution: null };
  expect(() => assertTaskTransition(step)).toThrow(illegal);
});

/** A walk over the table: at each state one of its transitions, until there is none. */
const taskHistory = fc.array(fc.nat(3), { maxLength: 12 }).map((choices) => {
  const history: { from: string; to: string }[] = [];
  let state: string = TASK_LIFECYCLE.initial;
  for (const choice of choices) {
    const next = TASK_LIFECYCLE.transitions.filter(({ from }) => from === state);
    const step = next[choice % Math.max(1, next.length)];
    if (step === undefined) break;
    history.push({ ...step });
    state = step.to;
  }
  return { history, state };
});

test("[TL-7] replaying a history gives the state it led to, again and again", () => {
  fc.assert(
    fc.property(taskHistory, ({ history, state }) => {
      expect(TASK_LIFECYCLE.replay(history)).toBe(state);
      expect(TASK_LIFECYCLE.replay(history.map((step) => ({ ...step })))).toBe(state);
    }),
  );
  expect(TASK_LIFECYCLE.replay([])).toBe("accepted");
});

test("[TL-7] a history with a step missing, repeated or swapped does not replay", () => {
  const history = stepsAlong(FORWARD);
  for (let at = 0; at < history.length - 1; at += 1) {
    const step = history[at] ?? { from: "", to: "" };
    const damaged = [
      history.toSpliced(at, 1),
      history.toSpliced(at, 0, step),
      history.toSpliced(at, 2, history[at + 1] ?? step, step),
      history.toSpliced(at, 1, { from: step.from, to: step.from }),
    ];
    for (const each of damaged) expect(() => TASK_LIFECYCLE.replay(each)).toThrow(illegal);
  }
});

test("[TL-8] only challenged leads back, and without it a task never loops", () => {
  const reaches = (avoid: string): boolean =>
    TASK_STATES.some((start) => {
      const seen = new Set<string>();
      const queue = start === avoid ? [] : [start];
      for (let at = queue.pop(); at !== undefined; at = queue.pop()) {
        for (const { from, to } of TASK_LIFECYCLE.transitions) {
          if (from !== at || to === avoid) continue;
          if (to === start) return true;
          if (!seen.has(to)) queue.push(to);
          seen.add(to);
        }
      }
      return false;
    });
  expect(reaches("nothing")).toBe(true);
  expect(reaches("challenged")).toBe(false);
});

test("[TL-8] nothing but challenged leaves the forward path and returns to it", () => {
  const offPath = TASK_LIFECYCLE.states.filter((state) => !FORWARD.includes(state));
  const returning = offPath.filter((state) =>
    FORWARD.some((to) => allows(TASK_LIFECYCLE, state, to)),
  );
  expect(returning).toEqual(["challenged"]);
});

/** Every other lifecycle, written out again from the specification or from our reading of it. */
const TABLES = [
  {
    id: "CH-1",
    lifecycle: CHALLENGE_LIFECYCLE,
    initial: "opened",
    terminal: "penalty_recorded",
    steps:
      "opened>reviewing opened>closed_without_penalty reviewing>confirmed reviewing>not_confirmed " +
      "reviewing>closed_without_penalty confirmed>approved confirmed>closed_without_penalty " +
      "approved>penalty_recorded not_confirmed>reopened closed_without_penalty>reopened reopened>reviewing",
    states:
      "opened reviewing confirmed not_confirmed approved closed_without_penalty penalty_recorded reopened",
  },
  {
    id: "ST-1",
    lifecycle: SETTLEMENT_LIFECYCLE,
    initial: "collecting",
    terminal: "finalized failed",
    steps:
      "collecting>verifying_inputs collecting>failed verifying_inputs>candidate_ready verifying_inputs>failed " +
      "candidate_ready>finalizing candidate_ready>verifying_inputs candidate_ready>failed " +
      "finalizing>finalized finalizing>failed",
    states: "collecting verifying_inputs candidate_ready finalizing finalized failed",
  },
  {
    id: "EP-1",
    lifecycle: EPOCH_LIFECYCLE,
    initial: "open",
    terminal: "closed",
    steps: "open>closing closing>closed",
    states: "open closing closed",
  },
  {
    id: "PV-2",
    lifecycle: POLICY_VERSION_LIFECYCLE,
    initial: "draft",
    terminal: "retired",
    steps: "draft>active active>deprecated deprecated>retired",
    states: "draft active deprecated retired",
  },
  {
    id: "CO-2",
    lifecycle: CONSENT_LIFECYCLE,
    initial: "granted",
    terminal: "withdrawn expired",
    steps: "granted>withdrawn granted>expired",
    states: "granted withdrawn expired",
  },
  {
    id: "DM-2",
    lifecycle: DOMAIN_LIFECYCLE,
    initial: "proposed",
    terminal: "retired",
    steps: "proposed>registered registered>active active>deprecated deprecated>retired",
    states: "proposed registered active deprecated retired",
  },
  {
    id: "CA-4",
    lifecycle: CANONICAL_ATTRIBUTE_LIFECYCLE,
    initial: "proposed",
    terminal: "retired superseded",
    steps:
      "proposed>registered registered>active active>deprecated active>superseded " +
      "deprecated>retired deprecated>superseded",
    states: "proposed registered active deprecated retired superseded",
  },
  {
    id: "QA-2",
    lifecycle: QUERY_ATTRIBUTE_LIFECYCLE,
    initial: "proposed",
    terminal: "retired",
    steps:
      "proposed>registered registered>active active>restricted active>deprecated " +
      "restricted>active restricted>deprecated deprecated>retired",
    states: "proposed registered active restricted deprecated retired",
  },
  {
    id: "PB-4",
    lifecycle: BUDGET_RESERVATION_LIFECYCLE,
    initial: "reserved",
    terminal: "released committed",
    steps: "reserved>executing reserved>released executing>committed",
    states: "reserved executing released committed",
  },
] as const;

test.for(TABLES)("[$id] $lifecycle.name: its states and transitions, and no others", (table) => {
  const { lifecycle } = table;
  expect([...lifecycle.states].sort()).toEqual(table.states.split(" ").sort());
  expect(lifecycle.initial).toBe(table.initial);
  const terminal = lifecycle.states.filter(
    (state) => !lifecycle.transitions.some(({ from }) => from === state),
  );
  expect(terminal.sort()).toEqual(table.terminal.split(" ").sort());
  const legal = new Set<string>(table.steps.split(" "));
  for (const from of lifecycle.states) {
    for (const to of lifecycle.states) {
      const step = expect(() => lifecycle.assertTransition(from, to));
      if (legal.has(`${from}>${to}`)) step.not.toThrow();
      else step.toThrow(illegal);
    }
  }
});

test("a lifecycle cannot be changed", () => {
  expect(Object.isFrozen(TASK_LIFECYCLE)).toBe(true);
  expect(Object.isFrozen(TASK_LIFECYCLE.transitions)).toBe(true);
  const table = { on: ["off"], off: [] } as const;
  const lamp = defineLifecycle({ name: "lamp", initial: "on", transitions: table });
  expect(lamp.isState("off")).toBe(true);
  expect(lamp.isState("constructor")).toBe(false);
  expect(lamp.isTerminal("off")).toBe(true);
  expect(() => lamp.assertTransition("on", "on")).toThrow(illegal);
});
