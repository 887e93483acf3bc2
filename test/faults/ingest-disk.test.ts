import * as fs from "node:fs";
import os from "node:os";
import path from "node:path";

import { afterAll, expect, test } from "vitest";

import { canMountSmallDisk, mountSmallDisk, unmountSmallDisk } from "../helpers/small-disk.ts";
import { bytesIn, customerCsv, openFixture, targetOf } from "../host/sovereignty/vault-world.ts";

const folder = fs.mkdtempSync(path.join(os.tmpdir(), "symphony-ingest-disk-"));
const mounted = canMountSmallDisk();
if (mounted) mountSmallDisk(folder, "size=8m");

afterAll(() => {
  if (mounted) unmountSmallDisk(folder);
  fs.rmSync(folder, { recursive: true });
});

test.skipIf(!mounted)(
  `[PL-7] a full disk interrupts an ingest, which goes on with space${mounted ? "" : " (skipped: tmpfs takes root)"}`,
  async () => {
    const directory = path.join(folder, "vault");
    const fixture = await openFixture({ directory });
    const ballast = path.join(folder, "ballast");
    const sending = () =>
      fixture.vault.ingest({
        ...targetOf(fixture, "customers"),
        format: "csv",
        source: bytesIn(customerCsv(4_000)),
        onError: "abort",
        batchRows: 200,
      });
    const { bavail, bsize } = fs.statfsSync(folder);
    fs.writeFileSync(ballast, new Uint8Array(bavail * bsize - 1_000_000));
    await expect(sending()).rejects.toMatchObject({ code: "INTERNAL_STORE_UNAVAILABLE" });
    expect(await fixture.vault.status()).toMatchObject({ records: 0, subjects: 0 });
    fs.rmSync(ballast);
    expect(await sending()).toMatchObject({ records: 4_000, batches: 20 });
    expect(await fixture.vault.status()).toMatchObject({ records: 4_000, subjects: 4_000 });
    expect(fs.readdirSync(path.join(directory, "batches"))).toHaveLength(20);
    await fixture.vault.close();
  },
);
