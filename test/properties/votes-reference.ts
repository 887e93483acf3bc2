import { referenceOf, type Effect, type Step } from "./governance-reference.ts";

/** How everything is decided under one version of the policy. */
export interface Rule {
  readonly quorum: number;
  readonly thresholdPercent: number;
  /** 0: at once, by signatures. */
  readonly windowMs: number;
  readonly byStake: boolean;
}

/** What is decided. `amount` and `reference` as in the stakes' reference. */
export type Motion =
  | (Extract<Step, { kind: "announce" }> & { readonly rule: Rule })
  | Extract<Step, { kind: "retire" }>
  | { readonly kind: "request"; readonly reason: number }
  | { readonly kind: "suspend" | "reinstate"; readonly actor: string }
  | {
      readonly kind: "deposit" | "slash";
      readonly actor: string;
      readonly amount: number;
      readonly reference: number;
    };

/** One step of a history of votes. */
export type VotedStep =
  | { readonly kind: "sign"; readonly motion: Motion; readonly by: readonly string[] }
  | { readonly kind: "propose"; readonly motion: Motion; readonly by: string }
  | {
      readonly kind: "vote";
      /** Counted from the newest proposal. */
      readonly proposal: number;
      readonly by: string;
      readonly approves: boolean;
      readonly datedMs: number;
    }
  | Extract<Step, { kind: "close" }>
  | { readonly kind: "wait"; readonly ms: number };

interface Proposal {
  readonly motion: Motion;
  readonly rule: Rule;
  /** Who could vote when it was opened, and what each weighed. */
  readonly weights: ReadonlyMap<string, number>;
  readonly openedMs: number;
  readonly ballots: Map<string, boolean>;
  outcome: "open" | "approved" | "rejected";
}

