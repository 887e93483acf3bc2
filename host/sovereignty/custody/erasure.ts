import {
  SUBJECT_ID_BYTES,
  UnavailableError,
  equalBytes,
  consentPurpose,
  type CborValue,
} from "#protocol";

import { backupsExpiredBy, expireBackupsOf, type ExpiredBackups } from "../backup/expire.ts";
import { ordinalsOf, subjectSetOf } from "../ledger/subject-set.ts";
import {
  batchAfter,
  erasedBatches,
  forgetDocuments,
  lastErasure,
  lastPosition,
  openErasures,
  ordinalOf,
  type StoredSealing,
  type Writing,
} from "../queries.ts";
import type { VaultContext } from "../vault-context.ts";
import { rewriteBatch } from "./batch-rewrite.ts";
import type { CustodyProgress } from "./key-runs.ts";

/** Batches that one event lists: 80 bytes for each, far below an event's 1 MiB. */
const EVENT_BATCHES_MAX = 4_096;

/** What an erasure did. Asked again for the same subject it is the same, unless there was more to erase. */
export interface ErasureReport {
  /** Null when the Vault has never known the subject: then there was nothing to do. */
  readonly erasure_id: number | null;
  readonly records: number;
  readonly batches: number;
  /** Backups that it expired, and those of them that are not known to be gone: see `symphony vault backup expire`. */
  readonly backups: { readonly expired: number; readonly outstanding: number };
  readonly done_ms: number | null;
}

type Report = (progress: CustodyProgress) => void;

/**
 * Erases a subject: withdraws consent for every purpose, seals each batch with its records anew without them, and
 * destroys the old keys and files. Commitments, roots and the subject's pseudonym stay, and so does what is
 * spent of its budget: who returns does not begin anew.
 *
 * Durable step by step: interrupted, it goes on when asked again, or at `resumeErasures`. At the end one event
 * `subject.erased` says what was destroyed, and names the subject by a keyed commitment alone. (A subject in more than
 * 4 096 batches needs several.) Backups that hold the old keys are expired before it, and those that can be reached are
 * removed; the event names both, and the ones that are outstanding.
 *
 * @throws RefusedError TEE_KMS_REFUSED when key custody releases to enclaves only; {@link UnavailableError}
 * INTERNAL_STORE_BUSY while an unfinished ingest holds records of the subject. Consent is withdrawn then, and the
 * erasure stays open.
 */
export async function eraseSubject(
  context: VaultContext,
  subject: string,
  report: Report,
): Promise<ErasureReport> {
  const subjectId = context.secrets.subjectId(subject);
  const ordinal = await ordinalOf(context.store.db, subjectId);
  if (ordinal === undefined) {
    if (await isStaged(context, { subjectId, ordinal: null })) throw staged();
    const backups = { expired: 0, outstanding: 0 };
    return { erasure_id: null, records: 0, batches: 0, backups, done_ms: null };
  }
  const earlier = await lastErasure(context.store.db, ordinal);
  if (earlier !== undefined && earlier.done_ms !== null) {
    if (await isErased(context, ordinal)) return await reportOf(context, earlier);
  }
  const erasure = await beginErasure(context, ordinal);
  await finishErasure(context, { ...erasure, subjectId }, report);
  return await reportOf(context, { ...erasure, done_ms: context.nowMs() });
}

/** Goes on with every erasure that was interrupted. @throws as {@link eraseSubject} */
export async function resumeErasures(context: VaultContext, report: Report): Promise<number> {
  const open = await openErasures(context.store.db);
  for (const erasure of open) {
    await context.store.write((trx) => withdrawConsents(context, trx, erasure.ordinal));
    await finishErasure(context, erasure, report);
  }
  return open.length;
}

interface OpenErasure {
  readonly erasure_id: number;
  readonly ordinal: number;
  /** Pseudonym of the subject. */
  readonly subjectId: Uint8Array;
}

/** No record left, and no consent in force. */
async function isErased(context: VaultContext, ordinal: number): Promise<boolean> {
  const { books, nowMs, store } = context;
  const states = consentPurpose.options.map((purpose) =>
    books.consents.stateOf(purpose, ordinal, nowMs()),
  );
  if (states.some((state) => state !== "withdrawn")) return false;
  const until = await lastPosition(store.db);
  const { done } = await batchesWith(context, { ordinal, until }).next();
  return done === true;
}

/** Withdraws every consent and records that the erasure is to be; an open one is gone on with. */
async function beginErasure(
  context: VaultContext,
  ordinal: number,
): Promise<{ readonly erasure_id: number; readonly ordinal: number }> {
  const { store, nowMs } = context;
  return await store.write(async (trx) => {
    await withdrawConsents(context, trx, ordinal);
    const earlier = await lastErasure(trx, ordinal);
    if (earlier !== undefined && earlier.done_ms === null) return earlier;
    return await trx
      .insertInto("erasure")
      .values({ ordinal, started_ms: nowMs(), done_ms: null })
      .returning(["erasure_id", "ordinal"])
      .executeTakeFirstOrThrow();
  });
}

/** Those that are withdrawn already stay as they are. */
async function withdrawConsents(
  { books, log, secrets, nowMs }: VaultContext,
  trx: Writing,
  ordinal: number,
): Promise<void> {
  const subjects = subjectSetOf([ordinal]);
  const decision = { state: "withdrawn" } as const;
  for (const purpose of consentPurpose.options) {
    if (books.consents.stateOf(purpose, ordinal, nowMs()) === "withdrawn") continue;
    await books.consent(trx, { purpose, subjects, decision, atMs: nowMs() });
    const body = {
      usage_scope: purpose,
      expires_ms: null,
      subjects: secrets.subjectSetCommitment(subjects.encoded),
    };
    await log.append(trx, { type: "consent.withdrawn", taskId: null, body });
  }
}

