import * as fs from "node:fs";
import os from "node:os";
import path from "node:path";

import { afterEach, expect, test } from "vitest";

import { Books, type LedgerNote } from "../../../../host/sovereignty/ledger/books.ts";
import { subjectSetOf } from "../../../../host/sovereignty/ledger/subject-set.ts";
import type { Writing } from "../../../../host/sovereignty/queries.ts";
import { VAULT_MIGRATIONS, type VaultSchema } from "../../../../host/sovereignty/schema.ts";
import { openStore, type Store, type StorePlace } from "../../../../host/store/index.ts";
import { describePlaces } from "../../../helpers/store-places.ts";
import { drawFrom } from "./ledger-model.ts";
import { openStoredLedger, requireAsTheLog, writeSome } from "./stored-ledger.ts";

const NOTE: LedgerNote = {
  ...{ taskId: "t", recordScope: "customers", usageScope: "marketing" },
  ...{ privacyClass: 2, epochId: null, atMs: 1 },
};
const SUBJECTS = subjectSetOf([1, 2, 70_000]);
const stores: Store<VaultSchema>[] = [];
const folders: string[] = [];

afterEach(async () => {
  for (const store of stores.splice(0)) await store.close();
  for (const folder of folders.splice(0)) fs.rmSync(folder, { recursive: true, force: true });
});

/** Where the books of one test are: snapshots in a folder, the log in a store. */
interface Place {
  readonly folder: string;
  readonly at: StorePlace;
}

async function opened({ folder, at }: Place): Promise<{ store: Store<VaultSchema>; books: Books }> {
  const store = await openStore<VaultSchema>({ at, migrations: VAULT_MIGRATIONS });
  stores.push(store);
  return { store, books: await Books.open(store, folder) };
}

function newFolder(): string {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), "symphony-books-"));
  folders.push(folder);
  return folder;
}

async function reserve(books: Books, trx: Writing, reservationId: string): Promise<void> {
  const rest = { usageScope: "marketing", recordScope: "customers", subjects: SUBJECTS } as const;
  await books.enter(
    trx,
    { kind: "reserve", reservationId, ...rest, epsilonMicro: 60, expiresMs: 9 },
    NOTE,
  );
}

async function commit(books: Books, trx: Writing, reservationId: string): Promise<void> {
  await books.enter(trx, { kind: "executing", reservationId, round: 0, epsilonMicro: 60 }, NOTE);
  await books.enter(trx, { kind: "commit", reservationId, epsilonMicro: 55 }, NOTE);
}

/** A ledger with a committed, a released and an open reservation, a frozen subject, and a replenishment. */
async function filled(place: Place) {
  const { store, books } = await opened(place);
  await store.write((trx) => reserve(books, trx, "a"));
  await store.write((trx) => commit(books, trx, "a"));
  const withdrawn = { state: "withdrawn" } as const;
  const args = { purpose: "marketing", decision: withdrawn, atMs: 1 } as const;
  await store.write((trx) => books.consent(trx, { ...args, subjects: subjectSetOf([1]) }));
  const epoch = { usageScope: "marketing", epochId: 3, epsilonMicro: 20, atMs: 1 } as const;
  await store.write((trx) => books.replenish(trx, epoch));
  const granted = { state: "granted", expiresMs: 500 } as const;
  await store.write((trx) =>
    books.consent(trx, { ...args, decision: granted, subjects: subjectSetOf([1]) }),
  );
  await store.write((trx) => reserve(books, trx, "b"));
  return { store, books };
}

function stateOf(books: Books) {
  const { ledger, consents } = books;
  return {
    consumed: [1, 2, 3, 70_000].map((each) => ledger.consumedMicro("marketing", each)),
    reserved: [1, 2, 3, 70_000].map((each) => ledger.reservedMicro("marketing", each)),
    recordScope: ledger.recordScope("marketing", "customers"),
    epoch: ledger.replenishedEpoch("marketing"),
    open: ledger.open().map(({ reservationId, state }) => `${reservationId} ${state}`),
    summary: ledger.summary(),
    consent: [1, 2].map((each) => consents.stateOf("marketing", each, 100)),
    expires: consents.nextExpiryMs("marketing", 100),
  };
}

/** What becomes of the snapshot before a start. */
const DAMAGES: readonly { title: string; damage: (file: string) => void }[] = [
  { title: "a snapshot", damage: () => undefined },
  { title: "no snapshot", damage: (file: string) => fs.rmSync(file) },
  {
    title: "a snapshot of which one bit differs",
    damage: (file: string) => {
      const bytes = fs.readFileSync(file);
      bytes[bytes.length - 100] = (bytes[bytes.length - 100] ?? 0) ^ 1;
      fs.writeFileSync(file, bytes);
    },
  },
  { title: "a snapshot that is cut", damage: (file: string) => fs.truncateSync(file, 900) },
];

