import {
  ConflictError,
  RefusedError,
  VAULT_ATTRIBUTE,
  equalBytes,
  judgeVaultScoped,
  type GovernanceState,
  type TaskRequest,
  type VaultAttribute,
  type VaultScoped,
  type VaultScopedJudgement,
} from "#protocol";

import type { Reading, Writing } from "../queries.ts";
import type { VaultContext } from "../vault-context.ts";
import { keptIn } from "./kept.ts";
import { lastEpochs, localIdOf, poolColumns } from "./list-pool.ts";

/** A column of a record scope. Names are in NFC. */
export interface ColumnName {
  readonly recordScope: string;
  readonly column: string;
}

/** What an operator declares of a column. */
export interface VaultScopedAsked extends ColumnName {
  readonly domainId: string;
  readonly declared: VaultScoped;
  readonly governance: GovernanceState;
}

/** A column that may be asked of, or might be once. */
export interface PromotedColumn extends ColumnName {
  readonly definition: VaultAttribute;
  readonly promotedMs: number;
  /** Null while it may be asked of. */
  readonly retiredMs: number | null;
}

/** Judges a column of the pool; one that no source had came in no epoch. Changes nothing. */
export async function judgeColumn(
  { store, secrets, vaultId }: VaultContext,
  { recordScope, domainId, column, declared, governance }: VaultScopedAsked,
): Promise<VaultScopedJudgement> {
  const columns = await poolColumns(store.db, recordScope, lastEpochs(governance.epoch.epochId));
  const known = columns.find((each) => each.column === column);
  const kept = (await keptIn(store.db, recordScope)).find((each) => each.column_name === column);
  const { vault_scoped_epochs } = governance.policy.semantics.local_attributes;
  const judged = {
    ...{ vaultId, recordScope, domainId },
    localId: localIdOf(secrets.localColumnId(recordScope, column)),
    semanticVersion: governance.semantics.semantic_version,
    kept: kept === undefined ? null : { type: kept.value_type, scale: kept.scale },
    epochsPresent: known?.epochsPresent ?? 0,
    epochsRequired: vault_scoped_epochs,
  };
  return judgeVaultScoped(judged, declared);
}

/**
 * Lets this Vault's own tasks ask of a kept column, if every precondition is met (LA-3). The same again changes nothing.
 *
 * @throws {@link ConflictError} DERIVATION_LOCAL_REFUSED while another definition of the column is not retired, and for
 * one that was: what was retired does not come back.
 */
export async function promoteColumn(
  context: VaultContext,
  asked: VaultScopedAsked,
): Promise<VaultScopedJudgement> {
  const judged = await judgeColumn(context, asked);
  const { definition } = judged;
  if (definition === null) return judged;
  await context.store.write((trx) => record(context, trx, { asked, definition }));
  return judged;
}

async function record(
  { log, nowMs }: VaultContext,
  trx: Writing,
  args: { readonly asked: ColumnName; readonly definition: VaultAttribute },
): Promise<void> {
  const { asked, definition } = args;
  const digest = VAULT_ATTRIBUTE.digest(definition);
  const rows = await rowsOf(trx, asked);
  const known = rows.find((row) => equalBytes(row.digest, digest));
  if (known !== undefined && known.retired_ms === null) return;
  if (known !== undefined) throw conflict("another definition than one that was retired");
  if (rows.some((row) => row.retired_ms === null)) {
    throw conflict("its earlier definition to be retired first");
  }
  await trx
    .insertInto("local_promoted")
    .values({
      ...{ digest, record_scope: asked.recordScope, column_name: asked.column },
      definition: VAULT_ATTRIBUTE.encode(definition),
      ...{ promoted_ms: nowMs(), retired_ms: null },
    })
    .execute();
  const { record_scope, local_id } = definition;
  await log.append(trx, {
    ...{ type: "local_attribute.promoted", taskId: null },
    body: { record_scope, local_id, digest },
  });
}

/**
 * Ends what {@link promoteColumn} began: no request that comes from now on may name the column. Tasks under way keep the
 * meaning that they were admitted with.
 *
 * @throws {@link RefusedError} DERIVATION_UNRESOLVED for a column that may not be asked of
 */
export async function retireColumn(
  { store, log, nowMs }: VaultContext,
  name: ColumnName,
): Promise<void> {
  await store.write(async (trx) => {
    const active = (await rowsOf(trx, name)).find((row) => row.retired_ms === null);
    if (active === undefined) throw notPromoted();
    const { digest, definition } = active;
    await trx
      .updateTable("local_promoted")
      .set({ retired_ms: nowMs() })
      .where("digest", "=", digest)
      .execute();
    const { record_scope, local_id } = VAULT_ATTRIBUTE.decode(definition);
    await log.append(trx, {
      ...{ type: "local_attribute.retired", taskId: null },
      body: { record_scope, local_id, digest },
    });
  });
}

/** Definitions shown at once; a column of each promotion comes once. */
const LISTED_MAX = 256;

/** The columns of a record scope that may be asked of, and those that might be, newest first. */
export async function promotedColumns(
  { store }: VaultContext,
  recordScope: string,
): Promise<PromotedColumn[]> {
  const rows = await store.db
    .selectFrom("local_promoted")
    .selectAll()
    .where("record_scope", "=", recordScope)
    .orderBy("promoted_ms", "desc")
    .orderBy("digest")
    .limit(LISTED_MAX)
    .execute();
  return rows.map((row) => ({
    ...{ recordScope, column: row.column_name },
    definition: VAULT_ATTRIBUTE.decode(row.definition),
    ...{ promotedMs: row.promoted_ms, retiredMs: row.retired_ms },
  }));
}

/**
 * The request as this Vault understands it: with the definitions that it carries if this Vault has promoted each of them
 * and retired none; else with none, so that what was never promoted, what was retired and what never was are the same.
 */
export async function asPromoted(db: Reading, request: TaskRequest): Promise<TaskRequest> {
  const { vault_attributes: given } = request;
  if (given.length === 0) return request;
  const active = await Promise.all(given.map((each) => isActive(db, each)));
  return active.every(Boolean) ? request : { ...request, vault_attributes: [] };
}

async function isActive(db: Reading, definition: VaultAttribute): Promise<boolean> {
  const row = await db
    .selectFrom("local_promoted")
    .select("retired_ms")
    .where("digest", "=", VAULT_ATTRIBUTE.digest(definition))
    .executeTakeFirst();
  return row !== undefined && row.retired_ms === null;
}

async function rowsOf(db: Reading, { recordScope, column }: ColumnName) {
  return await db
    .selectFrom("local_promoted")
    .selectAll()
    .where("record_scope", "=", recordScope)
    .where("column_name", "=", column)
    .execute();
}

function conflict(expected: string): ConflictError {
  return new ConflictError(
    { code: "DERIVATION_LOCAL_REFUSED", field: "column", expected },
    `column: expected ${expected}`,
  );
}

function notPromoted(): RefusedError {
  return new RefusedError(
    { code: "DERIVATION_UNRESOLVED", field: "column" },
    "column: expected one that this Vault's own tasks may ask of",
  );
}
