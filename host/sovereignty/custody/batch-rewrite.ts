import {
  BATCH_ID_BYTES,
  ConflictError,
  DATA_KEY_BYTES,
  VerificationError,
  batchWrapInfo,
  decryptOnce,
  encryptOnce,
  equalBytes,
  hex,
  openBatch,
  parseBatchHeader,
  recordAt,
  sealBatch,
  sha256,
  type OpenedBatch,
} from "#protocol";

import { ordinalBytes, ordinalsOf } from "../ledger/subject-set.ts";
import type { StoredSealing, Writing } from "../queries.ts";
import { noteChange } from "../records/folder-state.ts";
import type { VaultContext } from "../vault-context.ts";

/** Stands in a batch's list of ordinals for the subject of an erased row: nobody has this ordinal. */
export const NO_SUBJECT = 0xffff_ffff;

const COMMITMENT_BYTES = 32;

/** SHA-256 of what was destroyed when a batch was sealed anew. */
export interface Destroyed {
  readonly key: Uint8Array;
  readonly file: Uint8Array;
}

/** Opens a stored batch for the Vault itself. @throws as KeyCustody.open and `openBatch` */
export async function openStored(
  context: VaultContext,
  batch: Pick<StoredSealing, "sealed_id" | "root" | "protected_key">,
): Promise<OpenedBatch> {
  return openSealed(context, batch, await context.files.read(batch.sealed_id, batch.root));
}

async function openSealed(
  { custody, secrets }: VaultContext,
  { sealed_id, protected_key }: Pick<StoredSealing, "sealed_id" | "protected_key">,
  sealed: Uint8Array,
): Promise<OpenedBatch> {
  const wrapped = await custody.open(protected_key);
  const dataKey = decryptOnce(secrets.batchSecret(sealed_id), batchWrapInfo(sealed_id), wrapped);
  try {
    return openBatch(sealed, dataKey);
  } finally {
    dataKey.fill(0);
    wrapped.fill(0);
  }
}

/**
 * Seals a batch anew under a new data key, with `erase` as well as earlier erased rows gone but for their commitments:
 * root and leaf commitments stay. The new file is durable before the row names it, the old one goes afterwards; a crash
 * between the two leaves a file that no row names, which the next start takes out of the folder.
 *
 * @param args.also - Runs in the write that makes the change visible.
 * @throws VerificationError PROOF_COMMITMENT_MISMATCH when the records are not what was committed to;
 * ConflictError COORDINATION_CONFLICT when the batch has changed meanwhile; as KeyCustody.open.
 */
export async function rewriteBatch(
  context: VaultContext,
  args: {
    readonly batch: StoredSealing;
    readonly erase: readonly number[];
    readonly also: (trx: Writing, destroyed: Destroyed) => Promise<void>;
  },
): Promise<void> {
  const { batch, erase, also } = args;
  const { store, files, gate } = context;
  const old = await files.read(batch.sealed_id, batch.root);
  const opened = await openSealed(context, batch, old);
  const erased = new Set([...ordinalsOf(batch.erased_rows), ...erase]);
  const sealedId = context.random(BATCH_ID_BYTES);
  const anew = await sealAnew(context, { opened, batch, erased, sealedId });
  await files.write(sealedId, anew.sealed);
  const destroyed = { key: sha256(batch.protected_key), file: sha256(old) };
  await gate.change(async () => {
    try {
      await store.write(async (trx) => {
        await noteChange(context, trx);
        await replaceSealing(trx, { batch, sealedId, protectedKey: anew.protectedKey, erased });
        await also(trx, destroyed);
      });
    } catch (cause) {
      files.remove([sealedId]);
      throw cause;
    }
    files.remove([batch.sealed_id]);
  });
}

async function sealAnew(
  { random, secrets, custody }: VaultContext,
  args: {
    readonly opened: OpenedBatch;
    readonly batch: StoredSealing;
    readonly erased: ReadonlySet<number>;
    readonly sealedId: Uint8Array;
  },
): Promise<{ readonly sealed: Uint8Array; readonly protectedKey: Uint8Array }> {
  const { opened, batch, erased, sealedId } = args;
  const { header } = opened;
  const dataKey = random(DATA_KEY_BYTES);
  try {
    const sealed = sealBatch({
      batchId: sealedId,
      schema: header.schema,
      columns: header.columns,
      createdMs: header.created_ms,
      records: opened.subjectIds.map((_, row) =>
        erased.has(row)
          ? { erasedCommitment: opened.erased.get(row) ?? commitmentOf(batch, row) }
          : recordAt(opened, row),
      ),
      dataKey,
    });
    if (!equalBytes(parseBatchHeader(sealed).record_root, batch.root)) throw mismatch(batch);
    const secret = secrets.batchSecret(sealedId);
    const wrapped = encryptOnce(secret, batchWrapInfo(sealedId), dataKey);
    return { sealed, protectedKey: await custody.protect(wrapped) };
  } finally {
    dataKey.fill(0);
  }
}

async function replaceSealing(
  trx: Writing,
  args: {
    readonly batch: StoredSealing;
    readonly sealedId: Uint8Array;
    readonly protectedKey: Uint8Array;
    readonly erased: ReadonlySet<number>;
  },
): Promise<void> {
  const { batch, sealedId, protectedKey, erased } = args;
  const rows = Uint32Array.from(erased).toSorted();
  const ordinals = ordinalsOf(batch.ordinals);
  for (const row of rows) ordinals[row] = NO_SUBJECT;
  const { numUpdatedRows } = await trx
    .updateTable("batch")
    .set({
      sealed_id: sealedId,
      protected_key: protectedKey,
      erased_rows: rows.length === 0 ? null : ordinalBytes(rows),
      ordinals: ordinalBytes(ordinals),
    })
    .where("batch_id", "=", batch.batch_id)
    .where("protected_key", "=", batch.protected_key)
    .where("published", "=", 1)
    .executeTakeFirst();
  if (numUpdatedRows !== 1n) {
    throw new ConflictError(
      { code: "COORDINATION_CONFLICT", batch_id: hex(batch.batch_id) },
      `batch ${hex(batch.batch_id)}: expected it as it was read, got another state`,
    );
  }
}

function commitmentOf({ commitments }: StoredSealing, row: number): Uint8Array {
  return commitments.slice(row * COMMITMENT_BYTES, (row + 1) * COMMITMENT_BYTES);
}

function mismatch({ batch_id }: StoredSealing): VerificationError {
  return new VerificationError(
    { code: "PROOF_COMMITMENT_MISMATCH", batch_id: hex(batch_id) },
    `batch ${hex(batch_id)}: expected records that hash to its root, got others`,
  );
}
