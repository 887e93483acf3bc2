import { createHash } from "node:crypto";
import * as fs from "node:fs";
import path from "node:path";

import { openActorLog } from "../host/evidence/actor-log.ts";
import { Books } from "../host/sovereignty/ledger/books.ts";
import {
  commitReservation,
  endOverdue,
  reserveBudget,
  type LedgerContext,
} from "../host/sovereignty/ledger/reservations.ts";
import {
  firstSubjects,
  subjectSetOf,
  type SubjectSet,
} from "../host/sovereignty/ledger/subject-set.ts";
import { VAULT_MIGRATIONS, type VaultSchema } from "../host/sovereignty/schema.ts";
import { openStore, type Store } from "../host/store/index.ts";
import { signingKeyFromSeed } from "../protocol/index.ts";

const EPSILON_MICRO = 1;
const ALLOWANCE_MICRO = 1_000_000_000;
const NOW_MS = 1_790_000_000_000;
const HISTORY_SETS = 8;

/** How much is measured. */
export interface LedgerSize {
  readonly subjects: number;
  /** Of each set that is reserved. */
  readonly members: number;
  /** Reservations of which the quantiles are taken. */
  readonly runs: number;
  /** Tasks that were committed before the ledger was killed. */
  readonly history: number;
  readonly postgresRuns: number;
}

export const WHOLE: LedgerSize = {
  ...{ subjects: 10_000_000, members: 1_000_000 },
  ...{ runs: 200, history: 100, postgresRuns: 5 },
};

export const SHORT: LedgerSize = {
  ...{ subjects: 200_000, members: 20_000 },
  ...{ runs: 100, history: 20, postgresRuns: 3 },
};

/** The books of a Vault and what a reservation needs besides. */
export interface OpenLedger extends LedgerContext {
  readonly store: Store<VaultSchema>;
}

export async function openLedger(directory: string): Promise<OpenLedger> {
  const nowMs = () => NOW_MS;
  const file = path.join(directory, "vault.db");
  const store = await openStore<VaultSchema>({
    at: { kind: "sqlite", file },
    migrations: VAULT_MIGRATIONS,
  });
  const books = await Books.open(store, directory);
  const key = signingKeyFromSeed(new Uint8Array(32).fill(7));
  const log = await openActorLog({ store, actorId: "bench", key, origin: "bench", nowMs });
  return { store, books, log, nowMs };
}

/** Members of set `seed`, ascending: distinct, drawn evenly from all subjects. */
export function randomMembers(size: LedgerSize, seed: number): Uint32Array {
  const taken = new Uint8Array(size.subjects);
  for (let count = 0, block = 0; count < size.members; block += 1) {
    const bytes = createHash("shake256", { outputLength: 65_536 }).update(`${seed} ${block}`);
    const draws = bytes.digest();
    for (let at = 0; at < draws.length && count < size.members; at += 4) {
      const member = draws.readUInt32LE(at) % size.subjects;
      if (taken[member] === 1) continue;
      taken[member] = 1;
      count += 1;
    }
  }
  const members = new Uint32Array(size.members);
  let found = 0;
  for (let member = 0; member < taken.length; member += 1) {
    if (taken[member] !== 1) continue;
    members[found] = member;
    found += 1;
  }
  return members;
}

export function randomSet(size: LedgerSize, seed: number): SubjectSet {
  return subjectSetOf(randomMembers(size, seed));
}

/** Subjects in a row, from `seed` on. */
export function contiguousSet(size: LedgerSize, seed: number): SubjectSet {
  const first = (seed * 65_537) % (size.subjects - size.members + 1);
  return subjectSetOf(Uint32Array.from({ length: size.members }, (_, each) => each + first));
}

