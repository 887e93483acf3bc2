import {
  UnavailableError,
  consentPurpose,
  fromHex,
  hex,
  usageScope,
  type ConsentPurpose,
} from "#protocol";

import type { ConsentDecision } from "../consent/consent.ts";
import type { Reading } from "../queries.ts";
import type { LedgerStep } from "./ledger.ts";
import { unknownReservation, type Reservation } from "./open-reservations.ts";
import { decodeSubjectSet, type SubjectSet } from "./subject-set.ts";

/** Rows that are read at once: the ledger's are small, a consent event may carry a set of every subject. */
const LEDGER_ROWS = 1_000;
const CONSENT_ROWS = 16;

/** A step and where the ledger has it. */
export interface PlacedStep {
  readonly position: number;
  readonly step: LedgerStep;
}

/** A consent event and where it stands. */
export interface PlacedConsent {
  readonly position: number;
  /** The last ledger entry before it. */
  readonly afterLedger: number;
  readonly purpose: ConsentPurpose;
  readonly subjects: SubjectSet;
  readonly decision: ConsentDecision;
}

/** The ledger's entries after `position`, oldest first. @throws UnavailableError for a row that says too little */
export async function* stepsAfter(db: Reading, position: number): AsyncGenerator<PlacedStep> {
  for (let after = position; ;) {
    const rows = await ledgerRows(db).where("position", ">", after).limit(LEDGER_ROWS).execute();
    for (const row of rows) yield { position: row.position, step: stepOf(row) };
    const last = rows.at(-1);
    if (last === undefined || rows.length < LEDGER_ROWS) return;
    after = last.position;
  }
}

/** The consent events after `position`, oldest first. */
export async function* consentsAfter(db: Reading, position: number): AsyncGenerator<PlacedConsent> {
  for (let after = position; ;) {
    const rows = await db
      .selectFrom("consent_event")
      .selectAll()
      .where("position", ">", after)
      .orderBy("position")
      .limit(CONSENT_ROWS)
      .execute();
    for (const row of rows) {
      yield {
        position: row.position,
        // Before version 3 no entry depended on who was frozen.
        afterLedger: row.after_ledger ?? 0,
        purpose: consentPurpose.parse(row.usage_scope),
        subjects: decodeSubjectSet(row.subjects),
        decision:
          row.state === "granted"
            ? { state: "granted", expiresMs: row.expires_ms }
            : { state: "withdrawn" },
      };
    }
    const last = rows.at(-1);
    if (last === undefined || rows.length < CONSENT_ROWS) return;
    after = last.position;
  }
}

/** A stored set, under the digest that it was stored by. @throws UnavailableError INTERNAL_STORE_UNAVAILABLE */
export async function storedSet(db: Reading, setDigest: string): Promise<SubjectSet> {
  const row = await db
    .selectFrom("subject_set")
    .select("subjects")
    .where("digest", "=", fromHex(setDigest))
    .executeTakeFirst();
  const set = row === undefined ? undefined : decodeSubjectSet(row.subjects);
  if (set === undefined || hex(set.digest) !== setDigest) throw incomplete(`set ${setDigest}`);
  return set;
}

/**
 * A reservation as its rows have it, ended or not.
 *
 * @throws {@link ConflictError} PRIVACY_BUDGET_UNKNOWN_RESERVATION
 */
export async function storedReservation(db: Reading, reservationId: string): Promise<Reservation> {
  const rows = await ledgerRows(db).where("reservation_id", "=", reservationId).execute();
  const steps = rows.map(stepOf);
  const first = steps.find((step) => step.kind === "reserve");
  if (first === undefined) throw unknownReservation(reservationId);
  const executed = new Map<number, number>();
  for (const step of steps) {
    if (step.kind === "executing") executed.set(step.round, step.epsilonMicro);
  }
  const commit = steps.find((step) => step.kind === "commit");
  const begun = executed.size > 0 ? "executing" : "reserved";
  const released = steps.some((step) => step.kind === "release") ? "released" : begun;
  return {
    reservationId,
    state: commit === undefined ? released : "committed",
    usageScope: first.usageScope,
    recordScope: first.recordScope,
    reservedMicro: first.epsilonMicro,
    expiresMs: first.expiresMs,
    executed,
    committedMicro: commit?.epsilonMicro ?? 0,
  };
}

function ledgerRows(db: Reading) {
  return db.selectFrom("ledger").selectAll().orderBy("position");
}

type LedgerRow = Awaited<ReturnType<ReturnType<typeof ledgerRows>["execute"]>>[number];

function stepOf(row: LedgerRow): LedgerStep {
  const { kind, reservation_id: reservationId, epsilon_micro: epsilonMicro } = row;
  const entry = `entry ${row.position}`;
  switch (kind) {
    case "reserve":
      return {
        kind,
        reservationId,
        usageScope: usageScope.parse(row.usage_scope),
        recordScope: row.record_scope,
        setDigest: hex(required(row.set_digest, entry)),
        epsilonMicro,
        expiresMs: required(row.expires_ms, entry),
      };
    case "executing":
      return { kind, reservationId, round: required(row.round, entry), epsilonMicro };
    case "commit":
      return { kind, reservationId, epsilonMicro };
    case "release":
      return { kind, reservationId };
    case "replenish": {
      const epochId = required(row.epoch_id, entry);
      return { kind, usageScope: usageScope.parse(row.usage_scope), epochId, epsilonMicro };
    }
    case "write_off": {
      const recordScopeMicro = required(row.record_scope_micro, entry);
      return {
        kind,
        usageScope: usageScope.parse(row.usage_scope),
        epsilonMicro,
        recordScopeMicro,
      };
    }
  }
}

function required<T>(value: T | null, entry: string): T {
  if (value === null) throw incomplete(entry);
  return value;
}

function incomplete(what: string): UnavailableError {
  return new UnavailableError(
    { code: "INTERNAL_STORE_UNAVAILABLE", what },
    `ledger: expected ${what} as it was written, got it altered or incomplete`,
  );
}