describePlaces((places) => {
  const newPlace = (): Place => ({ folder: newFolder(), at: places.newPlace() });

  test("[PB-5] a replenishment gives back to everybody but the frozen, and once for an epoch", async () => {
    const { store, books } = await filled(newPlace());
    expect(stateOf(books)).toMatchObject({
      consumed: [55, 35, 0, 35],
      reserved: [60, 60, 0, 60],
      recordScope: { consumed: 35, reserved: 60 },
    });
    const again = { usageScope: "marketing", epochId: 3, epsilonMicro: 20, atMs: 1 } as const;
    await expect(store.write((trx) => books.replenish(trx, again))).rejects.toMatchObject({
      code: "PRIVACY_BUDGET_STATE_CONFLICT",
    });
    expect(stateOf(books).consumed).toEqual([55, 35, 0, 35]);
  });

  // What is damaged is beside the store: one kind of it shows as much.
  const damages = places.kind === "sqlite" ? DAMAGES : DAMAGES.slice(0, 2);

  test.for(damages)("[PB-1] memory is a replay of the log, with $title", async ({ damage }) => {
    const place = newPlace();
    const { store, books } = await filled(place);
    await books.snapshot();
    await store.write((trx) => reserve(books, trx, "c"));
    await store.write((trx) => commit(books, trx, "b"));
    const before = stateOf(books);
    await store.close();
    const [name = ""] = fs.readdirSync(place.folder).filter((each) => each.endsWith(".snapshot"));
    damage(path.join(place.folder, name));
    const again = await opened(place);
    expect(stateOf(again.books)).toEqual(before);
    await again.store.write((trx) => commit(again.books, trx, "c"));
    expect(again.books.ledger.reservedMicro("marketing", 1)).toBe(0);
  });

  test("[PB-2] a write that fails leaves nothing in memory, whatever it did", async () => {
    const { store, books } = await filled(newPlace());
    const before = stateOf(books);
    const failed = store.write(async (trx) => {
      await reserve(books, trx, "x");
      await commit(books, trx, "x");
      await commit(books, trx, "b");
      const all = {
        usageScope: "marketing",
        epsilonMicro: 1_000,
        recordScopeMicro: 5_000,
      } as const;
      await books.writeOff(trx, { ...all, atMs: 1 });
      const decision = { state: "withdrawn" } as const;
      await books.consent(trx, { purpose: "marketing", subjects: SUBJECTS, decision, atMs: 1 });
      throw new Error("the disk is gone");
    });
    await expect(failed).rejects.toThrow("the disk is gone");
    expect(stateOf(books)).toEqual(before);
  });

  test("[PB-5] an ended reservation neither ends again nor begins again", async () => {
    const { store, books } = await filled(newPlace());
    const before = stateOf(books);
    const code = "PRIVACY_BUDGET_STATE_CONFLICT";
    await expect(store.write((trx) => reserve(books, trx, "a"))).rejects.toMatchObject({ code });
    await expect(store.write((trx) => commit(books, trx, "a"))).rejects.toMatchObject({ code });
    expect(stateOf(books)).toEqual(before);
    expect(await books.reservation(store.db, "a")).toMatchObject({
      ...{ state: "committed", committedMicro: 55, reservedMicro: 60, recordScope: "customers" },
    });
  });

  test("[PB-2] after a write-off nobody has anything left, known or to come, also after a restart", async () => {
    const place = newPlace();
    const { store, books } = await filled(place);
    const all = { usageScope: "marketing", epsilonMicro: 1_000, recordScopeMicro: 5_000 } as const;
    await store.write((trx) => books.writeOff(trx, { ...all, atMs: 1 }));
    expect(stateOf(books).consumed).toEqual([1_000, 1_000, 1_000, 1_000]);
    expect(books.ledger.recordScope("marketing", "visits").consumed).toBe(5_000);
    await books.snapshot();
    await store.close();
    const again = await opened(place);
    expect(stateOf(again.books)).toEqual(stateOf(books));
    const demand = { usageScope: "marketing", recordScope: "new", epsilonMicro: 1 } as const;
    const subjects = subjectSetOf([900_000]);
    const limits = { allowanceMicro: 1_000, recordScopeAllowanceMicro: null };
    expect(again.books.ledger.shortfall({ ...demand, subjects, ...limits })).toEqual({
      ...{ exhausted: 1, frozen: 0, recordScope: false },
    });
  });

  test("[PB-2] of writes that race, some failing, memory is what the log says, also after a start", async () => {
    const { folder, at } = newPlace();
    const draw = drawFrom(11);
    const acknowledged: string[] = [];
    for (let start = 0; start < 3; start += 1) {
      const ledger = await openStoredLedger(folder, at);
      const known = await requireAsTheLog(ledger);
      expect(acknowledged.filter((name) => !known.has(name))).toEqual([]);
      for (let round = 0; round < 8; round += 1) {
        acknowledged.push(...(await writeSome(ledger, draw)));
        await requireAsTheLog(ledger);
      }
      await ledger.books.close();
      await ledger.store.close();
    }
    expect(acknowledged.length).toBeGreaterThan(20);
  });
});
