import * as fs from "node:fs";
import os from "node:os";
import path from "node:path";

import { afterAll, beforeAll, expect, test } from "vitest";

import { crashImages, runUntilKilled, type CrashImages } from "../../../helpers/crash-images.ts";
import { inEpoch } from "../../../helpers/pool-sources.ts";
import { counted, openFixture, type Fixture } from "../vault-world.ts";
import { ROWS, SOURCE, ingestSource } from "./publish-world.ts";

const SCRIPT = path.join(import.meta.dirname, "publish-child.ts");
const FULL = process.env["SYMPHONY_FULL"] === "1";

let folder: string;
let home: string;
let images: CrashImages;

beforeAll(async () => {
  folder = fs.mkdtempSync(path.join(os.tmpdir(), "symphony-publish-"));
  home = path.join(folder, "vault");
  const { vault } = await openFixture({ directory: home });
  await vault.close();
  images = await crashImages({ script: SCRIPT, words: [home], home, steps: "all" });
});

afterAll(() => fs.rmSync(folder, { recursive: true, force: true }));

/** What the Vault has of the source: all of it, its subjects and its column counted once, and no run left. */
async function expectPublished({ vault, governance }: Fixture): Promise<void> {
  expect(await vault.status()).toMatchObject({ records: ROWS, subjects: ROWS });
  const { published, open } = await vault.records.runs();
  expect({ published: published.length, open: open.length }).toEqual({ published: 1, open: 0 });
  const { attributes } = await vault.attributes.list("customers", inEpoch(governance, 0));
  expect(attributes).toMatchObject([{ column: "score", rows_at_least: 10, epochs_present: 1 }]);
}

async function expectWhole(step: number): Promise<void> {
  const fixture = await openFixture({ directory: home, random: counted("after the kill") });
  try {
    // Until its first commit nothing says that the source is there whole: its sender sends it again.
    const begun = images.lines
      .slice(0, images.lines.indexOf(`image ${step}`))
      .includes("committed");
    expect((await fixture.vault.status()).records, `step ${step}`).toBe(begun ? ROWS : 0);
    if (begun) await expectPublished(fixture);
    await ingestSource(fixture, SOURCE);
    await expectPublished(fixture);
  } finally {
    await fixture.vault.close();
  }
}

test("[DS-1][PL-7] killed before any write of a publication, a source is there whole once the Vault is open, and once", async () => {
  expect(images.steps.length).toBeGreaterThan(4);
  for (const step of images.steps) {
    images.putBack(step);
    await expectWhole(step);
  }
});

test("[PL-7] a process that is killed for good in its publication leaves what its image says", async () => {
  const { steps } = images;
  const moments = FULL ? steps : [steps[Math.floor(steps.length / 2)] ?? 1];
  for (const at of moments) {
    images.putBack(0);
    expect((await runUntilKilled(SCRIPT, [home, `${at}`])).killed).toBe(true);
    await expectWhole(at);
  }
});
