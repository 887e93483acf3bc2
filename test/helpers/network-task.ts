import { hmacSha256, digestOfBytes } from "../../protocol/hash.ts";
import { hex } from "../../protocol/bytes.ts";
import { shareCommitment } from "../../protocol/keys.ts";
import { TASK_REQUEST, type TaskRequest } from "../../protocol/task-request.ts";
import { VAULT_DECISION, type VaultDecision } from "../../protocol/vault-decision.ts";
import {
  TASK_ENVELOPE,
  iterationPolicyOf,
  type TaskEnvelope,
} from "../../protocol/task-envelope.ts";
import { WORK_ORDER, type WorkOrder } from "../../protocol/work-order.ts";
import type { TaskParameters } from "../../protocol/task-parameters.ts";
import { policyDigest } from "../../protocol/governance/policy.ts";
import { boxKeyPairFromSeed, type BoxKeyPair } from "../../protocol/sealed-box.ts";
import { NETWORK_TIME_MS, testSeed, type TestActor, type TestNetwork } from "./network.ts";
import { genesisState } from "../../protocol/governance/governance.ts";
import { resolveRequest } from "../../protocol/semantics/resolution.ts";
import type { VaultData } from "./network-data.ts";

const DAY_MS = 86_400_000;

/** One task of a generated network, admitted: what the submitter, each Vault and the coordinator made of it. */
export interface TestTask {
  readonly network: TestNetwork;
  readonly request: TaskRequest;
  readonly signedRequest: Uint8Array;
  readonly delivery: BoxKeyPair;
  readonly decisions: readonly VaultDecision[];
  readonly signedDecisions: readonly Uint8Array[];
  readonly envelope: TaskEnvelope;
  readonly envelopeBytes: Uint8Array;
  readonly envelopeDigest: Uint8Array;
  /** In order of Vault. */
  readonly data: readonly VaultData[];
}

const SCOPES = {
  parse: { record_scope: "receipts", usage_scope: "personal_use" },
  query: { record_scope: "customers", usage_scope: "marketing" },
  compute: { record_scope: "customers", usage_scope: "analytics" },
  train: { record_scope: "customers", usage_scope: "training" },
} as const;

const METHODS = {
  parse: "union",
  query: "union",
  compute: "secure_sum",
  train: "federated_average",
} as const;

/** The HPKE key pair results of generated tasks are sealed to. */
export async function deliveryKey(): Promise<BoxKeyPair> {
  return boxKeyPairFromSeed(testSeed("delivery"));
}

/** A request by the submitter for `parameters` over the first `data.length` Vaults. */
export async function testRequest(
  network: TestNetwork,
  parameters: TaskParameters,
  changes: Partial<TaskRequest> = {},
): Promise<TaskRequest> {
  const delivery = await deliveryKey();
  return {
    version: 1,
    request_id: testSeed(`request ${parameters.task_class}`).slice(0, 16),
    genesis_digest: network.genesisDigest,
    actor_id: network.submitter.actorId,
    task_class: parameters.task_class,
    ...SCOPES[parameters.task_class],
    vault_ids: network.vaults.map((vault) => vault.actorId),
    parameters,
    vault_attributes: [],
    epsilon_micro: parameters.task_class === "parse" ? 0 : 8_000_000,
    budget_lock_minor: 0,
    delivery_key: delivery.publicKey,
    created_ms: NETWORK_TIME_MS,
    task_timeout_ms: 120_000,
    ...changes,
  };
}

/** The secret noise share of a Vault for one round of a request. */
export function noiseShare(request: TaskRequest, vaultId: string, round: number): Uint8Array {
  const label = `share ${hex(TASK_REQUEST.digest(request))} ${vaultId} ${round}`;
  return testSeed(label);
}

/** Rounds a request asks for. */
function roundsOfRequest(request: TaskRequest): number {
  return request.parameters.task_class === "train" ? request.parameters.rounds : 1;
}

