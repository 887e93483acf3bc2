import {
  MerkleTree,
  VerificationError,
  equalBytes,
  eventDigest,
  eventLeaf,
  keyIdOf,
  noPreviousEvent,
  parseCose,
  parseEvent,
  signCheckpoint,
  signEvent,
  verifyEvent,
  type CborValue,
  type LogEvent,
  type SigningKey,
} from "#protocol";

import {
  afterWrite,
  type Kysely,
  type SchemaWords,
  type Store,
  type Transaction,
} from "../store/index.ts";

/** Events read at a time when the log is opened. */
const PAGE_EVENTS = 1_000;

/** The table of an actor's log; part of that actor's store. */
export interface ActorLogSchema {
  actor_log: {
    sequence: number;
    task_id: string | null;
    type: string;
    event: Uint8Array;
  };
}

/** Statements for the migration of a service that keeps a log. The table refuses changes to what it holds. */
export function actorLogStatements(words: SchemaWords): readonly string[] {
  const { blob, integer, text, strict, appendOnly } = words;
  return [
    `create table actor_log (
       sequence ${integer} primary key, task_id ${text}, type ${text} not null,
       event ${blob} not null) ${strict}`,
    `create index actor_log_task on actor_log (task_id, sequence) where task_id is not null`,
    ...appendOnly("actor_log"),
  ];
}

/** A signed event and where it stands. */
export interface LogEntry {
  readonly sequence: number;
  /** COSE_Sign1; see `protocol/event-log.ts`. */
  readonly event: Uint8Array;
}

/** What to append; the log adds actor, sequence, time and the digest of the event before. */
export interface NewEvent {
  readonly type: string;
  readonly taskId: string | null;
  /** Never holds data of subjects: logs are exported to auditors. */
  readonly body: CborValue;
}

/** What keeps an index of a log's events. */
export interface LogIndex {
  /** Called with each event in the transaction that appends it. */
  add(trx: Transaction<ActorLogSchema>, event: LogEvent): Promise<void>;
}

/** An actor's one append-only, signed Merkle log (design, section 2.10). Keeps hashes in memory, events on disk. */
export interface ActorLog {
  readonly actorId: string;
  readonly origin: string;
  /** Number of committed events. */
  readonly size: number;
  /** RFC 9162 root of the committed events, or of the first `size` of them. */
  root(size?: number): Uint8Array;
  /**
   * Signs `event` and appends it in the transaction of the state it tells of. The log grows when the transaction
   * commits and is as before when it does not.
   *
   * @returns Its sequence, and root and size of the log that ends with it.
   */
  append(
    trx: Transaction<ActorLogSchema>,
    event: NewEvent,
  ): Promise<{ readonly sequence: number; readonly root: Uint8Array; readonly size: number }>;
  /** The committed tree head as a C2SP checkpoint signed by the actor. */
  checkpoint(): string;
  /** Committed events of one task from sequence `from` (0) on, in order. */
  entriesForTask(taskId: string, from?: number): Promise<LogEntry[]>;
  /** Committed events [from, to), in order; at most 1 000 at a time. */
  entries(from: number, to: number): Promise<LogEntry[]>;
  /** The event at `sequence`, or undefined past the end. */
  entry(sequence: number): Promise<LogEntry | undefined>;
  /** @throws LimitError SCHEMA_TOO_LARGE outside the committed log. */
  inclusionProof(sequence: number, size?: number): Uint8Array[];
  /** @throws LimitError SCHEMA_TOO_LARGE outside the committed log. */
  consistencyProof(oldSize: number, newSize?: number): Uint8Array[];
}

/** Name of the first event that a log's new key signs; its body names the key before and the new one. */
export const KEY_TAKEN = "key.taken";

