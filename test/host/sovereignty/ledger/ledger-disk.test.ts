import * as fs from "node:fs";
import os from "node:os";
import path from "node:path";

import { afterEach, beforeEach, expect, test } from "vitest";

import type { LedgerNote } from "../../../../host/sovereignty/ledger/books.ts";
import { firstSubjects } from "../../../../host/sovereignty/ledger/subject-set.ts";
import {
  canMountSmallDisk,
  mountSmallDisk,
  unmountSmallDisk,
} from "../../../helpers/small-disk.ts";
import { openStoredLedger, type StoredLedger } from "./stored-ledger.ts";

const FULL = { code: "INTERNAL_STORE_UNAVAILABLE", details: { reason: "the disk is full" } };
const NOTE: LedgerNote = {
  ...{ taskId: "t", recordScope: "customers", usageScope: "marketing" },
  ...{ privacyClass: 2, epochId: null, atMs: 1 },
};
/** Four pages, which take two megabytes in a snapshot and some bytes in the store. */
const SUBJECTS = firstSubjects(200_000);
const mountable = canMountSmallDisk();
let disk: string;

beforeEach(() => {
  disk = fs.mkdtempSync(path.join(os.tmpdir(), "symphony-ledger-disk-"));
  if (mountable) mountSmallDisk(disk, "size=4m,mode=0700");
});

afterEach(() => {
  if (mountable) unmountSmallDisk(disk);
  fs.rmSync(disk, { recursive: true });
});

function snapshots(): string[] {
  return fs.readdirSync(disk).filter((name) => name.includes(".snapshot"));
}

/** Leaves that many bytes of the disk. */
function leave(bytes: number): void {
  const { bavail, bsize } = fs.statfsSync(disk);
  fs.writeFileSync(path.join(disk, "ballast"), new Uint8Array(bavail * bsize - bytes));
}

async function spend({ store, books }: StoredLedger, reservationId: string): Promise<void> {
  const scopes = { usageScope: "marketing", recordScope: "customers" } as const;
  const reserve = { kind: "reserve", reservationId, ...scopes, subjects: SUBJECTS } as const;
  await store.write(async (trx) => {
    await books.enter(trx, { ...reserve, epsilonMicro: 10, expiresMs: 9 }, NOTE);
    const executing = { kind: "executing", reservationId, round: 0, epsilonMicro: 10 } as const;
    await books.enter(trx, executing, NOTE);
    await books.enter(trx, { kind: "commit", reservationId, epsilonMicro: 7 }, NOTE);
  });
}

const consumed = ({ books }: StoredLedger): number => books.ledger.consumedMicro("marketing", 5);

test.skipIf(!mountable)(
  `[PL-7] a ledger goes on where the disk is too full for a snapshot, and refuses writes, losing none, where it is full${mountable ? "" : " (skipped: tmpfs takes root)"}`,
  async () => {
    const ledger = await openStoredLedger(disk);
    await spend(ledger, "a");
    leave(700_000);
    await ledger.books.snapshot();
    expect(snapshots()).toEqual([]);
    await spend(ledger, "b");
    let kept = 14;
    await expect(
      (async () => {
        for (let count = 0; count < 1_000; count += 1) {
          await spend(ledger, `${count}`);
          kept += 7;
        }
      })(),
    ).rejects.toMatchObject(FULL);
    expect(consumed(ledger)).toBe(kept);
    fs.rmSync(path.join(disk, "ballast"));
    await ledger.books.snapshot();
    expect(snapshots()).toHaveLength(1);
    await spend(ledger, "c");
    await ledger.store.close();
    const again = await openStoredLedger(disk);
    expect(consumed(again)).toBe(kept + 7);
    await again.store.close();
  },
);
