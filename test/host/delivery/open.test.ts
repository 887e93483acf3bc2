import { afterAll, beforeAll, expect, test } from "vitest";

import { openDelivery, type PassedOver } from "../../../host/delivery/index.ts";
import {
  DELIVERY,
  DELIVERY_SHARE,
  SEAL_INFO,
  TASK_ENVELOPE,
  boxKeyPairFromSeed,
  hex,
  open,
  seal,
  sha256,
  utf8,
  type Delivery,
  type DeliveryShare,
} from "../../../protocol/index.ts";
import { closeRun, runTask, type TestRun } from "../../helpers/evidence-rig.ts";
import { testSeed, type TestActor } from "../../helpers/network.ts";

let run: TestRun;
let delivery: Delivery;

beforeAll(async () => {
  run = await runTask();
  const [round] = run.finished;
  if (round === undefined) throw new Error("no round");
  const shares = [];
  for (const vault of run.network.vaults) {
    shares.push({ vault_id: vault.actorId, signed: await shareOf(vault) });
  }
  delivery = {
    envelope: run.task.envelopeBytes,
    execution_bundle: round.bundleBytes,
    settlement: utf8("a settlement"),
    ciphertext: round.outcome.ciphertext,
    shares,
  };
});

afterAll(() => closeRun(run));

/** A Vault's share as it releases it: opened with its box key, sealed to the delivery key, signed. */
async function shareOf(
  vault: TestActor,
  changes: {
    readonly share?: (share: DeliveryShare) => DeliveryShare;
    readonly key?: (share: Uint8Array) => Uint8Array;
    readonly signer?: TestActor;
  } = {},
): Promise<Uint8Array> {
  const [round] = run.finished;
  const aad = run.task.envelopeDigest;
  const sealed = round?.outcome.shares.find((each) => each.vault_id === vault.actorId)?.sealed;
  const share = await open({
    ...{ key: vault.box, info: SEAL_INFO.resultShare, aad },
    sealed: sealed ?? new Uint8Array(0),
  });
  const plaintext = changes.key?.(share) ?? share;
  const to = run.task.delivery.publicKey;
  const plain: DeliveryShare = {
    version: 1,
    envelope_digest: aad,
    vault_id: vault.actorId,
    output_commitment: round?.bundle.output_commitment ?? new Uint8Array(32),
    settlement_root: sha256(utf8("root")),
    sealed_share: await seal({ to, info: SEAL_INFO.deliveryShare, aad, plaintext }),
  };
  const signer = changes.signer ?? vault;
  return DELIVERY_SHARE.sign(changes.share?.(plain) ?? plain, signer.signing);
}

function opened(
  changes: Partial<Delivery> = {},
  deliveryKey = run.task.delivery,
  passedOver?: (share: PassedOver) => void,
) {
  return openDelivery({
    ...(passedOver === undefined ? {} : { passedOver }),
    delivery: DELIVERY.encode({ ...delivery, ...changes }),
    deliveryKey,
    governance: run.governance,
  });
}

function vault(index: number): TestActor {
  const actor = run.network.vaults[index];
  if (actor === undefined) throw new Error("no such Vault");
  return actor;
}

/** The honest delivery with the first Vault's share replaced, and no more shares than are needed. */
async function withFirst(signed: Promise<Uint8Array>): Promise<Partial<Delivery>> {
  const second = delivery.shares[1];
  if (second === undefined) throw new Error("no second share");
  return { shares: [{ vault_id: "vault-1", signed: await signed }, second] };
}

test("[RD-1] the submitter opens its result with the shares of a quorum, whichever they are", async () => {
  const whole = await opened();
  expect(whole.result.kind).toBe("audience");
  expect(hex(whole.envelope_digest)).toBe(hex(run.task.envelopeDigest));
  for (const left of [0, 1, 2]) {
    const shares = delivery.shares.filter((_, index) => index !== left);
    expect(await opened({ shares })).toEqual(whole);
  }
});

test("[RD-1] too few shares open nothing, and say how many are missing", async () => {
  for (const count of [0, 1]) {
    await expect(opened({ shares: delivery.shares.slice(0, count) })).rejects.toMatchObject({
      code: "DELIVERY_NOT_READY",
      details: { expected: 2, actual: count },
    });
  }
});

