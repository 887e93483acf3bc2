import { expect, test } from "vitest";

import { openVault } from "../../../../host/sovereignty/index.ts";
import { NETWORK_TIME_MS } from "../../../helpers/network.ts";
import { freshRandom, localKeys } from "../sealed-vault.ts";
import { backupWorld, foldersOf, newTarget, restore } from "./backup-world.ts";

test("[PB-5] a Vault that nobody witnesses is frozen when it was restored, and thawed without a budget", async () => {
  const world = await backupWorld({ records: 4 });
  const { actor, governance, network, vault: old } = world.fixture;
  await old.custody.backups.make(foldersOf(world));
  await old.close();
  const to = newTarget();
  await restore(world, { to });
  const vault = await openVault({
    ...{ directory: to.directory, secretsFile: to.secretsFile, store: to.store },
    ...{ vaultId: actor.actorId, signingKey: actor.signing, boxKey: actor.box },
    custody: localKeys(to.keyFile),
    network: network.genesis.network,
    nowMs: () => NETWORK_TIME_MS,
    random: freshRandom,
  });
  const { policy } = governance;
  const multi_vault = { ...policy.multi_vault, witness_quorum: 0 };
  const alone = { ...governance, policy: { ...policy, multi_vault } };
  // As it starts in a network of its own, with nobody to ask.
  const start = async (): Promise<string> => {
    await vault.witness.confirm([], { nonce: new Uint8Array(32), governance: alone });
    return vault.witness.standing;
  };
  expect(await start()).toBe("frozen");
  expect((await vault.witness.status()).frozen).toMatchObject({ reason: "restored" });
  await vault.witness.thaw(alone);
  expect(await start()).toBe("confirmed");
  const { budgets } = await vault.status();
  for (const { usage_scope, epsilon_micro } of policy.privacy.budgets) {
    const budget = budgets.find(({ usageScope }) => usageScope === usage_scope);
    expect(budget?.consumedMaxMicro).toBeGreaterThanOrEqual(epsilon_micro);
  }
  await vault.close();
});
