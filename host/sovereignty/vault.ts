import * as fs from "node:fs";
import path from "node:path";

import {
  actorLogOrigin,
  type BoxKeyPair,
  type ExecutionResultBundle,
  type GovernanceState,
  type SigningKey,
  type TaskEnvelope,
} from "#protocol";

import { openActorLog, type ActorLog } from "../evidence/actor-log.ts";
import { openStore, storeUnavailable, type Store, type StorePlace } from "../store/index.ts";
import { recoverBackups } from "./backup/expire.ts";
import { registerFileOf } from "./backup/register.ts";
import { BatchFiles } from "./records/batch-files.ts";
import { Books } from "./ledger/books.ts";
import { decide } from "./tasks/decide.ts";
import type { RoundReference } from "./tasks/dispatch.ts";
import {
  beginExecution,
  prepareSlice,
  sessionsOf,
  type Beginning,
  type SlicePlan,
} from "./tasks/execution.ts";
import {
  governanceHead,
  recordGovernanceHead,
  type GovernanceAdvance,
  type GovernanceHead,
} from "./tasks/governance-head.ts";
import { addGrant, revokeGrant, type AccessGrant, type RevocationReason } from "./access/grants.ts";
import { BatchGate } from "./custody/batch-gate.ts";
import { custodyOf, type CustodyApi } from "./custody/custody-api.ts";
import { attributesOf, type AttributesApi } from "./local/attributes-api.ts";
import type { IngestReport } from "./records/publish.ts";
import { recordsOf, type RecordsApi } from "./records/records-api.ts";
import { recoverRecords } from "./records/recover.ts";
import { RunningRuns } from "./records/running-runs.ts";
import { ingestSource, type SourceIngest } from "./records/ingest-source.ts";
import type { KeyCustody } from "./custody/key-custody.ts";
import { listRecords, type RecordFilter, type RecordPage } from "./operator/list-records.ts";
import { statusOf, type VaultStatus } from "./operator/operator-view.ts";
import { AUDIT_INDEX, linkEarlierEvents } from "./operator/audit-index.ts";
import { operatorOf, type OperatorApi } from "./operator/operator.ts";
import { ledgerOf, type LedgerApi } from "./tasks/ledger-api.ts";
import { metaOf } from "./queries.ts";
import { releaseShare, type Release } from "./tasks/release.ts";
import { VAULT_MIGRATIONS, type VaultSchema } from "./schema.ts";
import { openSecrets, requireSameSecrets, type VaultSecrets } from "./custody/secrets.ts";
import { abort, settle, verifyRound } from "./tasks/settle.ts";
import { openWitness, type WitnessApi } from "./witness/witness.ts";
import { setConsent, type ConsentChange } from "./consent/set-consent.ts";
import { ScopeSelections } from "./tasks/scope-selections.ts";
import type { VaultContext, VaultPlaces } from "./vault-context.ts";

/** What {@link openVault} needs. */
export interface VaultOptions {
  /** Holds the store and the batches; created with mode 0700. */
  readonly directory: string;
  /** Where ledger, log and everything else that is no batch is kept; absent: `vault.db` in `directory`. */
  readonly store?: StorePlace;
  /**
   * The Vault's secrets. With them and the key service, whoever holds the batches opens them: keep them apart from both.
   * Absent: `vault-secrets.cbor` in `directory`.
   */
  readonly secretsFile?: string;
  readonly vaultId: string;
  /** Name of the network; part of the origin of the Vault's checkpoints. */
  readonly network: string;
  readonly signingKey: SigningKey;
  /** Public keys by which the Vault signed before, oldest first; absent: none. */
  readonly formerKeys?: readonly Uint8Array[];
  readonly boxKey: BoxKeyPair;
  /** Box keys that were given up: results are still sealed to them; absent: none. */
  readonly formerBoxKeys?: readonly BoxKeyPair[];
  readonly custody: KeyCustody;
  /** Unix milliseconds. */
  readonly nowMs: () => number;
  /** Secret random bytes. */
  readonly random: (bytes: number) => Uint8Array;
}

