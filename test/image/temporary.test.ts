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
  const elsewhere = dead.replace(/work-\d+/, "work-1");
  const partial = (owner: string) => folder.write(`a.eif.${owner}.partial`, "");
  const space = /work-(\d+)/.exec(mine)?.[1];
  const kept = [mine, elsewhere, path.join(folder.path, `other-${space}-${ended}-abcdef`)];
  for (const name of [...kept, dead]) fs.mkdirSync(path.join(name, "deep"), { recursive: true });
  const keptFiles = [partial(`${space}-${process.pid}`), partial("1"), folder.write("a.eif", "")];
  partial(`${space}-${ended}`);
  await removeAbandoned(folder.path, "work-");
  await removeAbandoned(folder.path, "a.eif.");
  const names = [...kept, ...keptFiles].map((name) => path.basename(name));
  expect(fs.readdirSync(folder.path).toSorted()).toEqual(names.toSorted());
});

test("a folder that is not there has nothing abandoned in it", async () => {
  await expect(removeAbandoned(path.join(folder.path, "nowhere"), "")).resolves.toBeUndefined();
});
