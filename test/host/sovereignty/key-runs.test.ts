import * as fs from "node:fs";
import path from "node:path";

import { expect, test } from "vitest";

import { createKms, recipientKeyPolicy } from "../../../host/adapters/kms.ts";
import { kmsCustody } from "../../../host/sovereignty/index.ts";
import type { StorePlace } from "../../../host/store/index.ts";
import {
  RefusedError,
  consentPurpose,
  hex,
  openBatch,
  parseBatchHeader,
} from "../../../protocol/index.ts";
import { startInsecureKms } from "../../../sim/index.ts";
import { rigPlatform } from "../../helpers/enclave-rig.ts";
import { NETWORK_TIME_MS, TEST_MEASUREMENT } from "../../helpers/network.ts";
import { workInImages, workUntilKilled } from "./custody-crash.ts";
import { describePlaces } from "../../helpers/store-places.ts";
import {
  SELECT_BATCHES,
  eventsOf,
  freshRandom,
  localKeys,
  openAll,
  sealedRows,
  sealedRowsOf,
} from "./sealed-vault.ts";
import { newFixture, newFolder, stocked, type Fixture } from "./vault-fixture.ts";

async function stockedLocally(
  options: { readonly store?: StorePlace; readonly home?: string } = {},
): Promise<{ fixture: Fixture; keyFile: string }> {
  const { home = newFolder(), ...rest } = options;
  const keyFile = path.join(home, "keys.cbor");
  const directory = path.join(home, "vault");
  const custody = localKeys(keyFile);
  const fixture = await newFixture({ ...rest, directory, custody, random: freshRandom });
  await stocked(fixture, 40);
  return { fixture, keyFile };
}

describePlaces((places) => {
  async function rowsOf(store: StorePlace) {
    return sealedRowsOf(await places.query(store, SELECT_BATCHES));
  }

  test("a rotation puts every key under a new version, destroys the old one and says so", async () => {
    const store = places.newPlace();
    const { fixture, keyFile } = await stockedLocally({ store });
    const before = await rowsOf(store);
    const oldKeys = fs.readFileSync(keyFile);
    const seen: number[] = [];
    const report = await fixture.vault.custody.rotateKeys(({ done }) => seen.push(done));
    expect(report).toEqual({ key: "local:2", batches: 5, retired: ["local:1"] });
    expect(seen).toEqual([1, 2, 3, 4, 5]);
    const custody = localKeys(keyFile);
    expect(await openAll(fixture.directory, custody, await rowsOf(store))).toHaveLength(5);
    for (const { protectedKey } of before) {
      await expect(custody.open(protectedKey)).rejects.toMatchObject({ code: "TEE_KMS_REFUSED" });
    }
    if (store.kind === "sqlite") {
      const database = fs.readFileSync(store.file);
      const isLeft = before.some((row) => database.includes(Buffer.from(row.protectedKey)));
      expect(isLeft).toBe(false);
    }
    expect(fs.readFileSync(keyFile).includes(oldKeys.subarray(-40))).toBe(false);
    expect(await eventsOf(fixture.vault, "keys.rotated")).toEqual([
      { key: "local:2", retired: ["local:1"] },
    ]);
  });

  test("[DS-1] sealing anew changes every key and file, and no commitment", async () => {
    const store = places.newPlace();
    const { fixture, keyFile } = await stockedLocally({ store });
    const before = await rowsOf(store);
    const { batches } = await fixture.vault.custody.reencrypt();
    expect(batches).toBe(before.length);
    const after = await rowsOf(store);
    const opened = await openAll(fixture.directory, localKeys(keyFile), await rowsOf(store));
    for (const [index, row] of after.entries()) {
      const old = before[index];
      expect(row.root).toEqual(old?.root);
      expect(row.batchId).toEqual(old?.batchId);
      expect(row.sealedId).not.toEqual(old?.sealedId);
      expect(row.protectedKey).not.toEqual(old?.protectedKey);
      expect(opened[index]?.header.batch_id).toEqual(row.sealedId);
    }
    const reopened = await fixture.reopen();
    expect((await reopened.status()).records).toBe(40);
  });

  test("[DS-5] an erasure seals its batches anew under other keys, and the rest stays as it is", async () => {
    const store = places.newPlace();
    const { fixture, keyFile } = await stockedLocally({ store });
    const before = await rowsOf(store);
    const erased = await fixture.vault.custody.eraseSubject("c-3");
    expect(erased.batches).toBeGreaterThan(0);
    const after = await rowsOf(store);
    expect(after.map(({ root }) => root)).toEqual(before.map(({ root }) => root));
    const changed = after.filter(({ protectedKey }, index) => {
      return hex(protectedKey) !== hex(before[index]?.protectedKey ?? new Uint8Array(0));
    });
    expect(changed).toHaveLength(erased.batches);
    const opened = await openAll(fixture.directory, localKeys(keyFile), after);
    expect(opened.reduce((sum, batch) => sum + batch.erased.size, 0)).toBe(erased.records);
  });

  test("where keys go to enclaves only, consent is withdrawn, and the erasure goes on when it is allowed", async () => {
    const keys = localKeys(path.join(newFolder(), "keys.cbor"));
    let allowed = false;
    const open = (blob: Uint8Array): Promise<Uint8Array> =>
      allowed
        ? keys.open(blob)
        : Promise.reject(new RefusedError({ code: "TEE_KMS_REFUSED" }, "enclaves only"));
    const fixture = await newFixture({
      store: places.newPlace(),
      custody: { ...keys, open },
      random: freshRandom,
    });
    await stocked(fixture, 10);
    const { vault } = fixture;
    const erasing = vault.custody.eraseSubject("c-3");
    await expect(erasing).rejects.toMatchObject({ code: "TEE_KMS_REFUSED" });
    expect(await eventsOf(vault, "consent.withdrawn")).toHaveLength(consentPurpose.options.length);
    expect(await eventsOf(vault, "subject.erased")).toHaveLength(0);
    allowed = true;
    expect(await vault.custody.resumeErasures()).toBe(1);
    expect(await vault.custody.resumeErasures()).toBe(0);
    expect(await eventsOf(vault, "subject.erased")).toHaveLength(1);
    expect(await vault.custody.eraseSubject("c-3")).toMatchObject({ records: 1, erasure_id: 1 });
  });

  test("an ingest while keys are rotated loses nothing", async () => {
    const store = places.newPlace();
    const { fixture, keyFile } = await stockedLocally({ store });
    const { vault } = fixture;
    const work = [
      vault.custody.rotateKeys(),
      stocked({ ...fixture, vault }, 41).catch(() => undefined),
    ];
    await Promise.all([...work, vault.custody.rotateKeys(), vault.custody.reencrypt()]);
    await openAll(fixture.directory, localKeys(keyFile), await rowsOf(store));
    expect((await vault.status()).records).toBe(81);
  });
});

