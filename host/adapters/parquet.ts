import { open, type FileHandle } from "node:fs/promises";

import { LimitError, MalformedError, SymphonyError } from "#protocol";
import {
  parquetMetadataAsync,
  parquetRead,
  type AsyncBuffer,
  type Compressors,
  type DecodedArray,
  type FileMetaData,
  type SchemaElement,
} from "hyparquet";
import { compressors } from "hyparquet-compressors";

import { parquetTextOf, type ParquetColumnType, type ParquetText } from "./parquet-text.ts";

/** Largest footer, most columns and, of one row group, most uncompressed bytes and most cells: it is held whole. */
export const PARQUET_FOOTER_BYTES_MAX = 64 * 1024 * 1024;
export const PARQUET_COLUMNS_MAX = 256;
export const PARQUET_GROUP_BYTES_MAX = 256 * 1024 * 1024;
export const PARQUET_GROUP_CELLS_MAX = 16 * 1024 * 1024;

/** Length of the footer and "PAR1", little endian, at the end of a file. Apache Parquet format, "File format". */
const TRAILER_BYTES = 8;
const MAGIC = 0x31524150;
const ROWS_A_GROUP = 1_000;

/** A Parquet file that is being read. */
export interface ParquetFile {
  /** Names of the columns that are read, in the file's order. */
  readonly columns: readonly string[];
  /** Rows as the footer counts them. */
  readonly rows: number;
  /** Every row in order, some at a time, as text or null in the order of `columns`. Once. */
  readonly groups: () => AsyncGenerator<(string | null)[][]>;
  readonly close: () => Promise<void>;
}

/**
 * Opens a Parquet file with random access and reads it row group by row group; memory is bounded by one of them.
 * Every value becomes text by the rules of {@link parquetTextOf}.
 *
 * @param ignored - Columns that are not read, and so may be of any type.
 * @throws {@link MalformedError} SCHEMA_MALFORMED for a file that is no Parquet, is damaged or encrypted, or has a column,
 * by `column`, that is nested, repeated or of a type without text.
 * @throws {@link LimitError} SCHEMA_TOO_LARGE above the limits; a file is rewritten with smaller row groups.
 * @see Apache Parquet format 2.11, LogicalTypes.md
 */
export async function openParquet(
  path: string,
  ignored: ReadonlySet<string> = new Set(),
): Promise<ParquetFile> {
  const handle = await open(path);
  try {
    const file = await randomAccess(handle);
    const metadata = await guarded("footer", () => readFooter(file));
    const columns = columnsOf(metadata, ignored);
    const plain = { ...metadata, schema: plainSchema(metadata, columns) };
    return {
      columns: columns.map(({ name }) => name),
      rows: Number(metadata.num_rows),
      groups: () => readGroups({ file, metadata: plain, columns }),
      close: () => handle.close(),
    };
  } catch (error) {
    await handle.close();
    throw error;
  }
}

interface Column {
  readonly name: string;
  readonly text: ParquetText;
  /** How the reader is told of it, so that it hands over bare values. */
  readonly element: SchemaElement;
}

async function randomAccess(handle: FileHandle): Promise<AsyncBuffer> {
  const { size } = await handle.stat();
  return {
    byteLength: size,
    slice: async (start, end = size) => {
      const length = end - start;
      if (start < 0 || length < 0 || end > size)
        throw new RangeError("expected a place in the file");
      if (length > PARQUET_GROUP_BYTES_MAX) throw tooLarge("a read", PARQUET_GROUP_BYTES_MAX);
      const bytes = new Uint8Array(new ArrayBuffer(length));
      let at = 0;
      while (at < length) {
        const { bytesRead } = await handle.read(bytes, at, length - at, start + at);
        if (bytesRead === 0) throw new RangeError("expected the file to stay as long as it was");
        at += bytesRead;
      }
      return bytes.buffer;
    },
  };
}

async function readFooter(file: AsyncBuffer): Promise<FileMetaData> {
  if (file.byteLength < TRAILER_BYTES) throw new RangeError("expected a footer");
  const trailer = new DataView(await file.slice(file.byteLength - TRAILER_BYTES));
  if (trailer.getUint32(4, true) !== MAGIC) throw new RangeError("expected PAR1");
  const length = trailer.getUint32(0, true);
  if (length > PARQUET_FOOTER_BYTES_MAX) throw tooLarge("footer", PARQUET_FOOTER_BYTES_MAX);
  return await parquetMetadataAsync(file, { geoparquet: false });
}

