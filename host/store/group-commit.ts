import { AsyncLocalStorage } from "node:async_hooks";

import { ConflictError, UnavailableError } from "#protocol";
import {
  sql,
  type ControlledTransaction,
  type Kysely,
  type KyselyPlugin,
  type Transaction,
} from "kysely";

/** Writes that share one COMMIT; the first of them waits for the others. */
export const GROUP_WRITES_MAX = 128;
/** Writes that wait for their turn; one more is refused. */
export const WAITING_WRITES_MAX = 4_096;
/** How long one write may keep all others waiting. */
const WRITE_MS_MAX = 600_000;
const SAVEPOINT = "one_write";

/**
 * Called once when a write has ended; `committed` says how. Listeners of a write that is durable run in the order of
 * registration, those of one that failed in reverse order, so that each can undo what came after its registration.
 */
export type AfterWrite = (committed: boolean) => void | Promise<void>;

/** The one connection that writes, and how it fails. */
export interface WriterOf<Schema> {
  readonly db: Kysely<Schema>;
  /** Names the store in messages. */
  readonly name: string;
  /**
   * Whether nobody can say what is on disk after `cause`, or whether the store still is this process's alone. `ending`
   * tells that it came from the COMMIT itself.
   */
  readonly isFatal: (cause: unknown, ending: boolean) => boolean;
  /** Called after each COMMIT; does not throw. */
  readonly committed?: (() => void) | undefined;
}

/** A write that waits for its turn. */
interface Waiting<Schema> {
  /** Runs the work. What it returns hands the result to the caller. */
  readonly run: (trx: Transaction<Schema>) => Promise<() => void>;
  readonly reject: (cause: unknown) => void;
}

/** A write that has run, and how its caller is told. */
interface Member {
  readonly listeners: readonly AfterWrite[];
  readonly resolve: () => void;
  readonly reject: (cause: unknown) => void;
}

/** What one transaction has come to. */
interface Group {
  readonly done: Member[];
  /** The write that ended the group, and why it failed. */
  failed?: { readonly member: Omit<Member, "resolve">; readonly cause: unknown };
}

/** The write that the running code is part of; `owner` is cleared when it ends, for what it left behind. */
const inWrite = new AsyncLocalStorage<{ owner: object | undefined }>();
const listenersOf = new WeakMap<object, AfterWrite[]>();

/**
 * Registers what to do when the write that `trx` belongs to has ended, whichever way.
 *
 * @throws {@link ConflictError} INTERNAL_UNEXPECTED when `trx` is not the transaction of a running `write`.
 */
export function afterWrite(trx: object, listener: AfterWrite): void {
  const registered = listenersOf.get(trx);
  if (registered === undefined) throw misuse("a transaction of a running write");
  registered.push(listener);
}

/**
 * Runs writes one at a time in the order asked for, each in a savepoint of its own, and makes those that waited
 * together durable by one COMMIT.
 *
 * A write that throws ends its group: it is rolled back, the writes before it are committed and told so, and only then
 * its own listeners run. When COMMIT fails, every write of the group fails, the last one first.
 */
export class GroupCommit<Schema> {
  readonly #writer: WriterOf<Schema>;
  readonly #waiting: Waiting<Schema>[] = [];
  readonly #breaks: (() => void)[] = [];
  #running: Promise<void> | undefined;
  #failure: UnavailableError | undefined;
  #closed = false;

  constructor(writer: WriterOf<Schema>) {
    this.#writer = writer;
  }

  /** @throws {@link UnavailableError} INTERNAL_STORE_UNAVAILABLE once nobody can say what is on disk. */
  requireSound(): void {
    if (this.#failure !== undefined) throw this.#failure;
  }

  async write<T>(work: (trx: Transaction<Schema>) => Promise<T>): Promise<T> {
    this.requireSound();
    if (this.#closed) throw misuse("an open store");
    if (inWrite.getStore()?.owner === this) throw misuse("no nested write");
    if (this.#waiting.length >= WAITING_WRITES_MAX) throw busy(this.#writer.name);
    const inCallersContext = AsyncLocalStorage.snapshot();
    return await new Promise<T>((resolve, reject) => {
      const run = async (trx: Transaction<Schema>): Promise<() => void> => {
        const result = await inCallersContext(() => this.#marked(() => work(trx)));
        return () => resolve(result);
      };
      this.#waiting.push({ run, reject });
      this.#running ??= this.#drain();
    });
  }

  /** Runs `work` when no transaction is open: between two groups, or at once. */
  async between<T>(work: () => T): Promise<T> {
    if (this.#running === undefined) return work();
    return await new Promise<T>((resolve, reject) => {
      this.#breaks.push(() => {
        try {
          resolve(work());
        } catch (cause) {
          reject(cause);
        }
      });
    });
  }

  /** Takes no more writes and waits for those that were asked for. */
  async close(): Promise<void> {
    this.#closed = true;
    await this.#running;
  }

  /** The store is lost to this process: writes that wait are refused, and so is everything after. */
  fail(cause: unknown): void {
    const { name } = this.#writer;
    this.#failure ??= new UnavailableError(
      { code: "INTERNAL_STORE_UNAVAILABLE", store: name, reason: "it has to be opened again" },
      `store ${name}: expected to know what is on disk, got a failure after which it has to be opened again`,
      { cause },
    );
  }

  async #drain(): Promise<void> {
    try {
      while (this.#waiting.length > 0) {
        await this.#commitGroup();
        for (const work of this.#breaks.splice(0)) work();
      }
    } finally {
      this.#running = undefined;
    }
  }

  async #commitGroup(): Promise<void> {
    const group: Group = { done: [] };
    const lost = await this.#transact(group);
    const { done, failed } = group;
    if (lost === undefined) {
      this.#writer.committed?.();
      for (const member of done) await this.#tellCommitted(member);
      if (failed !== undefined) await this.#tellFailed(failed.member, failed.cause);
      return;
    }
    if (failed !== undefined) await this.#tellFailed(failed.member, failed.cause);
    for (const member of done.toReversed()) await this.#tellFailed(member, lost.cause);
    // A transaction that could not begin has run nothing: the first write that waits bears the news.
    if (failed === undefined && done.length === 0) this.#waiting.shift()?.reject(lost.cause);
  }

  /** Runs a group to its COMMIT. @returns Why nothing of it was written, if so. */
  async #transact(group: Group): Promise<{ readonly cause: unknown } | undefined> {
    let ending = false;
    try {
      this.requireSound();
      const trx = await this.#writer.db.startTransaction().execute();
      try {
        await this.#runMembers(trx, group);
        ending = true;
        await trx.commit().execute();
      } catch (cause) {
        await this.#rollback(trx);
        throw cause;
      }
      return undefined;
    } catch (cause) {
      this.#judge(cause, ending);
      return { cause };
    }
  }

