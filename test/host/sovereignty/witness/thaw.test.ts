import { afterEach, expect, test } from "vitest";

import {
  RESTART_STATEMENT,
  WITNESS_ANSWER,
  WITNESS_QUESTION,
  parseCose,
  type GovernanceState,
  type Replenishment,
  type WitnessQuestion,
} from "../../../../protocol/index.ts";
import { WitnessWorld } from "./witness-world.ts";

const [A, B, C] = ["vault-1", "vault-2", "vault-3"] as const;
/** Of the network's policy for marketing. */
const ALLOWANCE = 20_000_000;

let world: WitnessWorld;
let copy: string;

afterEach(async () => world.end());

/** Vault A put back from a copy that is `lost` cosigned events old, and frozen. */
async function frozenVault(lost = 2) {
  world = await WitnessWorld.start();
  await world.grow(A, "before");
  await world.cosign(A);
  copy = await world.backup(A);
  for (let event = 0; event < lost; event += 1) await world.grow(A, `lost-${event}`);
  expect(await world.cosign(A)).toBe("cosigned");
  await world.restore(A, copy);
  expect(await world.confirm(A)).toBe("frozen");
  return world.vault(A);
}

async function consumedMax(vaultId: string): Promise<(readonly [string, number])[]> {
  const { budgets } = await world.vault(vaultId).status();
  return budgets.map((budget) => [budget.usageScope, budget.consumedMaxMicro]);
}

test("[PB-5] a thawed Vault goes on with no budget left, and its witnesses follow the gap it declares", async () => {
  const vault = await frozenVault();
  const thawed = await vault.witness.thaw(world.governance);
  expect(thawed).toMatchObject({ generation: 1, log_size: vault.log.size });
  expect(vault.witness.standing).toBe("unconfirmed");
  expect(await world.confirm(A)).toBe("confirmed");
  expect(await world.cosign(A)).toBe("cosigned");
  expect(Object.fromEntries(await consumedMax(A))).toEqual({
    personal_use: 0,
    marketing: ALLOWANCE,
    analytics: ALLOWANCE,
    training: 2 * ALLOWANCE,
  });
  // Both witnesses hold the new head, and so it stays over a start.
  await world.close(A);
  await world.open(A);
  expect(await world.confirm(A)).toBe("confirmed");
  expect((await world.vault(A).witness.status()).restarts).toBe(1);
});

test("[PB-5] the copy put back a second time, or one of after the thaw, is frozen again", async () => {
  const vault = await frozenVault();
  await vault.witness.thaw(world.governance);
  await world.confirm(A);
  await world.grow(A, "after");
  await world.cosign(A);
  const later = await world.backup(A);
  await world.grow(A, "spent-after");
  await world.cosign(A);

  await world.restore(A, copy);
  expect(await world.confirm(A)).toBe("frozen");
  const before = await world.vault(A).witness.status();
  expect(before).toMatchObject({ frozen: { reason: "restarted" }, restarts: 1 });

  await world.restore(A, later);
  expect(await world.confirm(A)).toBe("frozen");
  expect((await world.vault(A).witness.status()).frozen).toMatchObject({ reason: "behind" });
});

test("[PB-5] a copy of before the thaw can be thawed too, as its next restart", async () => {
  const vault = await frozenVault();
  await vault.witness.thaw(world.governance);
  await world.confirm(A);
  await world.cosign(A);
  const again = await world.restore(A, copy);
  expect(await world.confirm(A)).toBe("frozen");
  expect(await again.witness.thaw(world.governance)).toMatchObject({ generation: 2 });
  expect(await world.confirm(A)).toBe("confirmed");
  expect(await world.cosign(A)).toBe("cosigned");
});

test("[PL-7] a Vault that is started again right after its thaw is thawed, and one that is not frozen cannot be", async () => {
  const vault = await frozenVault();
  await vault.witness.thaw(world.governance);
  await world.close(A);
  const opened = await world.open(A);
  expect(opened.witness.standing).toBe("unconfirmed");
  expect(await world.confirm(A)).toBe("confirmed");
  await expect(opened.witness.thaw(world.governance)).rejects.toMatchObject({
    code: "PRIVACY_BUDGET_STATE_CONFLICT",
  });
});