function columnsOf({ schema }: FileMetaData, ignored: ReadonlySet<string>): Column[] {
  const columns: Column[] = [];
  for (let at = 1; at < schema.length; at = nextSibling(schema, at)) {
    const element = schema[at];
    if (element === undefined || ignored.has(element.name)) continue;
    columns.push(columnOf(element));
    if (columns.length > PARQUET_COLUMNS_MAX) throw tooLarge("columns", PARQUET_COLUMNS_MAX);
  }
  const names = new Set(columns.map(({ name }) => name));
  if (columns.length === 0 || names.size !== columns.length) {
    throw malformed("columns", "at least one, each by another name");
  }
  return columns;
}

/** Place of the element after the one at `at` and everything inside it. The schema is a tree written depth first. */
function nextSibling(schema: readonly SchemaElement[], at: number): number {
  let open = 1;
  let next = at;
  while (open > 0 && next < schema.length) {
    open += (schema[next]?.num_children ?? 0) - 1;
    next += 1;
  }
  return next;
}

function columnOf(element: SchemaElement): Column {
  const { name, num_children: children = 0, repetition_type: repetition } = element;
  if (children > 0 || repetition === "REPEATED" || element.type === undefined) {
    throw columnMalformed(name, "one plain value a row, got a nested or repeated column");
  }
  const type = typeOf(element);
  const text = parquetTextOf(type);
  if (text === undefined) {
    const got = `${type.physical}${type.annotation === null ? "" : ` (${type.annotation})`}`;
    throw columnMalformed(name, `a type that has a text, got ${got}`);
  }
  const { converted_type: _converted, logical_type: _logical, ...bare } = element;
  const isText = ["STRING", "UTF8", "ENUM", "JSON"].includes(type.annotation ?? "");
  return { name, text, element: isText ? { ...bare, converted_type: "UTF8" } : bare };
}

function typeOf({ type, scale, converted_type, logical_type }: SchemaElement): ParquetColumnType {
  const plain = {
    physical: type ?? "",
    annotation: null,
    scale: scale ?? 0,
    unit: "MILLIS",
    isUtc: true,
    isSigned: true,
  } as const;
  if (logical_type === undefined) return { ...plain, ...convertedType(converted_type) };
  switch (logical_type.type) {
    case "DECIMAL":
      return { ...plain, annotation: "DECIMAL", scale: logical_type.scale };
    case "TIME":
    case "TIMESTAMP":
      return {
        ...plain,
        annotation: logical_type.type,
        unit: logical_type.unit,
        isUtc: logical_type.isAdjustedToUTC,
      };
    case "INTEGER":
      return { ...plain, annotation: "INTEGER", isSigned: logical_type.isSigned };
    default:
      return { ...plain, annotation: logical_type.type };
  }
}

/** What an older writer says instead of a logical type. LogicalTypes.md, "Compatibility" */
function convertedType(converted: SchemaElement["converted_type"]): Partial<ParquetColumnType> {
  switch (converted) {
    case undefined:
      return {};
    case "TIME_MILLIS":
    case "TIMESTAMP_MILLIS":
      return { annotation: converted.slice(0, -"_MILLIS".length), unit: "MILLIS" };
    case "TIME_MICROS":
    case "TIMESTAMP_MICROS":
      return { annotation: converted.slice(0, -"_MICROS".length), unit: "MICROS" };
    default: {
      const integer = /^(U?)INT_/.exec(converted);
      if (integer === null) return { annotation: converted };
      return { annotation: "INTEGER", isSigned: integer[1] === "" };
    }
  }
}

function plainSchema({ schema }: FileMetaData, columns: readonly Column[]): SchemaElement[] {
  const bare = new Map(columns.map(({ name, element }) => [name, element]));
  const plain = [...schema];
  for (let at = 1; at < schema.length; at = nextSibling(schema, at)) {
    const element = bare.get(schema[at]?.name ?? "");
    if (element !== undefined) plain[at] = element;
  }
  return plain;
}

interface Reading {
  readonly file: AsyncBuffer;
  readonly metadata: FileMetaData;
  readonly columns: readonly Column[];
}

async function* readGroups(reading: Reading): AsyncGenerator<(string | null)[][]> {
  let rowStart = 0;
  for (const [index, group] of reading.metadata.row_groups.entries()) {
    const rows = Number(group.num_rows);
    const where = `row group ${index}`;
    if (Number(group.total_byte_size) > PARQUET_GROUP_BYTES_MAX) {
      throw tooLarge(`bytes of ${where}`, PARQUET_GROUP_BYTES_MAX);
    }
    if (rows * reading.columns.length > PARQUET_GROUP_CELLS_MAX) {
      throw tooLarge(`cells of ${where}`, PARQUET_GROUP_CELLS_MAX);
    }
    const pages = await guarded(where, () => readGroup(reading, rowStart, rows));
    yield* rowsOf(reading.columns, pages, { where, rowStart, rows });
    rowStart += rows;
  }
}

