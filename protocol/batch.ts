import { createCipheriv, createDecipheriv } from "node:crypto";

import { z } from "zod";

import {
  BATCH_BYTES_MAX,
  BATCH_RECORDS_MAX,
  batchMalformed,
  parseBatchBody,
  type BatchBody,
  type BatchColumn,
} from "./batch-body.ts";
import { BatchBuilder, type BuiltBatch } from "./batch-builder.ts";
import { concat, equalBytes, utf8 } from "./bytes.ts";
import { decodeCbor, encodeCbor } from "./cbor.ts";
import { LimitError, SymphonyError, VerificationError } from "./errors.ts";
import { bytes32, bytesOf } from "./fields.ts";
import { digestOfBytes } from "./hash.ts";
import { leafHash, merkleRoot } from "./merkle.ts";
import { parseWith } from "./object.ts";
import { COMMITMENT_BYTES, recordRoot } from "./record-root.ts";
import {
  RECORD_ATTRIBUTES_MAX,
  attributeNameSchema,
  commitRecord,
  recordSchemaNameSchema,
  type AttributeValue,
  type CanonicalRecord,
} from "./record.ts";

/** Plaintext bytes of every chunk but the last. */
export const BATCH_CHUNK_BYTES = 1024 * 1024;

/** The largest header: 256 columns with the longest names fit into half of it. */
export const BATCH_HEADER_BYTES_MAX = 64 * 1024;

/** Bytes of a batch id and of a data key (AES-256). */
export const BATCH_ID_BYTES = 16;
export const DATA_KEY_BYTES = 32;

const MAGIC = utf8("SYMB");
const PREFIX_BYTES = MAGIC.length + 4;
/** AES-GCM. NIST SP 800-38D § 5.2.1.1 and § 8.2 (deterministic nonces), § 5.2.1.2 (tag) */
const CIPHER = "aes-256-gcm";
const NONCE_BYTES = 12;
const TAG_BYTES = 16;

const columnSchema = z
  .strictObject({
    name: attributeNameSchema,
    type: z.enum(["integer", "decimal", "text", "bytes"]),
    scale: z.int().min(0).max(15),
  })
  .refine((column) => column.type === "decimal" || column.scale === 0);

/**
 * The public header of a sealed batch.
 *
 * `record_root` is what `recordRoot` gives of the record commitments. No column name appears twice. `scale` is 0 except for `decimal`, whose values are integers times 10^-scale.
 */
export const batchHeaderSchema = z
  .strictObject({
    version: z.literal(1),
    batch_id: bytesOf(BATCH_ID_BYTES),
    schema: recordSchemaNameSchema,
    columns: z.array(columnSchema).max(RECORD_ATTRIBUTES_MAX),
    record_count: z.int().min(1).max(BATCH_RECORDS_MAX),
    record_root: bytes32,
    chunk_bytes: z.literal(BATCH_CHUNK_BYTES),
    chunk_count: z
      .int()
      .min(1)
      .max(BATCH_BYTES_MAX / BATCH_CHUNK_BYTES),
    created_ms: z.int().min(0),
  })
  .refine((header) => hasDistinctNames(header.columns));

/** See {@link batchHeaderSchema}. */
export type BatchHeader = z.infer<typeof batchHeaderSchema>;

/** A record whose subject has asked for erasure: only its commitment is left. */
export interface ErasedRecord {
  readonly erasedCommitment: Uint8Array;
}

/** A batch in the clear. */
export interface OpenedBatch extends BatchBody {
  readonly header: BatchHeader;
}

/**
 * Seals records into one encrypted batch. Every record needs exactly the attributes that `columns` name.
 *
 *     offset  size      field
 *     0       4         "SYMB"
 *     4       4         header length h, unsigned, big endian
 *     8       h         header, canonical CBOR
 *     8 + h   n_0 + 16  chunk 0: AES-256-GCM ciphertext and tag
 *     ...               chunks in order
 *
 * Every chunk but the last holds 1 MiB of the body. The nonce of chunk i is eight zero bytes and i (u32, big endian).
 * Its associated data is the header's digest, i (u32, big endian), and one byte: 1 for the last chunk, else 0.
 *
 * @param args.dataKey - 32 random bytes for this batch alone: with a second batch under the same key, nonces repeat
 * and both are lost.
 * @throws {@link MalformedError} SCHEMA_BATCH_MALFORMED, SCHEMA_CBOR_MALFORMED
 * @throws {@link LimitError} SCHEMA_TOO_LARGE
 */