/** What an admission does with the ledger: end what is overdue, ask, append, write the event; durable at the end. */
export async function reserveDurably(
  ledger: OpenLedger,
  reservationId: string,
  subjects: SubjectSet,
): Promise<void> {
  await ledger.store.write(async (trx) => {
    await endOverdue(ledger, trx);
    const recordScope = "customers";
    const amounts = { epsilonMicro: EPSILON_MICRO, allowanceMicro: ALLOWANCE_MICRO };
    const whole = { recordScope, recordScopeAllowanceMicro: null };
    const usageScope = "marketing" as const;
    const demand = { usageScope, subjects, ...amounts, ...whole };
    const { exhausted, frozen } = ledger.books.ledger.shortfall(demand);
    if (exhausted + frozen > 0) throw new Error("full");
    await reserveBudget(ledger, trx, {
      ...{ reservationId, taskId: reservationId, recordScope, usageScope, subjects },
      ...{ privacyClass: 2, epsilonMicro: EPSILON_MICRO, expiresMs: NOW_MS + 1 },
      ...{ consentCommitment: new Uint8Array(32), inputCommitment: new Uint8Array(32) },
    });
  });
}

/** Begins and commits a reservation. */
export async function commitDurably(ledger: OpenLedger, reservationId: string): Promise<void> {
  await ledger.store.write(async (trx) => {
    const note = {
      ...{ taskId: reservationId, recordScope: "customers", usageScope: "marketing" as const },
      ...{ privacyClass: 2, epochId: 1, atMs: NOW_MS },
    };
    const epsilonMicro = EPSILON_MICRO;
    await ledger.books.enter(
      trx,
      { kind: "executing", reservationId, round: 0, epsilonMicro },
      note,
    );
    const rest = { epochId: 1, flagged: false, reason: "settled" as const };
    await commitReservation(ledger, trx, { reservationId, epsilonMicro, ...rest });
  });
}

/** Gives budget back to everybody at the boundary of an epoch, durably. */
export async function replenishDurably({ books, store }: OpenLedger): Promise<void> {
  const usageScope = "marketing" as const;
  const epochId = books.ledger.replenishedEpoch(usageScope) + 1;
  await store.write((trx) =>
    books.replenish(trx, { usageScope, epochId, epsilonMicro: EPSILON_MICRO, atMs: NOW_MS }),
  );
}

/** Consent of every subject, a reservation of all of them, and a history of tasks. */
export async function fillLedger(ledger: OpenLedger, size: LedgerSize): Promise<void> {
  const everybody = firstSubjects(size.subjects);
  await ledger.store.write((trx) =>
    ledger.books.consent(trx, {
      purpose: "marketing",
      subjects: everybody,
      decision: { state: "granted", expiresMs: null },
      atMs: NOW_MS,
    }),
  );
  await reserveDurably(ledger, "everybody", everybody);
  await commitDurably(ledger, "everybody");
  const sets = Array.from({ length: HISTORY_SETS }, (_, seed) => randomSet(size, 1_000 + seed));
  for (let task = 0; task < size.history; task += 1) {
    const set = sets[task % sets.length];
    if (set === undefined) throw new Error("expected a set");
    await reserveDurably(ledger, `history-${task}`, set);
    await commitDurably(ledger, `history-${task}`);
  }
}

/** Seconds of each of `runs` calls of `work`, one after another. */
export async function timed(
  runs: number,
  work: (run: number) => Promise<unknown>,
): Promise<number[]> {
  const times: number[] = [];
  for (let run = 0; run < runs; run += 1) {
    const started = performance.now();
    await work(run);
    times.push((performance.now() - started) / 1000);
  }
  return times;
}

/** Seconds of each of `runs` calls, with as many under way at once as there are `workers`. */
export async function concurrently<Worker>(
  workers: readonly Worker[],
  runs: number,
  work: (worker: Worker, run: number) => Promise<unknown>,
): Promise<number[]> {
  let next = 0;
  const all = workers.map(async (worker) => {
    const times: number[] = [];
    while (next < runs) {
      const run = next;
      next += 1;
      times.push(...(await timed(1, () => work(worker, run))));
    }
    return times;
  });
  return (await Promise.all(all)).flat();
}

/** Seconds of `runs` appends of 4 KiB to a file in `directory`, each with fdatasync. */
export function fdatasyncTimes(directory: string, runs: number): number[] {
  const descriptor = fs.openSync(path.join(directory, "fdatasync"), "a");
  const page = new Uint8Array(4096);
  const times = Array.from({ length: runs }, () => {
    const started = performance.now();
    fs.writeSync(descriptor, page);
    fs.fdatasyncSync(descriptor);
    return (performance.now() - started) / 1000;
  });
  fs.closeSync(descriptor);
  return times;
}
