import {
  BATCH_ID_BYTES,
  DATA_KEY_BYTES,
  MalformedError,
  SALT_BYTES,
  batchWrapInfo,
  encryptOnce,
  equalBytes,
} from "#protocol";

import type { VaultContext } from "../vault-context.ts";
import type { RowReport } from "./batch-build.ts";
import { BuildPool } from "./build-pool.ts";
import { BlockPacker, type CellBlock } from "./cell-block.ts";
import { holdsDocuments, type Layout } from "./layout.ts";
import type { BoundMapping } from "./row-mapping.ts";
import { stage, truncate, type NewSegment, type Run, type Segment } from "./runs.ts";
import type { RunProgress } from "./running-runs.ts";
import type { RowFault, RowSource, SourceRow } from "./source.ts";

/** A batch is built when its rows took this many bytes of the source, whatever their number. */
const BLOCK_SOURCE_BYTES = 16 * 1024 * 1024;

/** Bytes of blocks that may be under way at once, beside the last one submitted. */
const UNDER_WAY_BYTES_MAX = 64 * 1024 * 1024;

/** What a pipeline needs. */
export interface PipelineOptions {
  readonly layout: Layout;
  readonly mapping: BoundMapping;
  readonly source: RowSource;
  readonly run: Run;
  readonly onError: "abort" | "quarantine";
  /** Rows of a batch. */
  readonly rowsMax: number;
}

/**
 * Takes the rows of one source to the staged batches of a run: packs them into blocks, has those built into sealed
 * batches, several at once, and stages these in the order of the source.
 *
 * Rows that an interrupted ingest has staged before are passed over for as long as the source is the same, which the
 * digest of its beginning tells at the end of every staged batch. Where it is another, what was staged from there on is
 * forgotten.
 */
export class Pipeline {
  readonly #context: VaultContext;
  readonly #options: PipelineOptions;
  readonly #pool: BuildPool;
  readonly #packer: BlockPacker;
  readonly #beganMs: number;
  /** The run as it is when everything submitted so far is staged. */
  #run: Promise<Run>;
  /** What is being built and staged, oldest first. */
  #underWay: { readonly bytes: number; readonly done: Promise<Run> }[] = [];
  #underWayBytes = 0;
  /** What an interrupted ingest has staged, and how many of these the source has agreed with. */
  #known: readonly Segment[];
  #confirmed = 0;
  #faults: RowReport[] = [];
  #blockRows = 0;
  #blockStart = 0;
  #end = 0;
  #rows = 0;
  #records = 0;
  #quarantined = 0;

  constructor(context: VaultContext, options: PipelineOptions) {
    const { layout, mapping, run, rowsMax } = options;
    this.#context = context;
    this.#options = options;
    const { subjectKey } = context.secrets;
    this.#pool = new BuildPool({ layout, names: mapping.names, subjectKey });
    this.#packer = new BlockPacker(layout.columns.length, rowsMax);
    this.#beganMs = context.nowMs();
    this.#run = Promise.resolve(run);
    this.#known = run.segments;
  }

