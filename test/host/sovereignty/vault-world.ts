import { randomBytes } from "node:crypto";

import { parseNitroDocument } from "../../../attestation/index.ts";
import { sealForRecipient } from "../../../host/sovereignty/custody/cms.ts";
import {
  RECORDS_PAGE_MAX,
  documentFrames,
  openVault,
  type KeyCustody,
  type RecordCommitment,
  type SlicePlan,
  type Vault,
} from "../../../host/sovereignty/index.ts";
import type { StorePlace } from "../../../host/store/index.ts";
import {
  TASK_REQUEST,
  VAULT_DECISION,
  genesisState,
  hex,
  iterationPolicyOf,
  policyDigest,
  resolveRequest,
  sha256,
  utf8,
  type GovernanceState,
  type Policy,
  type TaskEnvelope,
  type TaskParameters,
  type TaskRequest,
  type UsageScope,
  type VaultDecision,
} from "../../../protocol/index.ts";
import {
  NETWORK_TIME_MS,
  createNetwork,
  testSeed,
  type TestActor,
  type TestNetwork,
} from "../../helpers/network.ts";
import { testRequest } from "../../helpers/network-task.ts";
import { confirmVault } from "../../helpers/witnesses.ts";

/** A custody that keeps nothing secret: it prefixes what it is given, and seals to whatever document it is shown. */
export const OPEN_CUSTODY: KeyCustody = {
  keyFile: null,
  currentKey: () => "open",
  keyOf: () => "open",
  protect: (wrapped) => Promise.resolve(Uint8Array.of(0x4b, ...wrapped)),
  release: (blob, { document }) => {
    const spki = parseNitroDocument(document).publicKey;
    if (spki === null) throw new Error("expected a recipient key");
    const random = (count: number): Uint8Array => new Uint8Array(randomBytes(count));
    return Promise.resolve(sealForRecipient({ plaintext: blob.slice(1), spki, random }));
  },
  open: (blob) => Promise.resolve(blob.slice(1)),
  rewrap: (blob) => Promise.resolve(blob.slice()),
  renew: () => Promise.resolve(),
  retire: () => Promise.resolve([]),
};

export const QUERY: TaskParameters = {
  task_class: "query",
  predicate: {
    operator: "AND",
    operands: [
      { attribute: "customer.age", op: "range", min: 20, max: 60 },
      { attribute: "customer.city", op: "eq", value: "Porto" },
    ],
  },
  audience_cap: 1000,
};

/** The header of a PNG of 40 by 30 pixels. */
export const PNG = Uint8Array.of(
  ...[0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a, 0, 0, 0, 13, 0x49, 0x48, 0x44, 0x52],
  ...[0, 0, 0, 40, 0, 0, 0, 30, 8, 0, 0, 0, 0, 1, 2, 3, 4],
);

/** One Vault of a generated network, with a clock that tests move. */
export interface Fixture {
  readonly network: TestNetwork;
  readonly governance: GovernanceState;
  readonly actor: TestActor;
  readonly clock: { nowMs: number };
  readonly directory: string;
  readonly vault: Vault;
  /** Closes the Vault and opens it again. */
  reopen(): Promise<Vault>;
}

/** A counter that stands for randomness: fresh on every call, the same on every run. */
export function counted(label: string): (bytes: number) => Uint8Array {
  let count = 0;
  return (bytes) => {
    count += 1;
    const blocks = Array.from({ length: Math.ceil(bytes / 32) }, (_, block) =>
      sha256(utf8(`${label} ${count}${block === 0 ? "" : ` ${block}`}`)),
    );
    return new Uint8Array(Buffer.concat(blocks)).slice(0, bytes);
  };
}

/** Opens the Vault in `directory` as tests do; `opened` is told of every Vault it opens. */
export async function openFixture(options: {
  readonly directory: string;
  readonly policy?: (policy: Policy) => Policy;
  readonly custody?: KeyCustody;
  readonly secretsFile?: string;
  readonly store?: StorePlace;
  readonly nowMs?: () => number;
  /** Absent: a counter, the same for every process. */
  readonly random?: (bytes: number) => Uint8Array;
  readonly opened?: (vault: Vault) => void;
}): Promise<Fixture> {
  const { directory, custody = OPEN_CUSTODY } = options;
  const network = await createNetwork(
    options.policy === undefined ? {} : { policy: options.policy },
  );
  const [actor] = network.vaults;
  if (actor === undefined) throw new Error("expected a Vault in the network");
  const clock = { nowMs: NETWORK_TIME_MS };
  let openings = 0;
  let last: Vault | undefined;
  const open = async (): Promise<Vault> => {
    openings += 1;
    const vault = await openVault({
      directory,
      vaultId: actor.actorId,
      network: network.genesis.network,
      signingKey: actor.signing,
      boxKey: actor.box,
      custody,
      nowMs: options.nowMs ?? (() => clock.nowMs),
      random: options.random ?? counted(`opening ${openings}`),
      ...(options.store === undefined ? {} : { store: options.store }),
      ...(options.secretsFile === undefined ? {} : { secretsFile: options.secretsFile }),
    });
    options.opened?.(vault);
    last = vault;
    await confirmVault(vault, network);
    return vault;
  };
  const vault = await open();
  const state = genesisState(network.genesisBytes);
  const governance = { ...state, epoch: { ...state.epoch, epochId: 3 } };
  const reopen = async (): Promise<Vault> => {
    await last?.close();
    return await open();
  };
  return { network, governance, actor, clock, directory, vault, reopen };
}