/**
 * Opens the log in `store`, reading every event once: sequence, chain of digests, actor, and the signature of the
 * last event of each key, which by the chain covers all before it. Keys follow one another as the actor had them: what
 * a former key signed after its successor is refused. A log that ends with a former key's event goes on with one by
 * which the present key takes it over; from then on it is refused to whoever has a former key alone.
 *
 * @param args.formerKeys - Public keys that the actor gave up, oldest first; absent: none.
 * @param args.origin - Origin line of the log's checkpoints.
 * @param args.nowMs - Unix milliseconds; the only clock.
 * @throws {@link VerificationError} PROOF_CONSISTENCY_INVALID or PROOF_SIGNATURE_INVALID for an altered log.
 */
export async function openActorLog(args: {
  readonly store: Store<ActorLogSchema>;
  readonly actorId: string;
  readonly key: SigningKey;
  readonly formerKeys?: readonly Uint8Array[];
  readonly origin: string;
  readonly nowMs: () => number;
  readonly index?: LogIndex;
}): Promise<ActorLog> {
  const { store, formerKeys = [], ...rest } = args;
  const log = new StoredLog({ db: store.db, ...rest });
  const { publicKey } = args.key;
  const last = await log.load([...formerKeys, publicKey]);
  if (last !== undefined && last !== publicKey) {
    const body = { previous_key: last, signing_key: publicKey };
    await store.write((trx) => log.append(trx, { type: KEY_TAKEN, taskId: null, body }));
  }
  return log;
}

interface StoredLogArgs {
  readonly db: Kysely<ActorLogSchema>;
  readonly actorId: string;
  readonly key: SigningKey;
  readonly origin: string;
  readonly nowMs: () => number;
  readonly index?: LogIndex;
}

/** The transaction that appends, and the size of the log that ends with what it has appended. */
interface Pending {
  readonly trx: object;
  size: number;
}

class StoredLog implements ActorLog {
  readonly #args: StoredLogArgs;
  /** Also holds what running transactions appended; only the first `#size` leaves are committed. */
  readonly #tree = new MerkleTree();
  #size = 0;
  #tail: Uint8Array = noPreviousEvent();
  #pending: Pending | undefined;

  constructor(args: StoredLogArgs) {
    this.#args = args;
  }

  get actorId(): string {
    return this.#args.actorId;
  }

  get origin(): string {
    return this.#args.origin;
  }

  get size(): number {
    return this.#size;
  }

  root(size: number = this.#size): Uint8Array {
    return this.#tree.root(this.#committed(size));
  }

  async append(
    trx: Transaction<ActorLogSchema>,
    event: NewEvent,
  ): Promise<{ sequence: number; root: Uint8Array; size: number }> {
    const pending = this.#joinWrite(trx);
    const { actorId, key, nowMs, index } = this.#args;
    const sequence = this.#tree.size;
    const whole: LogEvent = {
      type: event.type,
      actor_id: actorId,
      sequence,
      time_ms: nowMs(),
      task_id: event.taskId,
      previous: this.#tail,
      body: event.body,
    };
    const signed = signEvent(whole, key);
    this.#push(signed);
    const size = this.#tree.size;
    const root = this.#tree.root();
    pending.size = size;
    await trx
      .insertInto("actor_log")
      .values({ sequence, task_id: event.taskId, type: event.type, event: signed })
      .execute();
    await index?.add(trx, whole);
    return { sequence, root, size };
  }

  checkpoint(): string {
    const { origin, actorId, key } = this.#args;
    return signCheckpoint({
      origin,
      size: this.#size,
      root: this.root(),
      signerName: actorId,
      key,
    });
  }

  async entriesForTask(taskId: string, from: number = 0): Promise<LogEntry[]> {
    return await this.#args.db
      .selectFrom("actor_log")
      .select(["sequence", "event"])
      .where("task_id", "=", taskId)
      .where("sequence", ">=", from)
      .orderBy("sequence")
      .execute();
  }

  async entries(from: number, to: number): Promise<LogEntry[]> {
    return await this.#args.db
      .selectFrom("actor_log")
      .select(["sequence", "event"])
      .where("sequence", ">=", from)
      .where("sequence", "<", to)
      .orderBy("sequence")
      .limit(PAGE_EVENTS)
      .execute();
  }