test.for([
  { job: "rotate", steps: [1, 3, 6, 9, 12] },
  { job: "reencrypt", steps: [2, 7, 9, 14, 23] },
] as const)(
  "[PL-7] killed anywhere, $job ends when asked again: all open, none twice",
  async ({ job, steps }) => {
    const home = path.join(newFolder(), "home");
    const { fixture, keyFile } = await stockedLocally({ home });
    await fixture.vault.close();
    const { directory } = fixture;
    const roots = sealedRows(directory).map(({ root }) => hex(root));
    const work = { directory, keyFile, job };
    const images = await workInImages({ ...work, home, steps });
    expect(images.steps).toEqual(steps);
    const endAgain = async (): Promise<void> => {
      const custody = localKeys(keyFile);
      const { vault } = await newFixture({ directory, custody, random: freshRandom });
      expect(await openAll(directory, custody)).toHaveLength(5);
      if (job === "rotate") await vault.custody.rotateKeys();
      else await vault.custody.reencrypt();
      await vault.close();
      await openAll(directory, localKeys(keyFile));
      expect(sealedRows(directory).map(({ root }) => hex(root))).toEqual(roots);
      const current = localKeys(keyFile).currentKey();
      for (const { protectedKey } of sealedRows(directory)) {
        expect(custody.keyOf(protectedKey)).toBe(current);
      }
    };
    for (const at of steps) {
      images.putBack(at);
      await endAgain();
    }
    // One after the other, in the same Vault, and by a signal.
    images.putBack(0);
    for (const at of steps.slice(1, 3)) {
      expect(await workUntilKilled({ ...work, at })).toBe(false);
      await endAgain();
    }
  },
);

test("keys of KMS are wrapped again inside the service, and opened for the Vault only where a policy allows", async () => {
  const server = await startInsecureKms({
    directory: newFolder(),
    anchors: [rigPlatform().anchor],
    port: 0,
    nowMs: () => NETWORK_TIME_MS,
  });
  const credentials = { accessKeyId: "local", secretAccessKey: "local" };
  const kms = createKms({ region: "sim-local-1", endpoint: server.endpoint, credentials });
  const everything = { Effect: "Allow", Principal: { AWS: "*" }, Action: "kms:*", Resource: "*" };
  const open = JSON.stringify({ Version: "2012-10-17", Statement: [everything] });
  const strict = await kms.createKey(recipientKeyPolicy("*", [TEST_MEASUREMENT]));
  const [first, second] = [await kms.createKey(open), await kms.createKey(open)];
  const fixture = await newFixture({ custody: kmsCustody(kms, first), random: freshRandom });
  await stocked(fixture, 10);
  await fixture.vault.close();
  const { directory } = fixture;
  const rotated = await newFixture({ directory, custody: kmsCustody(kms, second) });
  expect(await rotated.vault.custody.rotateKeys()).toMatchObject({ key: second, batches: 2 });
  await rotated.vault.close();
  await openAll(directory, kmsCustody(kms, second));
  const closed = kmsCustody(kms, strict);
  const refused = await newFixture({ directory, custody: closed, random: freshRandom });
  const rotating = refused.vault.custody.rotateKeys();
  await expect(rotating).rejects.toMatchObject({ code: "TEE_KMS_REFUSED" });
  const blob = await closed.protect(new Uint8Array(48));
  await expect(closed.open(blob)).rejects.toThrow("releases to enclaves only");
  kms.close();
  await server.close();
});

test("a batch that was altered on disk is not sealed anew, and stays as it is", async () => {
  const { fixture } = await stockedLocally();
  const [row] = sealedRows(fixture.directory);
  const file = path.join(
    fixture.directory,
    "batches",
    `${hex(row?.sealedId ?? new Uint8Array(0))}.batch`,
  );
  const bytes = fs.readFileSync(file);
  expect(parseBatchHeader(bytes).record_count).toBe(8);
  bytes[bytes.length - 20] = (bytes[bytes.length - 20] ?? 0) ^ 1;
  fs.writeFileSync(file, bytes);
  const names = fs.readdirSync(path.join(fixture.directory, "batches"));
  const work = fixture.vault.custody.reencrypt();
  await expect(work).rejects.toMatchObject({ code: "INTERNAL_OPEN_FAILED" });
  expect(fs.readdirSync(path.join(fixture.directory, "batches"))).toEqual(names);
  expect(() => openBatch(bytes, new Uint8Array(32))).toThrow();
});