test("a thawed Vault vouches for nobody's head until it is asked to cosign it again", async () => {
  world = await WitnessWorld.start();
  await world.cosign(A);
  await world.cosign(B);
  copy = await world.backup(A);
  await world.grow(A, "lost");
  await world.grow(B, "newer");
  await world.cosign(A);
  await world.cosign(B);
  await world.restore(A, copy);
  await world.confirm(A);
  await world.vault(A).witness.thaw(world.governance);
  await world.confirm(A);
  await world.close(C);
  await world.open(C);
  // C hears of B alone; A may have forgotten what it cosigned for C.
  expect(await world.confirm(C)).toBe("unconfirmed");
  await world.close(B);
  await world.open(B);
  expect(await world.confirm(B)).toBe("unconfirmed");
});

test("[PB-5] what governance gave back before the thaw is written off with the rest, once for all", async () => {
  const vault = await frozenVault();
  const { governance } = world;
  const given: Replenishment = {
    ...{ usageScope: "marketing", epochId: 7, epsilonMicro: 5_000_000, decidedMs: 1 },
  };
  const later: GovernanceState = { ...governance, sequence: 1, replenishments: [given] };
  await vault.witness.thaw(later);
  expect(Object.fromEntries(await consumedMax(A))).toMatchObject({ marketing: ALLOWANCE });
});

/** A's question about its head after a thaw, as a lying operator would have it. */
async function thawedQuestion(
  change: (question: WitnessQuestion) => Partial<WitnessQuestion>,
): Promise<Uint8Array> {
  const vault = await frozenVault();
  await vault.witness.thaw(world.governance);
  await world.confirm(A);
  const asked = WITNESS_QUESTION.decode(
    parseCose(vault.witness.ask(world.governance).question).payload,
  );
  return WITNESS_QUESTION.sign({ ...asked, ...change(asked) }, ownKey());
}

function ownKey() {
  const { signing } = world.network.vaults[0] ?? world.network.coordinator;
  return signing;
}

/** The statement of the question, with changes, signed anew. */
function restated(
  question: WitnessQuestion,
  change: (size: number) => Partial<ReturnType<typeof RESTART_STATEMENT.decode>>,
): Partial<WitnessQuestion> {
  const [signed = new Uint8Array(0)] = question.restarts;
  const statement = RESTART_STATEMENT.decode(parseCose(signed).payload);
  const changed = { ...statement, ...change(statement.abandoned.size) };
  return { restarts: [RESTART_STATEMENT.sign(changed, ownKey())] };
}

test.for<{
  title: string;
  change: (question: WitnessQuestion) => Partial<WitnessQuestion>;
  answer: "held" | "forked" | "refused";
}>([
  { title: "nothing of it", change: () => ({ restarts: [] }), answer: "forked" },
  {
    title: "an older head than the one held",
    change: (question) =>
      restated(question, (size) => ({ abandoned: { size: size - 1, root: new Uint8Array(32) } })),
    answer: "held",
  },
  {
    title: "another head of the same size",
    change: (question) =>
      restated(question, (size) => ({ abandoned: { size, root: new Uint8Array(32) } })),
    answer: "held",
  },
  {
    title: "a second restart without the first",
    change: (question) => restated(question, () => ({ generation: 2 })),
    answer: "refused",
  },
  {
    title: "a beginning that its log does not have",
    change: (question) =>
      restated(question, () => ({ restarted: { size: 1, root: new Uint8Array(32) } })),
    answer: "refused",
  },
  {
    title: "another Vault's restart",
    change: (question) => restated(question, () => ({ vault_id: C })),
    answer: "refused",
  },
])("[PB-5] a witness follows no restart that declares $title", async ({ change, answer }) => {
  const question = await thawedQuestion(change);
  const told = world.vault(B).witness.cosignHead(question, world.governance);
  const result = await told.then(
    (cosigned) => WITNESS_ANSWER.decode(cosigned.answer).result,
    () => "refused",
  );
  expect(result).toBe(answer);
});

test("[PB-5] a restart that knew less of governance than the head it gives up is refused", async () => {
  world = await WitnessWorld.start();
  const later: GovernanceState = { ...world.governance, sequence: 3 };
  await world.grow(A, "before");
  const asked = world.vault(A).witness.ask(later);
  await world.vault(B).witness.cosignHead(asked.question, later);
  copy = await world.backup(A);
  await world.grow(A, "lost");
  await world.vault(B).witness.cosignHead(world.vault(A).witness.ask(later).question, later);
  await world.restore(A, copy);
  expect(await world.confirm(A)).toBe("frozen");
  const { witness } = world.vault(A);
  await witness.thaw(world.governance);
  await world.confirm(A);
  const { question } = witness.ask(world.governance);
  await expect(world.vault(B).witness.cosignHead(question, later)).rejects.toMatchObject({
    code: "PRIVACY_BUDGET_FROZEN",
  });
});
