import { ConflictError, hex, usageScope, type UsageScope } from "#protocol";

import { afterWrite, type Store } from "../../store/index.ts";
import { Consents, type ConsentDecision } from "../consent/consent.ts";
import { Ledger, type LedgerEntry } from "./ledger.ts";
import type { Reading, Writing } from "../queries.ts";
import type { VaultSchema } from "../schema.ts";
import { decodeSubjectSet, type SubjectSet } from "./subject-set.ts";

/** What a ledger row says besides its entry. */
export interface LedgerNote {
  readonly taskId: string;
  readonly recordScope: string;
  readonly usageScope: UsageScope;
  readonly privacyClass: number;
  readonly epochId: number | null;
  readonly atMs: number;
}

/**
 * Consents and ledger in memory, and the append-only tables they are rebuilt from.
 *
 * Changes are taken into memory inside the write that makes them durable. If it does not commit, everything is read
 * again before the next write begins, so memory never says more than the disk. Change them inside a write only.
 */
export class Books {
  readonly #db: Reading;
  #ledger = new Ledger();
  #consents = new Consents();
  #joined: object | undefined;

  private constructor(db: Reading) {
    this.#db = db;
  }

  static async open(store: Store<VaultSchema>): Promise<Books> {
    const books = new Books(store.db);
    await books.#load();
    return books;
  }

  get ledger(): Ledger {
    return this.#ledger;
  }

  get consents(): Consents {
    return this.#consents;
  }

  /** Appends to the ledger. @throws as {@link Ledger.apply} */
  async enter(trx: Writing, entry: LedgerEntry, note: LedgerNote): Promise<void> {
    this.#join(trx);
    this.#ledger.apply(entry);
    const reserve = entry.kind === "reserve" ? entry : null;
    if (reserve !== null) {
      await trx
        .insertInto("subject_set")
        .values({ digest: reserve.subjects.digest, subjects: reserve.subjects.encoded })
        .onConflict((conflict) => conflict.doNothing())
        .execute();
    }
    await trx
      .insertInto("ledger")
      .values({
        kind: entry.kind,
        reservation_id: entry.reservationId,
        task_id: note.taskId,
        record_scope: note.recordScope,
        usage_scope: note.usageScope,
        set_digest: reserve?.subjects.digest ?? null,
        round: entry.kind === "executing" ? entry.round : null,
        epsilon_micro: entry.kind === "release" ? 0 : entry.epsilonMicro,
        privacy_class: note.privacyClass,
        epoch_id: note.epochId,
        expires_ms: reserve?.expiresMs ?? null,
        at_ms: note.atMs,
      })
      .execute();
  }

  /** Records a consent decision; a withdrawal freezes the budget of its subjects, a later grant thaws it. */
  async consent(
    trx: Writing,
    args: {
      readonly usageScope: UsageScope;
      readonly subjects: SubjectSet;
      readonly decision: ConsentDecision;
      readonly atMs: number;
    },
  ): Promise<void> {
    this.#join(trx);
    this.#takeConsent(args.usageScope, args.subjects, args.decision);
    await trx
      .insertInto("consent_event")
      .values({
        usage_scope: args.usageScope,
        state: args.decision.state,
        expires_ms: args.decision.state === "granted" ? args.decision.expiresMs : null,
        subjects: args.subjects.encoded,
        at_ms: args.atMs,
      })
      .execute();
  }

  #takeConsent(scope: UsageScope, subjects: SubjectSet, decision: ConsentDecision): void {
    this.#consents.apply(scope, subjects, decision);
    this.#ledger.setFrozen(scope, subjects, decision.state === "withdrawn");
  }

  #join(trx: object): void {
    if (this.#joined === trx) return;
    afterWrite(trx, async (committed) => {
      this.#joined = undefined;
      if (!committed) await this.#load();
    });
    this.#joined = trx;
  }

  async #load(): Promise<void> {
    const sets = new Map<string, SubjectSet>();
    for (const row of await this.#db.selectFrom("subject_set").selectAll().execute()) {
      sets.set(hex(row.digest), decodeSubjectSet(row.subjects));
    }
    const rows = await this.#db.selectFrom("ledger").selectAll().orderBy("position").execute();
    this.#ledger = Ledger.replay(rows.map((row) => entryOf(row, sets)));
    this.#consents = new Consents();
    const events = this.#db.selectFrom("consent_event").selectAll().orderBy("position");
    for (const event of await events.execute()) {
      const decision: ConsentDecision =
        event.state === "granted"
          ? { state: "granted", expiresMs: event.expires_ms }
          : { state: "withdrawn" };
      this.#takeConsent(
        usageScope.parse(event.usage_scope),
        decodeSubjectSet(event.subjects),
        decision,
      );
    }
  }
}

interface LedgerRow {
  readonly kind: LedgerEntry["kind"];
  readonly reservation_id: string;
  readonly usage_scope: string;
  readonly set_digest: Uint8Array | null;
  readonly round: number | null;
  readonly epsilon_micro: number;
  readonly expires_ms: number | null;
}

function entryOf(row: LedgerRow, sets: ReadonlyMap<string, SubjectSet>): LedgerEntry {
  const { kind, reservation_id: reservationId, epsilon_micro: epsilonMicro } = row;
  switch (kind) {
    case "reserve": {
      const subjects = sets.get(hex(row.set_digest ?? new Uint8Array(0)));
      if (subjects === undefined || row.expires_ms === null) throw incomplete(reservationId);
      const scope = usageScope.parse(row.usage_scope);
      const expiresMs = row.expires_ms;
      return {
        kind,
        reservationId,
        usageScope: scope,
        subjects,
        epsilonMicro,
        expiresMs,
      };
    }
    case "executing":
      if (row.round === null) throw incomplete(reservationId);
      return { kind, reservationId, round: row.round, epsilonMicro };
    case "commit":
      return { kind, reservationId, epsilonMicro };
    case "release":
      return { kind, reservationId };
  }
}

function incomplete(reservationId: string): ConflictError {
  return new ConflictError(
    { code: "INTERNAL_STORE_UNAVAILABLE", reservation_id: reservationId },
    `ledger: expected a whole entry for reservation ${reservationId}`,
  );
}
