import { hash } from "node:crypto";

import {
  BATCH_BYTES_MAX,
  BATCH_RECORDS_MAX,
  batchMalformed,
  fitsColumn,
  type BatchColumn,
} from "./batch-body.ts";
import { compareBytes, putLatin1 } from "./bytes.ts";
import { CborWriter } from "./cbor-writer.ts";
import { encodeCbor, requireCanonicalText } from "./cbor.ts";
import { recordRoot } from "./record-root.ts";
import {
  ATTRIBUTE_TEXT_MAX,
  RECORD_ATTRIBUTES_MAX,
  SALT_BYTES,
  SUBJECT_ID_BYTES,
  attributeNameSchema,
  recordSchemaNameSchema,
  type AttributeValue,
} from "./record.ts";

const HASH_BYTES = 32;
const ERASED_SUBJECT = new Uint8Array(SUBJECT_ID_BYTES);
const ERASED_SALT = new Uint8Array(SALT_BYTES);

/** The heads and keys of `Serialize(CR)` in their canonical order: salt, schema, attributes, subject_id. */
const RECORD_HEAD = Uint8Array.of(0xa4, ...encodeCbor("salt"), 0x40 | SALT_BYTES);
const SUBJECT_HEAD = Uint8Array.of(...encodeCbor("subject_id"), 0x58, SUBJECT_ID_BYTES);

/** What a batch under construction came to. The arrays are the caller's, but for the body. */
export interface BuiltBatch {
  readonly recordCount: number;
  /** Plaintext: canonical CBOR, see `parseBatchBody`. Valid until its builder finishes another. */
  readonly body: Uint8Array;
  /** 32 bytes for each record. */
  readonly commitments: Uint8Array<ArrayBuffer>;
  /** 32 bytes for each record; zeros for an erased one. */
  readonly subjectIds: Uint8Array<ArrayBuffer>;
  /** See `recordRoot`. */
  readonly root: Uint8Array;
}

/**
 * A batch under construction, by column. Each value goes to its column as the canonical CBOR that both the body and
 * the record's commitment need, so that it is encoded once; each record is committed to once.
 *
 *     for each record: one value to every column, in any order; then endRecord, or dropRecord to forget them
 *
 * Byte for byte what `encodeCbor` of the body and `commitRecord` of each record give.
 */
export class BatchBuilder {
  readonly #columns: readonly ColumnWriter[];
  /** By canonical order of their names: with the encoded name. */
  readonly #sorted: readonly { readonly key: Uint8Array; readonly column: ColumnWriter }[];
  /** What every record begins with: all up to its first attribute, but for the salt. */
  readonly #recordHead: Uint8Array;
  readonly #record = new CborWriter(BATCH_BYTES_MAX);
  readonly #subjectIds = new CborWriter(BATCH_RECORDS_MAX * SUBJECT_ID_BYTES);
  readonly #salts = new CborWriter(BATCH_RECORDS_MAX * SALT_BYTES);
  readonly #commitments = new CborWriter(BATCH_RECORDS_MAX * HASH_BYTES);
  readonly #body = new CborWriter(BATCH_BYTES_MAX);
  #erased: (readonly [number, Uint8Array])[] = [];
  readonly #commitment = Buffer.alloc(HASH_BYTES);
  #count = 0;

  /** @throws MalformedError SCHEMA_BATCH_MALFORMED for a schema or columns that no header may have. */
  constructor(schema: string, columns: readonly BatchColumn[]) {
    const names = columns.map(({ name }) => name);
    const fits =
      recordSchemaNameSchema.safeParse(schema).success &&
      names.every((name) => attributeNameSchema.safeParse(name).success) &&
      names.length <= RECORD_ATTRIBUTES_MAX &&
      new Set(names).size === names.length;
    if (!fits) throw batchMalformed("a schema and distinct columns that a record may have");
    this.#columns = columns.map((column) => new ColumnWriter(column));
    this.#sorted = this.#columns
      .map((column) => ({ key: encodeCbor(column.name), column }))
      .sort((left, right) => compareBytes(left.key, right.key));
    const head = new CborWriter(1024);
    head.raw(RECORD_HEAD);
    head.raw(ERASED_SALT);
    head.raw(encodeCbor("schema"));
    head.text(schema);
    head.raw(encodeCbor("attributes"));
    head.map(columns.length);
    this.#recordHead = head.written;
  }

  /** Records so far, erased ones included. */
  get count(): number {
    return this.#count;
  }

  /** The columns, in the order given. */
  get columns(): readonly ColumnWriter[] {
    return this.#columns;
  }

