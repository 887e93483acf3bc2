import * as fs from "node:fs";
import path from "node:path";

import { expect, test } from "vitest";

import { newFolder } from "../vault-fixture.ts";
import {
  backupWorld,
  filesBelow,
  foldersOf,
  newTarget,
  openRestored,
  restore,
  type BackupWorld,
  type Target,
} from "./backup-world.ts";

async function backedUp(): Promise<BackupWorld> {
  const world = await backupWorld();
  await world.vault.custody.backups.make(foldersOf(world));
  return world;
}

function firstBatch(folder: string): string {
  const [name = ""] = fs.readdirSync(path.join(folder, "batches"));
  return path.join("batches", name);
}

/** One file of each kind: in which folder, and its name. */
const FILES: readonly { part: "data" | "keys"; name: (folder: string) => string }[] = [
  { part: "data", name: () => "vault.db" },
  { part: "data", name: firstBatch },
  { part: "data", name: () => "manifest.cbor" },
  { part: "keys", name: () => "vault-secrets.cbor" },
  { part: "keys", name: () => "vault-keys.cbor" },
  { part: "keys", name: () => "manifest.cbor" },
];

const DAMAGES: readonly { title: string; damage: (file: string) => void }[] = [
  {
    title: "altered by one bit",
    damage: (file) => {
      const bytes = fs.readFileSync(file);
      const at = bytes.length >> 1;
      bytes[at] = (bytes[at] ?? 0) ^ 1;
      fs.writeFileSync(file, bytes);
    },
  },
  { title: "cut by a byte", damage: (file) => fs.truncateSync(file, fs.statSync(file).size - 1) },
  { title: "longer by a byte", damage: (file) => fs.appendFileSync(file, "x") },
  { title: "empty", damage: (file) => fs.truncateSync(file) },
  { title: "absent", damage: (file) => fs.rmSync(file) },
];

test("[DS-5] a backup with any file altered, cut, longer or absent is refused, and nothing is put in place", async () => {
  const world = await backedUp();
  const folders = foldersOf(world);
  const to = newTarget();
  for (const { part, name } of FILES) {
    const file = path.join(folders[part], name(folders[part]));
    const genuine = fs.readFileSync(file);
    for (const { title, damage } of DAMAGES) {
      damage(file);
      await expect(restore(world, { to }), `${file} ${title}`).rejects.toMatchObject({
        code: expect.stringMatching(
          /^(INTERNAL_BACKUP_DAMAGED|INTERNAL_STORE_UNAVAILABLE|PROOF_|SCHEMA_)/,
        ),
      });
      await expect(world.vault.custody.backups.verify(folders)).rejects.toBeDefined();
      expect(filesBelow(to.directory).size).toBe(0);
      for (const key of [to.secretsFile, to.keyFile]) expect(fs.existsSync(key)).toBe(false);
      fs.rmSync(file, { force: true });
      fs.writeFileSync(file, genuine, { mode: 0o600 });
    }
  }
  await restore(world, { to });
});

test("[DS-5] the keys of another backup, and a backup of another Vault, are refused", async () => {
  const world = await backedUp();
  await world.vault.custody.backups.make(foldersOf(world, "second"));
  fs.renameSync(foldersOf(world, "second").keys, `${foldersOf(world).keys}-2`);
  fs.renameSync(foldersOf(world).keys, foldersOf(world, "second").keys);
  await expect(restore(world, { to: newTarget(), name: "second" })).rejects.toMatchObject({
    code: "INTERNAL_BACKUP_DAMAGED",
  });
  const [, other] = world.fixture.network.vaults;
  if (other === undefined) throw new Error("expected a second Vault");
  const theirs = { ...world, fixture: { ...world.fixture, actor: other } };
  await expect(restore(theirs, { to: newTarget() })).rejects.toBeDefined();
});

/** What stands where a Vault is to be restored. */
const PRESENT: readonly { title: string; put: (to: Target) => string }[] = [
  { title: "a store", put: (to) => path.join(to.directory, "vault.db") },
  { title: "what a store has left", put: (to) => path.join(to.directory, "vault.db-wal") },
  { title: "a batch", put: (to) => path.join(to.directory, "batches", `${"0".repeat(32)}.batch`) },
  { title: "other secrets", put: (to) => to.secretsFile },
  { title: "other keys", put: (to) => to.keyFile },
];

test.for(PRESENT)("[DS-5] nothing is restored over $title", async ({ put }) => {
  const world = await backedUp();
  const to = newTarget();
  const file = put(to);
  fs.mkdirSync(path.dirname(file), { recursive: true });
  fs.writeFileSync(file, "here");
  await expect(restore(world, { to })).rejects.toMatchObject({ code: "SCHEMA_CONFIG_MALFORMED" });
  expect(fs.readFileSync(file, "utf8")).toBe("here");
});

test("[PL-7] a restore that was interrupted before the store leaves a Vault that does not start, and is repeated", async () => {
  const world = await backedUp();
  await world.vault.close();
  const to = newTarget();
  await restore(world, { to });
  for (const name of fs.readdirSync(to.directory)) {
    if (name.startsWith("vault.db")) fs.rmSync(path.join(to.directory, name));
  }
  await expect(openRestored(to)).rejects.toMatchObject({ code: "INTERNAL_STORE_UNAVAILABLE" });
  for (const name of fs.readdirSync(to.directory)) {
    if (name.startsWith("vault.db")) fs.rmSync(path.join(to.directory, name));
  }
  await restore(world, { to });
  const { vault } = await openRestored(to);
  expect((await vault.status()).records).toBe(20);
});

test("folders that exist, lie in each other, or in the Vault's own are refused, and nothing is left of it", async () => {
  const { vault, fixture, home } = await backupWorld({ records: 4 });
  const { backups } = vault.custody;
  const free = path.join(home, "free");
  const taken = newFolder();
  const places = [
    { data: taken, keys: free },
    { data: free, keys: taken },
    { data: free, keys: free },
    { data: free, keys: path.join(free, "keys") },
    { data: path.join(free, "data"), keys: free },
    { data: path.join(fixture.directory, "b"), keys: free },
    { data: free, keys: path.join(fixture.directory, "batches") },
    { data: "relative", keys: free },
  ];
  for (const folders of places) {
    await expect(backups.make(folders)).rejects.toMatchObject({ code: "SCHEMA_CONFIG_MALFORMED" });
  }
  const absent = { data: path.join(home, "no", "b"), keys: free };
  await expect(backups.make(absent)).rejects.toMatchObject({ code: "INTERNAL_STORE_UNAVAILABLE" });
  expect(await backups.list()).toEqual([]);
  expect(fs.readdirSync(home).filter((name) => name.startsWith("free"))).toEqual([]);
});
