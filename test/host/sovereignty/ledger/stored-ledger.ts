import path from "node:path";

import { Books, type LedgerNote } from "../../../../host/sovereignty/ledger/books.ts";
import { subjectSetOf } from "../../../../host/sovereignty/ledger/subject-set.ts";
import type { Writing } from "../../../../host/sovereignty/queries.ts";
import { VAULT_MIGRATIONS, type VaultSchema } from "../../../../host/sovereignty/schema.ts";
import { openStore, type Store, type StorePlace } from "../../../../host/store/index.ts";
import type { Draw } from "./ledger-model.ts";
import {
  EMPTY,
  after,
  consumedBy,
  reservedOf,
  type NaiveLedger,
  type NaiveStep,
} from "./naive-ledger.ts";

const SCOPE = "marketing";
const RECORD = "customers";
/** No two of one page are neighbours: every set of them is a list. */
const WORLD = {
  ...{ scopes: [SCOPE], subjects: [0, 2, 4, 65_535, 65_536], records: [RECORD] },
  ...{ allowance: 100, recordAllowance: 1_000_000 },
};
const IN = { usageScope: SCOPE, recordScope: RECORD } as const;
const NOTE: LedgerNote = {
  ...{ taskId: "t", recordScope: RECORD, usageScope: SCOPE },
  ...{ privacyClass: 2, epochId: null, atMs: 1 },
};
const WRITES_AT_ONCE = 3;
const STEPS_OF_A_WRITE = 3;

/** The books of a Vault in a store of their own. */
export interface StoredLedger {
  readonly store: Store<VaultSchema>;
  readonly books: Books;
}

/** Snapshots are in `folder`, and the store too where no other place is given. */
export async function openStoredLedger(
  folder: string,
  at: StorePlace = { kind: "sqlite", file: path.join(folder, "vault.db") },
): Promise<StoredLedger> {
  const store = await openStore<VaultSchema>({ at, migrations: VAULT_MIGRATIONS });
  return { store, books: await Books.open(store, folder) };
}

/** Writes of a few actors at once, some of which fail. @returns Names of the entries of those that were acknowledged. */
export async function writeSome(ledger: StoredLedger, draw: Draw): Promise<string[]> {
  const writes = Array.from({ length: 1 + draw(WRITES_AT_ONCE) }, () =>
    ledger.store.write(async (trx) => {
      const entered: string[] = [];
      for (let left = draw(STEPS_OF_A_WRITE); left >= 0; left -= 1) {
        entered.push(...(await tryStep(ledger, trx, draw)));
      }
      if (draw(8) === 0) throw new Error("a write that fails");
      return entered;
    }),
  );
  const outcomes = await Promise.allSettled(writes);
  if (draw(8) === 0) await ledger.books.snapshot();
  return outcomes.flatMap((each) => (each.status === "fulfilled" ? each.value : []));
}

/** Tries one step, as an admission or a settlement would. */
async function tryStep({ books }: StoredLedger, trx: Writing, draw: Draw): Promise<string[]> {
  const open = books.ledger.open();
  const chosen = open[draw(open.length + 1)];
  if (chosen === undefined) return await tryReserve(books, trx, draw);
  const { reservationId, state, reservedMicro } = chosen;
  if (state === "executing") {
    const epsilonMicro = draw(reservedMicro + 1);
    await books.enter(trx, { kind: "commit", reservationId, epsilonMicro }, NOTE);
    return [`commit ${reservationId}`];
  }
  if (draw(2) === 0) {
    await books.enter(trx, { kind: "release", reservationId }, NOTE);
    return [`release ${reservationId}`];
  }
  const epsilonMicro = reservedMicro;
  await books.enter(trx, { kind: "executing", reservationId, round: 0, epsilonMicro }, NOTE);
  return [`executing ${reservationId}`];
}

async function tryReserve(books: Books, trx: Writing, draw: Draw): Promise<string[]> {
  if (draw(6) === 0) return await decideOnConsent(books, trx, draw);
  const epochId = books.ledger.replenishedEpoch(SCOPE) + 1;
  if (draw(6) === 0) {
    await books.replenish(trx, { usageScope: SCOPE, epochId, epsilonMicro: draw(40), atMs: 1 });
    return [`replenish ${epochId}`];
  }
  const members = 1 + draw(2 ** WORLD.subjects.length - 1);
  const subjects = subjectSetOf(
    WORLD.subjects.filter((_, index) => (members & (1 << index)) !== 0),
  );
  const reservationId = `r${draw(2 ** 30)}`;
  const demand = { ...IN, subjects, epsilonMicro: draw(50) };
  const limits = { allowanceMicro: WORLD.allowance, recordScopeAllowanceMicro: null };
  const { exhausted, frozen } = books.ledger.shortfall({ ...demand, ...limits });
  if (exhausted + frozen > 0) return [];
  await books.enter(trx, { kind: "reserve", reservationId, expiresMs: 9, ...demand }, NOTE);
  return [`reserve ${reservationId}`];
}

