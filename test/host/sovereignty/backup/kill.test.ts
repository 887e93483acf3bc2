import * as fs from "node:fs";
import path from "node:path";

import { expect, test } from "vitest";

import { workUntilKilled } from "../custody-crash.ts";
import { freshRandom, localKeys } from "../sealed-vault.ts";
import { newFixture, newFolder, stocked } from "../vault-fixture.ts";

const TIMEOUT = { timeout: 300_000 };

async function prepared(backup: boolean) {
  const home = newFolder();
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
const STEPS = [2, 12, 24, 32, 36, 38, 40, 41, 42, 43, 44] as const;

test(
  "[PL-7] killed anywhere, a backup is there whole or not at all after the next start",
  TIMEOUT,
  async () => {
    const seen = new Set<string>();
    for (const at of STEPS) {
      const { home, directory, keyFile, folders } = await prepared(false);
      const ended = await workUntilKilled({ directory, keyFile, job: "backup", at });
      const { vault } = await reopened({ directory, keyFile });
      const { backups } = vault.custody;
      const listed = await backups.list();
      seen.add(ended ? "ended" : (listed[0]?.state ?? "none"));
      if (listed.length > 0) {
        expect(listed).toMatchObject([{ state: "whole" }]);
        expect(await backups.verify(folders)).toMatchObject({ files: expect.any(Number) });
      } else {
        const left = fs.readdirSync(home).filter((name) => name.startsWith("vault-"));
        expect({ at, left }).toEqual({ at, left: [] });
        await backups.make(folders);
      }
      await vault.close();
    }
    expect([...seen].toSorted()).toEqual(expect.arrayContaining(["none", "whole"]));
  },
);

test(
  "[DS-5][PL-7] killed anywhere, an erasure that is gone on with leaves no backup that may be restored",
  TIMEOUT,
  async () => {
    for (const at of [18, 24, 28, 30, 32]) {
      const { home, directory, keyFile, folders } = await prepared(true);
      await workUntilKilled({ directory, keyFile, job: "erase", at });
      const { vault } = await reopened({ directory, keyFile });
      await vault.custody.resumeErasures();
      const { backups } = await vault.custody.eraseSubject("c-3");
      expect(backups.expired).toBe(1);
      expect((await vault.custody.backups.list()).filter(({ state }) => state === "whole")).toEqual(
        [],
      );
      const isLeft = fs.existsSync(folders.keys) || fs.existsSync(folders.data);
      expect(isLeft && backups.outstanding === 0).toBe(false);
      await vault.close();
      fs.rmSync(home, { recursive: true });
    }
  },
);
