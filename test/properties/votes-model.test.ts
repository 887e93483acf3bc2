import * as fs from "node:fs";
import os from "node:os";
import path from "node:path";

import fc from "fast-check";
import { afterAll, beforeAll, expect, test } from "vitest";

import { createGovernanceEvent } from "../../host/governance/index.ts";
import {
  SymphonyError,
  foldGovernance,
  keyIdOf,
  proposalStatus,
  votersOf,
  type GovernanceDecision,
  type GovernedDecision,
  type Policy,
  type SigningKey,
} from "../../protocol/index.ts";
import { processesOf } from "../../sim/network/policy.ts";
import { openGovernanceRig, type GovernanceRig } from "../helpers/governance-rig.ts";
import { NETWORK_TIME_MS, createNetwork, testActor } from "../helpers/network.ts";
import { governanceKey, voteBy } from "../helpers/votes.ts";
import { AdmittedTasks, viewOf } from "./governance-history.ts";
import { FOUNDERS, LIMITS, RULE, STAKES, historyOfVotes } from "./votes-history.ts";
import { votesReference, type Motion, type Rule, type VotedStep } from "./votes-reference.ts";

const RUNS = process.env["SYMPHONY_FULL"] === "1" ? 1_000 : 20;

const governors = await Promise.all(
  Object.entries(STAKES).map(async ([name, stake]) => ({
    ...(await testActor(name, "governance")),
    stake,
  })),
);
const network = await createNetwork({
  policy: (policy) => under(RULE, { ...policy, epoch: LIMITS }),
  genesis: (genesis) => ({
    ...genesis,
    actors: [
      ...genesis.actors,
      ...governors.map(({ actorId: actor_id, role, signing, stake: stake_minor }) => {
        const signing_key = signing.publicKey;
        return {
          actor_id,
          role,
          signing_key,
          box_key: null,
          stake_minor,
          status: "active" as const,
        };
      }),
    ],
  }),
});

function under(rule: Rule, policy: Policy): Policy {
  const processes = processesOf({
    quorum: rule.quorum,
    threshold_basis_points: rule.thresholdPercent * 100,
    window_ms: rule.windowMs,
    weight: rule.byStake ? "stake" : "actor",
  });
  return { ...policy, governance: { ...policy.governance, processes } };
}

function keyOf(name: string): SigningKey {
  const governor = governors.find(({ actorId }) => actorId === name);
  return governor?.signing ?? governanceKey(network, FOUNDERS.indexOf(name));
}

const founderOf = new Map(FOUNDERS.map((name) => [keyIdOf(keyOf(name).publicKey), name]));
const nameOf = (voterId: string): string => founderOf.get(voterId) ?? voterId;

function decisionOf(made: Motion): GovernedDecision {
  switch (made.kind) {
    case "announce":
      return {
        type: "policy_announced",
        policy: {
          ...under(made.rule, network.genesis.policy),
          policy_version_id: `policy-${made.version}`,
          predecessor_version_id: `policy-${made.predecessor}`,
          effective_from_epoch: made.fromEpoch,
        },
      };
    case "retire": {
      const policy_version_id = `policy-${made.version}`;
      return { type: "policy_retired", policy_version_id, from_epoch: made.fromEpoch };
    }
    case "request":
      return { type: "epoch_boundary_requested", reason: `${made.reason}` };
    case "suspend":
      return { type: "actor_suspended", actor_id: made.actor };
    case "reinstate":
      return { type: "actor_reinstated", actor_id: made.actor };
    case "deposit": {
      const { actor: actor_id, amount: amount_minor } = made;
      return {
        type: "stake_deposited",
        actor_id,
        amount_minor,
        reference: `wire-${made.reference}`,
      };
    }
    case "slash": {
      const { actor: actor_id, amount: amount_minor } = made;
      const grounds = {
        condition: "result_undelivered",
        task_id: `t-${made.reference}`,
      } as const;
      return { type: "actor_slashed", actor_id, amount_minor, grounds };
    }
  }
}

/** One network's governance as it runs, by a clock that the history moves. */
class Live {
  readonly #rig: GovernanceRig;
  readonly #clock: { nowMs: number };

  constructor(rig: GovernanceRig, clock: { nowMs: number }) {
    this.#rig = rig;
    this.#clock = clock;
  }

  /** @returns Whether it was taken. */
  async apply(made: VotedStep): Promise<boolean> {
    try {
      await this.#take(made);
      return true;
    } catch (error) {
      if (error instanceof SymphonyError) return false;
      throw error;
    }
  }

