import { readFileSync } from "node:fs";
import { homedir } from "node:os";
import path from "node:path";

import { afterAll, expect, test } from "vitest";

import { buildImage } from "../../image/build/build.ts";
import { registerLines } from "../../image/cli/view.ts";
import { createImageFolder } from "./rig.ts";

const ROOT = path.join(import.meta.dirname, "../..");
const isRelease = process.env["SYMPHONY_RELEASE"] === "1";
const folder = createImageFolder();
afterAll(() => folder.remove());

/** Registers that the newest section of the changelog gives, as `symphony image build` prints them. */
function published(changelog: string): string[] {
  const [, newest = ""] = changelog.split(/^## /m);
  return [...newest.matchAll(/^ *(PCR\d {2}[0-9a-f]{96})$/gm)].map(([, line = ""]) => line);
}

test("registers in the changelog are read from its newest section alone", () => {
  const [one, two] = ["PCR0", "PCR1"].map((name) => `${name}  ${"ab".repeat(48)}`);
  const text = `# Changelog\n\n## 2\n\n    ${one}\n    PCR1  ab\n\n## 1\n\n    ${two}\n`;
  expect(published(text)).toEqual([one]);
});

// Every commit has another image: this is true of the checkout that is released, and looked at before that is done.
test.skipIf(!isRelease)(
  "[RT-1] the newest section of the changelog has the registers of this checkout's image",
  { timeout: 600_000 },
  async () => {
    const { measurement } = await buildImage({
      root: ROOT,
      out: path.join(folder.path, "release.eif"),
      cache: process.env["SYMPHONY_IMAGE_CACHE"] ?? path.join(homedir(), ".cache/symphony/image"),
      anchor: null,
      signer: null,
      progress: () => undefined,
    });
    const changelog = readFileSync(path.join(ROOT, "CHANGELOG.md"), "utf8");
    expect(published(changelog)).toEqual(registerLines(measurement));
  },
);