/**
 * One organisation's Data Sovereignty Service: its records, grants, consents and privacy budget, and the only way to
 * any of them (DS-7). Each call is described at the function that it stands for.
 *
 * What decides, begins, settles or releases throws UnavailableError PRIVACY_BUDGET_FROZEN until `witness` is confirmed.
 */
export interface Vault {
  readonly vaultId: string;
  /** The Vault's one log, for export, checkpoints and proofs. */
  readonly log: ActorLog;
  /** Keys, sealed batches, erasure and backups. */
  readonly custody: CustodyApi;
  /** What only the operator asks: grants, the audit trail. */
  readonly operator: OperatorApi;
  /** What other Vaults know of this Vault's log; until they confirm it, this Vault decides and releases nothing. */
  readonly witness: WitnessApi;
  /** Ingests that are open or were published. */
  readonly records: RecordsApi;
  /** Columns of sources that map to no canonical attribute. */
  readonly attributes: AttributesApi;
  ingest(args: SourceIngest): Promise<IngestReport>;
  grant(grant: AccessGrant): Promise<void>;
  revokeGrant(grantId: string, reason?: RevocationReason): Promise<void>;
  setConsent(change: ConsentChange): Promise<{ readonly subjects: number }>;
  decide(signedRequest: Uint8Array, governance: GovernanceState): Promise<Uint8Array>;
  prepareSlice(
    envelope: TaskEnvelope,
    governance: GovernanceState,
    reference: RoundReference,
  ): Promise<SlicePlan>;
  beginExecution(args: Beginning): Promise<Uint8Array>;
  sessionsOf(envelope: TaskEnvelope): Promise<Uint8Array[]>;
  verifyRound(envelope: TaskEnvelope, signedBundle: Uint8Array): Promise<ExecutionResultBundle>;
  settle(envelope: TaskEnvelope, signedBundles: readonly Uint8Array[]): Promise<Uint8Array>;
  abort(args: {
    readonly envelopeDigest: Uint8Array;
    readonly requestDigest: Uint8Array;
  }): Promise<void>;
  releaseShare(args: Release): Promise<Uint8Array>;
  governanceHead(): Promise<GovernanceHead | null>;
  recordGovernanceHead(args: GovernanceAdvance): Promise<void>;
  recordCommitments(filter: RecordFilter): Promise<RecordPage>;
  status(): Promise<VaultStatus>;
  readonly ledger: LedgerApi;
  close(): Promise<void>;
}

/**
 * Opens the Vault in `directory`, creating it when it is new. One process at a time.
 *
 * Ends publications that were interrupted and takes files of no batch out of the way; reads ledger, consents and log, and
 * refuses an altered one.
 * A new store beside batches is refused, and they are left as they are.
 *
 * @throws UnavailableError INTERNAL_STORE_LOCKED, INTERNAL_STORE_UNAVAILABLE; ConflictError VERSION_STORE_NEWER,
 * SCHEMA_CONFIG_MALFORMED for secrets that are not this store's; VerificationError PROOF_CONSISTENCY_INVALID.
 */