export function sealBatch(args: {
  readonly batchId: Uint8Array;
  readonly schema: string;
  readonly columns: readonly BatchColumn[];
  readonly createdMs: number;
  readonly records: readonly (CanonicalRecord | ErasedRecord)[];
  readonly dataKey: Uint8Array;
}): Uint8Array {
  const { records, schema, columns } = args;
  if (records.length > BATCH_RECORDS_MAX) {
    throw tooLarge("records", records.length, BATCH_RECORDS_MAX);
  }
  const builder = new BatchBuilder(schema, columns);
  for (const record of records) addRecord(builder, record, schema);
  return sealBuilt({ ...args, built: builder.finish() });
}

/** What {@link sealBuilt} seals, and how. */
export interface BatchSealing {
  readonly batchId: Uint8Array;
  readonly schema: string;
  readonly columns: readonly BatchColumn[];
  readonly createdMs: number;
  readonly built: BuiltBatch;
  readonly dataKey: Uint8Array;
}

/**
 * Seals what a {@link BatchBuilder} of the same schema and columns built; overwrites its body. As {@link sealBatch}.
 *
 * @throws {@link MalformedError} SCHEMA_BATCH_MALFORMED
 * @throws {@link LimitError} SCHEMA_TOO_LARGE
 */
export function sealBuilt(args: BatchSealing): Uint8Array<ArrayBuffer> {
  try {
    return sealedBatch(args);
  } finally {
    args.built.body.fill(0);
  }
}

function sealedBatch({ built, dataKey, ...args }: BatchSealing): Uint8Array<ArrayBuffer> {
  const { body } = built;
  requireKey(dataKey);
  if (body.length > BATCH_BYTES_MAX) throw tooLarge("body bytes", body.length, BATCH_BYTES_MAX);
  const header = parseHeaderShape({
    version: 1,
    batch_id: args.batchId,
    schema: args.schema,
    columns: args.columns.map(({ name, type, scale }) => ({ name, type, scale })),
    record_count: built.recordCount,
    record_root: built.root,
    chunk_bytes: BATCH_CHUNK_BYTES,
    chunk_count: Math.ceil(body.length / BATCH_CHUNK_BYTES),
    created_ms: args.createdMs,
  });
  const headerBytes = encodeCbor(header);
  const length = new Uint8Array(4);
  new DataView(length.buffer).setUint32(0, headerBytes.length);
  const prefix = concat(MAGIC, length, headerBytes);
  const bytes = prefix.length + body.length + header.chunk_count * TAG_BYTES;
  if (bytes > BATCH_BYTES_MAX) throw tooLarge("bytes", bytes, BATCH_BYTES_MAX);
  const batch = new Uint8Array(bytes);
  batch.set(prefix);
  sealChunks(batch.subarray(prefix.length), { headerBytes, body, dataKey });
  return batch;
}

/**
 * Parses the header of a sealed batch, which is public and here untrusted: only opening authenticates it.
 *
 * @throws {@link LimitError} SCHEMA_TOO_LARGE
 * @throws {@link MalformedError} SCHEMA_BATCH_MALFORMED, also when the length does not fit the chunk count.
 */
export function parseBatchHeader(bytes: Uint8Array): BatchHeader {
  return parseFile(bytes).header;
}

/**
 * Opens a batch: authenticates header and every chunk, then parses the columns. All or nothing.
 *
 * Does not hash the records again; that is {@link rehashBatch}. The arrays are plaintext, and the caller's to forget.
 *
 * @throws {@link LimitError} SCHEMA_TOO_LARGE
 * @throws {@link MalformedError} SCHEMA_BATCH_MALFORMED, SCHEMA_CBOR_MALFORMED
 * @throws {@link VerificationError} INTERNAL_OPEN_FAILED for another key or an altered byte.
 */
export function openBatch(bytes: Uint8Array, dataKey: Uint8Array): OpenedBatch {
  requireKey(dataKey);
  const { header, headerBytes, sealed } = parseFile(bytes);
  const body = openChunks({ header, headerBytes, sealed, dataKey });
  try {
    return { header, ...parseBatchBody(body, header) };
  } finally {
    body.fill(0);
  }
}

