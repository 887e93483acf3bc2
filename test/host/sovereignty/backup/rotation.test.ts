import { expect, test } from "vitest";

import { isRestorable } from "../../../../host/sovereignty/backup/register.ts";
import { verifyBackup } from "../../../../host/sovereignty/backup/restore.ts";
import { openVault, registerFileOf } from "../../../../host/sovereignty/index.ts";
import { fromHex } from "../../../../protocol/index.ts";
import { NETWORK_TIME_MS, testActor } from "../../../helpers/network.ts";
import { freshRandom, localKeys } from "../sealed-vault.ts";
import { backupWorld, foldersOf, newTarget, restore } from "./backup-world.ts";

const REFUSED = { code: "PROOF_SIGNATURE_INVALID" };

test("[GS-3][DS-5] a backup that a Vault made by its former key is verified and restored by the next", async () => {
  const world = await backupWorld();
  const { fixture, secretsFile, store, keyFile } = world;
  const { backup_id } = await fixture.vault.custody.backups.make(foldersOf(world));
  await fixture.vault.close();
  const { actor, network, directory } = fixture;
  const next = await testActor("vault-1 next", "enterprise");
  const keys = { signingKey: next.signing, formerKeys: [actor.signing.publicKey] };
  const same = {
    ...{ vaultId: actor.actorId, network: network.genesis.network, boxKey: next.box, ...keys },
    ...{ nowMs: () => NETWORK_TIME_MS, random: freshRandom },
  };
  const custody = localKeys(keyFile);
  const vault = await openVault({ ...same, directory, store, secretsFile, custody });
  await expect(vault.custody.backups.verify(foldersOf(world))).resolves.toBeDefined();
  await vault.close();

  const owner = { vaultId: actor.actorId, publicKey: next.signing.publicKey };
  const known = { ...owner, formerKeys: [actor.signing.publicKey] };
  const unknown = { ...owner, formerKeys: [] };
  await expect(verifyBackup(foldersOf(world), unknown, () => undefined)).rejects.toMatchObject(
    REFUSED,
  );
  await expect(restore(world, { to: newTarget(), owner: unknown })).rejects.toMatchObject(REFUSED);
  // The Vault has signed its register anew: what the former key alone says of it is over.
  const [register, backupId] = [registerFileOf(secretsFile), fromHex(backup_id)];
  expect(isRestorable(register, { ...unknown, backupId })).toBe(true);
  const before = { ...owner, publicKey: actor.signing.publicKey, formerKeys: [], backupId };
  expect(() => isRestorable(register, before)).toThrow(expect.objectContaining(REFUSED));

  const to = newTarget();
  await restore(world, { to, owner: known });
  const { directory: place, store: at, secretsFile: secrets } = to;
  const back = await openVault({
    ...{ ...same, directory: place, store: at, secretsFile: secrets },
    custody: localKeys(to.keyFile),
  });
  expect((await back.status()).records).toBeGreaterThan(0);
  await back.close();
});