async function decideOnConsent(books: Books, trx: Writing, draw: Draw): Promise<string[]> {
  const subject = WORLD.subjects[draw(WORLD.subjects.length)] ?? 0;
  const decision =
    draw(2) === 0
      ? ({ state: "withdrawn" } as const)
      : ({ state: "granted", expiresMs: null } as const);
  const subjects = subjectSetOf([subject]);
  await books.consent(trx, { purpose: SCOPE, subjects, decision, atMs: 1 });
  return [];
}

/**
 * What the store's tables say, read by the naive ledger: no reservation of them was one too many.
 *
 * @returns The names of all entries.
 * @throws Error where the ledger in memory says something else
 */
export async function requireAsTheLog({ store, books }: StoredLedger): Promise<Set<string>> {
  const entries = await store.db.selectFrom("ledger").selectAll().orderBy("position").execute();
  const consents = await store.db.selectFrom("consent_event").selectAll().execute();
  const sets = await store.db.selectFrom("subject_set").selectAll().execute();
  const setOf = (digest: Uint8Array | null): number[] => {
    const found = sets.find((set) => digest !== null && Buffer.from(set.digest).equals(digest));
    return membersOf(found?.subjects ?? new Uint8Array(0));
  };
  const names = new Set<string>();
  let naive = EMPTY;
  const take = (step: NaiveStep): void => {
    const next = after(naive, step, WORLD);
    if (next === null) throw new Error(`the log has a ${step.kind} that does not fit`);
    naive = next;
  };
  const takeConsents = (position: number): void => {
    for (const each of consents.filter(({ after_ledger }) => after_ledger === position)) {
      const kind = each.state === "withdrawn" ? "freeze" : "thaw";
      take({ kind, scope: SCOPE, subjects: membersOf(each.subjects) });
    }
  };
  takeConsents(0);
  for (const row of entries) {
    const { kind, reservation_id: id, epsilon_micro: epsilon, epoch_id: epoch } = row;
    names.add(`${kind} ${kind === "replenish" ? epoch : id}`);
    if (kind === "reserve") {
      const subjects = setOf(row.set_digest);
      take({ kind, id, scope: SCOPE, record: RECORD, subjects, epsilon });
    } else if (kind === "executing") take({ kind, id, round: row.round ?? 0 });
    else if (kind === "commit") take({ kind, id, epsilon });
    else if (kind === "release") take({ kind, id });
    else take({ kind: "replenish", scope: SCOPE, epoch: epoch ?? 0, epsilon });
    takeConsents(row.position);
  }
  requireSame(books, naive);
  return names;
}

/** See subject-set.ts: headers of five bytes, and two for each member. */
function membersOf(encoded: Uint8Array): number[] {
  const view = new DataView(encoded.buffer, encoded.byteOffset, encoded.length);
  const members: number[] = [];
  for (let at = 1; at < encoded.length;) {
    const page = view.getUint16(at, true);
    const count = view.getUint16(at + 3, true) + 1;
    if (encoded[at + 2] !== 0) throw new Error("expected a list");
    for (let index = 0; index < count; index += 1) {
      members.push(page * 65_536 + view.getUint16(at + 5 + index * 2, true));
    }
    at += 5 + count * 2;
  }
  return members;
}

function requireSame({ ledger }: Books, naive: NaiveLedger): void {
  for (const subject of WORLD.subjects) {
    const [consumed, reserved] = [
      ledger.consumedMicro(SCOPE, subject),
      ledger.reservedMicro(SCOPE, subject),
    ];
    if (consumed !== consumedBy(naive, SCOPE, subject)) throw new Error(`consumed of ${subject}`);
    if (reserved !== reservedOf(naive, SCOPE, subject)) throw new Error(`reserved of ${subject}`);
    if (consumed + reserved > WORLD.allowance) throw new Error(`overspent by ${subject}`);
  }
  const names = ledger.open().map(({ reservationId }) => reservationId);
  const expected = Object.keys(naive.open);
  if (names.toSorted().join() !== expected.toSorted().join()) throw new Error("open ones");
}
