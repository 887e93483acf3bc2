import { afterEach, expect, test } from "vitest";

import type { Carried } from "../../../../host/sovereignty/index.ts";
import {
  HEAD_STATEMENT,
  TASK_REQUEST,
  WITNESS_ANSWER,
  WITNESS_QUESTION,
  parseCose,
  signCheckpoint,
  verifyCheckpoint,
} from "../../../../protocol/index.ts";
import { testRequest } from "../../../helpers/network-task.ts";
import { testSeed } from "../../../helpers/network.ts";
import { QUERY } from "../vault-world.ts";
import { WitnessWorld, type Carry } from "./witness-world.ts";

const [A, B, C] = ["vault-1", "vault-2", "vault-3"] as const;
const FROZEN = expect.objectContaining({ code: "PRIVACY_BUDGET_FROZEN" });

let world: WitnessWorld;

afterEach(async () => world.end());

/** A signed request of the network's submitter. */
async function request(): Promise<Uint8Array> {
  const plain = await testRequest(world.network, QUERY, {});
  return TASK_REQUEST.sign(plain, world.network.submitter.signing);
}

let spent = 0;

/** Grows and has cosigned, so that the others hold a newer head than a copy made before. */
async function spend(vaultId: string, times = 1): Promise<void> {
  for (let time = 0; time < times; time += 1) {
    spent += 1;
    await world.grow(vaultId, `spent-${spent}`);
    expect(await world.cosign(vaultId)).toBe("cosigned");
  }
}

test("[PB-5] a Vault put back from an older copy is frozen for good and decides nothing", async () => {
  world = await WitnessWorld.start();
  await world.grow(A, "before");
  await world.cosign(A);
  const copy = await world.backup(A);
  await spend(A, 2);

  const restored = await world.restore(A, copy);
  expect(restored.witness.standing).toBe("unconfirmed");
  await expect(restored.decide(await request(), world.governance)).rejects.toEqual(FROZEN);
  expect(await world.confirm(A)).toBe("frozen");
  await expect(restored.decide(await request(), world.governance)).rejects.toEqual(FROZEN);
  expect((await restored.witness.status()).frozen).toMatchObject({ reason: "behind" });

  // Neither starting again nor answers of nobody thaw it.
  await world.close(A);
  const again = await world.open(A);
  expect(again.witness.standing).toBe("frozen");
  expect(await world.confirm(A, () => [])).toBe("frozen");
  await expect(again.witness.cosignHead(new Uint8Array(0), world.governance)).rejects.toEqual(
    FROZEN,
  );
});

test("[PB-5] an older copy that has grown past the newest head is a fork, and frozen", async () => {
  world = await WitnessWorld.start();
  await world.cosign(A);
  const copy = await world.backup(A);
  await spend(A);
  const restored = await world.restore(A, copy);
  for (let event = 0; event < 5; event += 1) await world.grow(A, `other-${event}`);
  expect(await world.confirm(A)).toBe("frozen");
  expect((await restored.witness.status()).frozen).toMatchObject({ reason: "forked" });
});

test("[PB-5] a Vault made anew under the same key is frozen", async () => {
  world = await WitnessWorld.start();
  await spend(A);
  await world.restore(A, world.folder + "/vault-nothing").catch(() => undefined);
  await world.open(A);
  expect(await world.confirm(A)).toBe("frozen");
});

test("a new Vault that nobody has witnessed, and one that lost nothing, are confirmed", async () => {
  world = await WitnessWorld.start();
  expect(world.vault(A).witness.standing).toBe("confirmed");
  await spend(A, 3);
  await world.close(A);
  await world.open(A);
  expect(await world.confirm(A)).toBe("confirmed");
});

test("[PB-5] a Vault is confirmed by enough to meet any quorum that cosigned its newest head", async () => {
  world = await WitnessWorld.start();
  await spend(A);
  await world.close(A);
  await world.open(A);
  // Of two others one cosigns; so both must be heard.
  expect(await world.confirm(A, (answers) => answers.slice(0, 1))).toBe("unconfirmed");
  expect(await world.confirm(A, (answers) => answers.slice(1))).toBe("unconfirmed");
  const twice: Carry = ([first]) => (first === undefined ? [] : [first, { ...first, actorId: C }]);
  expect(await world.confirm(A, twice)).toBe("unconfirmed");
  expect(await world.confirm(A)).toBe("confirmed");
});

