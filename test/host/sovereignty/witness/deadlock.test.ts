import { afterEach, expect, test } from "vitest";

import type { Carried } from "../../../../host/sovereignty/index.ts";
import type { GovernanceState, Replenishment } from "../../../../protocol/index.ts";
import { NETWORK_TIME_MS } from "../../../helpers/network.ts";
import { WitnessWorld, type Carry } from "./witness-world.ts";

const [A, B, C] = ["vault-1", "vault-2", "vault-3"] as const;
const FROZEN = expect.objectContaining({ code: "PRIVACY_BUDGET_FROZEN" });
/** Of the network's policy. */
const WRITTEN_OFF = { marketing: 20_000_000, analytics: 20_000_000, training: 40_000_000 };

let world: WitnessWorld;

afterEach(async () => world.end());

async function consumedMax(vaultId: string): Promise<Record<string, number>> {
  const { budgets } = await world.vault(vaultId).status();
  return Object.fromEntries(budgets.map((each) => [each.usageScope, each.consumedMaxMicro]));
}

/** Puts A back to an older copy and thaws it, and leaves C down meanwhile. `beforeLoss` is what A forgets. */
async function thawedWhileDown(beforeLoss: () => Promise<void> = () => Promise.resolve()) {
  world = await WitnessWorld.start();
  await world.cosign(C);
  await world.cosign(A);
  const old = await world.backup(A);
  await world.grow(A, "lost");
  await beforeLoss();
  expect(await world.cosign(A)).toBe("cosigned");
  await world.close(C);
  await world.restore(A, old);
  expect(await world.confirm(A)).toBe("frozen");
  await world.vault(A).witness.thaw(world.governance);
}

test("[PB-5] a Vault that was down during another's thaw goes on once its operator gives its budget up", async () => {
  await thawedWhileDown();
  const { witness } = await world.open(C);
  expect(await world.confirm(C)).toBe("unconfirmed");
  expect(await world.confirm(A)).toBe("confirmed");
  expect(await world.cosign(A)).toBe("cosigned");
  // Asked as often as one likes, A says nothing of what it may have forgotten.
  expect(await world.confirm(C)).toBe("unconfirmed");

  await witness.thaw(world.governance);
  expect(await consumedMax(C)).toMatchObject(WRITTEN_OFF);
  expect(await world.cosign(C)).toBe("cosigned");
  expect(witness.standing).toBe("confirmed");
  // Once each has heard of the other's restart A vouches for it, and an ordinary start is enough.
  expect(await world.cosign(A)).toBe("cosigned");
  expect(await world.cosign(C)).toBe("cosigned");
  await world.close(C);
  await world.open(C);
  expect(await world.confirm(C)).toBe("confirmed");
  expect(await consumedMax(C)).toMatchObject(WRITTEN_OFF);
});

test("[PB-5] two Vaults that were put back at once confirm each other, each without its budget", async () => {
  world = await WitnessWorld.start();
  const copies = [await world.backup(A), await world.backup(C)];
  for (const vaultId of [A, C]) {
    await world.grow(vaultId, "lost");
    await world.cosign(vaultId);
  }
  for (const [at, vaultId] of [A, C].entries()) await world.restore(vaultId, copies[at] ?? "");
  for (const vaultId of [A, C]) {
    expect(await world.confirm(vaultId)).toBe("frozen");
    await world.vault(vaultId).witness.thaw(world.governance);
  }
  expect(await world.confirm(A)).toBe("unconfirmed");
  await world.cosign(A);
  await world.cosign(C);
  for (const vaultId of [A, C]) {
    expect(world.vault(vaultId).witness.standing).toBe("confirmed");
    expect(await consumedMax(vaultId)).toMatchObject(WRITTEN_OFF);
    expect(await world.cosign(vaultId)).toBe("cosigned");
  }
});

test("[PB-5] an old copy whose newest head only a forgetful Vault had seen works for nobody's budget", async () => {
  world = await WitnessWorld.start();
  await world.cosign(C);
  const oldC = await world.backup(C);
  await world.cosign(A);
  const oldA = await world.backup(A);
  // B is away: the newest heads of A and C are known to each other alone.
  await world.close(B);
  for (const vaultId of [A, C]) {
    await world.grow(vaultId, "spent");
    expect(await world.cosign(vaultId)).toBe("cosigned");
  }
  await world.restore(A, oldA);
  await world.restore(C, oldC);
  await world.open(B);
  await world.confirm(B);
  for (const vaultId of [A, C, A]) expect(await world.confirm(vaultId)).not.toBe("frozen");
  // Nothing is amiss as far as anybody knows, and A has not said that it forgot. Its operator does.
  await world.close(C);
  await world.close(A);
  await world.open(A);
  await world.vault(A).witness.thaw(world.governance);
  await world.cosign(A);
  await world.open(C);
  expect(await world.confirm(C)).toBe("unconfirmed");
  const { witness } = world.vault(C);
  await expect(witness.cosignHead(new Uint8Array(0), world.governance)).rejects.toEqual(FROZEN);
  await witness.thaw(world.governance);
  await world.cosign(C);
  expect(await consumedMax(C)).toMatchObject(WRITTEN_OFF);
});

