import {
  BATCH_ID_BYTES,
  DATA_KEY_BYTES,
  LimitError,
  MalformedError,
  SALT_BYTES,
  batchWrapInfo,
  encryptOnce,
  equalBytes,
} from "#protocol";

import type { VaultContext } from "../vault-context.ts";
import type { BuildFailure, RowReport } from "./batch-build.ts";
import { feedOf, type Block, type BlockFeed } from "./block-feed.ts";
import { BuildPool } from "./build-pool.ts";
import type { CsvSource } from "./csv.ts";
import { holdsDocuments, type Layout } from "./layout.ts";
import type { RowMapping } from "./row-mapping.ts";
import { stage, truncate, type NewSegment, type Run, type Segment } from "./runs.ts";
import type { RunProgress } from "./running-runs.ts";
import type { RowSource } from "./source.ts";

/** A batch is built when its rows took this many bytes of the source, whatever their number. */
const BLOCK_SOURCE_BYTES = 16 * 1024 * 1024;

/** Bytes of blocks that may be under way at once, beside the last one submitted. */
const UNDER_WAY_BYTES_MAX = 64 * 1024 * 1024;

/** What a pipeline needs. */
export interface PipelineOptions {
  readonly layout: Layout;
  readonly mapping: RowMapping;
  readonly source: RowSource | CsvSource;
  readonly run: Run;
  readonly onError: "abort" | "quarantine";
  /** Rows of a batch. */
  readonly rowsMax: number;
}

interface ReadOptions {
  readonly signal: AbortSignal | undefined;
  readonly tell: () => void;
}

/**
 * Takes the rows of one source to the staged batches of a run: has blocks of them built into sealed batches, several at
 * once, and stages these in the order of the source.
 *
 * Blocks that an interrupted ingest has staged before are passed over for as long as the source is the same, which the
 * digest of its beginning tells at the end of every staged batch. Where it is another, what was staged from there on is
 * forgotten.
 */
export class Pipeline {
  readonly #context: VaultContext;
  readonly #options: PipelineOptions;
  readonly #pool: BuildPool;
  readonly #feed: BlockFeed;
  readonly #beganMs: number;
  /** The run as it is when everything submitted so far is staged. */
  #run: Promise<Run>;
  /** What is being built and staged, oldest first. */
  #underWay: { readonly bytes: number; readonly done: Promise<Run> }[] = [];
  #underWayBytes = 0;
  /** What an interrupted ingest has staged, and how many of these the source has agreed with. */
  #known: readonly Segment[];
  #confirmed = 0;
  #blockStart = 0;
  #records = 0;
  #quarantined = 0;

  /** @throws MalformedError SCHEMA_UNKNOWN_COLUMN, SCHEMA_CONFIG_MALFORMED for a mapping that does not fit. */
  constructor(context: VaultContext, options: PipelineOptions) {
    const { layout, mapping, source, run, onError, rowsMax } = options;
    this.#context = context;
    this.#options = options;
    const { subjectKey } = context.secrets;
    const columns = layout.columns.map(({ name }) => name);
    const bound = mapping.bind(source.columns, columns);
    const { feed, csv } = feedOf(source, { bound, rules: mapping.rules, onError, rowsMax });
    this.#pool = new BuildPool({ layout, names: bound.names, subjectKey, csv });
    this.#feed = feed;
    this.#beganMs = context.nowMs();
    this.#run = Promise.resolve(run);
    this.#known = run.segments;
  }