/** The registered scope and attributes that an ingest needs. */
export function targetOf(fixture: Fixture, recordScopeId: string) {
  const { semantics, epoch } = fixture.governance;
  const recordScope = semantics.record_scopes.find(
    (each) => each.record_scope_id === recordScopeId,
  );
  if (recordScope === undefined) throw new Error(`no record scope ${recordScopeId}`);
  return { recordScope, attributes: semantics.attributes, epochId: epoch.epochId };
}

export async function* bytesIn(text: string, chunk = 1 << 16): AsyncGenerator<Uint8Array> {
  const bytes = utf8(text);
  for (let at = 0; at < bytes.length; at += chunk)
    yield await Promise.resolve(bytes.subarray(at, at + chunk));
}

export const CUSTOMER_HEADER =
  "customer.id,customer.email,customer.age,customer.balance,customer.city,customer.subscribed";

export function customerCsv(count: number, first = 0): string {
  const rows = Array.from({ length: count }, (_, index) => {
    const id = first + index;
    return `c-${id},p${id}@example.org,${20 + (id % 50)},${id % 1000}.25,Porto,${id % 2}`;
  });
  return `${[CUSTOMER_HEADER, ...rows].join("\n")}\n`;
}

/** A Vault with `count` customers who all consent to marketing, analytics and training, and grants for each class. */
export async function stocked(fixture: Fixture, count = 12): Promise<void> {
  const { vault } = fixture;
  const source = bytesIn(customerCsv(count));
  await vault.ingest({
    ...targetOf(fixture, "customers"),
    format: "csv",
    source,
    onError: "abort",
    batchRows: 8,
  });
  for (const usageScope of ["marketing", "analytics", "training"] as const) {
    await consent(vault, usageScope);
  }
  await grantAll(fixture);
}

/** Grants the submitter every class. */
export async function grantAll({ vault, network }: Fixture): Promise<void> {
  for (const task_class of ["parse", "query", "compute", "train"] as const) {
    await vault.grant({
      grant_id: `grant-${task_class}`,
      actor_id: network.submitter.actorId,
      task_class,
      domain_id: task_class === "parse" ? "receipt" : "customer",
      record_scope: null,
      usage_scope: null,
      not_before_ms: null,
      not_after_ms: null,
    });
  }
}

export async function consent(
  vault: Vault,
  usageScope: UsageScope,
  subjects: "all-known" | readonly string[] = "all-known",
): Promise<void> {
  await vault.setConsent({
    usageScope,
    subjects,
    decision: { state: "granted", expiresMs: null },
  });
}

/** A signed request; `name` makes it another one. */
export async function requestOf(
  fixture: Pick<Fixture, "network" | "clock">,
  name: string,
  changes: Partial<TaskRequest> = {},
  parameters: TaskParameters = QUERY,
): Promise<{ readonly request: TaskRequest; readonly signed: Uint8Array }> {
  const request = await testRequest(fixture.network, parameters, {
    request_id: testSeed(name).slice(0, 16),
    created_ms: fixture.clock.nowMs,
    ...changes,
  });
  return { request, signed: TASK_REQUEST.sign(request, fixture.network.submitter.signing) };
}

export type Reserved = Extract<VaultDecision["outcome"], { decision: "reserved" }>;

export function decoded(fixture: Fixture, signed: Uint8Array): VaultDecision {
  return VAULT_DECISION.verify(signed, fixture.actor.signing.publicKey);
}

export function reservedOf(fixture: Fixture, signed: Uint8Array): Reserved {
  const { outcome } = decoded(fixture, signed);
  if (outcome.decision !== "reserved") throw new Error(`expected reserved, got ${outcome.code}`);
  return outcome;
}