/** Votes as SCP parts 1 and 7 have governance decide by them: plainly, every question asked anew at every step. */
export function votesReference(founding: {
  readonly founders: readonly string[];
  readonly governors: Readonly<Record<string, number>>;
  readonly rule: Rule;
  readonly limits: Parameters<typeof referenceOf>[0];
}) {
  const plan = referenceOf(founding.limits);
  const rules = new Map([[1, founding.rule]]);
  const actors = new Map(
    Object.entries(founding.governors).map(([name, stake]) => [name, { stake, active: true }]),
  );
  const deposits = new Set<number>();
  const slashes = new Set<string>();
  const proposals: Proposal[] = [];
  let nowMs = 0;
  let openedMs = 0;
  let events = 0;

  const ruleNow = (): Rule => rules.get(plan.activeVersion()) ?? founding.rule;

  const votersNow = (): Map<string, number> => {
    const governing = [...actors].filter(([, { active }]) => active);
    if (governing.length >= ruleNow().quorum) {
      return new Map(governing.map(([name, { stake }]) => [name, stake]));
    }
    return new Map(founding.founders.map((name) => [name, 1]));
  };

  const weigh = (rule: Rule): Map<string, number> =>
    new Map([...votersNow()].map(([name, stake]) => [name, rule.byStake ? stake : 1]));

  /** Of all the weight there is, how much approves, and how much still could. */
  const outcomeOf = (
    rule: Rule,
    weights: ReadonlyMap<string, number>,
    ballots: ReadonlyMap<string, boolean>,
  ): Proposal["outcome"] => {
    const cast = [...weights].filter(([name]) => ballots.has(name));
    const sum = (entries: readonly (readonly [string, number])[]) =>
      entries.reduce((total, [, weight]) => total + weight, 0);
    const all = sum([...weights]);
    const approve = sum(cast.filter(([name]) => ballots.get(name) === true));
    const reject = sum(cast.filter(([name]) => ballots.get(name) === false));
    const enough = (weight: number) => weight * 100 >= rule.thresholdPercent * all;
    if (cast.length >= rule.quorum && approve > 0 && enough(approve)) return "approved";
    return enough(all - reject) ? "open" : "rejected";
  };

  const effectOf = (motion: Motion): Effect => {
    switch (motion.kind) {
      case "announce": {
        const announced = plan.effectOf(motion);
        const weights = weigh(motion.rule);
        const all = new Map([...weights.keys()].map((name) => [name, true]));
        const decidable = outcomeOf(motion.rule, weights, all) === "approved";
        if (announced === undefined || !decidable) return undefined;
        return () => {
          announced();
          rules.set(motion.version, motion.rule);
        };
      }
      case "retire":
      case "request":
        return plan.effectOf(motion);
      case "suspend":
      case "reinstate": {
        const actor = actors.get(motion.actor);
        const from = motion.kind === "suspend";
        if (actor?.active !== from) return undefined;
        return () => {
          actor.active = !from;
        };
      }
      case "deposit": {
        const actor = actors.get(motion.actor);
        if (actor === undefined || deposits.has(motion.reference)) return undefined;
        return () => {
          deposits.add(motion.reference);
          actor.stake += motion.amount;
        };
      }
      case "slash": {
        const actor = actors.get(motion.actor);
        const evidence = `${motion.actor} ${motion.reference}`;
        if (actor === undefined || slashes.has(evidence)) return undefined;
        return () => {
          slashes.add(evidence);
          actor.stake -= Math.min(actor.stake, motion.amount);
        };
      }
    }
  };

  const done = (effect: Effect): boolean => {
    effect?.();
    if (effect !== undefined) events += 1;
    return effect !== undefined;
  };

  const isOpen = ({ outcome, openedMs: from, rule }: Proposal): boolean =>
    outcome === "open" && nowMs < from + rule.windowMs;

  const sign = ({ motion, by }: Extract<VotedStep, { kind: "sign" }>): boolean => {
    const rule = ruleNow();
    const ballots = new Map(by.map((name) => [name, true]));
    if (rule.windowMs > 0 || outcomeOf(rule, weigh(rule), ballots) !== "approved") return false;
    return done(effectOf(motion));
  };

  const propose = ({ motion, by }: Extract<VotedStep, { kind: "propose" }>): boolean => {
    const rule = ruleNow();
    const same = (each: Proposal) => JSON.stringify(each.motion) === JSON.stringify(motion);
    if (!votersNow().has(by) || rule.windowMs === 0 || effectOf(motion) === undefined) return false;
    if (proposals.some((each) => isOpen(each) && same(each))) return false;
    const [weights, ballots] = [weigh(rule), new Map<string, boolean>()];
    const opened: Proposal = { motion, rule, weights, openedMs: nowMs, ballots, outcome: "open" };
    return done(() => proposals.push(opened));
  };

  const vote = (step: Extract<VotedStep, { kind: "vote" }>): boolean => {
    const { by, approves } = step;
    const proposal = proposals.at(-1 - step.proposal);
    if (proposal === undefined) return false;
    const { rule, weights, ballots } = proposal;
    const mayVote = (name: string) => votersNow().has(name) && weights.has(name);
    const dated = nowMs + step.datedMs;
    const inWindow = dated >= proposal.openedMs && dated < proposal.openedMs + rule.windowMs;
    if (!mayVote(by) || !inWindow) return false;
    const before = ballots.get(by);
    if (before !== undefined) return before === approves;
    if (!isOpen(proposal)) return false;
    ballots.set(by, approves);
    const counted = new Map([...ballots].filter(([name]) => mayVote(name)));
    const outcome = outcomeOf(rule, weights, counted);
    const effect = outcome === "approved" ? effectOf(proposal.motion) : () => undefined;
    // What was approved and cannot be done any more stays undecided, and the vote is kept.
    if (outcome === "open" || effect === undefined) return true;
    proposal.outcome = outcome;
    return done(effect);
  };

  const apply = (step: VotedStep): boolean => {
    switch (step.kind) {
      case "wait":
        nowMs += step.ms;
        return true;
      case "sign":
        return sign(step);
      case "propose":
        return propose(step);
      case "vote":
        return vote(step);
      case "close": {
        const closed = done(plan.effectOf({ ...step, elapsedMs: nowMs - openedMs }));
        if (closed) openedMs = nowMs;
        return closed;
      }
    }
  };

  const view = () => ({
    ...plan.view(),
    events,
    voters: Object.fromEntries(votersNow()),
    actors: Object.fromEntries(actors),
    proposals: proposals.map((each) => ({
      status: each.outcome === "open" && !isOpen(each) ? ("expired" as const) : each.outcome,
      ballots: Object.fromEntries(each.ballots),
      weights: Object.fromEntries(each.weights),
    })),
  });

  return { apply, view };
}