  /**
   * Ends the record whose values were given.
   *
   * @param subjectId - 32 bytes. @param salt - 16 random bytes for this record alone.
   * @throws MalformedError SCHEMA_BATCH_MALFORMED when a column has not exactly one value, or a size is another.
   */
  endRecord(subjectId: Uint8Array, salt: Uint8Array): void {
    if (!this.#isWhole() || subjectId.length !== SUBJECT_ID_BYTES || salt.length !== SALT_BYTES) {
      throw batchMalformed("one value in every column, a subject id and a salt");
    }
    const record = this.#record;
    this.#beginRecord();
    record.patch(RECORD_HEAD.length, salt);
    for (const { key, column } of this.#sorted) {
      record.raw(key);
      column.endRecord(record);
    }
    record.raw(SUBJECT_HEAD);
    record.raw(subjectId);
    putLatin1(this.#commitment, 0, hash("sha256", record.view, "binary"));
    this.#take(subjectId, salt);
  }

  #beginRecord(): void {
    const head = this.#recordHead;
    if (this.#record.length === 0) this.#record.raw(head);
    else this.#record.cut(head.length);
  }

  #isWhole(): boolean {
    const next = this.#count + 1;
    for (const { count } of this.#columns) if (count !== next) return false;
    return true;
  }

  /** Forgets the values given since the last record. */
  dropRecord(): void {
    for (const column of this.#columns) column.drop(this.#count);
  }

  /** Adds a record of which only the commitment is left. @throws MalformedError SCHEMA_BATCH_MALFORMED */
  addErased(commitment: Uint8Array): void {
    if (commitment.length !== HASH_BYTES) throw batchMalformed("32-byte commitments");
    this.dropRecord();
    this.#beginRecord();
    for (const column of this.#columns) {
      column.null();
      column.endRecord(this.#record);
    }
    this.#erased.push([this.#count, commitment.slice()]);
    this.#commitment.set(commitment);
    this.#take(ERASED_SUBJECT, ERASED_SALT);
  }

  /**
   * What was built. Beside it the builder holds no plaintext any more; it begins another batch, in the memory that this
   * one took.
   *
   * @throws LimitError SCHEMA_TOO_LARGE
   */
  finish(): BuiltBatch {
    const body = this.#body;
    body.cut(0);
    body.map(4);
    body.text("salts");
    body.bytes(this.#salts.written);
    body.text("erased");
    body.raw(encodeCbor(this.#erased));
    body.text("columns");
    body.array(this.#columns.length);
    for (const column of this.#columns) column.copyAll(body);
    body.text("subject_ids");
    body.bytes(this.#subjectIds.written);
    const built = {
      recordCount: this.#count,
      body: body.written,
      // Copies of their own length: what goes to another thread goes with all of its buffer.
      commitments: this.#commitments.written.slice(),
      subjectIds: this.#subjectIds.written.slice(),
      root: recordRoot(this.#commitments.written),
    };
    this.clear();
    return built;
  }

  /** Forgets every record, so that another batch can begin. */
  clear(): void {
    for (const column of this.#columns) column.wipe();
    for (const writer of [this.#record, this.#salts, this.#subjectIds, this.#commitments]) {
      writer.wipe();
    }
    this.#erased = [];
    this.#count = 0;
  }

  #take(subjectId: Uint8Array, salt: Uint8Array): void {
    this.#commitments.raw(this.#commitment);
    this.#subjectIds.raw(subjectId);
    this.#salts.raw(salt);
    this.#count += 1;
  }
}

/** The values of one column, in record order. */
export class ColumnWriter {
  readonly #column: BatchColumn;
  readonly #values = new CborWriter(BATCH_BYTES_MAX);
  /** Where the values of the record begin that has not ended; one value, if all goes well. */
  #kept = 0;
  #count = 0;

  constructor(column: BatchColumn) {
    this.#column = column;
  }

  get name(): string {
    return this.#column.name;
  }

  get count(): number {
    return this.#count;
  }

  null(): void {
    this.#count += 1;
    this.#values.null();
  }

  /** Any value that the column's type takes. @throws MalformedError SCHEMA_BATCH_MALFORMED, SCHEMA_CBOR_MALFORMED */
  value(value: AttributeValue): void {
    if (!fitsColumn(value, this.#column)) throw batchMalformed(`${this.#column.type} values`);
    if (typeof value === "string") requireCanonicalText(value, this.name);
    this.#count += 1;
    if (value === null) this.#values.null();
    else if (typeof value === "number") this.#values.integer(value);
    else if (typeof value === "string") this.#values.text(value);
    else this.#values.bytes(value);
  }

  /** Text of a text column that is ASCII: `bytes` in [from, to). Returns false, having done nothing, when it is not. */
  ascii(bytes: Uint8Array, from: number, to: number): boolean {
    if (this.#column.type !== "text" || to - from > ATTRIBUTE_TEXT_MAX) return false;
    const isAscii = this.#values.asciiOf(bytes, from, to);
    if (isAscii) this.#count += 1;
    return isAscii;
  }

  /** Ends the record: copies its value to where it is committed to. */
  endRecord(record: CborWriter): void {
    record.part(this.#values, this.#kept, this.#values.length);
    this.#kept = this.#values.length;
  }

  copyAll(to: CborWriter): void {
    to.array(this.#count);
    to.part(this.#values, 0, this.#values.length);
  }

  /** Forgets what came since `count` records had ended. */
  drop(count: number): void {
    this.#values.cut(this.#kept);
    this.#count = count;
  }

  wipe(): void {
    this.#values.wipe();
    this.#kept = 0;
    this.#count = 0;
  }
}