/** The envelope a coordinator would assemble for a request that this Vault and one other admitted. */
export function envelopeOf(
  fixture: Fixture,
  admitted: { readonly request: TaskRequest; readonly signed: Uint8Array },
  decision: Uint8Array,
): TaskEnvelope {
  const { request, signed } = admitted;
  const { governance, actor } = fixture;
  const { policy, semantics } = governance;
  const outcome = reservedOf(fixture, decision);
  const requestDigest = TASK_REQUEST.digest(request);
  const resolution = resolveRequest(request, governance);
  const vault_id = actor.actorId;
  const taskId = `t-${hex(requestDigest).slice(0, 32)}`;
  const methods = {
    parse: "union",
    query: "union",
    compute: "secure_sum",
    train: "federated_average",
  } as const;
  const { grant_id, consent_commitment, reservation_id, epsilon_micro, expires_ms } = outcome;
  const { input_commitment, share_commitments } = outcome;
  return {
    version: 1,
    task_id: taskId,
    task_class: request.task_class,
    caller_context: {
      actor_id: request.actor_id,
      role: "submitter",
      request_digest: requestDigest,
      signed_request: signed,
    },
    authorization_context: [
      { vault_id, grant_id, decision_digest: VAULT_DECISION.digest(decoded(fixture, decision)) },
    ],
    consent_references: [{ vault_id, consent_commitment }],
    semantic_version: semantics.semantic_version,
    policy_version: policy.policy_version_id,
    policy_digest: policyDigest(policy),
    epoch_id: 3,
    attribute_composition: resolution.attribute_composition,
    derivation_rule_refs: resolution.derivation_rule_refs,
    budget_lock_ref: null,
    privacy_budget_reservation: [{ vault_id, reservation_id, epsilon_micro, expires_ms }],
    coordination_envelope:
      request.vault_ids.length === 1
        ? null
        : {
            parent_task_id: taskId,
            participating_vault_ids: request.vault_ids,
            minimum_vault_quorum: 2,
            aggregation_method: methods[request.task_class],
            aggregation_environment: "tee",
            aggregator_id: governance.genesis.aggregator_id,
            per_vault_timeout: policy.multi_vault.per_vault_timeout_ms,
          },
    iteration_policy: iterationPolicyOf(request.parameters),
    admission_timestamp: fixture.clock.nowMs,
    task_timeout: request.task_timeout_ms,
    genesis_digest: governance.genesisDigest,
    record_scope: request.record_scope,
    usage_scope: request.usage_scope,
    parameters: request.parameters,
    epsilon_micro: request.epsilon_micro,
    delta_pico: policy.privacy.delta_pico,
    delivery_key: request.delivery_key,
    inputs: [{ vault_id, input_commitment, share_commitments }],
  };
}

/** Arguments of a beginning that fit `plan`; the aggregator's keys are made up. */
export function beginning(fixture: Fixture, envelope: TaskEnvelope, plan: SlicePlan) {
  return {
    envelope,
    plan,
    governance: fixture.governance,
    enclaveManifestDigest: testSeed("slice manifest"),
    aggregatorManifestDigest: plan.role === "sole" ? null : testSeed("aggregator manifest"),
    resultSigningKey: fixture.network.aggregator.signing.publicKey,
    previousState: plan.reference.round === 0 ? null : testSeed("previous state"),
    expiresMs: fixture.clock.nowMs + 30_000,
    sessions: testSeed("sessions"),
  };
}

/** All records of a scope, page by page. */
export async function recordsIn(
  vault: Vault,
  recordScope: string,
  limit = RECORDS_PAGE_MAX,
): Promise<RecordCommitment[]> {
  const first = await vault.recordCommitments({ recordScope, after: null, limit });
  const all = [...first.records];
  for (let { next } = first; next !== null;) {
    const page = await vault.recordCommitments({ recordScope, after: next, limit });
    all.push(...page.records);
    next = page.next;
  }
  return all;
}

/** Ingests one receipt of `subject` and gives its commitment. */
export async function ingestReceipt(fixture: Fixture, subject = "anna"): Promise<Uint8Array> {
  await fixture.vault.ingest({
    ...targetOf(fixture, "receipts"),
    format: "documents",
    source: documentFrames([{ name: "receipt", image: PNG, subject }]),
    onError: "abort",
  });
  const records = await recordsIn(fixture.vault, "receipts");
  return records.at(-1)?.commitment ?? new Uint8Array(0);
}

/** A request of one record, with consent for personal use as its purpose. */
export async function parseRequest(
  fixture: Fixture,
  name: string,
  record_commitment: Uint8Array,
  epsilon_micro = 0,
) {
  const changes = {
    record_scope: "receipts",
    usage_scope: "personal_use" as const,
    vault_ids: [fixture.actor.actorId],
    epsilon_micro,
  };
  return await requestOf(fixture, name, changes, { task_class: "parse", record_commitment });
}