test("[PB-5] a head that turns up after a write-off freezes, and the next restart gives it up by name", async () => {
  world = await WitnessWorld.start();
  await world.cosign(C);
  const old = await world.backup(C);
  for (let event = 0; event < 3; event += 1) await world.grow(C, `lost-${event}`);
  await world.cosign(C);
  const { witness } = await world.restore(C, old);
  // The coordinator keeps back what the others say, until the operator has given up waiting.
  expect(await world.confirm(C, () => [])).toBe("unconfirmed");
  await witness.thaw(world.governance);
  expect(await world.cosign(C)).toBe("waiting");
  expect(witness.standing).toBe("frozen");
  expect(witness.declared).toBe(false);
  expect(await witness.thaw(world.governance)).toMatchObject({ generation: 2 });
  await world.cosign(C);
  expect(witness.standing).toBe("confirmed");
  await world.close(C);
  await world.open(C);
  expect(await world.confirm(C)).toBe("confirmed");
});

test("[PB-5] only the process that wrote a budget off may go on from there; another start is asked after", async () => {
  await thawedWhileDown();
  await world.confirm(A);
  const { witness } = await world.open(C);
  await world.confirm(C);
  await witness.thaw(world.governance);
  expect(witness.declared).toBe(true);
  // Killed before a witness has followed: nobody can tell this store from a copy of it.
  await world.close(C);
  const opened = await world.open(C);
  expect(opened.witness).toMatchObject({ declared: false, standing: "unconfirmed" });
  await world.cosign(C);
  expect(opened.witness.standing).toBe("unconfirmed");
});

test("[PB-5] a Vault that was thawed and is not confirmed follows restarts, and nothing else", async () => {
  world = await WitnessWorld.start();
  await world.cosign(A);
  const old = await world.backup(A);
  await world.grow(A, "lost");
  await world.cosign(A);
  await world.cosign(C);
  await world.restore(A, old);
  await world.confirm(A);
  const { witness } = world.vault(A);
  await witness.thaw(world.governance);
  expect(witness.standing).toBe("unconfirmed");
  const asked = world.vault(C).witness.ask(world.governance);
  await expect(witness.cosignHead(asked.question, world.governance)).rejects.toEqual(FROZEN);
});

test("[PB-5] a clock that was put back between two write-offs brings nothing back", async () => {
  await thawedWhileDown();
  world.nowMs -= 1_000;
  const { witness } = world.vault(A);
  await witness.thaw(world.governance);
  const decidedMs = NETWORK_TIME_MS - 500;
  const given: Replenishment = {
    ...{ usageScope: "marketing", epochId: 1, epsilonMicro: 5_000_000, decidedMs },
  };
  const head = { size: 1, root: new Uint8Array(32).fill(1) };
  await world.vault(A).recordGovernanceHead({ head, previous: null, replenishments: [given] });
  expect(await consumedMax(A)).toMatchObject(WRITTEN_OFF);
});

/** What a coordinator may do to answers on their way to a Vault that has written its budget off; C needs both others. */
const lies: readonly { title: string; carry: (before: readonly Carried[]) => Carry }[] = [
  { title: "withholds one", carry: () => (answers) => answers.slice(0, 1) },
  {
    title: "repeats one as another's",
    carry: () => (answers) =>
      answers.slice(0, 1).flatMap((first) => [first, { ...first, actorId: B }, first]),
  },
  {
    title: "swaps their senders",
    carry: () => (answers) =>
      answers.map(({ answer }, at) => ({ answer, actorId: answers.at(at - 1)?.actorId ?? "" })),
  },
  { title: "carries those of before the write-off", carry: (before) => () => before },
  {
    title: "carries those of before the write-off first",
    carry:
      (before) =>
      ([first]) => [...before, ...(first === undefined ? [] : [first])],
  },
];

