import { spawnSync } from "node:child_process";
import * as fs from "node:fs";
import path from "node:path";

import { afterAll, expect, test } from "vitest";

import { removeAbandoned, withFolder, withPartial } from "../../image/archive/temporary.ts";
import { createImageFolder } from "./rig.ts";

const folder = createImageFolder();
afterAll(() => folder.remove());

test("a file is there whole or not at all, and what was half done is not there", async () => {
  const file = path.join(folder.path, "whole");
  const fails = withPartial(file, async (partial) => {
    fs.writeFileSync(partial, "half");
    throw new Error("disk full");
  });
  await expect(fails).rejects.toThrow("disk full");
  expect(fs.readdirSync(folder.path)).toEqual([]);
  await withPartial(file, async (partial) => fs.writeFileSync(partial, "whole"));
  expect(fs.readdirSync(folder.path)).toEqual(["whole"]);
  fs.rmSync(file);
});

test("what a killed process left is removed, and nothing else", async () => {
  const mine = await withFolder(folder.path, "work", async (name) => name);
  const ended = spawnSync("true").pid;
  const dead = mine.replace(`-${process.pid}-`, `-${ended}-`);
  const partial = (owner: string) => folder.write(`a.eif.${owner}.partial`, "");
  const space = /work-([0-9a-f]{16})-/.exec(mine)?.[1] ?? "";
  const elsewhere = dead.replace(space, "0123456789abcdef");
  // The first name space of processes has this name on every machine that uses the same folder.
  const [first = ""] = /\d+/.exec(fs.readlinkSync("/proc/self/ns/pid")) ?? [];
  const onAnother = dead.replace(space, first);
  const others = path.join(folder.path, `other-${space}-${ended}-abcdef`);
  const kept = [mine, elsewhere, onAnother, others];
  for (const name of [...kept, dead]) fs.mkdirSync(path.join(name, "deep"), { recursive: true });
  const keptFiles = [partial(`${space}-${process.pid}`), partial("1"), folder.write("a.eif", "")];
  partial(`${space}-${ended}`);
  await removeAbandoned(folder.path, "work-");
  await removeAbandoned(folder.path, "a.eif.");
  const names = [...kept, ...keptFiles].map((name) => path.basename(name));
  expect(fs.readdirSync(folder.path).toSorted()).toEqual(names.toSorted());
});

test.skipIf(process.getuid?.() !== 0)("what another user left is not walked through", async () => {
  const mine = await withFolder(folder.path, "theirs", async (name) => name);
  const dead = mine.replace(`-${process.pid}-`, `-${spawnSync("true").pid}-`);
  fs.mkdirSync(path.join(dead, "deep"), { recursive: true });
  fs.chownSync(dead, 12_345, 12_345);
  await removeAbandoned(folder.path, "theirs-");
  expect(fs.existsSync(path.join(dead, "deep"))).toBe(true);
  fs.chownSync(dead, 0, 0);
  await removeAbandoned(folder.path, "theirs-");
  expect(fs.existsSync(dead)).toBe(false);
});

test("a folder that is not there has nothing abandoned in it", async () => {
  await expect(removeAbandoned(path.join(folder.path, "nowhere"), "")).resolves.toBeUndefined();
});