  get progress(): RunProgress {
    const seconds = Math.max(1, this.#context.nowMs() - this.#beganMs) / 1000;
    return {
      rows: this.#feed.rows,
      records: this.#records,
      quarantined: this.#quarantined,
      bytes: this.#feed.end,
      rowsPerSecond: Math.round(this.#feed.rows / seconds),
    };
  }

  /**
   * Reads the source to its end and stages every row. Waits while enough are under way: the sender waits with it.
   *
   * @param options.tell - Called after every group of rows.
   * @returns The run, which holds the whole source.
   */
  async read({ signal, tell }: ReadOptions): Promise<Run> {
    for await (const _group of this.#feed.groups()) {
      signal?.throwIfAborted();
      await this.#takeBlocks();
      tell();
    }
    await this.#takeBlocks();
    const rest = this.#feed.rest();
    if (rest !== undefined) await this.#take(rest);
    if (this.#confirmed < this.#known.length) await this.#forgetKnown();
    return await this.#run;
  }

  /** Lets what is under way come to its end, whichever; then ends the threads. */
  async close(): Promise<void> {
    await Promise.allSettled(this.#underWay.map(({ done }) => done));
    await this.#pool.close();
  }

  async #takeBlocks(): Promise<void> {
    for (;;) {
      const known = this.#known[this.#confirmed];
      const endMin = known?.endOffset ?? this.#blockStart + BLOCK_SOURCE_BYTES;
      const block = this.#feed.cut({ rowsMax: this.#options.rowsMax, endMin });
      if (block === undefined) return;
      await this.#take(block);
    }
  }

  async #take(block: Block): Promise<void> {
    const bytes = block.end - this.#blockStart;
    this.#blockStart = block.end;
    const known = this.#known[this.#confirmed];
    if (known !== undefined) {
      if (this.#isSame(known, block)) {
        this.#confirmed += 1;
        this.#count(known);
        return;
      }
      await this.#forgetKnown();
    }
    const done = this.#submit(block);
    // Whoever waits for it learns of its failure; nobody may be waiting yet.
    done.catch(() => undefined);
    this.#run = done;
    this.#underWay.push({ bytes, done });
    this.#underWayBytes += bytes;
    await this.#drain();
  }

  /** Waits while too much is under way. */
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

  #isSame({ endOffset, prefixDigest, quarantined }: Segment, { end }: Block): boolean {
    const { source, onError } = this.#options;
    if (end !== endOffset || (onError === "abort" && quarantined > 0)) return false;
    return equalBytes(source.digestAt(endOffset), prefixDigest);
  }

  async #forgetKnown(): Promise<void> {
    this.#known = this.#known.slice(0, this.#confirmed);
    this.#run = Promise.resolve(await truncate(this.#context, await this.#run, this.#confirmed));
  }

  /** Has the block built, and stages it after those before it. */
  async #submit(block: Block): Promise<Run> {
    const { end: endOffset } = block;
    const prefixDigest = this.#options.source.digestAt(endOffset);
    const documents = holdsDocuments(this.#options.layout);
    const [run, { batch, faults: found, failure }] = await Promise.all([
      this.#run,
      this.#build(block),
    ]);
    const faults = [...block.faults, ...found].sort((left, right) => left.line - right.line);
    const [first] = faults;
    if (first !== undefined && this.#options.onError === "abort") throw rowMalformed(first);
    if (failure !== null) throw errorOf(failure);
    const rows = (batch?.recordCount ?? 0) + faults.length;
    const next = await stage(this.#context, run, {
      ...{ endOffset, rows, prefixDigest, documents },
      ...{ batch, faults },
    });
    this.#count(next.segments.at(-1));
    return next;
  }

  #count(segment: Segment | undefined): void {
    this.#records += segment?.records ?? 0;
    this.#quarantined += segment?.quarantined ?? 0;
  }

  async #build({ content }: Block): Promise<Built> {
    const { random, secrets, custody, nowMs } = this.#context;
    const batchId = random(BATCH_ID_BYTES);
    const dataKey = new Uint8Array(random(DATA_KEY_BYTES));
    const salts = new Uint8Array(random(content.rows * SALT_BYTES));
    const wrapped = encryptOnce(secrets.batchSecret(batchId), batchWrapInfo(batchId), dataKey);
    const building = this.#pool.build({ content, salts, batchId, dataKey, createdMs: nowMs() });
    dataKey.fill(0);
    const { batch, faults, failure } = await building;
    if (batch === null) return { batch, faults, failure };
    return { batch: { ...batch, batchId, key: await custody.protect(wrapped) }, faults, failure };
  }
}

interface Built {
  readonly batch: NewSegment["batch"];
  readonly faults: readonly RowReport[];
  readonly failure: BuildFailure | null;
}

function errorOf({ class: kind, code, details, message }: BuildFailure): Error {
  const facts = { ...details, code };
  return kind === "limit" ? new LimitError(facts, message) : new MalformedError(facts, message);
}

function rowMalformed({ line, column, expected }: RowReport): MalformedError {
  const place = column === null ? `line ${line}` : `line ${line}, column ${column}`;
  return new MalformedError(
    { code: "SCHEMA_ROW_MALFORMED", line, column, expected },
    `${place}: expected ${expected}`,
  );
}