/** A Vault's decision to take part with `data`. */
export function testDecision(
  request: TaskRequest,
  vault: TestActor,
  data: VaultData,
): VaultDecision {
  const rounds = Array.from({ length: roundsOfRequest(request) }, (_, round) => round);
  return {
    version: 1,
    request_digest: TASK_REQUEST.digest(request),
    vault_id: vault.actorId,
    outcome: {
      decision: "reserved",
      policy_version: "policy-1",
      grant_id: `grant-${vault.actorId}`,
      consent_commitment: hmacSha256(data.consentKey, data.consentBitmap),
      input_commitment: data.inputCommitment,
      reservation_id: `reservation-${vault.actorId}`,
      epsilon_micro: request.epsilon_micro,
      share_commitments: rounds.map((round) =>
        shareCommitment(noiseShare(request, vault.actorId, round)),
      ),
      expires_ms: NETWORK_TIME_MS + DAY_MS,
    },
  };
}

/** Admits a task over the Vaults the request names; `data` in the same order. */
export async function testTask(
  network: TestNetwork,
  args: {
    readonly parameters: TaskParameters;
    readonly data: readonly VaultData[];
    readonly request?: Partial<TaskRequest>;
    /** Changes the envelope before it is frozen. */
    readonly envelope?: (envelope: TaskEnvelope) => TaskEnvelope;
  },
): Promise<TestTask> {
  const vaults = network.vaults.slice(0, args.data.length);
  const request = await testRequest(network, args.parameters, {
    vault_ids: vaults.map((vault) => vault.actorId),
    ...args.request,
  });
  const pairs = vaults.flatMap((vault, index) => {
    const data = args.data[index];
    return data === undefined ? [] : [{ vault, decision: testDecision(request, vault, data) }];
  });
  const decisions = pairs.map(({ decision }) => decision);
  const signedRequest = TASK_REQUEST.sign(request, network.submitter.signing);
  const plain = freeze(network, { request, signedRequest, decisions });
  const envelope = args.envelope === undefined ? plain : args.envelope(plain);
  return {
    network,
    request,
    signedRequest,
    delivery: await deliveryKey(),
    decisions,
    signedDecisions: pairs.map(({ vault, decision }) =>
      VAULT_DECISION.sign(decision, vault.signing),
    ),
    envelope,
    envelopeBytes: TASK_ENVELOPE.encode(envelope),
    envelopeDigest: TASK_ENVELOPE.digest(envelope),
    data: args.data,
  };
}

interface Admitted {
  readonly request: TaskRequest;
  readonly signedRequest: Uint8Array;
  readonly decisions: readonly VaultDecision[];
}

function freeze(network: TestNetwork, admitted: Admitted): TaskEnvelope {
  const { request, signedRequest, decisions } = admitted;
  const requestDigest = TASK_REQUEST.digest(request);
  const { policy } = network.genesis;
  const reserved = decisions.flatMap((decision) =>
    decision.outcome.decision === "reserved" ? [{ decision, outcome: decision.outcome }] : [],
  );
  return {
    version: 1,
    task_id: `t-${hex(requestDigest).slice(0, 32)}`,
    task_class: request.task_class,
    caller_context: {
      actor_id: request.actor_id,
      role: "submitter",
      request_digest: requestDigest,
      signed_request: signedRequest,
    },
    authorization_context: reserved.map(({ decision, outcome }) => ({
      vault_id: decision.vault_id,
      grant_id: outcome.grant_id,
      decision_digest: VAULT_DECISION.digest(decision),
    })),
    consent_references: reserved.map(({ decision, outcome }) => ({
      vault_id: decision.vault_id,
      consent_commitment: outcome.consent_commitment,
    })),
    semantic_version: network.genesis.semantics.semantic_version,
    policy_version: policy.policy_version_id,
    policy_digest: policyDigest(policy),
    epoch_id: 0,
    ...resolved(request, network),
    budget_lock_ref: null,
    privacy_budget_reservation: reserved.map(({ decision, outcome }) => ({
      vault_id: decision.vault_id,
      reservation_id: outcome.reservation_id,
      epsilon_micro: outcome.epsilon_micro,
      expires_ms: outcome.expires_ms,
    })),
    coordination_envelope: coordinationOf(network, request, decisions),
    iteration_policy: iterationPolicyOf(request.parameters),
    admission_timestamp: NETWORK_TIME_MS,
    task_timeout: request.task_timeout_ms,
    genesis_digest: network.genesisDigest,
    record_scope: request.record_scope,
    usage_scope: request.usage_scope,
    parameters: request.parameters,
    epsilon_micro: request.epsilon_micro,
    delta_pico: policy.privacy.delta_pico,
    delivery_key: request.delivery_key,
    inputs: reserved.map(({ decision, outcome }) => ({
      vault_id: decision.vault_id,
      input_commitment: outcome.input_commitment,
      share_commitments: outcome.share_commitments,
    })),
  };
}

