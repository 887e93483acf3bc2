import * as fs from "node:fs";
import path from "node:path";

import { expect, test } from "vitest";
import { z } from "zod";

import { runDoctor } from "../../../host/cli/doctor/command.ts";
import { thisMachine } from "../../../host/cli/doctor/machine.ts";
import { EXIT } from "../../../cli/index.ts";
import { fromHex } from "../../../protocol/index.ts";
import { NETWORK_TIME_MS } from "../../helpers/network.ts";
import { spoken } from "../../helpers/spoken.ts";
import { operate } from "../http/vault/operated.ts";
import { backupWorld, foldersOf, type BackupWorld } from "../sovereignty/backup/backup-world.ts";

const DAY_MS = 86_400_000;

const findingsSchema = z.object({
  findings: z.array(
    z.object({
      role: z.string(),
      check: z.string(),
      state: z.string(),
      detail: z.string(),
      remedy: z.string().nullable(),
    }),
  ),
});

/** What the doctor says of the Vault of `world` on a machine `days` after its network's time, by check. */
async function findings({ fixture }: BackupWorld, days = 0) {
  const machine = { ...thisMachine(), nowMs: NETWORK_TIME_MS + days * DAY_MS };
  const words = ["--vault", fixture.directory, "--json"];
  const { out } = await spoken((io) => runDoctor(words, io, machine), { isJson: true });
  const of = findingsSchema.parse(JSON.parse(out)).findings.filter(({ role }) => role === "vault");
  return new Map(of.map(({ check, state, detail, remedy }) => [check, { state, detail, remedy }]));
}

test("[PB-8] the doctor tells how old the newest backup is, and warns where there is none or an old one", async () => {
  const world = await backupWorld();
  await operate(world.fixture);
  expect((await findings(world)).get("backups")).toMatchObject({
    state: "warning",
    detail: "none",
    remedy: expect.stringContaining("symphony vault backup make"),
  });
  await world.vault.custody.backups.make(foldersOf(world));
  expect((await findings(world, 2.5)).get("backups")).toEqual({
    state: "ok",
    detail: "1 may be restored, the newest 2.5 days old",
    remedy: null,
  });
  expect((await findings(world, 9)).get("backups")).toMatchObject({
    state: "warning",
    detail: expect.stringContaining("the newest 9.0 days old"),
  });
});

test("[DS-5] the doctor warns of expired backups that nobody says are destroyed", async () => {
  const world = await backupWorld();
  await operate(world.fixture);
  const { backups } = world.vault.custody;
  const { backup_id } = await backups.make(foldersOf(world));
  expect((await findings(world)).has("expired backups")).toBe(false);
  const { data, keys } = foldersOf(world);
  for (const folder of [data, keys]) fs.renameSync(folder, `${folder}-elsewhere`);
  const backupId = fromHex(backup_id);
  await backups.expire({ backupId, confirmed: false }).catch(() => undefined);
  const found = await findings(world);
  expect(found.get("expired backups")).toMatchObject({
    state: "warning",
    detail: expect.stringContaining(backup_id),
    remedy: expect.stringContaining("backup expire ID --confirm"),
  });
  expect(found.get("backups")).toMatchObject({ state: "warning", detail: "none" });
  await backups.expire({ backupId, confirmed: true });
  expect((await findings(world)).has("expired backups")).toBe(false);
});

test("[DS-5] the doctor warns of batches that the store does not know", async () => {
  const world = await backupWorld();
  const { directory } = world.fixture;
  await operate(world.fixture);
  expect((await findings(world)).get("batches")).toMatchObject({ state: "ok" });
  const aside = path.join(directory, "batches-set-aside");
  fs.mkdirSync(aside);
  fs.writeFileSync(path.join(aside, `${"0".repeat(32)}.batch`), "");
  const found = await findings(world);
  expect(found.get("batches")).toMatchObject({
    state: "warning",
    detail: expect.stringMatching(/^1 batches set aside/),
  });
  expect(found.get("node")).toMatchObject({ state: "ok" });
});

test("the doctor's warnings about a Vault keep it from nothing", async () => {
  const world = await backupWorld();
  await operate(world.fixture);
  const { exit } = await spoken((io) =>
    runDoctor(["--vault", world.fixture.directory], io, thisMachine()),
  );
  expect(exit).toBe(EXIT.ok);
});