  get progress(): RunProgress {
    const seconds = Math.max(1, this.#context.nowMs() - this.#beganMs) / 1000;
    return {
      rows: this.#rows,
      records: this.#records,
      quarantined: this.#quarantined,
      bytes: this.#end,
      rowsPerSecond: Math.round(this.#rows / seconds),
    };
  }

  /** Takes rows in their order; waits while enough are under way. */
  async take(rows: readonly SourceRow[]): Promise<void> {
    for (const row of rows) if (this.#add(row)) await this.#endBlock();
  }

  /** Waits until every row taken is staged. @returns The run, which holds the whole source. */
  async finish(): Promise<Run> {
    await this.#endBlock();
    if (this.#confirmed < this.#known.length) await this.#forgetKnown();
    return await this.#run;
  }

  /** Lets what is under way come to its end, whichever; then ends the threads. */
  async close(): Promise<void> {
    await Promise.allSettled(this.#underWay.map(({ done }) => done));
    await this.#pool.close();
  }

  /** Returns whether the block ends with this row. */
  #add(row: SourceRow): boolean {
    const { onError, rowsMax } = this.#options;
    const fault = this.#pack(row);
    if (fault !== null) this.#faults.push({ line: row.line, ...fault });
    this.#end = row.end;
    this.#rows += 1;
    this.#blockRows += 1;
    if (this.#blockRows >= rowsMax || (fault !== null && onError === "abort")) return true;
    const known = this.#known[this.#confirmed];
    return row.end >= (known?.endOffset ?? this.#blockStart + BLOCK_SOURCE_BYTES);
  }

  #pack(row: SourceRow): RowFault | null {
    if ("fault" in row) return row.fault;
    const { mapping, source } = this.#options;
    const width = source.columns.length;
    if (row.cells.length !== width) return { column: null, expected: `${width} cells` };
    return this.#packer.add(row.line, mapping.apply(row.cells, row.line), mapping.names);
  }

  async #endBlock(): Promise<void> {
    if (this.#blockRows === 0) return;
    const known = this.#known[this.#confirmed];
    if (known !== undefined) {
      if (this.#isSame(known)) {
        this.#confirmed += 1;
        this.#count(known);
        this.#packer.forget();
        this.#beginBlock();
        return;
      }
      await this.#forgetKnown();
    }
    const bytes = this.#end - this.#blockStart;
    const done = this.#submit();
    this.#beginBlock();
    // Whoever waits for it learns of its failure; nobody may be waiting yet.
    done.catch(() => undefined);
    this.#run = done;
    this.#underWay.push({ bytes, done });
    this.#underWayBytes += bytes;
    await this.#drain();
  }

  /** Waits while too much is under way: the sender waits with it. */
  async #drain(): Promise<void> {
    const [first] = this.#underWay;
    const isFull =
      this.#underWay.length > this.#pool.width || this.#underWayBytes > UNDER_WAY_BYTES_MAX;
    if (first === undefined || !isFull) return;
    await first.done;
    this.#underWay.shift();
    this.#underWayBytes -= first.bytes;
    await this.#drain();
  }

  #isSame({ endOffset, prefixDigest, quarantined }: Segment): boolean {
    const { source, onError } = this.#options;
    if (this.#end !== endOffset || (onError === "abort" && quarantined > 0)) return false;
    return equalBytes(source.digestAt(endOffset), prefixDigest);
  }

  async #forgetKnown(): Promise<void> {
    this.#known = this.#known.slice(0, this.#confirmed);
    this.#run = Promise.resolve(await truncate(this.#context, await this.#run, this.#confirmed));
  }

  #beginBlock(): void {
    this.#faults = [];
    this.#blockRows = 0;
    this.#blockStart = this.#end;
  }

  /** Has the block built, and stages it after those before it. */
  async #submit(): Promise<Run> {
    const place = {
      endOffset: this.#end,
      rows: this.#blockRows,
      prefixDigest: this.#options.source.digestAt(this.#end),
      documents: holdsDocuments(this.#options.layout),
    };
    const ownFaults = this.#faults;
    const [run, { batch, faults: found }] = await Promise.all([
      this.#run,
      this.#build(this.#packer.take()),
    ]);
    const faults = [...ownFaults, ...found].sort((left, right) => left.line - right.line);
    const [first] = faults;
    if (first !== undefined && this.#options.onError === "abort") throw rowMalformed(first);
    const next = await stage(this.#context, run, { ...place, batch, faults });
    this.#count(next.segments.at(-1));
    return next;
  }

  #count(segment: Segment | undefined): void {
    this.#records += segment?.records ?? 0;
    this.#quarantined += segment?.quarantined ?? 0;
  }

  async #build(block: CellBlock): Promise<Pick<NewSegment, "batch" | "faults">> {
    const { random, secrets, custody, nowMs } = this.#context;
    const batchId = random(BATCH_ID_BYTES);
    const dataKey = new Uint8Array(random(DATA_KEY_BYTES));
    const salts = new Uint8Array(random(block.rows * SALT_BYTES));
    const wrapped = encryptOnce(secrets.batchSecret(batchId), batchWrapInfo(batchId), dataKey);
    const building = this.#pool.build({ block, salts, batchId, dataKey, createdMs: nowMs() });
    dataKey.fill(0);
    const { batch, faults } = await building;
    if (batch === null) return { batch, faults };
    return { batch: { ...batch, batchId, key: await custody.protect(wrapped) }, faults };
  }
}

function rowMalformed({ line, column, expected }: RowReport): MalformedError {
  const place = column === null ? `line ${line}` : `line ${line}, column ${column}`;
  return new MalformedError(
    { code: "SCHEMA_ROW_MALFORMED", line, column, expected },
    `${place}: expected ${expected}`,
  );
}
