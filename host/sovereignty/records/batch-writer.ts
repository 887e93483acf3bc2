import {
  BATCH_ID_BYTES,
  ConflictError,
  DATA_KEY_BYTES,
  batchWrapInfo,
  commitRecord,
  concat,
  encryptOnce,
  hex,
  parseBatchHeader,
  sealBatch,
  type BatchColumn,
  type CanonicalRecord,
} from "#protocol";

import { allocateOrdinals, splitSubjectIds, type Writing } from "../queries.ts";
import { ordinalBytes } from "../ledger/subject-set.ts";
import type { VaultContext } from "../vault-context.ts";

/** A batch is sealed when its records hold this many bytes, whatever their number. */
const BATCH_CONTENT_BYTES = 16 * 1024 * 1024;

/** Seals records into batches as they come and publishes them all at once, or none (DS-1). */
export class BatchWriter {
  readonly #context: VaultContext;
  readonly #recordScope: string;
  readonly #schema: string;
  readonly #columns: readonly BatchColumn[];
  readonly #rowsMax: number;
  readonly #ingestId: string;
  readonly #batchIds: Uint8Array[] = [];
  #records: CanonicalRecord[] = [];
  #contentBytes = 0;

  constructor(
    context: VaultContext,
    args: {
      readonly recordScope: string;
      readonly schema: string;
      readonly columns: readonly BatchColumn[];
      readonly rowsMax: number;
    },
  ) {
    this.#context = context;
    this.#recordScope = args.recordScope;
    this.#schema = args.schema;
    this.#columns = args.columns;
    this.#rowsMax = args.rowsMax;
    this.#ingestId = hex(context.random(16));
  }

  get ingestId(): string {
    return this.#ingestId;
  }

  get batchCount(): number {
    return this.#batchIds.length;
  }

  /** Takes one record; seals and stages a batch when enough have come. */
  async add(record: CanonicalRecord, contentBytes: number): Promise<void> {
    if (this.#contentBytes + contentBytes > BATCH_CONTENT_BYTES) await this.flush();
    this.#records.push(record);
    this.#contentBytes += contentBytes;
    if (this.#records.length >= this.#rowsMax) await this.flush();
  }

  /** Seals and stages what has come since the last batch. */
  async flush(): Promise<void> {
    if (this.#records.length === 0) return;
    const records = this.#records;
    this.#records = [];
    this.#contentBytes = 0;
    const { store, files, nowMs } = this.#context;
    const batch = await this.#seal(records);
    this.#batchIds.push(batch.batchId);
    files.write(batch.batchId, batch.sealed);
    await store.write((trx) =>
      trx
        .insertInto("batch")
        .values({
          batch_id: batch.batchId,
          ingest_id: this.#ingestId,
          record_scope: this.#recordScope,
          published: 0,
          root: parseBatchHeader(batch.sealed).record_root,
          record_count: records.length,
          protected_key: batch.protectedKey,
          subject_ids: concat(...records.map((record) => record.subject_id)),
          ordinals: new Uint8Array(0),
          commitments: concat(...records.map(commitRecord)),
          created_ms: nowMs(),
        })
        .execute(),
    );
  }

  /** Gives every staged record its subject's ordinal and makes the batches visible, in the caller's transaction. */
  async publish(trx: Writing): Promise<{ batch_id: Uint8Array; root: Uint8Array }[]> {
    const staged = await trx
      .selectFrom("batch")
      .select(["batch_id", "root", "subject_ids"])
      .where("ingest_id", "=", this.#ingestId)
      .where("published", "=", 0)
      .orderBy("position")
      .execute();
    if (staged.length !== this.#batchIds.length) {
      throw new ConflictError(
        { code: "INTERNAL_UNEXPECTED", expected: this.#batchIds.length, actual: staged.length },
        `ingest ${this.#ingestId}: expected ${this.#batchIds.length} staged batches, got ${staged.length}`,
      );
    }
    for (const { batch_id, subject_ids } of staged) {
      const ordinals = await allocateOrdinals(trx, splitSubjectIds(subject_ids));
      await trx
        .updateTable("batch")
        .set({ published: 1, ordinals: ordinalBytes(ordinals), subject_ids: new Uint8Array(0) })
        .where("batch_id", "=", batch_id)
        .execute();
    }
    return staged.map(({ batch_id, root }) => ({ batch_id, root }));
  }

  /** Removes everything staged. */
  async discard(): Promise<void> {
    this.#records = [];
    await this.#context.store.write((trx) =>
      trx
        .deleteFrom("batch")
        .where("ingest_id", "=", this.#ingestId)
        .where("published", "=", 0)
        .execute(),
    );
    this.#context.files.remove(this.#batchIds);
  }

  async #seal(records: readonly CanonicalRecord[]) {
    const { random, secrets, custody, nowMs } = this.#context;
    const batchId = random(BATCH_ID_BYTES);
    const dataKey = random(DATA_KEY_BYTES);
    try {
      const sealed = sealBatch({
        batchId,
        schema: this.#schema,
        columns: this.#columns,
        createdMs: nowMs(),
        records,
        dataKey,
      });
      const wrapped = encryptOnce(secrets.batchSecret(batchId), batchWrapInfo(batchId), dataKey);
      return { batchId, sealed, protectedKey: await custody.protect(wrapped) };
    } finally {
      dataKey.fill(0);
    }
  }
}