  async #rollback(trx: ControlledTransaction<Schema>): Promise<void> {
    try {
      await trx.rollback().execute();
    } catch (cause) {
      this.fail(cause);
    }
  }

  /** Runs the writes that wait, and those that come while they run, up to the first that fails. */
  async #runMembers(trx: ControlledTransaction<Schema>, group: Group): Promise<void> {
    while (group.done.length < GROUP_WRITES_MAX && group.failed === undefined) {
      // Whoever is about to write can join before the disk is waited for.
      if (this.#waiting.length === 0) await new Promise((resolve) => setImmediate(resolve));
      const next = this.#waiting.shift();
      if (next === undefined) return;
      await this.#runMember(trx, next, group);
    }
  }

  /** Adds one write to its group. @throws Whatever leaves the transaction with part of a write in it. */
  async #runMember(
    trx: ControlledTransaction<Schema>,
    { run, reject }: Waiting<Schema>,
    group: Group,
  ): Promise<void> {
    const listeners: AfterWrite[] = [];
    const turn = { over: false };
    try {
      const savepoint = await trx.savepoint(SAVEPOINT).execute();
      const own = savepoint.withPlugin(whileRunning(turn));
      listenersOf.set(own, listeners);
      try {
        const resolve = await inTime(run(own), this.#writer.name);
        turn.over = true;
        await savepoint.releaseSavepoint(SAVEPOINT).execute();
        group.done.push({ listeners, resolve, reject });
      } finally {
        turn.over = true;
        listenersOf.delete(own);
      }
    } catch (cause) {
      group.failed = { member: { listeners, reject }, cause };
      this.#judge(cause, false);
      await sql.raw(`rollback to savepoint ${SAVEPOINT}`).execute(trx);
    }
  }

  async #tellCommitted({ listeners, resolve, reject }: Member): Promise<void> {
    const failure = await this.#tell(listeners, true);
    if (failure === undefined) resolve();
    else reject(failure.cause);
  }

  async #tellFailed({ listeners, reject }: Omit<Member, "resolve">, cause: unknown): Promise<void> {
    await this.#tell(listeners.toReversed(), false);
    reject(cause);
  }

  /** After a listener that throws, memory is not what the disk says: the store is closed to everyone. */
  async #tell(
    listeners: readonly AfterWrite[],
    committed: boolean,
  ): Promise<{ readonly cause: unknown } | undefined> {
    let failure: { readonly cause: unknown } | undefined;
    for (const listener of listeners) {
      try {
        await this.#marked(async () => listener(committed));
      } catch (cause) {
        failure ??= { cause };
        this.fail(cause);
      }
    }
    return failure;
  }

  #judge(cause: unknown, ending: boolean): void {
    if (this.#writer.isFatal(cause, ending)) this.fail(cause);
  }

  async #marked<T>(work: () => Promise<T>): Promise<T> {
    const mark: { owner: object | undefined } = { owner: this };
    try {
      return await inWrite.run(mark, work);
    } finally {
      mark.owner = undefined;
    }
  }
}

/** Refuses statements of a write that has ended: they would become part of somebody else's. */
function whileRunning(turn: { readonly over: boolean }): KyselyPlugin {
  return {
    transformQuery: ({ node }) => {
      if (turn.over) throw misuse("a transaction of a running write");
      return node;
    },
    transformResult: ({ result }) => Promise.resolve(result),
  };
}

async function inTime<T>(work: Promise<T>, name: string): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(tooLong(name)), WRITE_MS_MAX);
  });
  try {
    return await Promise.race([work, late]);
  } finally {
    clearTimeout(timer);
  }
}

function tooLong(name: string): UnavailableError {
  return new UnavailableError(
    { code: "INTERNAL_STORE_UNAVAILABLE", store: name, reason: "the write took too long" },
    `store ${name}: expected a write of at most ${WRITE_MS_MAX} ms, got one that was still running`,
  );
}

function busy(name: string): UnavailableError {
  return new UnavailableError(
    { code: "INTERNAL_STORE_BUSY", store: name, max: WAITING_WRITES_MAX },
    `store ${name}: expected at most ${WAITING_WRITES_MAX} writes to wait, got one more`,
  );
}

function misuse(expected: string): ConflictError {
  return new ConflictError({ code: "INTERNAL_UNEXPECTED" }, `store: expected ${expected}`);
}
