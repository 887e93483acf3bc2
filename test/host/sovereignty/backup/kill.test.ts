import * as fs from "node:fs";
import path from "node:path";

import { expect, test } from "vitest";

import { workInImages, workUntilKilled } from "../custody-crash.ts";
import { freshRandom, localKeys } from "../sealed-vault.ts";
import { newFixture, newFolder, stocked } from "../vault-fixture.ts";

async function prepared(backup: boolean) {
  const home = path.join(newFolder(), "home");
  const directory = path.join(home, "vault");
  const keyFile = path.join(home, "keys.cbor");
  const fixture = await newFixture({
    directory,
    custody: localKeys(keyFile),
    random: freshRandom,
  });
  await stocked(fixture, 12);
  const folders = { data: `${directory}-data`, keys: `${directory}-keys` };
  if (backup) await fixture.vault.custody.backups.make(folders);
  await fixture.vault.close();
  return { home, directory, keyFile, folders };
}

async function reopened({ directory, keyFile }: { directory: string; keyFile: string }) {
  const custody = localKeys(keyFile);
  return await newFixture({ directory, custody, random: freshRandom });
}

/** Of 44; the folders get their names in the last ones. */
const STEPS = [2, 12, 24, 32, 36, 38, 40, 41, 42, 43, 44];

type Prepared = Awaited<ReturnType<typeof prepared>>;

/** What the next start makes of a backup that was interrupted, and of the same one made then. */
async function backupAfter({ home, directory, keyFile, folders }: Prepared): Promise<string> {
  const { vault } = await reopened({ directory, keyFile });
  const { backups } = vault.custody;
  const listed = await backups.list();
  if (listed.length > 0) {
    expect(listed).toMatchObject([{ state: "whole" }]);
    expect(await backups.verify(folders)).toMatchObject({ files: expect.any(Number) });
  } else {
    const left = fs.readdirSync(home).filter((name) => name.startsWith("vault-"));
    expect(left).toEqual([]);
    await backups.make(folders);
  }
  await vault.close();
  return listed[0]?.state ?? "none";
}

test("[PL-7] killed anywhere, a backup is there whole or not at all after the next start", async () => {
  const world = await prepared(false);
  const { home, directory, keyFile } = world;
  const work = { directory, keyFile, job: "backup" } as const;
  const images = await workInImages({ ...work, home, steps: STEPS });
  expect(images.steps).toEqual(STEPS);
  const seen = new Set<string>();
  for (const at of STEPS) {
    images.putBack(at);
    seen.add(await backupAfter(world));
  }
  expect([...seen].toSorted()).toEqual(["none", "whole"]);
  images.putBack(0);
  expect(await workUntilKilled({ ...work, at: 40 })).toBe(false);
  await backupAfter(world);
});

async function erasedAfter({ directory, keyFile, folders }: Prepared): Promise<void> {
  const { vault } = await reopened({ directory, keyFile });
  await vault.custody.resumeErasures();
  const { backups } = await vault.custody.eraseSubject("c-3");
  expect(backups.expired).toBe(1);
  expect((await vault.custody.backups.list()).filter(({ state }) => state === "whole")).toEqual([]);
  const isLeft = fs.existsSync(folders.keys) || fs.existsSync(folders.data);
  expect(isLeft && backups.outstanding === 0).toBe(false);
  await vault.close();
}

test("[DS-5][PL-7] killed anywhere, an erasure that is gone on with leaves no backup that may be restored", async () => {
  const world = await prepared(true);
  const { home, directory, keyFile } = world;
  const work = { directory, keyFile, job: "erase" } as const;
  const steps = [18, 24, 28, 30, 32];
  const images = await workInImages({ ...work, home, steps });
  expect(images.steps).toEqual(steps);
  for (const at of steps) {
    images.putBack(at);
    await erasedAfter(world);
  }
  images.putBack(0);
  expect(await workUntilKilled({ ...work, at: 28 })).toBe(false);
  await erasedAfter(world);
});