  async #take(made: VotedStep): Promise<unknown> {
    const { store, governance, ballots, epochs } = this.#rig;
    const { nowMs } = this.#clock;
    switch (made.kind) {
      case "wait":
        this.#clock.nowMs += made.ms;
        return undefined;
      case "sign":
        return this.#submit(decisionOf(made.motion), made.by);
      case "propose": {
        const decision = decisionOf(made.motion);
        return this.#submit({ type: "proposal_opened", decision }, [made.by]);
      }
      case "vote": {
        const proposalId = [...governance.state().proposals.keys()].at(-1 - made.proposal);
        const vote = made.approves ? "approve" : "reject";
        const cast = { vote, time_ms: nowMs + made.datedMs } as const;
        const id = proposalId ?? "00".repeat(32);
        return ballots.cast(id, voteBy(network, keyOf(made.by), { proposalId: id, ...cast }));
      }
      case "close": {
        const { trigger: reason, settlements } = made;
        return store.write((trx) => epochs.roll(trx, { reason, nowMs, settlements, resolved: [] }));
      }
    }
  }

  async #submit(decision: GovernanceDecision, by: readonly string[]): Promise<void> {
    const { governance } = this.#rig;
    const state = governance.state();
    const timeMs = this.#clock.nowMs;
    const event = createGovernanceEvent({ state, decision, keys: by.map(keyOf), timeMs });
    await governance.submit(event);
    const { sequence } = governance.state();
    await governance.submit(event);
    expect(governance.state().sequence, "the same event again").toBe(sequence);
  }

  async view() {
    const { governance, ballots } = this.#rig;
    const state = governance.state();
    const proposals = [...state.proposals.values()].map(async (proposal) => {
      const votes = await ballots.votes(proposal.proposalId);
      const cast = votes.map(({ voterId, vote }) => [nameOf(voterId), vote === "approve"] as const);
      const weights = [...proposal.electorate.weights].map(
        ([voterId, weight]) => [nameOf(voterId), Number(weight)] as const,
      );
      return {
        status: proposalStatus(proposal, this.#clock.nowMs),
        ballots: Object.fromEntries(cast),
        weights: Object.fromEntries(weights),
      };
    });
    const actors = governors.map(({ actorId }) => {
      const actor = state.actors.get(actorId);
      return [actorId, { stake: actor?.stake_minor, active: actor?.status === "active" }] as const;
    });
    return {
      ...viewOf(state),
      events: state.sequence,
      voters: Object.fromEntries(
        votersOf(state).map(({ voterId, stakeMinor }) => [nameOf(voterId), stakeMinor]),
      ),
      actors: Object.fromEntries(actors),
      proposals: await Promise.all(proposals),
    };
  }
}

let folder: string;

beforeAll(() => {
  folder = fs.mkdtempSync(path.join(os.tmpdir(), "symphony-votes-"));
});

afterAll(() => fs.rmSync(folder, { recursive: true, force: true }));

/** What all histories came to: proposals by where they stand in the end, and versions that became active. */
const seen = { approved: 0, rejected: 0, expired: 0, open: 0, activated: 0 };

async function expectLikeReference(steps: readonly VotedStep[], file: string): Promise<void> {
  const clock = { nowMs: NETWORK_TIME_MS };
  const at = { kind: "sqlite", file } as const;
  const rig = await openGovernanceRig({ network, at, nowMs: () => clock.nowMs });
  const { governance, epochs, store } = rig;
  const live = new Live(rig, clock);
  const reference = votesReference({
    ...{ founders: FOUNDERS, governors: STAKES, rule: RULE, limits: LIMITS },
  });
  const admitted = new AdmittedTasks();
  try {
    for (const made of steps) {
      expect(await live.apply(made), JSON.stringify(made)).toBe(reference.apply(made));
      expect(await live.view()).toEqual(reference.view());
      const state = governance.state();
      admitted.expectUnchanged(state);
      const open = (await epochs.list(0, 100)).filter(({ status }) => status === "open");
      expect(open.map(({ epoch_id }) => epoch_id)).toEqual([state.epoch.epochId]);
    }
    const folded = foldGovernance(network.genesisBytes, governance.events());
    expect(folded).toEqual(governance.state());
    const { proposals, epochs: versions } = reference.view();
    for (const { status } of proposals) seen[status] += 1;
    seen.activated += new Set(versions).size - 1;
  } finally {
    await store.close();
  }
}

test("[GS-1][GS-4][GS-5][GS-6][GS-7][EP-1][PV-2][DT-1] any history of proposals, votes, actors, stakes, versions and epochs is what the reference says, in every prefix", async () => {
  let count = 0;
  await fc.assert(
    fc.asyncProperty(historyOfVotes, (steps) =>
      expectLikeReference(steps, path.join(folder, `${(count += 1)}.db`)),
    ),
    { numRuns: RUNS, seed: 23 },
  );
  expect(Math.min(...Object.values(seen)), JSON.stringify(seen)).toBeGreaterThan(RUNS / 10);
}, 1_200_000);
