import * as fs from "node:fs";
import path from "node:path";

import { afterAll, beforeAll, describe, expect, test } from "vitest";

import { crashImages, runUntilKilled } from "../../../helpers/crash-images.ts";
import { WitnessWorld, newWorldFolder } from "./witness-world.ts";

const [A, B, C] = ["vault-1", "vault-2", "vault-3"] as const;
const ALLOWANCE = 20_000_000;
const SCRIPT = path.join(import.meta.dirname, "witness-child.ts");

let copies: string;
beforeAll(() => {
  copies = newWorldFolder();
});
afterAll(() => fs.rmSync(copies, { recursive: true, force: true }));

/** The folder of a world, all Vaults closed, after `prepare`. */
async function prepared(prepare: (world: WitnessWorld) => Promise<void>): Promise<string> {
  const world = await WitnessWorld.start();
  await prepare(world);
  for (const vaultId of [...world.vaults.keys()]) await world.close(vaultId);
  const folder = path.join(copies, path.basename(world.folder));
  fs.renameSync(world.folder, folder);
  return folder;
}

/** Looks at each world that is left of `folder` when the work is killed before one of its writes. */
async function everyKill(
  folder: string,
  job: "cosign" | "thaw",
  look: (world: WitnessWorld) => Promise<void>,
): Promise<number> {
  const lookAt = async (): Promise<void> => {
    const world = await WitnessWorld.start({ folder });
    try {
      await look(world);
    } finally {
      await world.end();
    }
  };
  const images = await crashImages({
    script: SCRIPT,
    words: [folder, job],
    home: folder,
    steps: "all",
  });
  for (const at of images.steps) {
    images.putBack(at);
    await lookAt();
  }
  images.putBack(0);
  const at = Math.floor(images.steps.length / 2);
  expect((await runUntilKilled(SCRIPT, [folder, job, `${at}`])).killed).toBe(true);
  await lookAt();
  return images.steps.length;
}

describe("kill -9 between every two writes", () => {
  test("[PB-2][PL-7] of cosigning: nobody is frozen, what was cosigned is kept, and the head is cosigned again", async () => {
    const folder = await prepared(async (world) => {
      await world.grow(A, "before");
      await world.cosign(A);
    });
    const kills = await everyKill(folder, "cosign", async (world) => {
      for (const vaultId of [A, B, C]) {
        expect(world.vault(vaultId).witness.standing).toBe("confirmed");
      }
      const { log, witness } = world.vault(A);
      expect(witness.cosigned?.size).toBeGreaterThan(0);
      expect(witness.cosigned?.size).toBeLessThanOrEqual(log.size);
      expect(await world.cosign(A)).toBe("cosigned");
      expect(witness.covers(log.size)).toBe(true);
    });
    expect(kills).toBeGreaterThan(5);
  });

  test("[PB-5][PL-7] of a thaw: frozen as before or thawed whole, and the budget is written off once", async () => {
    const folder = await prepared(async (world) => {
      await world.grow(A, "before");
      await world.cosign(A);
      const copy = await world.backup(A);
      await world.grow(A, "lost");
      await world.cosign(A);
      await world.restore(A, copy);
      expect(await world.confirm(A)).toBe("frozen");
    });
    const seen = new Set<string>();
    const kills = await everyKill(folder, "thaw", async (world) => {
      const { witness } = world.vault(A);
      seen.add(witness.standing);
      const { budgets } = await world.vault(A).status();
      const marketing = budgets.find(({ usageScope }) => usageScope === "marketing");
      if (witness.standing === "frozen") {
        expect(marketing?.consumedMaxMicro ?? 0).toBe(0);
        expect(await witness.thaw(world.governance)).toMatchObject({ generation: 1 });
        expect(await world.confirm(A)).toBe("confirmed");
      }
      expect((await witness.status()).restarts).toBe(1);
      const after = (await world.vault(A).status()).budgets;
      const spent = after.find(({ usageScope }) => usageScope === "marketing");
      expect(spent?.consumedMaxMicro).toBe(ALLOWANCE);
    });
    expect(kills).toBeGreaterThan(5);
    expect([...seen].toSorted()).toEqual(["confirmed", "frozen"]);
  });
});