/** The root by which a task names a batch: `record_root`. Erasing a record or sealing anew keeps it. */
export function batchRoot(header: BatchHeader): Uint8Array {
  return header.record_root;
}

/** The input commitment of a task: the RFC 9162 root whose leaf entries are `batchRoots`, in their order. */
export function inputCommitment(batchRoots: readonly Uint8Array[]): Uint8Array {
  return merkleRoot(batchRoots.map(leafHash));
}

/** Record `index` of an opened batch, as it was sealed. @throws SCHEMA_BATCH_MALFORMED if there is none. */
export function recordAt(batch: OpenedBatch, index: number): CanonicalRecord {
  const subject_id = batch.subjectIds[index];
  const salt = batch.salts[index];
  if (subject_id === undefined || salt === undefined || batch.erased.has(index)) {
    throw batchMalformed(`a record at ${index}`);
  }
  const attributes: Record<string, AttributeValue> = {};
  for (const [name, values] of batch.columns) attributes[name] = values[index] ?? null;
  return { schema: batch.header.schema, subject_id, attributes, salt };
}

/**
 * Commits to every record again and compares the root with the header's: the challenge path.
 *
 * @returns The commitments in record order, and their root.
 * @throws {@link VerificationError} PROOF_COMMITMENT_MISMATCH
 */
export function rehashBatch(batch: OpenedBatch): {
  readonly commitments: readonly Uint8Array[];
  readonly root: Uint8Array;
} {
  const commitments = batch.subjectIds.map(
    (_, index) => batch.erased.get(index) ?? commitRecord(recordAt(batch, index)),
  );
  const root = recordRoot(joined(commitments));
  if (!equalBytes(root, batch.header.record_root)) {
    throw new VerificationError(
      { code: "PROOF_COMMITMENT_MISMATCH", records: commitments.length },
      "batch: expected records that hash to the header's root, got others",
    );
  }
  return { commitments, root };
}

/** There may be more than a call takes arguments. */
function joined(commitments: readonly Uint8Array[]): Uint8Array {
  const whole = new Uint8Array(commitments.length * COMMITMENT_BYTES);
  for (const [index, commitment] of commitments.entries()) {
    whole.set(commitment, index * COMMITMENT_BYTES);
  }
  return whole;
}

function addRecord(
  builder: BatchBuilder,
  record: CanonicalRecord | ErasedRecord,
  batchSchema: string,
): void {
  if ("erasedCommitment" in record) {
    builder.addErased(record.erasedCommitment);
    return;
  }
  const { attributes, schema, subject_id, salt } = record;
  const exact = Object.keys(attributes).length === builder.columns.length;
  if (!exact || schema !== batchSchema) {
    throw batchMalformed("records with the batch's schema and columns");
  }
  for (const column of builder.columns) {
    const value = Object.hasOwn(attributes, column.name) ? attributes[column.name] : undefined;
    if (value === undefined) throw batchMalformed("records with the batch's columns");
    column.value(value);
  }
  builder.endRecord(subject_id, salt);
}

function parseFile(bytes: Uint8Array): {
  header: BatchHeader;
  headerBytes: Uint8Array;
  sealed: Uint8Array;
} {
  if (bytes.length > BATCH_BYTES_MAX) throw tooLarge("bytes", bytes.length, BATCH_BYTES_MAX);
  if (bytes.length < PREFIX_BYTES || !equalBytes(bytes.subarray(0, MAGIC.length), MAGIC)) {
    throw batchMalformed('a file that begins with "SYMB"');
  }
  const length = new DataView(bytes.buffer, bytes.byteOffset).getUint32(MAGIC.length);
  if (length > BATCH_HEADER_BYTES_MAX) throw tooLarge("header", length, BATCH_HEADER_BYTES_MAX);
  const headerBytes = bytes.subarray(PREFIX_BYTES, PREFIX_BYTES + length);
  const sealed = bytes.subarray(PREFIX_BYTES + length);
  const header = parseHeaderShape(decodeHeader(headerBytes));
  const full = (header.chunk_count - 1) * (BATCH_CHUNK_BYTES + TAG_BYTES);
  const last = sealed.length - full - TAG_BYTES;
  if (last < 1 || last > BATCH_CHUNK_BYTES) throw batchMalformed(`${header.chunk_count} chunks`);
  return { header, headerBytes, sealed };
}