/** Null for a request that does not resolve: a test of refusals still wants an envelope around it. */
function resolved(
  request: TaskRequest,
  network: TestNetwork,
): Pick<TaskEnvelope, "attribute_composition" | "derivation_rule_refs"> {
  try {
    const resolution = resolveRequest(request, genesisState(network.genesisBytes));
    const { attribute_composition, derivation_rule_refs } = resolution;
    return { attribute_composition, derivation_rule_refs };
  } catch {
    return { attribute_composition: null, derivation_rule_refs: [] };
  }
}

function coordinationOf(
  network: TestNetwork,
  request: TaskRequest,
  decisions: readonly VaultDecision[],
): TaskEnvelope["coordination_envelope"] {
  if (decisions.length === 1) return null;
  const { policy } = network.genesis;
  return {
    parent_task_id: `t-${hex(TASK_REQUEST.digest(request)).slice(0, 32)}`,
    participating_vault_ids: decisions.map((decision) => decision.vault_id),
    minimum_vault_quorum: policy.multi_vault.minimum_vault_quorum,
    aggregation_method: METHODS[request.task_class],
    aggregation_environment: "tee",
    aggregator_id: network.aggregator.actorId,
    per_vault_timeout: policy.multi_vault.per_vault_timeout_ms,
  };
}

/** A Vault's order to an enclave for one round of `task`. */
export function testOrder(
  task: Pick<TestTask, "envelope" | "envelopeDigest">,
  args: {
    readonly vaultId: string;
    readonly enclaveManifest: Uint8Array;
    readonly aggregatorManifest: Uint8Array | null;
    readonly round?: number;
    readonly previousState?: Uint8Array | null;
    readonly changes?: Partial<WorkOrder>;
  },
): WorkOrder {
  const { envelope } = task;
  const { vaultId, round = 0 } = args;
  const input = envelope.inputs.find((candidate) => candidate.vault_id === vaultId);
  const consent = envelope.consent_references.find((candidate) => candidate.vault_id === vaultId);
  const nothing = new Uint8Array(32);
  return {
    version: 1,
    envelope_digest: task.envelopeDigest,
    request_digest: envelope.caller_context.request_digest,
    genesis_digest: envelope.genesis_digest,
    policy_digest: envelope.policy_digest,
    vault_id: vaultId,
    round,
    attempt: 0,
    role: args.aggregatorManifest === null ? "sole" : "slice",
    enclave_manifest: args.enclaveManifest,
    aggregator_manifest: args.aggregatorManifest,
    input_commitment: input?.input_commitment ?? nothing,
    consent_commitment: consent?.consent_commitment ?? nothing,
    share_commitment: input?.share_commitments[round] ?? nothing,
    previous_state: args.previousState ?? null,
    ledger_root: digestOfBytes("test-ledger", nothing),
    ledger_size: 1,
    governance_size: 0,
    expires_ms: NETWORK_TIME_MS + DAY_MS,
    ...args.changes,
  };
}

/** The order as its Vault signs it. */
export function signOrder(task: Pick<TestTask, "network">, order: WorkOrder): Uint8Array {
  const vault = task.network.vaults.find((candidate) => candidate.actorId === order.vault_id);
  return WORK_ORDER.sign(order, (vault ?? task.network.submitter).signing);
}
