import { expect, test } from "vitest";

import { openVault, type Vault } from "../../../../host/sovereignty/index.ts";
import {
  CONSUMPTION_RECORD,
  DELIVERY_SHARE,
  SEAL_INFO,
  TASK_ENVELOPE,
  open,
} from "../../../../protocol/index.ts";
import { deliveryKey } from "../../../helpers/network-task.ts";
import { testActor, type TestActor } from "../../../helpers/network.ts";
import { confirmVault } from "../../../helpers/witnesses.ts";
import {
  beginRound,
  execute,
  proofOf,
  releaseOf,
  resultOf,
  signedBundle,
} from "../finished-task.ts";
import {
  OPEN_CUSTODY,
  counted,
  envelopeOf,
  newFixture,
  requestOf,
  stocked,
  type Fixture,
} from "../vault-fixture.ts";

async function stockedFixture(): Promise<Fixture> {
  const fixture = await newFixture();
  await stocked(fixture);
  return fixture;
}

/** Starts the Vault again by its next keys; `held` is what it has kept of its former ones. */
async function restarted(
  { vault, network, directory, actor, clock }: Fixture,
  held: readonly TestActor[],
): Promise<{ readonly vault: Vault; readonly actor: TestActor }> {
  await vault.close();
  const next = await testActor(`${actor.actorId} next`, "enterprise");
  const again = await openVault({
    ...{ directory, vaultId: actor.actorId, network: network.genesis.network },
    ...{ signingKey: next.signing, formerKeys: [actor.signing.publicKey] },
    ...{ boxKey: next.box, formerBoxKeys: held.map(({ box }) => box) },
    ...{ custody: OPEN_CUSTODY, nowMs: () => clock.nowMs, random: counted("next") },
  });
  await confirmVault(again, network);
  return { vault: again, actor: next };
}

test("[GS-3] a task that a Vault admitted by its former key is begun by the next one", async () => {
  const fixture = await stockedFixture();
  const request = await requestOf(fixture, "a");
  const decision = await fixture.vault.decide(request.signed, fixture.governance);
  const envelope = envelopeOf(fixture, request, decision);
  const { vault, actor } = await restarted(fixture, [fixture.actor]);
  const { order } = await beginRound({ ...fixture, vault, actor }, envelope);
  expect(order.envelope_digest).toEqual(TASK_ENVELOPE.digest(envelope));
  await vault.close();
});

test("[GS-3][RD-2] a task begun before a rotation is settled and delivered after it", async () => {
  const fixture = await stockedFixture();
  const task = await execute(fixture, "a");
  const result = await resultOf(task);
  const { vault, actor } = await restarted(fixture, [fixture.actor]);
  const renewed = { ...result, fixture: { ...fixture, vault, actor } };
  const record = await vault.settle(task.envelope, [signedBundle(renewed, result.bundle)]);
  expect(CONSUMPTION_RECORD.verify(record, actor.signing.publicKey).flagged).toBe(false);
  fixture.clock.nowMs += 2_000;
  const done = { ...renewed, record };
  const signed = await vault.releaseShare(releaseOf(done, proofOf(done)));
  const { sealed_share: sealed } = DELIVERY_SHARE.verify(signed, actor.signing.publicKey);
  const aad = TASK_ENVELOPE.digest(task.envelope);
  const opener = { key: await deliveryKey(), info: SEAL_INFO.deliveryShare };
  await expect(open({ ...opener, aad, sealed })).resolves.toHaveLength(32);
  await vault.close();
});

test("[GS-3] a share that was sealed to a box key which the Vault has lost is not released", async () => {
  const fixture = await stockedFixture();
  const task = await execute(fixture, "a");
  const result = await resultOf(task);
  const { vault, actor } = await restarted(fixture, []);
  const renewed = { ...result, fixture: { ...fixture, vault, actor } };
  const record = await vault.settle(task.envelope, [signedBundle(renewed, result.bundle)]);
  fixture.clock.nowMs += 2_000;
  await expect(vault.releaseShare(releaseOf({ ...renewed, record }))).rejects.toMatchObject({
    code: "INTERNAL_OPEN_FAILED",
  });
  await vault.close();
});