/** What a coordinator may do to the answers that say a copy is old; all but the last two bytes are one Vault's. */
const lies: readonly { title: string; carry: (before: readonly Carried[]) => Carry }[] = [
  { title: "withholds them", carry: () => () => [] },
  { title: "repeats those of before", carry: (before) => () => before },
  {
    title: "cuts them short",
    carry: () => (answers) =>
      answers.map(({ actorId, answer }) => ({ actorId, answer: answer.slice(0, -1) })),
  },
  {
    title: "flips a bit of each",
    carry: () => (answers) =>
      answers.map(({ actorId, answer }) => {
        const flipped = answer.slice();
        flipped[flipped.length - 70] = (flipped.at(-70) ?? 0) ^ 1;
        return { actorId, answer: flipped };
      }),
  },
  {
    title: "signs its own with no head",
    carry: () => (answers) =>
      answers.map(({ actorId, answer }) => {
        const told = HEAD_STATEMENT.decode(parseCose(answer).payload);
        const { coordinator } = world.network;
        const forged = HEAD_STATEMENT.sign({ ...told, checkpoint: null }, coordinator.signing);
        return { actorId, answer: forged };
      }),
  },
];

test.for(lies)(
  "[PB-5] a coordinator that $title does not bring an old copy back to work",
  async ({ carry }) => {
    world = await WitnessWorld.start();
    const before: Carried[] = [];
    const copy = await world.backup(A);
    await world.confirm(A, (answers) => {
      before.push(...answers);
      return answers;
    });
    await spend(A);
    const restored = await world.restore(A, copy);
    expect(await world.confirm(A, carry(before))).toBe("unconfirmed");
    await expect(restored.decide(await request(), world.governance)).rejects.toEqual(FROZEN);
    expect(await world.confirm(A)).toBe("frozen");
  },
);

test("[PB-2] a witness cosigns no older head and no other branch, and says what it holds", async () => {
  world = await WitnessWorld.start();
  await world.cosign(A);
  const copy = await world.backup(A);
  await spend(A, 2);
  const { witness } = await world.restore(A, copy);
  const behind = witness.ask(world.governance);
  const { answer } = await world.vault(B).witness.cosignHead(behind.question, world.governance);
  expect(WITNESS_ANSWER.decode(answer)).toMatchObject({ result: "held" });
  // An older copy that is asked about nothing and goes on aside learns it as soon as it has to be cosigned.
  for (let event = 0; event < 3; event += 1) await world.grow(A, `aside-${event}`);
  expect(await world.cosign(A)).toBe("waiting");
  expect(witness.standing).toBe("frozen");
  expect((await witness.status()).frozen).toMatchObject({ reason: "forked" });
});

test("[PB-2] a witness keeps the two heads of a fork that it is shown, and cosigns neither again", async () => {
  world = await WitnessWorld.start();
  await world.cosign(A);
  const [{ signing }, { witness }] = [
    world.network.vaults[0] ?? world.network.coordinator,
    world.vault(B),
  ];
  const claimed = WITNESS_QUESTION.decode(
    parseCose(world.vault(A).witness.ask(world.governance).question).payload,
  );
  const { origin, size } = world.vault(A).log;
  const checkpoint = signCheckpoint({
    ...{ origin, size, root: testSeed("another past"), signerName: A, key: signing },
  });
  const forked = WITNESS_QUESTION.sign({ ...claimed, checkpoint }, signing);
  const told = await witness.cosignHead(forked, world.governance);
  const answer = WITNESS_ANSWER.decode(told.answer);
  expect(answer).toMatchObject({ result: "forked", other: checkpoint });
  expect((await witness.status()).forks).toMatchObject([
    { vault_id: A, generation: 0, held: { size }, other: { size, root: testSeed("another past") } },
  ]);
  await world.grow(A, "after-the-fork");
  const asked = world.vault(A).witness.ask(world.governance);
  const again = await witness.cosignHead(asked.question, world.governance);
  expect(WITNESS_ANSWER.decode(again.answer)).toMatchObject({ result: "forked" });
});

test("[PL-7] a witness keeps what it cosigned over a restart, and cosigns the same head again", async () => {
  world = await WitnessWorld.start();
  await spend(A, 2);
  await world.close(B);
  await world.open(B);
  await world.confirm(B);
  expect(await world.cosign(A)).toBe("cosigned");
  await spend(A);
  await world.close(A);
  await world.open(A);
  await world.confirm(A);
  // A does not remember what B holds, B says so, and A proves from there.
  await world.grow(A, "after-the-restart");
  expect(await world.cosign(A)).toBe("cosigned");
  const kept = world.vault(A).witness.cosigned;
  const { actorId, signing } = world.network.vaults[0] ?? world.network.coordinator;
  const verified = verifyCheckpoint(kept?.note ?? "", {
    origin: world.vault(A).log.origin,
    log: { name: actorId, publicKey: signing.publicKey },
    witnesses: world.network.vaults.map((vault) => ({
      name: vault.actorId,
      publicKey: vault.signing.publicKey,
    })),
    quorum: 1,
  });
  expect(verified.size).toBe(world.vault(A).log.size);
});
