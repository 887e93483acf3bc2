import { boxKeyPairFromSeed, type BoxKeyPair } from "../../protocol/sealed-box.ts";
import { cosignCheckpoint, signCheckpoint } from "../../protocol/checkpoint.ts";
import { sha256, sha384 } from "../../protocol/hash.ts";
import { hex, utf8 } from "../../protocol/bytes.ts";
import { leafHash, merkleRoot } from "../../protocol/merkle.ts";
import { digestOfBytes } from "../../protocol/hash.ts";
import {
  GENESIS,
  GOVERNANCE_EVENT,
  GOVERNANCE_STATEMENT,
  governanceOrigin,
  type Actor,
  type Genesis,
  type GovernanceStatement,
} from "../../protocol/governance/governance-objects.ts";
import { GOVERNANCE_SNAPSHOT } from "../../protocol/governance/governance-snapshot.ts";
import { signingKeyFromSeed, type SigningKey } from "../../protocol/signing.ts";
import type { ActorRole } from "../../protocol/fields.ts";
import type { Policy } from "../../protocol/governance/policy.ts";
import { budgetOf, processesOf, rateLimitsOf } from "../../sim/network/policy.ts";
import { testSemantics } from "./network-data.ts";

/** The time every generated object is from: 2026-01-01T00:00:00Z. */
export const NETWORK_TIME_MS = 1_767_225_600_000;

/** PCRs of the enclave image the generated policy accepts, lower-case hex. */
export interface Measurement {
  readonly pcr0: string;
  readonly pcr1: string;
  readonly pcr2: string;
}

/** PCR0 to PCR2 that stand for "the accepted image" where none was measured. */
export const TEST_MEASUREMENT: Measurement = {
  pcr0: hex(sha384(utf8("symphony test pcr0"))),
  pcr1: hex(sha384(utf8("symphony test pcr1"))),
  pcr2: hex(sha384(utf8("symphony test pcr2"))),
};

/** An actor with its private keys. */
export interface TestActor {
  readonly actorId: string;
  readonly role: ActorRole;
  readonly signing: SigningKey;
  readonly box: BoxKeyPair;
}

/** A generated network: genesis, and every private key behind it. */
export interface TestNetwork {
  readonly genesis: Genesis;
  readonly genesisBytes: Uint8Array;
  readonly genesisDigest: Uint8Array;
  readonly governanceKeys: readonly SigningKey[];
  readonly coordinator: TestActor;
  readonly aggregator: TestActor;
  readonly submitter: TestActor;
  /** In order of actor identifier: `vault-1`, `vault-2`, ... */
  readonly vaults: readonly TestActor[];
}

/** What a generated network may differ in. */
export interface NetworkOptions {
  readonly vaultCount?: number;
  readonly measurement?: Measurement;
  /** Changes the generated policy before it goes into the genesis. */
  readonly policy?: (policy: Policy) => Policy;
  /** Changes the finished genesis. */
  readonly genesis?: (genesis: Genesis) => Genesis;
}

/** 32 bytes that depend on `label` alone: the seed of whatever a test needs to be secret and repeatable. */
export function testSeed(label: string): Uint8Array {
  return sha256(utf8(`symphony test seed ${label}`));
}

/** An actor whose keys depend on its name alone. */
export async function testActor(actorId: string, role: ActorRole): Promise<TestActor> {
  return {
    actorId,
    role,
    signing: signingKeyFromSeed(testSeed(`${actorId} signing`)),
    box: await boxKeyPairFromSeed(testSeed(`${actorId} box`)),
  };
}

/**
 * A network of `vaultCount` Vaults (3), a coordinator, an aggregator, a submitter and three governance keys, two of
 * which decide. Equal options give equal bytes.
 */
export async function createNetwork(options: NetworkOptions = {}): Promise<TestNetwork> {
  const count = options.vaultCount ?? 3;
  const coordinator = await testActor("coordinator", "master");
  const aggregator = await testActor("aggregator", "aggregator");
  const submitter = await testActor("analyst", "submitter");
  const vaults = await Promise.all(
    Array.from({ length: count }, (_, index) => testActor(`vault-${index + 1}`, "enterprise")),
  );
  const governanceKeys = [1, 2, 3].map((n) => signingKeyFromSeed(testSeed(`governance ${n}`)));
  const policy = testPolicy(options.measurement ?? TEST_MEASUREMENT, count);
  const plain: Genesis = {
    version: 1,
    network: "test",
    simulated: true,
    governance_keys: governanceKeys.map((key) => key.publicKey),
    coordinator_id: coordinator.actorId,
    aggregator_id: aggregator.actorId,
    actors: [coordinator, aggregator, submitter, ...vaults].map(actorEntry),
    policy: options.policy === undefined ? policy : options.policy(policy),
    semantics: testSemantics(),
    opened_ms: NETWORK_TIME_MS,
  };
  const genesis = options.genesis === undefined ? plain : options.genesis(plain);
  return {
    genesis,
    genesisBytes: GENESIS.encode(genesis),
    genesisDigest: GENESIS.digest(genesis),
    governanceKeys,
    coordinator,
    aggregator,
    submitter,
    vaults,
  };
}

/** Has a generated network opened now, so that a coordinator by the clock does not end its first epoch at once. */
export function openedNow(genesis: Genesis): Genesis {
  return { ...genesis, opened_ms: Date.now() };
}

