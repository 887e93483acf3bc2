import { expect, test } from "vitest";

import { createGovernanceEvent } from "../../../host/governance/index.ts";
import {
  CONSUMPTION_RECORD,
  actorLogOrigin,
  applyGovernanceEvent,
  genesisState,
  governanceOrigin,
  requireStake,
  signCheckpoint,
  slashedMinor,
  unbondingMinor,
  type ConsumptionRecord,
  type GovernanceDecision,
  type GovernanceState,
  type SigningKey,
} from "../../../protocol/index.ts";
import { NETWORK_TIME_MS, createNetwork } from "../../helpers/network.ts";

const network = await createNetwork();
const START = genesisState(network.genesisBytes);
const VOTERS = network.governanceKeys.slice(0, 2);
const [vault] = network.vaults;
if (vault === undefined) throw new Error("no vault");
const VAULT_KEY = vault.signing;
const INVALID = "GOVERNANCE_EVENT_INVALID";
const refused = (code: string, field?: string) =>
  expect.objectContaining(
    field === undefined ? { code } : { code, details: expect.objectContaining({ field }) },
  );

function decided(
  state: GovernanceState,
  decision: GovernanceDecision,
  keys: readonly SigningKey[] = VOTERS,
): GovernanceState {
  const event = createGovernanceEvent({ state, decision, keys, timeMs: NETWORK_TIME_MS });
  return applyGovernanceEvent(state, event);
}

function later(state: GovernanceState, epochs: number): GovernanceState {
  let at = state;
  for (let count = 0; count < epochs; count += 1) {
    at = decided(at, { type: "epoch_boundary_requested", reason: "" });
    const { epochId } = at.epoch;
    const decision = { epoch_id: epochId, trigger: "governance", settlements: 0 } as const;
    at = decided(at, { type: "epoch_closed", ...decision }, [network.coordinator.signing]);
  }
  return at;
}

const deposit = (amount_minor: number, reference: string): GovernanceDecision => ({
  type: "stake_deposited",
  actor_id: "vault-1",
  amount_minor,
  reference,
});
const withdrawal = (amount_minor: number, reference: string): GovernanceDecision => ({
  type: "stake_withdrawn",
  actor_id: "vault-1",
  amount_minor,
  reference,
});
const unbonding = (amount_minor: number): GovernanceDecision => ({
  type: "unbonding_started",
  actor_id: "vault-1",
  amount_minor,
});
const slashed = (amount_minor: number, task_id = "t-1"): GovernanceDecision => ({
  type: "actor_slashed",
  actor_id: "vault-1",
  amount_minor,
  grounds: { condition: "result_undelivered", task_id },
});

function accountOf(state: GovernanceState) {
  const actor = state.actors.get("vault-1");
  if (actor === undefined) throw new Error("no actor");
  const { stake } = actor;
  return {
    deposited: stake.depositedMinor,
    bonded: actor.stake_minor,
    unbonding: unbondingMinor(stake),
    withdrawn: stake.withdrawnMinor,
    slashed: slashedMinor(stake),
  };
}

test("[GS-3] stake goes in, unbonds by its owner's word, and out when the window is over", () => {
  const bonded = decided(START, deposit(500, "wire-1"));
  expect(accountOf(bonded)).toMatchObject({ deposited: 1_000_500, bonded: 1_000_500 });
  const leaving = decided(bonded, unbonding(600), [VAULT_KEY]);
  expect(accountOf(leaving)).toMatchObject({ bonded: 999_900, unbonding: 600 });
  for (const early of [leaving, later(leaving, 1)]) {
    expect(() => decided(early, withdrawal(1, "out-1"))).toThrow(refused(INVALID, "amount_minor"));
  }
  const free = later(leaving, 2);
  expect(() => decided(free, withdrawal(601, "out-1"))).toThrow(refused(INVALID, "amount_minor"));
  const out = decided(free, withdrawal(600, "out-1"));
  expect(accountOf(out)).toEqual({
    deposited: 1_000_500,
    bonded: 999_900,
    unbonding: 0,
    withdrawn: 600,
    slashed: 0,
  });
});

test.for<{
  title: string;
  decision: GovernanceDecision;
  keys?: readonly SigningKey[];
  code: string;
}>([
  {
    title: "more than is bonded to unbond",
    decision: unbonding(1_000_001),
    keys: [VAULT_KEY],
    code: INVALID,
  },
  {
    title: "governance to unbond what is not its own",
    decision: unbonding(1),
    code: "GOVERNANCE_QUORUM_NOT_MET",
  },
  {
    title: "an actor to say that it has paid",
    decision: deposit(1, "wire-2"),
    keys: [VAULT_KEY],
    code: "GOVERNANCE_QUORUM_NOT_MET",
  },
  {
    title: "a deposit of nobody",
    decision: { type: "stake_deposited", actor_id: "x", amount_minor: 1, reference: "y" },
    code: INVALID,
  },
  {
    title: "deposits past what numbers hold",
    decision: deposit(Number.MAX_SAFE_INTEGER, "wire-2"),
    code: INVALID,
  },
])("[GS-3] refuses $title", ({ decision, keys, code }) => {
  expect(() => decided(START, decision, keys)).toThrow(refused(code));
});

