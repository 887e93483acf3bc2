import { z } from "zod";

import { CBOR_BYTES_MAX, decodeCbor } from "./cbor.ts";
import { MalformedError } from "./errors.ts";
import { bytes32, bytesUpTo } from "./fields.ts";
import { SALT_BYTES, SUBJECT_ID_BYTES, type AttributeValue } from "./record.ts";

/** The largest sealed batch, header and tags included: 64 MiB. */
export const BATCH_BYTES_MAX = 64 * 1024 * 1024;

/** Most records of a batch. */
export const BATCH_RECORDS_MAX = 1_000_000;

/** What a batch needs to know of a column to judge its values. */
export interface BatchColumn {
  readonly name: string;
  readonly type: "integer" | "decimal" | "text" | "bytes";
  /** Decimal digits after the point; 0 except for `decimal`. */
  readonly scale: number;
}

/** The values of a batch by column; every array has one item per record, in record order. */
export interface BatchBody {
  readonly columns: ReadonlyMap<string, readonly AttributeValue[]>;
  readonly subjectIds: readonly Uint8Array[];
  readonly salts: readonly Uint8Array[];
  /** Commitments of erased records by record index. Their values are null, their subject id and salt zero. */
  readonly erased: ReadonlyMap<number, Uint8Array>;
}

const bodySchema = z.strictObject({
  columns: z.array(z.array(z.unknown())),
  subject_ids: bytesUpTo(CBOR_BYTES_MAX),
  salts: bytesUpTo(CBOR_BYTES_MAX),
  erased: z.array(z.tuple([z.int().min(0), bytes32])),
});

/**
 * Parses a body, canonical CBOR, against the columns and the count of its header.
 *
 *     { columns:     [[value, ...] per column of the header, in its order],
 *       subject_ids: bstr, 32 bytes per record,
 *       salts:       bstr, 16 bytes per record,
 *       erased:      [[record index, commitment], ...] in order of index }
 *
 * @throws {@link MalformedError} SCHEMA_CBOR_MALFORMED, SCHEMA_BATCH_MALFORMED
 */
export function parseBatchBody(
  bytes: Uint8Array,
  header: { readonly columns: readonly BatchColumn[]; readonly record_count: number },
): BatchBody {
  const parsed = bodySchema.safeParse(decodeCbor(bytes));
  if (!parsed.success) throw batchMalformed("a body of columns, subject ids, salts and erased");
  const { data } = parsed;
  const count = header.record_count;
  const sized =
    data.columns.length === header.columns.length &&
    data.subject_ids.length === count * SUBJECT_ID_BYTES &&
    data.salts.length === count * SALT_BYTES;
  if (!sized) throw batchMalformed(`a body of ${count} records`);
  const columns = new Map<string, readonly AttributeValue[]>();
  for (const [index, column] of header.columns.entries()) {
    const values = data.columns[index] ?? [];
    if (values.length !== count) throw batchMalformed(`${count} values in ${column.name}`);
    columns.set(column.name, parseColumn(values, column));
  }
  const erased = new Map(data.erased);
  const inRange = data.erased.every(([index]) => index < count);
  if (erased.size !== data.erased.length || !inRange) {
    throw batchMalformed("each erased record once");
  }
  return {
    columns,
    subjectIds: slices(data.subject_ids, SUBJECT_ID_BYTES),
    salts: slices(data.salts, SALT_BYTES),
    erased,
  };
}

/** Whether a column of this type may hold `value`. Null is allowed everywhere. */
export function fitsColumn(value: unknown, column: BatchColumn): value is AttributeValue {
  if (value === null) return true;
  switch (column.type) {
    case "integer":
    case "decimal":
      return Number.isSafeInteger(value);
    case "text":
      return typeof value === "string";
    case "bytes":
      return value instanceof Uint8Array;
  }
}

/** The one error of a batch that has not the right shape. Never says a value. */
export function batchMalformed(expected: string, cause?: unknown): MalformedError {
  return new MalformedError(
    { code: "SCHEMA_BATCH_MALFORMED", expected },
    `batch: expected ${expected}, got another form`,
    { cause },
  );
}

function parseColumn(values: readonly unknown[], column: BatchColumn): readonly AttributeValue[] {
  const fits = (value: unknown): value is AttributeValue => fitsColumn(value, column);
  if (!values.every(fits)) throw batchMalformed(`${column.type} values in ${column.name}`);
  return values;
}

function slices(bytes: Uint8Array, width: number): Uint8Array[] {
  return Array.from({ length: bytes.length / width }, (_, index) =>
    bytes.slice(index * width, (index + 1) * width),
  );
}