/** The pages of each column, in order. */
async function readGroup(
  { file, metadata, columns }: Reading,
  rowStart: number,
  rows: number,
): Promise<Map<string, DecodedArray[]>> {
  const pages = new Map<string, DecodedArray[]>(columns.map(({ name }) => [name, []]));
  const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
  await parquetRead({
    file,
    metadata,
    columns: columns.map(({ name }) => name),
    rowStart,
    rowEnd: rowStart + rows,
    utf8: false,
    compressors: BOUNDED,
    parsers: {
      stringFromBytes: (bytes) => decoder.decode(bytes),
      timestampFromNanoseconds: (nanos) => nanos,
    },
    onChunk: ({ columnName, columnData }) => pages.get(columnName)?.push(columnData),
  });
  return pages;
}

function* rowsOf(
  columns: readonly Column[],
  pages: ReadonlyMap<string, readonly DecodedArray[]>,
  place: { readonly where: string; readonly rowStart: number; readonly rows: number },
): Generator<(string | null)[][]> {
  const cursors = columns.map((column) => cellsOf(column, pages.get(column.name) ?? [], place));
  for (let from = 0; from < place.rows; from += ROWS_A_GROUP) {
    const rows: (string | null)[][] = [];
    const to = Math.min(from + ROWS_A_GROUP, place.rows);
    for (let row = from; row < to; row += 1) {
      rows.push(
        cursors.map((cursor, index) => {
          const cell = cursor.next();
          if (cell.done !== true) return cell.value;
          throw columnMalformed(
            columns[index]?.name ?? "",
            `${place.rows} values in ${place.where}`,
          );
        }),
      );
    }
    yield rows;
  }
  const longer = cursors.findIndex((cursor) => cursor.next().done !== true);
  if (longer >= 0) {
    throw columnMalformed(columns[longer]?.name ?? "", `${place.rows} values in ${place.where}`);
  }
}

function* cellsOf(
  { name, text }: Column,
  pages: readonly DecodedArray[],
  { rowStart }: { readonly rowStart: number },
): Generator<string | null> {
  let row = rowStart;
  for (const page of pages) {
    for (const value of page) {
      row += 1;
      yield value === null || value === undefined ? null : cellText(text, value, { name, row });
    }
  }
}

function cellText(
  text: ParquetText,
  value: unknown,
  { name, row }: { readonly name: string; readonly row: number },
): string {
  try {
    return text(value);
  } catch (cause) {
    // The cause may tell of the value.
    if (!(cause instanceof TypeError || cause instanceof RangeError)) throw cause;
    throw columnMalformed(name, `a value of the column's type in row ${row}`);
  }
}

/** A page says itself how large it becomes. */
const BOUNDED: Compressors = Object.fromEntries(
  Object.entries(compressors).map(([codec, decompress]) => [
    codec,
    (input: Uint8Array, outputLength: number) => {
      if (outputLength > PARQUET_GROUP_BYTES_MAX) throw tooLarge("a page", PARQUET_GROUP_BYTES_MAX);
      return decompress(input, outputLength);
    },
  ]),
);

/** The library's errors are plain, and may quote the file. */
async function guarded<T>(where: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (error instanceof SymphonyError || isOfTheDisk(error)) throw error;
    throw malformed(where, "Parquet that can be read, got a damaged file or another");
  }
}

function isOfTheDisk(error: unknown): boolean {
  return error instanceof Error && "syscall" in error;
}

function columnMalformed(name: string, expected: string): MalformedError {
  const column = name.slice(0, 64);
  return new MalformedError(
    { code: "SCHEMA_MALFORMED", field: "parquet", column },
    `parquet column ${column}: expected ${expected}`,
  );
}

function malformed(field: string, expected: string): MalformedError {
  return new MalformedError(
    { code: "SCHEMA_MALFORMED", field: "parquet" },
    `parquet ${field}: expected ${expected}`,
  );
}

function tooLarge(subject: string, max: number): LimitError {
  return new LimitError(
    { code: "SCHEMA_TOO_LARGE", max },
    `parquet ${subject}: expected at most ${max}`,
  );
}
