import { setTimeout } from "node:timers/promises";

import { ConflictError, LimitError, hex } from "#protocol";

/** Runs that take rows at once. */
export const RUNNING_MAX = 8;

/** How long an ingest waits for one of the same source to end: its sender may just have gone away. */
const ENDING_MS_MAX = 2_000;

/** What tells one open run from another: a source that comes again under the same key continues it. */
export interface RunKey {
  readonly recordScope: string;
  readonly sourceName: string;
  /** See {@link RowMapping}; empty for the identity. */
  readonly mappingDigest: Uint8Array;
}

/** What an ingest that is taking rows says of itself. */
export interface RunProgress {
  readonly rows: number;
  readonly records: number;
  readonly quarantined: number;
  /** Bytes of the source up to the last row taken. */
  readonly bytes: number;
  /** Since this ingest began; rows that a resumed one passes over count. */
  readonly rowsPerSecond: number;
}

/** The runs that take rows in this process, and how far each is. */
export class RunningRuns {
  readonly #progress = new Map<string, RunProgress | null>();
  /** By key: what ends when the key is released. */
  readonly #taken = new Map<string, Promise<void>>();

  /**
   * Takes a key until what it returns is called. Waits a little for who has it.
   *
   * @throws {@link ConflictError} SCHEMA_INGEST_RUNNING; {@link LimitError} SCHEMA_TOO_LARGE
   */
  async take(key: RunKey): Promise<() => void> {
    const name = JSON.stringify([key.recordScope, key.sourceName, hex(key.mappingDigest)]);
    await this.#ended(name);
    if (this.#taken.has(name)) {
      throw new ConflictError(
        { code: "SCHEMA_INGEST_RUNNING", record_scope: key.recordScope },
        `ingest into ${key.recordScope}: expected one at a time of a source, got another that is running`,
      );
    }
    if (this.#taken.size >= RUNNING_MAX) throw tooMany("running ingests", RUNNING_MAX);
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#taken.set(name, promise);
    return () => {
      this.#taken.delete(name);
      resolve();
    };
  }

  async #ended(name: string): Promise<void> {
    const holder = this.#taken.get(name);
    if (holder === undefined) return;
    const waited = new AbortController();
    const late = setTimeout(ENDING_MS_MAX, undefined, { signal: waited.signal });
    await Promise.race([holder, late]);
    waited.abort();
    await late.catch(() => undefined);
  }

  isRunning(ingestId: string): boolean {
    return this.#progress.has(ingestId);
  }

  progressOf(ingestId: string): RunProgress | null {
    return this.#progress.get(ingestId) ?? null;
  }

  report(ingestId: string, progress: RunProgress | null): void {
    this.#progress.set(ingestId, progress);
  }

  ended(ingestId: string): void {
    this.#progress.delete(ingestId);
  }
}

/** The error of more than `max` of something. */
export function tooMany(subject: string, max: number): LimitError {
  return new LimitError(
    { code: "SCHEMA_TOO_LARGE", subject, max },
    `${subject}: expected at most ${max}`,
  );
}
