import * as fs from "node:fs";
import os from "node:os";
import path from "node:path";

import { afterAll, beforeAll, expect, test } from "vitest";

import { readFormerKeys, writeKeyHistory } from "../../../host/run/key-history.ts";
import { genesisState, signingKeyFromSeed } from "../../../protocol/index.ts";
import { createNetwork, testSeed } from "../../helpers/network.ts";

const network = await createNetwork();
const NEXT = signingKeyFromSeed(testSeed("next"));
const OTHER = signingKeyFromSeed(testSeed("other"));

let folder: string;
let seedFile: string;

beforeAll(async () => {
  folder = fs.mkdtempSync(path.join(os.tmpdir(), "symphony-history-"));
  seedFile = path.join(folder, "signing.seed");
  const actor = genesisState(network.genesisBytes).actors.get("vault-1");
  if (actor === undefined) throw new Error("no Vault");
  await writeKeyHistory(seedFile, actor, { actorId: "vault-1", key: NEXT });
});

afterAll(() => fs.rmSync(folder, { recursive: true }));

test("[GS-3] the keys before lie beside the seed of the next, and no seed but that one has them", async () => {
  const holder = { actorId: "vault-1", key: NEXT };
  expect(await readFormerKeys(seedFile, holder)).toEqual([network.vaults[0]?.signing.publicKey]);
  expect(await readFormerKeys(path.join(folder, "other.seed"), holder)).toEqual([]);
  expect(fs.statSync(`${seedFile}.history`).mode % 0o1000).toBe(0o600);
  await expect(readFormerKeys(seedFile, { ...holder, key: OTHER })).rejects.toMatchObject({
    code: "PROOF_SIGNATURE_INVALID",
  });
  await expect(readFormerKeys(seedFile, { ...holder, actorId: "vault-2" })).rejects.toMatchObject({
    code: "SCHEMA_CONFIG_MALFORMED",
  });
});

test("a history that is altered, cut or no history is refused", async () => {
  const whole = fs.readFileSync(`${seedFile}.history`);
  const damaged = path.join(folder, "damaged.seed");
  for (const bytes of [whole.subarray(0, -1), Buffer.from("x"), Buffer.alloc(0), flipped(whole)]) {
    fs.writeFileSync(`${damaged}.history`, bytes);
    const reading = readFormerKeys(damaged, { actorId: "vault-1", key: NEXT });
    await expect(reading).rejects.toHaveProperty("code");
  }
});

test("a history is read no further than it can be long", async () => {
  const seed = path.join(folder, "long.seed");
  // A sparse file of more than memory holds: whoever reads it whole does not come back.
  fs.writeFileSync(`${seed}.history`, "");
  fs.truncateSync(`${seed}.history`, 2 ** 41);
  const reading = readFormerKeys(seed, { actorId: "vault-1", key: NEXT });
  await expect(reading).rejects.toMatchObject({ code: "SCHEMA_TOO_LARGE" });
  fs.truncateSync(`${seed}.history`, 8 * 1024 + 1);
  const again = readFormerKeys(seed, { actorId: "vault-1", key: NEXT });
  await expect(again).rejects.toMatchObject({ code: "SCHEMA_TOO_LARGE" });
});

function flipped(bytes: Buffer): Buffer {
  const at = bytes.length - 70;
  return Buffer.from(bytes.map((byte, index) => (index === at ? byte ^ 1 : byte)));
}