  async entry(sequence: number): Promise<LogEntry | undefined> {
    return await this.#args.db
      .selectFrom("actor_log")
      .select(["sequence", "event"])
      .where("sequence", "=", sequence)
      .executeTakeFirst();
  }

  inclusionProof(sequence: number, size: number = this.#size): Uint8Array[] {
    return this.#tree.inclusionProof(sequence, this.#committed(size));
  }

  consistencyProof(oldSize: number, newSize: number = this.#size): Uint8Array[] {
    return this.#tree.consistencyProof(oldSize, this.#committed(newSize));
  }

  /**
   * Reads the committed log from the first event.
   *
   * @param keys - Public keys of the actor, oldest first.
   * @returns the key that signed the last event; undefined for an empty log.
   */
  async load(keys: readonly Uint8Array[]): Promise<Uint8Array | undefined> {
    const signers = new SignerOrder(keys);
    for (;;) {
      const page = await this.entries(this.#tree.size, Number.MAX_SAFE_INTEGER);
      for (const { sequence, event } of page) {
        this.#requireNext(sequence, event);
        signers.take(event);
        this.#push(event);
      }
      if (page.length < PAGE_EVENTS) break;
    }
    this.#size = this.#tree.size;
    return signers.end();
  }

  /** A size past the committed log is past the tree, too: its methods refuse infinity. */
  #committed(size: number): number {
    return size <= this.#size ? size : Infinity;
  }

  #push(signed: Uint8Array): void {
    this.#tree.append(eventLeaf(signed));
    this.#tail = eventDigest(signed);
  }

  /** The first append of a transaction ties the log to how that transaction ends. */
  #joinWrite(trx: object): Pending {
    if (this.#pending?.trx === trx) return this.#pending;
    const before = { size: this.#tree.size, tail: this.#tail };
    const pending = { trx, size: before.size };
    afterWrite(trx, (committed) => {
      if (this.#pending === pending) this.#pending = undefined;
      if (committed) {
        this.#size = pending.size;
      } else {
        this.#tree.truncate(before.size);
        this.#tail = before.tail;
      }
    });
    this.#pending = pending;
    return pending;
  }

  #requireNext(sequence: number, signed: Uint8Array): void {
    const event = parseEvent(signed);
    const follows =
      sequence === this.#tree.size &&
      event.sequence === sequence &&
      event.actor_id === this.#args.actorId &&
      equalBytes(event.previous, this.#tail);
    if (follows) return;
    throw new VerificationError(
      { code: "PROOF_CONSISTENCY_INVALID", sequence, expected: this.#tree.size },
      `log of ${this.#args.actorId}: expected event ${this.#tree.size} to follow the one before`,
    );
  }
}

/** Which key signed which part of a log. The last event of each part is verified: by the chain it covers the rest. */
class SignerOrder {
  #keys: readonly { readonly id: string; readonly publicKey: Uint8Array }[];
  #last: Uint8Array | undefined;

  /** @param keys - Oldest first. */
  constructor(keys: readonly Uint8Array[]) {
    this.#keys = keys.map((publicKey) => ({ id: keyIdOf(publicKey), publicKey }));
  }

  /** @throws {@link VerificationError} PROOF_SIGNATURE_INVALID for a key that had been given up, or is not the actor's */
  take(signed: Uint8Array): void {
    // What follows the first event of the present key is covered by the last one, which must be of that key.
    if (this.#keys.length > 1) this.#follow(signed);
    this.#last = signed;
  }

  #follow(signed: Uint8Array): void {
    const { keyId } = parseCose(signed);
    const at = this.#keys.findIndex(({ id }) => id === keyId);
    if (at === 0) return;
    this.end();
    if (at < 0) verifyEvent(signed, this.#keys[0]?.publicKey ?? new Uint8Array(32));
    this.#keys = this.#keys.slice(at);
  }

  /** The key of the last event, by which it is verified. @throws as {@link take} */
  end(): Uint8Array | undefined {
    const [present] = this.#keys;
    if (this.#last === undefined || present === undefined) return undefined;
    verifyEvent(this.#last, present.publicKey);
    return present.publicKey;
  }
}