export async function openVault(options: VaultOptions): Promise<Vault> {
  const context = await openContext(options);
  const witness = await openWitness(context).catch(async (cause: unknown) => {
    await context.store.close();
    throw cause;
  });
  const confirmed = async <T>(work: () => Promise<T>): Promise<T> => {
    witness.requireConfirmed();
    return work();
  };
  return {
    vaultId: options.vaultId,
    log: context.log,
    custody: custodyOf(context, witness),
    operator: operatorOf(context),
    witness,
    records: recordsOf(context),
    attributes: attributesOf(context),
    ingest: (args) => ingestSource(context, args),
    grant: (grant) => addGrant(context, grant),
    revokeGrant: (grantId, reason) => revokeGrant(context, grantId, reason),
    setConsent: (change) => setConsent(context, change),
    decide: (signedRequest, governance) =>
      confirmed(() => decide(context, signedRequest, governance)),
    prepareSlice: (envelope, governance, reference) =>
      confirmed(() => prepareSlice(context, { envelope, governance, reference })),
    beginExecution: (args) => confirmed(() => beginExecution(context, args)),
    sessionsOf: (envelope) => sessionsOf(context, envelope),
    verifyRound: (envelope, signedBundle) => verifyRound(context, envelope, signedBundle),
    settle: (envelope, signedBundles) => confirmed(() => settle(context, envelope, signedBundles)),
    abort: (args) => confirmed(() => abort(context, args)),
    releaseShare: (args) => confirmed(() => releaseShare(context, args)),
    governanceHead: () => governanceHead(context),
    recordGovernanceHead: (args) => recordGovernanceHead(context, args),
    recordCommitments: (filter) => listRecords(context, filter),
    status: () => statusOf(context, witness),
    ledger: ledgerOf(context),
    close: async () => {
      await context.books.close();
      await context.store.close();
    },
  };
}

async function openContext(options: VaultOptions): Promise<VaultContext> {
  const { directory, vaultId, signingKey, boxKey, custody, nowMs, random } = options;
  const { formerKeys = [], formerBoxKeys = [] } = options;
  fs.mkdirSync(directory, { recursive: true, mode: 0o700 });
  const file = path.join(directory, "vault.db");
  const store = await openStore<VaultSchema>({
    at: options.store ?? { kind: "sqlite", file },
    migrations: VAULT_MIGRATIONS,
  });
  try {
    const files = new BatchFiles(directory);
    const secrets = await secretsOf(store, files, options);
    const origin = actorLogOrigin(options.network, vaultId);
    const index = AUDIT_INDEX;
    const log = await openActorLog({
      store,
      actorId: vaultId,
      key: signingKey,
      formerKeys,
      origin,
      nowMs,
      index,
    });
    await linkEarlierEvents(store, log);
    const books = await Books.open(store, directory);
    const context: VaultContext = {
      ...{ vaultId, signingKey, formerKeys, boxKey, formerBoxKeys, custody, nowMs, random },
      ...{ store, log, secrets, books, files, gate: new BatchGate(), running: new RunningRuns() },
      selections: new ScopeSelections(),
      places: placesOf(options),
    };
    await recoverRecords(context);
    await recoverBackups(context);
    return context;
  } catch (cause) {
    await store.close();
    throw cause;
  }
}

function placesOf({ directory, secretsFile }: VaultOptions): VaultPlaces {
  const secrets = path.resolve(secretsFile ?? path.join(directory, "vault-secrets.cbor"));
  return {
    directory: path.resolve(directory),
    secretsFile: secrets,
    registerFile: registerFileOf(secrets),
  };
}

/**
 * The secrets that belong to `store`; a store that was never opened gets them for good.
 *
 * Such a store beside batches is not theirs: theirs is lost, or configured wrongly, and only it knows which to keep.
 */
async function secretsOf(
  store: Store<VaultSchema>,
  files: BatchFiles,
  { directory, secretsFile, random }: VaultOptions,
): Promise<VaultSecrets> {
  const file = secretsFile ?? path.join(directory, "vault-secrets.cbor");
  const recorded = await metaOf(store.db, "secrets_fingerprint");
  if (recorded !== undefined) {
    if (!fs.existsSync(file)) {
      throw storeUnavailable(file, new Error("the secrets of this store are gone"));
    }
    const secrets = openSecrets(file, random);
    requireSameSecrets(secrets, recorded);
    return secrets;
  }
  files.requireNone();
  const secrets = openSecrets(file, random);
  const value = secrets.fingerprint;
  await store.write((trx) =>
    trx.insertInto("vault_meta").values({ name: "secrets_fingerprint", value }).execute(),
  );
  return secrets;
}