test("one share twice is not two", async () => {
  const [first] = delivery.shares;
  if (first === undefined) throw new Error("no share");
  await expect(opened({ shares: [first, first] })).rejects.toThrow();
});

test("[RD-1] another delivery key opens nothing", async () => {
  const other = await boxKeyPairFromSeed(testSeed("another delivery key"));
  await expect(opened({}, other)).rejects.toMatchObject({ code: "INTERNAL_OPEN_FAILED" });
});

test("a share that its Vault did not sign is refused", async () => {
  const forged = withFirst(shareOf(vault(0), { signer: vault(1) }));
  await expect(opened(await forged)).rejects.toMatchObject({ code: "PROOF_SIGNATURE_INVALID" });
  const shares = [{ vault_id: "nobody", signed: await shareOf(vault(0)) }];
  await expect(opened({ shares })).rejects.toMatchObject({ code: "AUTH_UNKNOWN_ACTOR" });
});

test.for([
  { title: "another task", change: { envelope_digest: sha256(utf8("another")) } },
  { title: "another outcome", change: { output_commitment: sha256(utf8("another")) } },
])("a share for $title is refused", async ({ change }) => {
  const other = withFirst(shareOf(vault(0), { share: (share) => ({ ...share, ...change }) }));
  await expect(opened(await other)).rejects.toMatchObject({ code: "PROOF_COMMITMENT_MISMATCH" });
});

test("a wrong share gives a wrong key, which is noticed before it is used", async () => {
  const wrong = withFirst(
    shareOf(vault(0), { key: (share) => share.with(10, (share[10] ?? 0) ^ 1) }),
  );
  await expect(opened(await wrong)).rejects.toMatchObject({ code: "PROOF_COMMITMENT_MISMATCH" });
});

test.for([
  { title: "that its Vault spoilt", code: "PROOF_COMMITMENT_MISMATCH", spoilt: true },
  { title: "that its Vault did not sign", code: "PROOF_SIGNATURE_INVALID", spoilt: false },
])(
  "[RD-1] one share $title beside good ones does no harm, and its Vault is named",
  async ({ code, spoilt }) => {
    const whole = await opened();
    for (const [index, { vault_id: vaultId }] of delivery.shares.entries()) {
      const bad = await shareOf(
        vault(index),
        spoilt
          ? { key: (share) => share.with(10, (share[10] ?? 0) ^ 1) }
          : { signer: vault((index + 1) % 3) },
      );
      const shares = delivery.shares.with(index, { vault_id: vaultId, signed: bad });
      const passedOver: PassedOver[] = [];
      const result = await opened({ shares }, run.task.delivery, (each) => passedOver.push(each));
      expect(result).toEqual(whole);
      expect(passedOver).toEqual([{ vaultId, code }]);
    }
  },
);

test("a key that no set of shares gives is not looked for without end", async () => {
  const shares = [];
  for (const index of [0, 1, 2]) {
    const signed = await shareOf(vault(index), { key: (share) => share.with(3, index) });
    shares.push({ vault_id: vault(index).actorId, signed });
  }
  await expect(opened({ shares })).rejects.toMatchObject({
    code: "PROOF_COMMITMENT_MISMATCH",
    details: { shares: 3, tries: 3 },
  });
});

test("an altered ciphertext is refused, whichever bit it is", async () => {
  const { ciphertext } = delivery;
  for (const at of [0, 17, ciphertext.length - 1]) {
    const altered = ciphertext.with(at, (ciphertext[at] ?? 0) ^ 1);
    await expect(opened({ ciphertext: altered })).rejects.toMatchObject({
      code: "PROOF_COMMITMENT_MISMATCH",
    });
  }
});

test("a bundle of another task is refused", async () => {
  const { envelope } = run.task;

  const other = TASK_ENVELOPE.encode({ ...envelope, epoch_id: envelope.epoch_id + 1 });
  await expect(opened({ envelope: other })).rejects.toMatchObject({
    code: "PROOF_COMMITMENT_MISMATCH",
  });
});

test("bytes that are no delivery are refused", async () => {
  const broken = openDelivery({
    delivery: utf8("no delivery"),
    deliveryKey: run.task.delivery,
    governance: run.governance,
  });
  await expect(broken).rejects.toMatchObject({ class: "malformed" });
});