/** Every step is found again by what is left to do: which batches still hold a row of the subject. */
async function finishErasure(
  context: VaultContext,
  erasure: OpenErasure,
  report: Report,
): Promise<void> {
  const { store } = context;
  for (;;) {
    const until = await lastPosition(store.db);
    for await (const batch of batchesWith(context, { ordinal: erasure.ordinal, until })) {
      await eraseIn(context, erasure, batch);
      report({ done: batch.position, total: until });
    }
    if (await isStaged(context, erasure)) throw staged();
    await store.purge(["batch", "document_record"]);
    const backups = await expireBackupsOf(context, erasure.erasure_id);
    if (await endErasure(context, { ...erasure, backups, until })) return;
  }
}

async function eraseIn(
  context: VaultContext,
  { erasure_id, ordinal }: OpenErasure,
  batch: StoredSealing,
): Promise<void> {
  const erase = rowsOf(batch, ordinal);
  await rewriteBatch(context, {
    batch,
    erase,
    also: async (trx, destroyed) => {
      await forgetDocuments(trx, batch.batch_id, erase);
      await trx
        .insertInto("erasure_batch")
        .values({
          erasure_id,
          batch_id: batch.batch_id,
          root: batch.root,
          records: erase.length,
          destroyed_key: destroyed.key,
          destroyed_file: destroyed.file,
        })
        .execute();
    },
  });
}

/** Signs what was destroyed; false when batches have come that were not looked at. */
async function endErasure(
  context: VaultContext,
  erasure: OpenErasure & { readonly backups: ExpiredBackups; readonly until: number },
): Promise<boolean> {
  const { store, log, secrets, nowMs } = context;
  const { erasure_id, ordinal, backups, until } = erasure;
  return await store.write(async (trx) => {
    if ((await lastPosition(trx)) !== until) return false;
    const batches = await erasedBatches(trx, erasure_id);
    const parts = Math.max(1, Math.ceil(batches.length / EVENT_BATCHES_MAX));
    const subject = secrets.subjectSetCommitment(subjectSetOf([ordinal]).encoded);
    for (let part = 0; part < parts; part += 1) {
      const listed = batches.slice(part * EVENT_BATCHES_MAX, (part + 1) * EVENT_BATCHES_MAX);
      const body: CborValue = {
        subject,
        ...{ part, parts },
        backups: {
          destroyed: [...backups.destroyed],
          outstanding: [...backups.outstanding],
        },
        batches: listed.map(({ root, destroyed_key, destroyed_file }) => ({
          root,
          destroyed_key,
          destroyed_file,
        })),
      };
      await log.append(trx, { type: "subject.erased", taskId: null, body });
    }
    await trx
      .updateTable("erasure")
      .set({ done_ms: nowMs() })
      .where("erasure_id", "=", erasure_id)
      .execute();
    return true;
  });
}

async function reportOf(
  { store }: VaultContext,
  erasure: { readonly erasure_id: number; readonly done_ms: number | null },
): Promise<ErasureReport> {
  const batches = await erasedBatches(store.db, erasure.erasure_id);
  return {
    erasure_id: erasure.erasure_id,
    records: batches.reduce((sum, { records }) => sum + records, 0),
    batches: batches.length,
    backups: await backupsExpiredBy(store.db, erasure.erasure_id),
    done_ms: erasure.done_ms,
  };
}

/** Published batches with a row of the subject, in order. Reads the ordinals of every batch, one batch at a time. */
export async function* batchesWith(
  { store }: VaultContext,
  { ordinal, until }: { readonly ordinal: number; readonly until: number },
): AsyncGenerator<StoredSealing> {
  let after = 0;
  for (;;) {
    const batch = await batchAfter(store.db, { after, until, published: true });
    if (batch === undefined) return;
    after = batch.position;
    if (rowsOf(batch, ordinal).length > 0) yield batch;
  }
}

/** Rows of a published batch that belong to the subject. */
export function rowsOf(batch: Pick<StoredSealing, "ordinals">, ordinal: number): number[] {
  const rows: number[] = [];
  for (const [row, each] of ordinalsOf(batch.ordinals).entries()) {
    if (each === ordinal) rows.push(row);
  }
  return rows;
}

/** Whether an ingest that is not finished holds a record of the subject. */
async function isStaged(
  { store }: VaultContext,
  subject: { readonly subjectId: Uint8Array; readonly ordinal: number | null },
): Promise<boolean> {
  const until = await lastPosition(store.db);
  let after = 0;
  for (;;) {
    const batch = await batchAfter(store.db, { after, until, published: false });
    if (batch === undefined) return false;
    after = batch.position;
    if (batch.published === 0 && holds(batch, subject)) return true;
  }
}

function holds(
  batch: StoredSealing,
  { subjectId, ordinal }: { readonly subjectId: Uint8Array; readonly ordinal: number | null },
): boolean {
  if (ordinal !== null && rowsOf(batch, ordinal).length > 0) return true;
  const ids = batch.subject_ids;
  for (let at = 0; at < ids.length; at += SUBJECT_ID_BYTES) {
    if (equalBytes(ids.subarray(at, at + SUBJECT_ID_BYTES), subjectId)) return true;
  }
  return false;
}

function staged(): UnavailableError {
  return new UnavailableError(
    { code: "INTERNAL_STORE_BUSY" },
    "subject: expected no record of it in an unfinished ingest, got some: finish or abandon the ingest, then erase again",
  );
}