test.for(lies)(
  "[PB-5] a coordinator that $title confirms nobody after a write-off",
  async ({ carry }) => {
    const before: Carried[] = [];
    await thawedWhileDown(async () => {
      await world.cosign(C, (answers) => {
        before.push(...answers);
        return answers;
      });
    });
    await world.confirm(A);
    const { witness } = await world.open(C);
    await world.confirm(C);
    await witness.thaw(world.governance);
    expect(await world.cosign(C, carry(before))).toBe("waiting");
    expect(witness.standing).toBe("unconfirmed");
    await world.cosign(C);
    expect(witness.standing).toBe("confirmed");
    expect(await consumedMax(C)).toMatchObject(WRITTEN_OFF);
  },
);

test("[PB-5] a question asked before the write-off confirms nobody after it", async () => {
  await thawedWhileDown();
  await world.confirm(A);
  const { witness } = await world.open(C);
  await world.confirm(C);
  await witness.thaw(world.governance);
  const earlier = witness.ask(world.governance);
  await witness.thaw(world.governance);
  for (const other of [A, B]) {
    const { answer } = await world
      .vault(other)
      .witness.cosignHead(earlier.question, world.governance);
    await witness.take(earlier, { actorId: other, answer }, world.governance);
  }
  expect(witness.standing).toBe("unconfirmed");
});

test("[PB-5] a head that was asked for before a Vault forgot it is not vouched for when it is asked for again", async () => {
  world = await WitnessWorld.start();
  await world.cosign(C);
  await world.cosign(A);
  const oldA = await world.backup(A);
  const oldC = await world.backup(C);
  const recorded = world.vault(C).witness.ask(world.governance);
  // What C spends then is cosigned by A alone, which is put back and forgets it.
  await world.grow(C, "spent");
  const spent = world.vault(C).witness.ask(world.governance);
  await world.vault(A).witness.cosignHead(spent.question, world.governance);
  await world.grow(A, "lost");
  await world.cosign(A);
  await world.restore(A, oldA);
  expect(await world.confirm(A)).toBe("frozen");
  await world.vault(A).witness.thaw(world.governance);
  await world.cosign(A);
  // The coordinator carries C's old question again, and C's store is put back as well.
  await world.vault(A).witness.cosignHead(recorded.question, world.governance);
  await world.restore(C, oldC);
  expect(await world.confirm(C)).toBe("unconfirmed");
});

test("[PB-5] a write-off and a head that proves it wrong, at the same time, leave the Vault frozen or the head given up", async () => {
  world = await WitnessWorld.start();
  await world.cosign(C);
  const old = await world.backup(C);
  await world.grow(C, "lost");
  await world.cosign(C);
  for (const order of ["thaw first", "head first"]) {
    const { witness } = await world.restore(C, old);
    const asked = witness.ask(world.governance);
    const { answer } = await world.vault(A).witness.cosignHead(asked.question, world.governance);
    const thawing = () => witness.thaw(world.governance);
    const hearing = () => witness.take(asked, { actorId: A, answer }, world.governance);
    await Promise.all(order === "thaw first" ? [thawing(), hearing()] : [hearing(), thawing()]);
    const { standing } = witness;
    await world.close(C);
    const opened = await world.open(C);
    expect(opened.witness.standing).toBe(standing === "frozen" ? "frozen" : "unconfirmed");
    expect(await consumedMax(C)).toMatchObject(WRITTEN_OFF);
    if (standing !== "frozen") expect(await world.confirm(C)).not.toBe("frozen");
  }
});

test("[PB-5] what governance gave back before a write-off is given to nobody after it, who knew of it or not", async () => {
  await thawedWhileDown();
  const given: readonly Replenishment[] = [
    {
      ...{ usageScope: "marketing", epochId: 1, epsilonMicro: 3 },
      decidedMs: NETWORK_TIME_MS,
    },
    {
      ...{ usageScope: "marketing", epochId: 2, epsilonMicro: 5_000_000 },
      decidedMs: NETWORK_TIME_MS + 1,
    },
  ];
  const governed = async (count: number): Promise<GovernanceState> => {
    const replenishments = given.slice(0, count);
    const head = { size: count, root: new Uint8Array(32).fill(count) };
    const previous = await world.vault(A).governanceHead();
    await world.vault(A).recordGovernanceHead({ head, previous, replenishments });
    return { ...world.governance, sequence: count, replenishments };
  };
  // A coordinator that kept the first one back until the write-off was done gains nothing by it.
  await governed(1);
  expect(await consumedMax(A)).toMatchObject(WRITTEN_OFF);
  await governed(2);
  expect(await consumedMax(A)).toMatchObject({ marketing: WRITTEN_OFF.marketing - 5_000_000 });
});
