import * as fs from "node:fs";
import path from "node:path";

import { expect, test } from "vitest";

import { hex } from "../../../../protocol/index.ts";
import { describePlaces } from "../../../helpers/store-places.ts";
import { eventsOf } from "../sealed-vault.ts";
import {
  bytesIn,
  consent,
  customerCsv,
  requestOf,
  reservedOf,
  targetOf,
} from "../vault-fixture.ts";
import {
  backupWorld,
  filesBelow,
  foldersOf,
  newTarget,
  openRestored,
  restore,
  type BackupWorld,
} from "./backup-world.ts";

const SUBJECT = "c-3";

describePlaces((places) => {
  async function world(records = 20): Promise<BackupWorld> {
    const store = places.newPlace();
    return await backupWorld({ store: () => store, records });
  }

  function target() {
    const store = places.newPlace();
    return store.kind === "sqlite" ? newTarget() : newTarget(store);
  }

  test("[DS-5] a restored Vault holds what it held, opens its records, and goes on", async () => {
    const from = await world();
    const { vault, fixture } = from;
    const request = await requestOf(fixture, "a");
    reservedOf(fixture, await vault.decide(request.signed, fixture.governance));
    const made = await vault.custody.backups.make(foldersOf(from));
    expect(made).toMatchObject({ state: "whole", log_size: vault.log.size - 1 });
    const before = await vault.status();
    await consent(vault, "analytics", ["c-1"]);
    await vault.close();

    const to = target();
    const restored = await restore(from, { to });
    expect(restored).toMatchObject({ backup_id: made.backup_id, erasures: 0 });
    expect(fs.statSync(to.secretsFile).mode % 0o1000).toBe(0o600);
    const back = await openRestored(to);
    const after = await back.vault.status();
    expect(after).toMatchObject({
      ...{ records: before.records, subjects: before.subjects, consents: before.consents },
      ...{ budgets: before.budgets, reservations: before.reservations },
    });
    expect(hex(back.vault.log.root(made.log_size))).toBe(hex(vault.log.root(made.log_size)));
    expect(await back.vault.custody.backups.list()).toMatchObject([
      { backup_id: made.backup_id, state: "whole" },
    ]);
    // Its records open under the keys that came back, and what it writes next has a place of its own.
    await back.vault.custody.reencrypt();
    await back.vault.ingest({
      ...targetOf(back, "customers"),
      ...{ format: "csv", source: bytesIn(customerCsv(5, 100)), onError: "abort" },
    });
    expect(await back.vault.status()).toMatchObject({ records: before.records + 5 });
  });

  test("[DS-5] a backup is a copy of one moment, while the Vault goes on", async () => {
    const from = await world();
    const { vault } = from;
    const making = vault.custody.backups.make(foldersOf(from));
    for (let index = 0; index < 5; index += 1) {
      await vault.ingest({
        ...targetOf(from.fixture, "customers"),
        ...{ format: "csv", source: bytesIn(customerCsv(3, 100 + 3 * index)), onError: "abort" },
      });
    }
    const { log_size } = await making;
    expect((await vault.custody.backups.verify(foldersOf(from))).log_size).toBe(log_size);
    await vault.close();
    const to = target();
    await restore(from, { to });
    const back = await openRestored(to);
    expect(hex(back.vault.log.root(log_size))).toBe(hex(vault.log.root(log_size)));
  });

  test("[DS-1][DS-5] an erasure expires the backups that hold the subject, removes them and says so", async () => {
    const from = await world();
    const { vault } = from;
    const { backups } = vault.custody;
    const near = await backups.make(foldersOf(from, "near"));
    const far = await backups.make(foldersOf(from, "far"));
    const away = foldersOf(from, "away");
    fs.renameSync(foldersOf(from, "far").data, away.data);
    fs.renameSync(foldersOf(from, "far").keys, away.keys);
    const report = await vault.custody.eraseSubject(SUBJECT);
    expect(report.backups).toEqual({ expired: 2, outstanding: 1 });
    expect(filesBelow(foldersOf(from, "near").data).size).toBe(0);
    expect(fs.existsSync(foldersOf(from, "near").keys)).toBe(false);
    const [event] = await eventsOf(vault, "subject.erased");
    expect(event).toMatchObject({
      backups: {
        destroyed: [Buffer.from(near.backup_id, "hex")].map((id) => new Uint8Array(id)),
        outstanding: [new Uint8Array(Buffer.from(far.backup_id, "hex"))],
      },
    });
    expect(await backups.list()).toMatchObject([
      { backup_id: far.backup_id, state: "outstanding" },
      { backup_id: near.backup_id, state: "destroyed", destroyed_by: "vault" },
    ]);
    const to = target();
    await expect(restore(from, { to, name: "away" })).rejects.toMatchObject({
      code: "INTERNAL_BACKUP_EXPIRED",
    });
    await expect(restore(from, { to, name: "away", erasedSince: [SUBJECT] })).rejects.toMatchObject(
      { code: "INTERNAL_BACKUP_EXPIRED" },
    );
    expect(fs.existsSync(to.directory)).toBe(false);

    const backupId = new Uint8Array(Buffer.from(far.backup_id, "hex"));
    await expect(backups.expire({ backupId, confirmed: false })).rejects.toMatchObject({
      code: "INTERNAL_BACKUP_OUTSTANDING",
    });
    const confirmed = await backups.expire({ backupId, confirmed: true });
    expect(confirmed).toMatchObject({ state: "destroyed", destroyed_by: "operator" });
    expect(await vault.custody.eraseSubject(SUBJECT)).toMatchObject({
      backups: { expired: 2, outstanding: 0 },
    });
    // One that was made after the erasure holds nobody who was erased.
    await backups.make(foldersOf(from, "after"));
    await vault.close();
    await restore(from, { to, name: "after" });
    const back = await openRestored(to);
    expect(await back.vault.custody.eraseSubject(SUBJECT)).toMatchObject({ records: 1 });
  });

  test("[DS-5] where the register is lost, who was erased since is named, and erased again at the start", async () => {
    const from = await world();
    const { vault } = from;
    await vault.custody.backups.make(foldersOf(from));
    await vault.close();
    const to = target();
    const registerFile = path.join(from.home, "lost");
    await expect(restore(from, { to, registerFile })).rejects.toMatchObject({
      code: "INTERNAL_BACKUP_EXPIRED",
    });
    const erasedSince = [SUBJECT, "nobody"];
    expect(await restore(from, { to, registerFile, erasedSince })).toMatchObject({ erasures: 1 });
    const back = await openRestored(to);
    expect(await back.vault.custody.resumeErasures()).toBe(1);
    expect(await eventsOf(back.vault, "subject.erased")).toHaveLength(1);
    const lines = [];
    for await (const line of back.vault.custody.exportSubject(SUBJECT)) lines.push(line);
    expect(lines.filter(({ type }) => type === "record")).toEqual([]);
    const states = lines.filter((line) => line.type === "consent");
    expect(JSON.stringify(states)).not.toContain("granted");
  });

  test("an operator ends a backup that nobody was erased from, and it is not restored any more", async () => {
    const from = await world(4);
    const { backups } = from.vault.custody;
    const { backup_id } = await backups.make(foldersOf(from));
    const kept = { data: `${foldersOf(from).data}-kept`, keys: `${foldersOf(from).keys}-kept` };
    fs.cpSync(foldersOf(from).data, kept.data, { recursive: true });
    fs.cpSync(foldersOf(from).keys, kept.keys, { recursive: true });
    const backupId = new Uint8Array(Buffer.from(backup_id, "hex"));
    expect(await backups.expire({ backupId, confirmed: false })).toMatchObject({
      ...{ state: "destroyed", destroyed_by: "vault" },
    });
    fs.renameSync(kept.data, foldersOf(from).data);
    fs.renameSync(kept.keys, foldersOf(from).keys);
    await expect(restore(from, { to: target() })).rejects.toMatchObject({
      code: "INTERNAL_BACKUP_EXPIRED",
    });
    const unknown = { backupId: new Uint8Array(16), confirmed: true };
    await expect(backups.expire(unknown)).rejects.toMatchObject({
      code: "INTERNAL_BACKUP_UNKNOWN",
    });
  });
});
