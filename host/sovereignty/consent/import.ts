import { ConflictError, encodeCbor, equalBytes, identifier, parseWith } from "#protocol";

import { subjectSetOf } from "../ledger/subject-set.ts";
import { allocateOrdinals } from "../ledger/queries.ts";
import type { Writing } from "../queries.ts";
import { openCsv } from "../records/csv.ts";
import type { RowSource, SourceRow } from "../records/source.ts";
import type { VaultContext } from "../vault-context.ts";
import { rowReader, type ConsentRow, type ConsentRowFault } from "./import-rows.ts";

/** Rows that are recorded together or not at all. */
export const IMPORT_CHUNK_ROWS = 10_000;
/** Faulty rows that a report lists. */
const FAULTS_MAX = 100;

/** Consent decisions in bulk. */
export interface ConsentImport {
  /** Names the import: sent again with the same bytes, what was recorded is not recorded twice. */
  readonly importId: string;
  /** CSV with a header: `subject`, `purpose`, `state`, `expires`. */
  readonly source: AsyncIterable<Uint8Array>;
  /** Absent: {@link IMPORT_CHUNK_ROWS}. */
  readonly chunkRows?: number;
}

/** What came of an import. */
export interface ConsentImportReport {
  readonly import_id: string;
  /** Rows whose decisions are recorded now, of which `repeated` were recorded by an earlier call. */
  readonly rows: number;
  readonly repeated: number;
  /** False when a row is faulty: its chunk and all after it are not recorded. */
  readonly complete: boolean;
  /** Faulty rows of that chunk, by line; the first 100. */
  readonly faults: readonly ConsentRowFault[];
}

interface Chunk {
  /** From 0. */
  readonly number: number;
  readonly rows: readonly ConsentRow[];
  /** SHA-256 of the source up to the chunk's end. */
  readonly prefix: Uint8Array;
}

/**
 * Records the decisions of a CSV file in its order, in chunks that are each whole or not at all, in constant memory. Of
 * several rows about one subject and purpose the last counts. Stops before the first chunk with a faulty row, since a
 * later decision must not be overtaken by an earlier one that is corrected afterwards.
 *
 * Interrupted at any moment, the same call with the same `importId` goes on: chunks that are recorded are passed over.
 *
 * @throws {@link ConflictError} AUTH_REPLAYED for an `importId` that recorded other bytes.
 * @throws MalformedError SCHEMA_UNKNOWN_COLUMN, SCHEMA_ROW_MALFORMED, LimitError SCHEMA_TOO_LARGE as `openCsv`.
 */
export async function importConsents(
  context: VaultContext,
  args: ConsentImport,
): Promise<ConsentImportReport> {
  const importId = parseWith(identifier, args.importId, "import id");
  const chunkRows = args.chunkRows ?? IMPORT_CHUNK_ROWS;
  const source = await openCsv(args.source);
  const readRow = rowReader(source);
  let [number, rows, repeated] = [0, 0, 0];
  for await (const chunk of chunksOf(source, chunkRows)) {
    const { whole, faults } = judged(chunk.map(readRow));
    if (faults.length > 0) {
      const listed = faults.slice(0, FAULTS_MAX);
      return { import_id: importId, rows, repeated, complete: false, faults: listed };
    }
    const prefix = source.digestAt(chunk.at(-1)?.end ?? 0);
    const isNew = await recordChunk(context, importId, { number, rows: whole, prefix });
    rows += whole.length;
    if (!isNew) repeated += whole.length;
    number += 1;
  }
  return { import_id: importId, rows, repeated, complete: true, faults: [] };
}

function judged(read: readonly (ConsentRow | ConsentRowFault)[]) {
  const whole: ConsentRow[] = [];
  const faults: ConsentRowFault[] = [];
  for (const row of read) {
    if ("line" in row) faults.push(row);
    else whole.push(row);
  }
  return { whole, faults };
}

/** Rows by `size`, but for the last chunk. The digest of the source is asked for at each one's end. */
async function* chunksOf(source: RowSource, size: number): AsyncGenerator<readonly SourceRow[]> {
  let chunk: SourceRow[] = [];
  for await (const group of source.rows) {
    for (const row of group) {
      chunk.push(row);
      if (chunk.length < size) continue;
      yield chunk;
      chunk = [];
    }
  }
  if (chunk.length > 0) yield chunk;
}

/** Records a chunk, unless it is recorded already; says whether it was new. */
async function recordChunk(
  context: VaultContext,
  importId: string,
  chunk: Chunk,
): Promise<boolean> {
  const { store, books, log, secrets, nowMs } = context;
  return await store.write(async (trx) => {
    if (await isRecorded(trx, importId, chunk)) return false;
    const ordinals = await ordinalsOf(context, trx, chunk.rows);
    const commitments: Uint8Array[] = [];
    for (const { usageScope, decision, members } of decisionsOf(chunk.rows, ordinals)) {
      const subjects = subjectSetOf(members);
      await books.consent(trx, { purpose: usageScope, subjects, decision, atMs: nowMs() });
      commitments.push(encodeCbor([usageScope, { ...decision }, subjects.encoded]));
    }
    await trx
      .insertInto("consent_import")
      .values({ import_id: importId, chunk: chunk.number, prefix: chunk.prefix, at_ms: nowMs() })
      .execute();
    await log.append(trx, {
      type: "consent.imported",
      taskId: null,
      body: {
        import_id: importId,
        chunk: chunk.number,
        rows: chunk.rows.length,
        subjects: secrets.subjectSetCommitment(encodeCbor(commitments)),
      },
    });
    return true;
  });
}

async function isRecorded(trx: Writing, importId: string, chunk: Chunk): Promise<boolean> {
  const recorded = await trx
    .selectFrom("consent_import")
    .select("prefix")
    .where("import_id", "=", importId)
    .where("chunk", "=", chunk.number)
    .executeTakeFirst();
  if (recorded === undefined) return false;
  if (equalBytes(recorded.prefix, chunk.prefix)) return true;
  throw new ConflictError(
    { code: "AUTH_REPLAYED", import_id: importId },
    `import ${importId}: expected the bytes that it recorded, got others in chunk ${chunk.number}`,
  );
}

async function ordinalsOf(
  { secrets }: VaultContext,
  trx: Writing,
  rows: readonly ConsentRow[],
): Promise<ReadonlyMap<string, number>> {
  const subjects = [...new Set(rows.map(({ subject }) => subject))];
  const ids = subjects.map((subject) => secrets.subjectId(subject));
  const ordinals = await allocateOrdinals(trx, Buffer.concat(ids));
  return new Map(subjects.map((subject, index) => [subject, ordinals[index] ?? 0]));
}

/** The subjects of each decision; of several rows about one subject and purpose the last counts. */
function decisionsOf(rows: readonly ConsentRow[], ordinals: ReadonlyMap<string, number>) {
  const last = new Map<string, ConsentRow>();
  for (const row of rows) last.set(`${row.usageScope} ${ordinals.get(row.subject)}`, row);
  const groups = new Map<
    string,
    Pick<ConsentRow, "usageScope" | "decision"> & { readonly members: number[] }
  >();
  for (const { subject, usageScope, decision } of last.values()) {
    const ends = decision.state === "granted" ? decision.expiresMs : "";
    const key = `${usageScope} ${decision.state} ${ends}`;
    const group = groups.get(key) ?? { usageScope, decision, members: [] };
    group.members.push(ordinals.get(subject) ?? 0);
    groups.set(key, group);
  }
  return groups.values();
}