function decodeHeader(bytes: Uint8Array): unknown {
  try {
    return decodeCbor(bytes, BATCH_HEADER_BYTES_MAX);
  } catch (cause) {
    if (!(cause instanceof SymphonyError)) throw cause;
    throw batchMalformed("a canonical header", cause);
  }
}

function parseHeaderShape(value: unknown): BatchHeader {
  return parseWith(batchHeaderSchema, value, "batch header", "SCHEMA_BATCH_MALFORMED");
}

/** Writes the sealed chunks of `body` to `target`, which is as long as they are. */
function sealChunks(
  target: Uint8Array,
  args: {
    readonly headerBytes: Uint8Array;
    readonly body: Uint8Array;
    readonly dataKey: Uint8Array;
  },
): void {
  const { headerBytes, body, dataKey } = args;
  const digest = digestOfBytes("batch-header", headerBytes);
  const count = Math.ceil(body.length / BATCH_CHUNK_BYTES);
  let at = 0;
  for (let index = 0; index < count; index += 1) {
    const cipher = createCipheriv(CIPHER, dataKey, chunkNonce(index));
    cipher.setAAD(chunkAad({ digest, index, count }));
    const chunk = body.subarray(index * BATCH_CHUNK_BYTES, (index + 1) * BATCH_CHUNK_BYTES);
    for (const part of [cipher.update(chunk), cipher.final(), cipher.getAuthTag()]) {
      target.set(part, at);
      at += part.length;
    }
  }
}

function openChunks(args: {
  header: BatchHeader;
  headerBytes: Uint8Array;
  sealed: Uint8Array;
  dataKey: Uint8Array;
}): Uint8Array {
  const { headerBytes, sealed, dataKey } = args;
  const digest = digestOfBytes("batch-header", headerBytes);
  const count = args.header.chunk_count;
  const body = new Uint8Array(sealed.length - count * TAG_BYTES);
  for (let index = 0; index < count; index += 1) {
    const start = index * (BATCH_CHUNK_BYTES + TAG_BYTES);
    const chunk = sealed.subarray(start, start + BATCH_CHUNK_BYTES + TAG_BYTES);
    const nonce = chunkNonce(index);
    const decipher = createDecipheriv(CIPHER, dataKey, nonce, { authTagLength: TAG_BYTES });
    decipher.setAAD(chunkAad({ digest, index, count }));
    decipher.setAuthTag(chunk.subarray(-TAG_BYTES));
    body.set(decipher.update(chunk.subarray(0, -TAG_BYTES)), index * BATCH_CHUNK_BYTES);
    try {
      decipher.final();
    } catch (cause) {
      body.fill(0);
      throw new VerificationError(
        { code: "INTERNAL_OPEN_FAILED", chunk: index },
        "batch: expected a chunk sealed under this key and header, got another",
        { cause },
      );
    }
  }
  return body;
}

function chunkNonce(index: number): Uint8Array {
  const nonce = new Uint8Array(NONCE_BYTES);
  new DataView(nonce.buffer).setUint32(NONCE_BYTES - 4, index);
  return nonce;
}

function chunkAad(args: { digest: Uint8Array; index: number; count: number }): Uint8Array {
  const suffix = new Uint8Array(5);
  const view = new DataView(suffix.buffer);
  view.setUint32(0, args.index);
  view.setUint8(4, args.index === args.count - 1 ? 1 : 0);
  return concat(args.digest, suffix);
}

function hasDistinctNames(columns: readonly BatchColumn[]): boolean {
  return new Set(columns.map((column) => column.name)).size === columns.length;
}

function requireKey(dataKey: Uint8Array): void {
  if (dataKey.length !== DATA_KEY_BYTES) throw batchMalformed(`a key of ${DATA_KEY_BYTES} bytes`);
}

function tooLarge(subject: string, got: number, max: number): LimitError {
  return new LimitError(
    { code: "SCHEMA_TOO_LARGE", got, max },
    `batch ${subject}: expected at most ${max}, got ${got}`,
  );
}
