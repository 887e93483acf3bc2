import { afterEach, beforeEach, expect, test } from "vitest";

import {
  HEAD_QUESTION,
  RESTART_STATEMENT,
  WITNESS_ANSWER,
  WITNESS_QUESTION,
  parseCheckpoint,
  actorLogOrigin,
  parseCose,
  sha256,
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

/** An answer that holds a head of the Vault which its store does not have. */
function newerHead(question: Uint8Array): Uint8Array {
  const { actor } = rig.fixture;
  const { origin, size } = headOf(question);
  const checkpoint = signCheckpoint({
    ...{ origin, size: size + 7, root: testSeed("what it forgot") },
    ...{ signerName: actor.actorId, key: actor.signing },
  });
  return WITNESS_ANSWER.encode({ result: "held", checkpoint, restarts: [] });
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
  const { vault } = rig.fixture;
  rig.hooks.witnessed = ({ question, answers }) =>
    answers.map(({ actorId }) => ({ actorId, answer: newerHead(question) }));
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

/** The restarts of others that the questions of a node name, one after the other. */
function heardIn(node: NodeRig, isCarried: () => boolean = () => true) {
  const waiting: ((heard: readonly Uint8Array[]) => void)[] = [];
  const seen: (readonly Uint8Array[])[] = [];
  node.hooks.witnessed = ({ about, question, answers }) => {
    if (!isCarried()) return [];
    if (about === "witness") {
      const { heard } = WITNESS_QUESTION.decode(parseCose(question).payload);
      seen.push(heard);
      waiting.shift()?.(heard);
    }
    return answers;
  };
  return {
    seen,
    next: () => new Promise<readonly Uint8Array[]>((resolve) => waiting.push(resolve)),
  };
}

/** Another Vault's question with its first restart. */
function restartedQuestion() {
  const { network } = rig.fixture;
  const [, other] = network.vaults;
  if (other === undefined) throw new Error("expected a second Vault");
  const { actorId: vault_id, signing } = other;
  const { genesisDigest: genesis_digest } = network;
  const head = { size: 3, root: testSeed("its log") };
  const restart = RESTART_STATEMENT.sign(
    {
      ...{ version: 1, genesis_digest, vault_id, generation: 1 },
      ...{ abandoned: head, restarted: head, governance_size: 0, at_ms: 1 },
    },
    signing,
  );
  const origin = actorLogOrigin(network.genesis.network, vault_id);
  const question = WITNESS_QUESTION.sign(
    {
      ...{ version: 1, genesis_digest, vault_id, governance_size: 0, proofs: [], heard: [] },
      checkpoint: signCheckpoint({ origin, ...head, signerName: vault_id, key: signing }),
      restarts: [restart],
    },
    signing,
  );
  return { question, digest: sha256(restart) };
}

test("[PB-5] who hears another Vault's start, or follows its restart, has its own head cosigned anew", async () => {
  const questions = heardIn(rig);
  const { network } = rig.fixture;
  const genesis_digest = network.genesisDigest;
  const nonce = testSeed("nonce");
  const question = HEAD_QUESTION.encode({
    ...{ version: 1, genesis_digest, vault_id: "vault-2", nonce },
  });
  const afterStart = questions.next();
  await rig.perform({ kind: "witnessed", question });
  expect(await afterStart).toEqual([]);
  const afterRestart = questions.next();
  const restarted = restartedQuestion();
  await rig.perform({ kind: "witness", question: restarted.question });
  expect(await afterRestart).toEqual([restarted.digest]);
});

test("[PB-5] who follows a restart before it is confirmed has its head cosigned once it is", async () => {
  await rig.stop();
  const { vault, governance } = rig.fixture;
  const asked = vault.witness.ask(governance);
  const answer = newerHead(asked.question);
  await vault.witness.take(asked, { actorId: "vault-2", answer }, governance);
  await vault.witness.thaw(governance);
  rig = startNodeRig(rig.fixture);
  let carried = false;
  const questions = heardIn(rig, () => carried);
  const restarted = restartedQuestion();
  const { code } = await rig.perform({ kind: "witness", question: restarted.question });
  expect({ code, standing: vault.witness.standing }).toEqual({
    ...{ code: null, standing: "unconfirmed" },
  });
  // The question that was under way does not name the restart; it has this Vault confirmed.
  carried = true;
  while ((await questions.next()).length === 0);
  expect(questions.seen.at(-1)).toEqual([restarted.digest]);
  expect(vault.witness.standing).toBe("confirmed");
});
