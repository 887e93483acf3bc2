import { expect, test } from "vitest";

import { accountTask, rewardOf } from "../../../host/settlement/accounting.ts";
import { payoutsOf } from "../../../host/settlement/payouts.ts";
import {
  genesisState,
  isStaked,
  type Actor,
  type ActorRole,
  type ConsumptionRecord,
  type ExecutionResultBundle,
  type Policy,
  type SettlementEntry,
} from "../../../protocol/index.ts";
import { someDigest } from "../../helpers/synthetic-round.ts";
import { QUERY } from "../../helpers/evidence-rig.ts";
import { customerData } from "../../helpers/network-data.ts";
import { testTask } from "../../helpers/network-task.ts";
import { createNetwork } from "../../helpers/network.ts";

const network = await createNetwork();
const state = genesisState(network.genesisBytes);
const task = await testTask(network, {
  parameters: QUERY,
  data: customerData(["vault-1", "vault-2"], 4),
});
const policy: Policy = {
  ...state.policy,
  economics: {
    ...state.policy.economics,
    producer_stake_minor: 50,
    staked_multiplier_percent: 133,
  },
};

function actor(role: ActorRole, stake_minor: number): Actor {
  const [any] = state.genesis.actors;
  if (any === undefined) throw new Error("no actor");
  return { ...any, role, stake_minor };
}

test.for<{ role: ActorRole; minimum: number }>([
  { role: "master", minimum: 1_000 },
  { role: "enterprise", minimum: 1_000 },
  { role: "aggregator", minimum: 1_000 },
  { role: "producer", minimum: 50 },
])("a $role is staked from $minimum on", ({ role, minimum }) => {
  expect(isStaked(actor(role, minimum), policy)).toBe(true);
  expect(isStaked(actor(role, minimum - 1), policy)).toBe(false);
});

test("nobody is staked without a stake, whatever the minimum", () => {
  const free = { ...policy, economics: { ...policy.economics, producer_stake_minor: 0 } };
  expect(isStaked(actor("producer", 0), free)).toBe(false);
  expect(isStaked(actor("submitter", 1_000_000), free)).toBe(false);
});

test("[SP-3] staked and unstaked Data Producers earn different shares, rounded down once", () => {
  const reward = (stake: number, rounds: number): number =>
    rewardOf({ actor: actor("producer", stake), policy, taskClass: "query", rounds });
  expect(reward(0, 3)).toBe(300);
  expect(reward(50, 3)).toBe(399);
  expect(reward(50, 1)).toBe(133);
});

test("[CT-6][SP-3] a Vault earns for each round it took part in, an aggregator for each it combined", () => {
  const record = (vault_id: string): ConsumptionRecord => ({
    version: 1,
    envelope_digest: task.envelopeDigest,
    vault_id,
    record_scope: "customers",
    usage_scope: "marketing",
    reservation_id: `reservation-${vault_id}`,
    consumed_epsilon_micro: 1,
    reserved_epsilon_micro: 1,
    flagged: false,
    epoch_id: 0,
    ledger_root: someDigest("root"),
    ledger_size: 1,
  });
  const slice = (vault_id: string): ExecutionResultBundle["slices"][number] => ({
    vault_id,
    manifest: someDigest("m"),
    order_digest: someDigest("o"),
    output_commitment: someDigest("c"),
    sealed_output_digest: someDigest("s"),
    epsilon_micro: 1,
  });
  const bundle = (vaultIds: string[]): ExecutionResultBundle => ({
    version: 1,
    envelope_digest: task.envelopeDigest,
    task_class: "query",
    round: 0,
    final: true,
    attempt: 0,
    platform: "sim",
    enclave_manifest: someDigest("e"),
    aggregation_method: "union",
    slices: vaultIds.map(slice),
    partial_coverage: false,
    input_state: null,
    model_change_micro: null,
    output_commitment: someDigest("out"),
    sealed_digest: someDigest("sealed"),
    key_commitment: someDigest("key"),
    share_digests: [],
    share_threshold: 2,
    epsilon_micro: 1,
  });
  const lines = accountTask({
    envelope: task.envelope,
    policy: state.policy,
    actors: state.actors,
    bundles: [bundle(["vault-1", "vault-2"]), bundle(["vault-1"])],
    consumption: [record("vault-1"), record("vault-2")],
  });
  expect(lines.map((line) => [line.actor_id, line.amount_minor])).toEqual([
    ["aggregator", 200],
    ["vault-1", 200],
    ["vault-2", 100],
  ]);
});

test("[SP-5] a payout is what was earned; what is owed was taken from the stake", () => {
  const line = (actor_id: string, kind: "reward" | "penalty", amount_minor: number) => ({
    actor_id,
    kind,
    amount_minor,
    reason: "slice",
  });
  const entry: SettlementEntry = {
    task_id: "t-1",
    envelope_digest: task.envelopeDigest,
    epoch_id: 0,
    output_commitment: someDigest("out"),
    round_bundles: [someDigest("bundle")],
    verified_governance_size: 0,
    consumption: [],
    accounting: [line("a", "reward", 300), line("a", "penalty", 100), line("b", "penalty", 5)],
  };
  const second = { ...entry, task_id: "t-2", accounting: [line("a", "reward", 1)] };
  expect(payoutsOf(someDigest("root"), [entry, second])).toEqual([
    { settlement_root: someDigest("root"), actor_id: "a", amount_minor: 301 },
  ]);
});
