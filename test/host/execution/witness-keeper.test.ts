import { afterEach, beforeEach, expect, test } from "vitest";

import {
  WITNESS_ANSWER,
  WITNESS_QUESTION,
  parseCheckpoint,
  parseCose,
  signCheckpoint,
} from "../../../protocol/index.ts";
import { startNodeRig, type NodeRig } from "../../helpers/vault-node-rig.ts";
import { testSeed } from "../../helpers/network.ts";
import { newFixture, stocked } from "../sovereignty/vault-fixture.ts";

const SOLE = ["vault-1"];

let rig: NodeRig;

beforeEach(async () => {
  const fixture = await newFixture({
    policy: (policy) => ({
      ...policy,
      classes: { ...policy.classes, query: { ...policy.classes.query, multi_vault: false } },
    }),
  });
  await stocked(fixture);
  rig = startNodeRig(fixture);
});

afterEach(() => rig.stop());

/** Runs a slice of this Vault alone; what it told the round, and how often the key service was asked. */
async function runSlice() {
  let released = 0;
  rig.hooks.releasing = () => void (released += 1);
  const envelope = await rig.admit(SOLE);
  await rig.perform(await rig.sliceOf(envelope));
  return {
    kinds: rig.posted.map(({ kind }) => kind),
    failed: rig.posted.find(({ kind }) => kind === "failed"),
    released: released,
  };
}

/** The head that a question is about. */
function headOf(question: Uint8Array) {
  return parseCheckpoint(WITNESS_QUESTION.decode(parseCose(question).payload).checkpoint);
}

test("[PB-2] nothing is released before another Vault has cosigned the head with the charge", async () => {
  const { vault } = rig.fixture;
  const seen: string[] = [];
  rig.hooks.releasing = () => void seen.push("key");
  rig.hooks.asked = ({ method }) => void seen.push(method);
  rig.hooks.posted = ({ kind }) => void seen.push(kind);
  rig.hooks.ordered = () => void seen.push(`charged ${vault.log.size}`);
  rig.hooks.witnessed = ({ question, answers }) => {
    seen.push(`asked ${headOf(question).size}`);
    return answers;
  };
  await rig.perform(await rig.sliceOf(await rig.admit(SOLE)));
  const charged = seen.findIndex((line) => line.startsWith("charged"));
  const size = Number(seen[charged]?.split(" ")[1]);
  expect(seen.slice(charged)).toEqual([
    `charged ${size}`,
    `asked ${size}`,
    "key",
    "key",
    "run",
    "slice_result",
  ]);
  expect(vault.witness.cosigned?.size).toBe(size);
});

test("[PB-4] a slice without cosignatures in time releases nothing, and its estimate stays charged", async () => {
  const { vault, clock } = rig.fixture;
  rig.hooks.witnessed = () => {
    clock.nowMs += 1_000;
    return [];
  };
  const { failed, released, kinds } = await runSlice();
  expect(failed).toMatchObject({ code: "PRIVACY_BUDGET_UNWITNESSED", executing: true });
  expect({ released, kinds }).toEqual({ released: 0, kinds: ["slice_attested", "failed"] });
  expect(rig.requests).toEqual(["boot", "attest"]);
  expect(rig.enclavesAlive()).toBe(0);
  expect((await vault.status()).reservations).toEqual({ reserved: 0, executing: 1 });
});

test.for([
  { title: "its own checkpoint back", lie: (note: string) => note },
  {
    title: "a line that nobody signed",
    lie: (note: string) => `${note}\u2014 vault-2 AAAAAAAAAA==\n`,
  },
])("[PB-2] a coordinator that carries $title has cosigned nothing", async ({ lie }) => {
  const { clock } = rig.fixture;
  rig.hooks.witnessed = ({ question, answers }) => {
    clock.nowMs += 1_000;
    const { checkpoint } = WITNESS_QUESTION.decode(parseCose(question).payload);
    const answer = WITNESS_ANSWER.encode({ result: "cosigned", checkpoint: lie(checkpoint) });
    return answers.map(({ actorId }) => ({ actorId, answer }));
  };
  const { failed, released } = await runSlice();
  expect(failed).toMatchObject({ code: "PRIVACY_BUDGET_UNWITNESSED" });
  expect(released).toBe(0);
});

test("[PB-2] a Vault that is shown a newer head of its own stops in the middle of a slice, for good", async () => {
  const { vault, actor } = rig.fixture;
  rig.hooks.witnessed = ({ question, answers }) => {
    const { origin, size } = headOf(question);
    const checkpoint = signCheckpoint({
      ...{ origin, size: size + 7, root: testSeed("what it forgot") },
      ...{ signerName: actor.actorId, key: actor.signing },
    });
    const answer = WITNESS_ANSWER.encode({ result: "held", checkpoint, restarts: [] });
    return answers.map(({ actorId }) => ({ actorId, answer }));
  };
  const { failed, released } = await runSlice();
  expect(failed).toMatchObject({ code: "PRIVACY_BUDGET_FROZEN", executing: true });
  expect(released).toBe(0);
  expect((await vault.status()).witness).toMatchObject({
    standing: "frozen",
    frozen: { reason: "behind" },
  });
  rig.hooks.witnessed = ({ answers }) => answers;
  const reopened = await rig.fixture.reopen();
  expect(reopened.witness.standing).toBe("frozen");
});

test("[PB-2] charges made while a question is under way share the next one", async () => {
  const { vault } = rig.fixture;
  const sizes: number[] = [];
  rig.hooks.witnessed = ({ question, answers }) => {
    sizes.push(headOf(question).size);
    return answers;
  };
  const envelopes = [];
  for (let task = 0; task < 2; task += 1) envelopes.push(await rig.admit(SOLE));
  await Promise.all(envelopes.map(async (envelope) => rig.perform(await rig.sliceOf(envelope))));
  expect(rig.posted.filter(({ kind }) => kind === "slice_result")).toHaveLength(2);
  expect(sizes.length).toBeLessThanOrEqual(2);
  expect(vault.witness.cosigned?.size).toBe(Math.max(...sizes));
});
