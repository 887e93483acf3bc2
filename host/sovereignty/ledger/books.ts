import { AsyncLocalStorage } from "node:async_hooks";
import * as fs from "node:fs/promises";
import path from "node:path";

import { usageScope, type ConsentPurpose, type UsageScope } from "#protocol";

import { afterWrite, type Store } from "../../store/index.ts";
import { Consents, type ConsentDecision } from "../consent/consent.ts";
import type { Reading, Writing } from "../queries.ts";
import type { VaultSchema } from "../schema.ts";
import {
  consentsAfter,
  stepsAfter,
  storedReservation,
  storedSet,
  type PlacedConsent,
} from "./entries.ts";
import { Ledger, type LedgerEntry, type LedgerStep, type ScopeStep } from "./ledger.ts";
import { stateConflict, type Reservation } from "./open-reservations.ts";
import type { Undo } from "./pages.ts";
import { readSnapshot, writeSnapshot, type HeldBooks, type Positions } from "./snapshot.ts";
import type { SubjectSet } from "./subject-set.ts";

/** What a ledger row says besides its entry. */
export interface LedgerNote {
  readonly taskId: string;
  readonly recordScope: string;
  readonly usageScope: UsageScope;
  readonly privacyClass: number;
  readonly epochId: number | null;
  readonly atMs: number;
}

/** An entry about one reservation. */
export type ReservationEntry = Exclude<LedgerEntry, ScopeStep>;

/** Entries and consent events, and bytes of their sets, after which a snapshot is taken: what a start has to replay. */
const SNAPSHOT_ENTRIES = 2_000;
const SNAPSHOT_SET_BYTES = 256 * 1024 * 1024;
const SNAPSHOT_NAME = /^ledger-\d+-\d+\.snapshot(\.tmp)?$/;

/**
 * Consents and ledger in memory, and the append-only tables they are rebuilt from.
 *
 * Changes are taken into memory inside the write that makes them durable, and taken back when it fails: memory is always
 * a replay of the log. Change them inside a write only. A snapshot spares a start most of the replay; nothing depends
 * on it.
 */
export class Books {
  readonly #store: Store<VaultSchema>;
  readonly #folder: string;
  #ledger = new Ledger();
  #consents = new Consents();
  #positions: Positions = { ledger: 0, consent: 0 };
  /** How to take back what each write under way has changed. */
  readonly #changes = new Map<object, Undo[]>();
  #whenQuiet: (() => void)[] = [];
  #sinceSnapshot = { entries: 0, setBytes: 0 };
  #snapshot: Promise<void> | undefined;
  readonly #outsideOfWrites = AsyncLocalStorage.snapshot();

  private constructor(store: Store<VaultSchema>, folder: string) {
    this.#store = store;
    this.#folder = folder;
  }

  /**
   * Reads the newest snapshot in `folder` and the log after it, or the whole log when there is no good snapshot.
   *
   * @throws UnavailableError INTERNAL_STORE_UNAVAILABLE for a log that cannot be replayed.
   */
  static async open(store: Store<VaultSchema>, folder: string): Promise<Books> {
    const books = new Books(store, folder);
    await books.#restore();
    const { ledger, consent } = books.#positions;
    await books.#replay();
    const { ledger: last, consent: lastConsent } = books.#positions;
    books.#sinceSnapshot.entries = last - ledger + lastConsent - consent;
    return books;
  }

  get ledger(): Ledger {
    return this.#ledger;
  }

  get consents(): Consents {
    return this.#consents;
  }

  /** A reservation, also one that has ended. @throws ConflictError PRIVACY_BUDGET_UNKNOWN_RESERVATION */
  async reservation(db: Reading, reservationId: string): Promise<Reservation> {
    return this.#ledger.find(reservationId) ?? (await storedReservation(db, reservationId));
  }