function actorEntry(actor: TestActor): Actor {
  return {
    actor_id: actor.actorId,
    role: actor.role,
    signing_key: actor.signing.publicKey,
    box_key: actor.box.publicKey,
    stake_minor: 1_000_000,
    status: "active",
  };
}

/** The policy of a generated network: small numbers, simulator evidence, every class allowed. */
export function testPolicy(measurement: Measurement, vaultCount: number): Policy {
  const constraints = {
    tee_required: true as const,
    multi_vault: true,
    budget_required: true,
    budget_lock_required: false,
    execution_ms_max: 60_000,
    rows_max: 256,
    slice_reward_minor: 100,
  };
  return {
    policy_version_id: "policy-1",
    effective_from_epoch: 0,
    predecessor_version_id: null,
    classes: {
      parse: { ...constraints, multi_vault: false, budget_required: false, rows_max: 64 },
      query: constraints,
      compute: constraints,
      train: constraints,
    },
    privacy: {
      budgets: [
        budgetOf("marketing", 20_000_000),
        budgetOf("analytics", 20_000_000),
        budgetOf("training", 40_000_000),
      ],
      minimum_result_cardinality: 10,
      minimum_local_cardinality: 5,
      delta_pico: 1_000_000,
      tolerance_micro: 0,
      minimum_train_vaults: 2,
    },
    multi_vault: {
      minimum_vault_quorum: Math.min(2, vaultCount),
      per_vault_timeout_ms: 30_000,
      aggregation_environment: "tee",
      partial_coverage_accepted: true,
      witness_quorum: Math.min(1, vaultCount - 1),
    },
    semantics: {
      ...{ deprecated_resolvable: false, sub_domains_permitted: false },
      local_attributes: {
        ...{ high_activity_domains: [], minimum_vaults: 2 },
        ...{ stability_percent: 80, vault_scoped_epochs: 5 },
      },
    },
    admission: {
      resolving_timeout_ms: 10_000,
      concurrent_tasks_max: 16,
      actor_concurrent_tasks_max: 16,
      rate_limits: rateLimitsOf({ actor_tasks_max: 1_000, window_ms: 60_000 }),
      task_timeout_ms_max: 600_000,
      request_age_ms_max: 600_000,
    },
    economics: {
      master_stake_minor: 1_000,
      enterprise_stake_minor: 1_000,
      producer_stake_minor: 0,
      staked_multiplier_percent: 100,
      violation_penalty_minor: 500,
      unbonding_epochs: 2,
    },
    governance: {
      challenge_window_ms: 2_000,
      challenge_bond_minor: 100,
      challenge_deadline_ms: 60_000,
      checkpoint_quorum: Math.min(2, vaultCount),
      processes: processesOf({
        quorum: 2,
        threshold_basis_points: 6_600,
        window_ms: 0,
        weight: "actor",
      }),
    },
    epoch: { time_ms_max: 60_000, settlement_volume_max: 1_000_000 },
    attestation: {
      platforms: ["sim"],
      reference_values: [
        { ...measurement, valid_from_ms: 0, valid_until_ms: 8_640_000_000_000_000 },
      ],
      age_ms_max: 600_000,
    },
  };
}

/**
 * The governance log with one event for each of `decisions`, approved by the first two governance keys, under a
 * checkpoint that the coordinator signed and every Vault cosigned. Bytes of a GovernanceSnapshot.
 */
export function governanceSnapshot(
  network: TestNetwork,
  decisions: readonly GovernanceStatement["decision"][] = [],
): Uint8Array {
  const events = governanceEvents(network, decisions);
  let checkpoint = signCheckpoint({
    origin: governanceOrigin(network.genesis.network),
    size: events.length,
    root: merkleRoot(events.map(leafHash)),
    signerName: network.coordinator.actorId,
    key: network.coordinator.signing,
  });
  for (const vault of network.vaults) {
    checkpoint = cosignCheckpoint(checkpoint, {
      signerName: vault.actorId,
      key: vault.signing,
      timeSeconds: NETWORK_TIME_MS / 1000,
    });
  }
  return GOVERNANCE_SNAPSHOT.encode({ genesis: network.genesisBytes, events, checkpoint });
}

/** Events for `decisions` in order, each approved by the first two governance keys. */
export function governanceEvents(
  network: TestNetwork,
  decisions: readonly GovernanceStatement["decision"][],
): Uint8Array[] {
  const events: Uint8Array[] = [];
  let previous: Uint8Array = new Uint8Array(32);
  for (const [sequence, decision] of decisions.entries()) {
    const statement: GovernanceStatement = {
      genesis_digest: network.genesisDigest,
      sequence,
      previous,
      time_ms: NETWORK_TIME_MS,
      decision,
    };
    const event = GOVERNANCE_EVENT.encode({
      approvals: network.governanceKeys
        .slice(0, 2)
        .map((key) => GOVERNANCE_STATEMENT.sign(statement, key)),
    });
    previous = digestOfBytes("governance-event", event);
    events.push(event);
  }
  return events;
}

/** The decision that registers an artifact by the SHA-256 of its bytes. */
export function artifactRegistered(
  bytes: Uint8Array,
  kind: "model" | "step_graph",
): GovernanceStatement["decision"] {
  return {
    type: "artifact_registered",
    artifact: { digest: sha256(bytes), kind, description: "generated for a test" },
  };
}
