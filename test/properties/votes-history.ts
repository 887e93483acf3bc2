import fc from "fast-check";

import type { Motion, Rule, VotedStep } from "./votes-reference.ts";

/** Of an epoch. */
export const LIMITS = { time_ms_max: 120, settlement_volume_max: 3 };
const WINDOW_MS = 100;
/** How the first version has everything decided. */
export const RULE: Rule = {
  ...{ quorum: 2, thresholdPercent: 60, windowMs: WINDOW_MS, byStake: true },
};
/** What each governor has at stake. */
export const STAKES = { "governor-1": 10, "governor-2": 20, "governor-3": 40 };
const GOVERNORS = Object.keys(STAKES);
export const FOUNDERS = ["founder-1", "founder-2", "founder-3"];

// Mostly governors, who are the voters most of the time.
const voter = fc.constantFrom(...GOVERNORS, ...GOVERNORS, ...FOUNDERS);
const governor = fc.constantFrom(...GOVERNORS);
const rule: fc.Arbitrary<Rule> = fc.record({
  quorum: fc.constantFrom(1, 2, 2, 3, 4),
  thresholdPercent: fc.constantFrom(1, 50, 67, 100),
  windowMs: fc.constantFrom(WINDOW_MS, WINDOW_MS, 0),
  byStake: fc.boolean(),
});
/** Changes who votes, or what a voter weighs. */
const ofVoters: fc.Arbitrary<Motion> = fc.oneof(
  fc.record({ kind: fc.constantFrom("suspend", "suspend", "reinstate"), actor: governor }),
  fc.record({
    kind: fc.constantFrom("deposit", "slash"),
    actor: governor,
    amount: fc.integer({ min: 1, max: 30 }),
    reference: fc.nat({ max: 9 }),
  }),
);
const motion: fc.Arbitrary<Motion> = fc.oneof(
  {
    weight: 4,
    arbitrary: fc
      .record({
        ...{ version: fc.constantFrom(2, 2, 3, 4), before: fc.constantFrom(1, 1, 1, 1, 2) },
        ...{ fromEpoch: fc.integer({ min: 1, max: 4 }), rule },
      })
      .map(({ version, before, ...rest }) => ({
        ...{ kind: "announce" as const, version, predecessor: version - before, ...rest },
      })),
  },
  fc.record({
    kind: fc.constant("retire" as const),
    version: fc.integer({ min: 1, max: 2 }),
    fromEpoch: fc.integer({ min: 1, max: 4 }),
  }),
  fc.record({ kind: fc.constant("request" as const), reason: fc.nat({ max: 1 }) }),
  { weight: 3, arbitrary: ofVoters },
);
const VOLUME: VotedStep = {
  ...{ kind: "close", epochOffset: 0, trigger: "volume", elapsedMs: 0 },
  settlements: LIMITS.settlement_volume_max,
};
const step: fc.Arbitrary<VotedStep> = fc.oneof(
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constant("sign" as const),
      motion,
      by: fc.uniqueArray(voter, { minLength: 1, maxLength: 4 }),
    }),
  },
  {
    weight: 4,
    arbitrary: fc.record({ kind: fc.constant("propose" as const), motion, by: voter }),
  },
  {
    weight: 8,
    arbitrary: fc.record({
      kind: fc.constant("vote" as const),
      proposal: fc.constantFrom(0, 0, 0, 1, 1, 2),
      by: voter,
      approves: fc.constantFrom(true, true, true, false),
      datedMs: fc.constantFrom(0, 0, 0, 0, -1, -WINDOW_MS, WINDOW_MS),
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      kind: fc.constant("close" as const),
      epochOffset: fc.constant(0),
      trigger: fc.constantFrom("time" as const, "volume" as const, "governance" as const),
      elapsedMs: fc.constant(0),
      settlements: fc.constantFrom(0, LIMITS.settlement_volume_max),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constant("wait" as const),
      ms: fc.constantFrom(1, 40, WINDOW_MS),
    }),
  },
);

/** A proposal and votes of governors on it, of one mind or not. */
const campaign: fc.Arbitrary<VotedStep[]> = fc
  .record({
    ...{ motion, by: governor, others: fc.shuffledSubarray(GOVERNORS, { minLength: 1 }) },
    approves: fc.constantFrom([true, true, true], [false, false, false], [true, false, true]),
  })
  .map(({ others, approves, ...opening }) => [
    { kind: "propose", ...opening },
    ...others.map((by, index) => voteOf(by, { approves: approves[index] ?? true })),
  ]);
/** While one proposal is voted on, another is decided by which its first voter loses the vote, or another gains weight. */
const crossed: fc.Arbitrary<VotedStep[]> = fc
  .record({
    ...{ reason: fc.nat({ max: 5 }), order: fc.shuffledSubarray(GOVERNORS, { minLength: 2 }) },
    ...{ by: governor, suspends: fc.boolean(), gains: governor, reference: fc.nat({ max: 9 }) },
  })
  .map(({ reason, order, by, suspends, gains: actor, reference }) => [
    { kind: "propose", motion: { kind: "request", reason }, by },
    ...order.slice(0, 1).map((name) => voteOf(name)),
    {
      kind: "propose",
      motion: suspends
        ? { kind: "suspend", actor: order[0] ?? by }
        : { kind: "deposit", actor, amount: 100, reference },
      by,
    },
    ...GOVERNORS.map((name) => voteOf(name)),
    ...order.slice(1).map((name) => voteOf(name, { proposal: 1 })),
  ]);
/** A version that all governors want, and an epoch's end. */
const reform = fc.record({ rule, by: governor, fromEpoch: fc.nat({ max: 2 }) });
/** Steps at random, proposals with the votes on them, and versions that come into force. */
export const historyOfVotes: fc.Arbitrary<VotedStep[]> = fc
  .array(
    fc.oneof(
      { weight: 5, arbitrary: step.map((each) => [each]) },
      { weight: 2, arbitrary: campaign },
      { weight: 2, arbitrary: crossed },
      { weight: 1, arbitrary: reform },
    ),
    { minLength: 8, maxLength: 20 },
  )
  .map((parts) => {
    let predecessor = 0;
    return parts.flatMap((part) => {
      if (Array.isArray(part)) return part;
      predecessor += 1;
      const { rule: next, by, fromEpoch } = part;
      const version = { version: predecessor + 1, predecessor, rule: next };
      const made: Motion = { kind: "announce", ...version, fromEpoch: predecessor + fromEpoch };
      return [
        ...[{ kind: "propose", motion: made, by } as const],
        ...GOVERNORS.map((name) => voteOf(name)),
        ...[{ kind: "sign", motion: made, by: GOVERNORS } as const, VOLUME],
      ];
    });
  });

function voteOf(by: string, { proposal = 0, approves = true } = {}): VotedStep {
  return { kind: "vote", proposal, by, approves, datedMs: 0 };
}