test("[GS-3] one payment counts once, for whomever", () => {
  const paid = decided(START, deposit(500, "wire-1"));
  expect(() => decided(paid, deposit(500, "wire-1"))).toThrow(refused(INVALID, "reference"));
  const other = { type: "stake_deposited", actor_id: "vault-2", amount_minor: 1 } as const;
  expect(() => decided(paid, { ...other, reference: "wire-1" })).toThrow(
    refused(INVALID, "reference"),
  );
});

test("[GS-3] slashing takes what is bonded, then what is leaving, and never more than there is", () => {
  const leaving = decided(START, unbonding(400_000), [VAULT_KEY]);
  const once = decided(leaving, slashed(700_000));
  expect(accountOf(once)).toMatchObject({ bonded: 0, unbonding: 300_000, slashed: 700_000 });
  expect(() => decided(once, slashed(1)), "one punishment for one task").toThrow(
    refused(INVALID, "evidence"),
  );
  const twice = decided(once, slashed(700_000, "t-2"));
  expect(accountOf(twice)).toMatchObject({ bonded: 0, unbonding: 0, slashed: 1_000_000 });
});

test("[GS-3] who is below its tier's minimum takes no new work", () => {
  const { policy } = START;
  const actor = (state: GovernanceState) => {
    const found = state.actors.get("vault-1");
    if (found === undefined) throw new Error("no actor");
    return found;
  };
  const least = decided(START, slashed(999_000));
  expect(() => requireStake(actor(least), policy)).not.toThrow();
  expect(() => requireStake(actor(decided(least, slashed(1, "t-2"))), policy)).toThrow(
    refused("POLICY_STAKE_INSUFFICIENT"),
  );
});

test("[GS-3] a suspended actor takes nothing out, a retired one unbonds all", () => {
  const leaving = later(decided(START, unbonding(10), [VAULT_KEY]), 2);
  const suspended = decided(leaving, { type: "actor_suspended", actor_id: "vault-1" });
  expect(() => decided(suspended, withdrawal(10, "out"))).toThrow(refused(INVALID, "actor_id"));
  expect(() => decided(suspended, unbonding(1), [VAULT_KEY])).toThrow(
    refused("GOVERNANCE_QUORUM_NOT_MET"),
  );
  const retired = decided(leaving, { type: "actor_retired", actor_id: "vault-1" });
  expect(accountOf(retired)).toMatchObject({ bonded: 0, unbonding: 1_000_000 });
  expect(() => decided(retired, deposit(1, "in"))).toThrow(refused(INVALID, "actor_id"));
  expect(accountOf(decided(retired, withdrawal(10, "out")))).toMatchObject({ withdrawn: 10 });
  expect(accountOf(decided(retired, slashed(5)))).toMatchObject({ slashed: 5 });
});

test("[GS-3] an actor has sixteen withdrawals under way", () => {
  let state = START;
  for (let count = 0; count < 16; count += 1) state = decided(state, unbonding(1), [VAULT_KEY]);
  expect(() => decided(state, unbonding(1), [VAULT_KEY])).toThrow(refused(INVALID, "actor_id"));
});

const RECORD: ConsumptionRecord = {
  version: 1,
  envelope_digest: new Uint8Array(32).fill(7),
  vault_id: "vault-1",
  record_scope: "customers",
  usage_scope: "marketing",
  reservation_id: "r-1",
  consumed_epsilon_micro: 2,
  reserved_epsilon_micro: 1,
  flagged: true,
  epoch_id: 0,
  ledger_root: new Uint8Array(32),
  ledger_size: 1,
};

function proven(
  changes: Partial<ConsumptionRecord> = {},
  version = "policy-1",
): GovernanceDecision {
  return {
    type: "violation_proven",
    actor_id: "vault-1",
    policy_version_id: version,
    signed_record: CONSUMPTION_RECORD.sign({ ...RECORD, ...changes }, VAULT_KEY),
  };
}