  /** Appends to the ledger. @throws as {@link Ledger.apply}; PRIVACY_BUDGET_STATE_CONFLICT for an ended reservation too */
  async enter(trx: Writing, entry: ReservationEntry, note: LedgerNote): Promise<void> {
    await this.#requireNotEnded(trx, entry);
    this.#change(trx, () => this.#ledger.apply(entry));
    const reserve = entry.kind === "reserve" ? entry : null;
    if (reserve !== null) await this.#keepSet(trx, reserve.subjects);
    await this.#append(trx, {
      kind: entry.kind,
      reservation_id: entry.reservationId,
      task_id: note.taskId,
      record_scope: reserve?.recordScope ?? note.recordScope,
      usage_scope: reserve?.usageScope ?? note.usageScope,
      set_digest: reserve?.subjects.digest ?? null,
      round: entry.kind === "executing" ? entry.round : null,
      epsilon_micro: entry.kind === "release" ? 0 : entry.epsilonMicro,
      record_scope_micro: null,
      privacy_class: note.privacyClass,
      epoch_id: note.epochId,
      expires_ms: reserve?.expiresMs ?? null,
      at_ms: note.atMs,
    });
  }

  /**
   * Gives budget back to everybody for an epoch (PB-5); see {@link ScopeStep}.
   *
   * @throws as {@link Ledger.apply}, PRIVACY_BUDGET_STATE_CONFLICT for an epoch that is not after the last one.
   */
  async replenish(
    trx: Writing,
    args: Omit<Extract<ScopeStep, { kind: "replenish" }>, "kind"> & { readonly atMs: number },
  ): Promise<void> {
    const { atMs, ...rest } = args;
    this.#change(trx, () => this.#ledger.apply({ kind: "replenish", ...rest }));
    await this.#append(trx, {
      ...{ ...NO_RESERVATION, kind: "replenish" as const, at_ms: atMs },
      ...{ usage_scope: rest.usageScope, epsilon_micro: rest.epsilonMicro, epoch_id: rest.epochId },
    });
  }

  /** Counts everybody's budget of a purpose as consumed; see {@link ScopeStep}. @throws as {@link Ledger.apply} */
  async writeOff(
    trx: Writing,
    args: Omit<Extract<ScopeStep, { kind: "write_off" }>, "kind"> & { readonly atMs: number },
  ): Promise<void> {
    const { atMs, ...rest } = args;
    this.#change(trx, () => this.#ledger.apply({ kind: "write_off", ...rest }));
    await this.#append(trx, {
      ...{ ...NO_RESERVATION, kind: "write_off" as const, at_ms: atMs },
      ...{ usage_scope: rest.usageScope, epsilon_micro: rest.epsilonMicro },
      record_scope_micro: rest.recordScopeMicro,
    });
  }

  /** Records a consent decision; a withdrawal freezes the budget of its subjects, a later grant thaws it. */
  async consent(
    trx: Writing,
    args: {
      readonly purpose: ConsentPurpose;
      readonly subjects: SubjectSet;
      readonly decision: ConsentDecision;
      readonly atMs: number;
    },
  ): Promise<void> {
    const { purpose, subjects, decision } = args;
    this.#change(trx, () => this.#takeConsent(purpose, subjects, decision));
    const { position } = await trx
      .insertInto("consent_event")
      .values({
        usage_scope: purpose,
        state: decision.state,
        expires_ms: decision.state === "granted" ? decision.expiresMs : null,
        subjects: subjects.encoded,
        after_ledger: this.#positions.ledger,
        at_ms: args.atMs,
      })
      .returning("position")
      .executeTakeFirstOrThrow();
    this.#moveTo(trx, { ...this.#positions, consent: position });
    this.#sinceSnapshot.setBytes += subjects.encoded.length;
  }

  /**
   * Writes a snapshot of what is durable, beside the store. When that fails, the one before stays and the log has
   * everything. One at a time: asked for while one is written, it is that one.
   */
  async snapshot(): Promise<void> {
    this.#snapshot ??= this.#outsideOfWrites(() => this.#takeSnapshot());
    await this.#snapshot;
  }

  /** Writes a last snapshot. To be called before the store is closed. */
  async close(): Promise<void> {
    await this.#snapshot;
    if (this.#sinceSnapshot.entries > 0) await this.snapshot();
  }

  async #takeSnapshot(): Promise<void> {
    try {
      await this.#writeSnapshot(await this.#hold());
    } catch {
      // A disk that is full or a store that has failed says so to the next write; a start just takes longer.
    } finally {
      this.#snapshot = undefined;
    }
  }

  async #writeSnapshot(held: HeldBooks): Promise<void> {
    const { ledger, consent } = held.positions;
    const name = `ledger-${ledger}-${consent}.snapshot`;
    const digest = await writeSnapshot(path.join(this.#folder, name), held);
    await this.#store.write(async (trx) => {
      await trx.deleteFrom("ledger_snapshot").execute();
      await trx
        .insertInto("ledger_snapshot")
        .values({ file: name, digest, ledger_position: ledger, consent_position: consent })
        .execute();
    });
    await this.#removeOthers(name);
  }

  /** Everything as it is now, or as soon as no write is under way. */
  #hold(): Promise<HeldBooks> {
    return new Promise((resolve) => {
      const hold = (): void => {
        this.#sinceSnapshot = { entries: 0, setBytes: 0 };
        const consents = this.#consents.hold();
        resolve({ positions: this.#positions, ledger: this.#ledger.hold(), consents });
      };
      if (this.#changes.size === 0) hold();
      else this.#whenQuiet.push(hold);
    });
  }

  async #restore(): Promise<void> {
    const row = await this.#store.db.selectFrom("ledger_snapshot").selectAll().executeTakeFirst();
    if (row !== undefined) {
      try {
        const file = path.join(this.#folder, path.basename(row.file));
        const restored = await readSnapshot(file, row.digest, (digest) => this.#load(digest));
        this.#ledger = restored.ledger;
        this.#consents = restored.consents;
        this.#positions = restored.positions;
      } catch {
        // The log has everything that a snapshot could say.
      }
    }
    await this.#removeOthers(row?.file);
  }

  async #removeOthers(kept: string | undefined): Promise<void> {
    for (const name of await fs.readdir(this.#folder)) {
      if (name !== kept && SNAPSHOT_NAME.test(name)) {
        await fs.rm(path.join(this.#folder, name), { force: true });
      }
    }
  }

  async #replay(): Promise<void> {
    await this.#ledger.replay(this.#steps(), (digest) => this.#load(digest));
  }

  /** The entries after those that are known, taking the consent events between them on the way. */
  async *#steps(): AsyncGenerator<LedgerStep> {
    const consents = consentsAfter(this.#store.db, this.#positions.consent);
    let consent = await consents.next();
    for await (const { position, step } of stepsAfter(this.#store.db, this.#positions.ledger)) {
      for (; !consent.done && consent.value.afterLedger < position; consent = await consents.next())
        this.#replayConsent(consent.value);
      this.#positions = { ...this.#positions, ledger: position };
      yield step;
    }
    for (; !consent.done; consent = await consents.next()) this.#replayConsent(consent.value);
  }

  #replayConsent({ position, purpose, subjects, decision }: PlacedConsent): void {
    this.#takeConsent(purpose, subjects, decision);
    this.#positions = { ...this.#positions, consent: position };
  }

  #takeConsent(purpose: ConsentPurpose, subjects: SubjectSet, decision: ConsentDecision): Undo {
    const undoConsent = this.#consents.apply(purpose, subjects, decision);
    const scope = usageScope.safeParse(purpose);
    if (!scope.success) return undoConsent;
    const withdrawn = decision.state === "withdrawn";
    const undoFrozen = this.#ledger.setFrozen(scope.data, subjects, withdrawn);
    return () => {
      undoFrozen();
      undoConsent();
    };
  }

  async #requireNotEnded(trx: Writing, entry: ReservationEntry): Promise<void> {
    const { kind, reservationId } = entry;
    if (this.#ledger.find(reservationId) !== undefined) return;
    const row = await trx
      .selectFrom("ledger")
      .select("kind")
      .where("reservation_id", "=", reservationId)
      .orderBy("position", "desc")
      .executeTakeFirst();
    if (row === undefined) return;
    const expected = kind === "reserve" ? "a new reservation" : `an open one to ${kind}`;
    throw stateConflict(reservationId, expected, row.kind === "commit" ? "committed" : "released");
  }

  async #keepSet(trx: Writing, subjects: SubjectSet): Promise<void> {
    const known = await trx
      .selectFrom("subject_set")
      .select("digest")
      .where("digest", "=", subjects.digest)
      .executeTakeFirst();
    if (known !== undefined) return;
    await trx
      .insertInto("subject_set")
      .values({ digest: subjects.digest, subjects: subjects.encoded })
      .execute();
    this.#sinceSnapshot.setBytes += subjects.encoded.length;
  }

  async #append(trx: Writing, row: LedgerRow): Promise<void> {
    const { position } = await trx
      .insertInto("ledger")
      .values(row)
      .returning("position")
      .executeTakeFirstOrThrow();
    this.#moveTo(trx, { ...this.#positions, ledger: position });
  }

  #moveTo(trx: Writing, positions: Positions): void {
    const before = this.#positions;
    this.#change(trx, () => {
      this.#positions = positions;
      return () => {
        this.#positions = before;
      };
    });
    this.#sinceSnapshot.entries += 1;
  }

  #load(setDigest: string): Promise<SubjectSet> {
    return storedSet(this.#store.db, setDigest);
  }

  /** Changes memory as part of the write of `trx`. */
  #change(trx: object, work: () => Undo): void {
    const undo = work();
    const known = this.#changes.get(trx);
    if (known !== undefined) {
      known.push(undo);
      return;
    }
    const undos = [undo];
    try {
      afterWrite(trx, (committed) => this.#ended(trx, committed));
    } catch (cause) {
      undo();
      throw cause;
    }
    this.#changes.set(trx, undos);
  }

  #ended(trx: object, committed: boolean): void {
    const undos = this.#changes.get(trx) ?? [];
    this.#changes.delete(trx);
    if (committed) for (const undo of undos) undo.kept?.();
    else for (const undo of undos.toReversed()) undo();
    if (this.#changes.size > 0) return;
    for (const waiting of this.#whenQuiet.splice(0)) waiting();
    const { entries, setBytes } = this.#sinceSnapshot;
    if (entries >= SNAPSHOT_ENTRIES || setBytes >= SNAPSHOT_SET_BYTES) void this.snapshot();
  }
}

const NO_RESERVATION = {
  ...{ reservation_id: "", task_id: "", record_scope: "", set_digest: null, round: null },
  ...{ record_scope_micro: null, privacy_class: 0, epoch_id: null, expires_ms: null },
};

type LedgerRow = Omit<VaultSchema["ledger"], "position">;
