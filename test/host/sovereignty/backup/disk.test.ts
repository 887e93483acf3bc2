import * as fs from "node:fs";
import os from "node:os";
import path from "node:path";

import { afterAll, describe, expect, test } from "vitest";

import { writeDurably } from "../../../../host/sovereignty/custody/secrets.ts";
import {
  canMountSmallDisk,
  mountSmallDisk,
  unmountSmallDisk,
} from "../../../helpers/small-disk.ts";
import { requestOf, reservedOf } from "../vault-fixture.ts";
import {
  backupWorld,
  filesBelow,
  foldersOf,
  newTarget,
  openRestored,
  restore,
  sqliteIn,
  type BackupWorld,
  type Target,
} from "./backup-world.ts";

const disk = fs.mkdtempSync(path.join(os.tmpdir(), "symphony-backup-disk-"));
const mounted = canMountSmallDisk();
if (mounted) mountSmallDisk(disk, "size=4m");
const FULL = expect.objectContaining({ code: "INTERNAL_STORE_UNAVAILABLE" });

afterAll(() => {
  if (mounted) unmountSmallDisk(disk);
  fs.rmSync(disk, { recursive: true });
});

/** Does `work` with about so many bytes free on the disk, and frees it again. */
async function withFree<T>(bytes: number, work: () => Promise<T>): Promise<T> {
  const ballast = path.join(disk, "ballast");
  const { bavail, bsize } = fs.statfsSync(disk);
  fs.writeFileSync(ballast, new Uint8Array(Math.max(0, bavail * bsize - bytes)));
  try {
    return await work();
  } finally {
    fs.rmSync(ballast);
  }
}

/** Disks that become full at every part of what is written to them, to the last one that suffices. */
function sizes(bytes: number): number[] {
  return Array.from({ length: 7 }, (_, index) => Math.floor((bytes * index) / 5));
}

function bytesOf(files: ReadonlyMap<string, string>): number {
  return [...files.values()].reduce((sum, base64) => sum + Buffer.byteLength(base64, "base64"), 0);
}

/** The backup's folders, on the small disk. */
function onDisk(world: BackupWorld, name: string): BackupWorld {
  return { ...world, home: path.join(disk, name) };
}

async function backedUp(): Promise<{ world: BackupWorld; bytes: number }> {
  const world = await backupWorld();
  await world.vault.custody.backups.make(foldersOf(world));
  const { data, keys } = foldersOf(world);
  return { world, bytes: bytesOf(filesBelow(data)) + bytesOf(filesBelow(keys)) };
}

describe.skipIf(!mounted)(`on a small disk${mounted ? "" : " (skipped: tmpfs takes root)"}`, () => {
  test("[PL-7] a backup that its disk has no room for leaves nothing there, and the Vault goes on", async () => {
    const { world, bytes } = await backedUp();
    const { vault, fixture } = world;
    const { backups } = vault.custody;
    const outcomes = new Set<string>();
    for (const [index, free] of sizes(bytes).entries()) {
      const there = onDisk(world, `b${index}`);
      fs.mkdirSync(there.home);
      const before = await backups.list();
      const made = await withFree(free, () =>
        backups.make(foldersOf(there)).then(
          () => "whole",
          (error: unknown) => {
            expect(error).toEqual(FULL);
            return "full";
          },
        ),
      );
      outcomes.add(made);
      if (made === "whole") await backups.verify(foldersOf(there));
      else {
        expect(fs.readdirSync(there.home)).toEqual([]);
        expect(await backups.list()).toEqual(before);
      }
      fs.rmSync(there.home, { recursive: true });
    }
    expect([...outcomes].toSorted()).toEqual(["full", "whole"]);
    const request = await requestOf(fixture, "after");
    reservedOf(fixture, await vault.decide(request.signed, fixture.governance));
    await backups.verify(foldersOf(world));
  });

  test("[PL-7] a Vault whose own disk is full makes no backup, and goes on with space", async () => {
    const directory = path.join(disk, "own");
    const world = await backupWorld({ records: 60, store: () => sqliteIn(directory) });
    const { backups } = world.vault.custody;
    await expect(withFree(0, () => backups.make(foldersOf(world)))).rejects.toEqual(FULL);
    for (const folder of Object.values(foldersOf(world))) expect(fs.existsSync(folder)).toBe(false);
    expect(await backups.list()).toEqual([]);
    expect(await backups.make(foldersOf(world))).toMatchObject({ state: "whole" });
    await backups.verify(foldersOf(world));
    await world.vault.close();
    fs.rmSync(directory, { recursive: true });
  });

  test("[PL-7] a file of secrets that has no room is as it was before, not cut short", async () => {
    const file = path.join(disk, "secrets");
    const before = new Uint8Array(10_000).fill(1);
    writeDurably(file, before);
    // Room for one page of three: the disk takes that one, and refuses the next.
    await withFree(4_096, async () => {
      expect(() => writeDurably(file, new Uint8Array(10_000).fill(2))).toThrow(/ENOSPC/);
      return Promise.resolve();
    });
    expect(fs.readFileSync(file).equals(before)).toBe(true);
    expect(fs.readdirSync(disk)).toEqual(["secrets"]);
    fs.rmSync(file);
  });

  test("[PL-7] a restore that its disk has no room for leaves no half of a file, and is repeated with space", async () => {
    const { world, bytes } = await backedUp();
    const { data, keys } = foldersOf(world);
    const genuine = new Set([...filesBelow(data).values(), ...filesBelow(keys).values()]);
    await world.vault.close();
    const outcomes = new Set<string>();
    for (const [index, free] of sizes(2 * bytes).entries()) {
      const to = targetOnDisk(`r${index}`);
      const restored = await withFree(free, () =>
        restore(world, { to }).then(
          () => "restored",
          (error: unknown) => {
            expect(error).toEqual(FULL);
            return "full";
          },
        ),
      );
      outcomes.add(restored);
      if (restored === "full") {
        const left = filesBelow(path.join(disk, `r${index}`));
        for (const [name, content] of left) expect(genuine.has(content), name).toBe(true);
        expect(left.has(path.join("vault", "vault.db"))).toBe(false);
        await restore(world, { to });
      }
      const { vault } = await openRestored(to);
      expect((await vault.status()).records).toBe(20);
      await vault.close();
      fs.rmSync(path.join(disk, `r${index}`), { recursive: true });
    }
    expect([...outcomes].toSorted()).toEqual(["full", "restored"]);
  });
});

function targetOnDisk(name: string): Target {
  const directory = path.join(disk, name, "vault");
  return {
    ...newTarget(sqliteIn(directory)),
    directory,
    secretsFile: path.join(disk, name, "vault-secrets.cbor"),
    keyFile: path.join(disk, name, "vault-keys.cbor"),
  };
}