test("[GS-3][SP-4] a Vault's own record of having exceeded its budget costs it the penalty, once", () => {
  const { signing } = network.coordinator;
  const paid = decided(START, proven(), [signing]);
  expect(accountOf(paid)).toMatchObject({ bonded: 999_500, slashed: 500 });
  expect(() => decided(paid, proven({ ledger_size: 2 }), [signing])).toThrow(
    refused(INVALID, "evidence"),
  );
  const attempts: readonly [GovernanceDecision, readonly SigningKey[], string][] = [
    [proven({ flagged: false }), [signing], INVALID],
    [proven({ vault_id: "vault-2" }), [signing], INVALID],
    [proven({}, "policy-9"), [signing], INVALID],
    [proven(), [VAULT_KEY], "GOVERNANCE_QUORUM_NOT_MET"],
    [proven(), VOTERS, "GOVERNANCE_QUORUM_NOT_MET"],
  ];
  for (const [decision, keys, code] of attempts) {
    expect(() => decided(START, decision, keys)).toThrow(refused(code));
  }
  const forged: GovernanceDecision = {
    type: "violation_proven",
    actor_id: "vault-1",
    policy_version_id: "policy-1",
    signed_record: CONSUMPTION_RECORD.sign(RECORD, signing),
  };
  expect(() => decided(START, forged, [signing])).toThrow(refused("PROOF_SIGNATURE_INVALID"));
});

function head(origin: string, size: number, root: number, key = VAULT_KEY) {
  const signerName = origin.endsWith("/test") ? "coordinator" : "vault-1";
  return signCheckpoint({ origin, size, root: new Uint8Array(32).fill(root), signerName, key });
}

function forked(checkpoints: [string, string], actor_id = "vault-1"): GovernanceDecision {
  const grounds = { condition: "equivocation", checkpoints } as const;
  return { type: "actor_slashed", actor_id, amount_minor: 5, grounds: { ...grounds, checkpoints } };
}

test("[GS-3] two signed heads of one size cost stake; heads that agree, or of others, do not", () => {
  const own = actorLogOrigin("test", "vault-1");
  const pair: [string, string] = [head(own, 3, 1), head(own, 3, 2)];
  const paid = decided(START, forked(pair));
  expect(accountOf(paid)).toMatchObject({ slashed: 5 });
  expect(() => decided(paid, forked([pair[1], pair[0]]))).toThrow(refused(INVALID, "evidence"));
  const other = actorLogOrigin("test", "vault-2");
  const stranger = head(own, 3, 2, network.coordinator.signing);
  const attempts: readonly [[string, string], string][] = [
    [[head(own, 3, 1), head(own, 3, 1)], INVALID],
    [[head(own, 3, 1), head(own, 4, 2)], INVALID],
    [[head(other, 3, 1), head(other, 3, 2)], INVALID],
    [[head(own, 3, 1), stranger], "PROOF_CHECKPOINT_INVALID"],
    [[head(own, 3, 1), head(other, 3, 2)], "PROOF_CHECKPOINT_INVALID"],
  ];
  for (const [checkpoints, code] of attempts) {
    expect(() => decided(START, forked(checkpoints))).toThrow(refused(code));
  }
});

test("[GS-3] a coordinator that signs two governance logs pays like any other", () => {
  const log = governanceOrigin("test");
  const key = network.coordinator.signing;
  const decision = forked([head(log, 3, 1, key), head(log, 3, 2, key)], "coordinator");
  expect(decided(START, decision).actors.get("coordinator")?.stake_minor).toBe(999_995);
});

test("[GS-3][CH-1] a challenge is decided once, and who is at fault pays from its stake", () => {
  const resolved = (
    resolution: "approved" | "not_confirmed" | "closed_without_penalty",
    penalty: { actor_id: string; amount_minor: number } | null,
  ): GovernanceDecision => ({
    type: "challenge_resolved",
    task_id: "t-1",
    resolution,
    penalty,
    reason: "",
  });
  const fault = { actor_id: "vault-1", amount_minor: 500 };
  const approved = decided(START, resolved("approved", fault));
  expect(accountOf(approved)).toMatchObject({ bonded: 999_500, slashed: 500 });
  expect(approved.challengeResolutions.get("t-1")).toEqual({
    resolution: "approved",
    penalty: fault,
  });
  expect(() => decided(approved, resolved("closed_without_penalty", null))).toThrow(
    refused(INVALID, "task_id"),
  );
  expect(accountOf(decided(START, resolved("not_confirmed", fault)))).toMatchObject({
    slashed: 500,
  });
  expect(accountOf(decided(START, resolved("not_confirmed", null)))).toMatchObject({ slashed: 0 });
  expect(() => decided(START, resolved("approved", null))).toThrow(refused(INVALID, "penalty"));
  expect(() => decided(START, resolved("closed_without_penalty", fault))).toThrow(
    refused(INVALID, "penalty"),
  );
});
