// Settlement proofs that a coordinator makes up with its own key, and its calls about no task of this Vault's.
import { afterAll, beforeAll, expect, test } from "vitest";

import {
  GOVERNANCE_SNAPSHOT,
  SETTLEMENT_ENTRY,
  SETTLEMENT_PROOF,
  SETTLEMENT_ROOT,
  SymphonyError,
  WITNESS_QUESTION,
  actorLogOrigin,
  leafHash,
  merkleRoot,
  parseCose,
  signCheckpoint,
  signCose,
  type SigningKey,
  type WitnessQuestion,
} from "../../../../protocol/index.ts";
import { testSeed, type TestActor } from "../../../helpers/network.ts";
import { bytesForgeries, encodedForgeries, type Forgery } from "./forgeries.ts";
import { changedTables, storeState } from "./store-state.ts";
import { STATES, openWorld, type State, type Work, type World } from "./world.ts";

let world: World;

beforeAll(async () => {
  world = await openWorld();
});

afterAll(() => world.close());

/** A genuine proof taken apart. */
function partsOf(state: State) {
  const { settlement } = world.tasks[state].work.release;
  const proof = SETTLEMENT_PROOF.decode(settlement);
  const entry = SETTLEMENT_ENTRY.decode(proof.entry);
  const root = SETTLEMENT_ROOT.decode(parseCose(proof.root).payload);
  return { proof, entry, root };
}

function signedRoot(payload: Uint8Array, key?: SigningKey): Uint8Array {
  const { signing } = world.fixture.network.coordinator;
  return signCose({ contentType: SETTLEMENT_ROOT.name, payload, key: key ?? signing });
}

/** All that have the shape of the object, and some of those that do not: they are refused before anything is compared. */
function telling(
  object: { decode(bytes: Uint8Array): unknown },
  forgeries: readonly Forgery<Uint8Array>[],
): Forgery<Uint8Array>[] {
  return forgeries.filter(({ value }, index) => index % 5 === 0 || hasShape(object, value));
}

function hasShape(object: { decode(bytes: Uint8Array): unknown }, bytes: Uint8Array): boolean {
  try {
    object.decode(bytes);
    return true;
  } catch {
    return false;
  }
}

/** Proofs with one thing wrong in what the coordinator signs, and so signed by it: entries below a root of their own. */
function colludingProofs(state: State): Forgery<Uint8Array>[] {
  const { proof, entry, root } = partsOf(state);
  const entries = telling(SETTLEMENT_ENTRY, encodedForgeries(entry)).map(({ title, value }) => {
    const entries_root = merkleRoot([leafHash(value)]);
    const signed = signedRoot(SETTLEMENT_ROOT.encode({ ...root, entries_root }));
    return { title: `entry ${title}`, of: { ...proof, root: signed, entry: value } };
  });
  const roots = telling(SETTLEMENT_ROOT, encodedForgeries(root)).map(({ title, value }) => {
    return { title: `root ${title}`, of: { ...proof, root: signedRoot(value) } };
  });
  return [...entries, ...roots].flatMap(({ title, of }) => {
    const fits = of.entry.length <= 64 * 1024 && of.root.length <= 8 * 1024;
    return fits ? [{ title, value: SETTLEMENT_PROOF.encode(of) }] : [];
  });
}

/** Proofs that are broken, or that the coordinator did not sign. */
function strangeProofs(state: State): Forgery<Uint8Array>[] {
  const { proof, root } = partsOf(state);
  const { network } = world.fixture;
  const payload = SETTLEMENT_ROOT.encode(root);
  const others = [network.submitter, network.aggregator, ...network.vaults];
  return [
    ...encodedForgeries(proof),
    ...others.map(({ actorId, signing }) => ({
      title: `root by ${actorId}`,
      value: SETTLEMENT_PROOF.encode({ ...proof, root: signedRoot(payload, signing) }),
    })),
  ];
}

/** What the coordinator alone answers for: whatever it says there, the task is what this Vault settled. */
const ITS_OWN = new Set([
  "entry verified_governance_size one more",
  "entry verified_governance_size as large as can be",
  "entry consumption its first twice",
  "root epoch_id one more",
  "root epoch_id as large as can be",
  "root semantic_version in capitals",
  "root previous_root bit at 0",
  "root previous_root bit at 16",
  "root previous_root bit at 31",
  "root reward_total_minor one more",
  "root reward_total_minor as large as can be",
  "root penalty_total_minor one more",
  "root penalty_total_minor as large as can be",
  "root governance_size one more",
  "root governance_size as large as can be",
  "root finalized_ms one more",
]);

const FORGED =
  /^(SETTLEMENT_INVALID|PROOF_[A-Z_]+|SCHEMA_[A-Z_]+|VERSION_[A-Z_]+|GOVERNANCE_GENESIS_MISMATCH)$/;

/** What the Vault says to a release on this proof: a code, or `released`. */
async function release(state: State, settlementProof: Uint8Array): Promise<string> {
  const { envelope, work } = world.tasks[state];
  const { bundle: signedBundle, sealed_share: sealedShare } = work.release;
  const { vault, governance } = world.fixture;
  const args = { envelope, settlementProof, signedBundle, sealedShare, governance };
  return await vault.releaseShare(args).then(
    () => "released",
    (error: unknown) => (error instanceof SymphonyError ? error.code : String(error)),
  );
}

/** What the node answers to each piece of work: a code, or `answered`. */
async function outcomeOf(work: Work): Promise<string> {
  const { answer, code } = await world.rig.perform(work);
  return answer === null ? (code ?? "nothing") : "answered";
}

/** Does `work`, which changes nothing in the Vault's store. */
async function unchanged(work: () => Promise<void>): Promise<void> {
  const { directory } = world.fixture;
  const before = storeState(directory);
  await work();
  expect(changedTables(before, storeState(directory))).toEqual([]);
}

test("[RD-2] [PL-2] no field of a settlement is forged to any effect, also with the coordinator's own signature", async () => {
  await unchanged(async () => {
    const passed: string[] = [];
    for (const { title, value } of [...colludingProofs("settled"), ...strangeProofs("settled")]) {
      const code = await release("settled", value);
      // Genuine, it would wait for the window to pass.
      if (code === "SETTLEMENT_NOT_FINAL") passed.push(title);
      else expect({ title, code }).toEqual({ title, code: expect.stringMatching(FORGED) });
    }
    expect(passed.toSorted()).toEqual([...ITS_OWN].toSorted());
  });
});

test("[RD-2] a share that could leave, or has left, does not on a forged settlement", async () => {
  await unchanged(async () => {
    for (const state of ["final", "released"] as const) {
      const forged = colludingProofs(state).filter(({ title }) => !ITS_OWN.has(title));
      for (const { title, value } of forged.filter((_, index) => index % 4 === 0)) {
        const told = { state, title, code: await release(state, value) };
        expect(told).toEqual({ state, title, code: expect.stringMatching(FORGED) });
      }
    }
  });
});

/** A question of `actor` about its own log, as it would sign it. */
function questionOf(actor: TestActor, changes: Partial<WitnessQuestion> = {}): Uint8Array {
  const { network, governance } = world.fixture;
  const origin = actorLogOrigin(network.genesis.network, actor.actorId);
  const checkpoint = signCheckpoint({
    ...{ origin, size: 5, root: testSeed("a log") },
    ...{ signerName: actor.actorId, key: actor.signing },
  });
  const question = {
    version: 1 as const,
    ...{ genesis_digest: governance.genesisDigest, vault_id: actor.actorId, checkpoint },
    ...{ governance_size: 0, proofs: [], restarts: [], heard: [], ...changes },
  };
  return WITNESS_QUESTION.sign(question, actor.signing);
}

function otherVault(): TestActor {
  const [, other] = world.fixture.network.vaults;
  if (other === undefined) throw new Error("expected a second Vault");
  return other;
}

test("[AZ-2] the head of nobody's log but another Vault's is cosigned, whoever signs", async () => {
  const { network } = world.fixture;
  const { coordinator, submitter, aggregator } = network;
  await unchanged(async () => {
    for (const actor of [coordinator, submitter, aggregator, world.fixture.actor]) {
      const code = await outcomeOf({ kind: "witness", question: questionOf(actor) });
      expect([actor.actorId, code]).toEqual([actor.actorId, "AUTH_ROLE_REFUSED"]);
    }
  });
});

/** What is asked of a Vault about no task of its own, as the coordinator may forge it. */
function forgedQuestions(): Forgery<Work>[] {
  const { coordinator } = world.fixture.network;
  const genuine = questionOf(otherVault());
  const contentType = WITNESS_QUESTION.name;
  const claimed = WITNESS_QUESTION.decode(parseCose(genuine).payload);
  return [
    ...bytesForgeries(genuine),
    ...encodedForgeries(claimed).map(({ title, value: payload }) => ({
      title,
      value: signCose({ contentType, payload, key: coordinator.signing }),
    })),
  ].flatMap(({ title, value }) =>
    value.length > 192 * 1024
      ? []
      : [{ title: `witness ${title}`, value: { kind: "witness", question: value } }],
  );
}

function forgedGovernance(): Forgery<Work>[] {
  const { governance } = world.tasks.final.work.release;
  return [
    ...bytesForgeries(governance),
    ...encodedForgeries(GOVERNANCE_SNAPSHOT.decode(governance)),
  ].map(({ title, value }) => ({
    title: `cosign ${title}`,
    value: { kind: "cosign", governance: value },
  }));
}

function forgedAggregations(state: State): Forgery<Work>[] {
  const { envelope, governance } = world.tasks[state].work.slice;
  const { bundle, sealed_share: ciphertext } = world.tasks.final.work.release;
  const genuine = {
    ...{ kind: "aggregate" as const, envelope, governance, round: 0, attempt: 0 },
    ...{ previous: null, artifact: null },
  };
  return [
    { title: "as it stands", value: genuine },
    {
      title: "of a later round",
      value: { ...genuine, round: 1, previous: { bundle, ciphertext } },
    },
    { title: "of another attempt", value: { ...genuine, attempt: 1 } },
    { title: "with a model", value: { ...genuine, artifact: new Uint8Array(9) } },
    ...bytesForgeries(envelope).map(({ title, value }) => ({
      title: `envelope ${title}`,
      value: { ...genuine, envelope: value },
    })),
    ...bytesForgeries(governance).map(({ title, value }) => ({
      title: `governance ${title}`,
      value: { ...genuine, governance: value },
    })),
  ];
}

test("[DS-7] [AZ-2] whatever state its tasks are in, a Vault aggregates nothing", async () => {
  await unchanged(async () => {
    for (const state of STATES) {
      for (const { title, value } of forgedAggregations(state)) {
        const told = { state, title, code: await outcomeOf(value) };
        expect(told).toEqual({ state, title, code: "COORDINATION_ROLE_REFUSED" });
      }
    }
  });
});

test("[DS-7] forged governance is not cosigned and a forged question of a witness not answered: no task changes", async () => {
  const code = expect.stringMatching(/^(SCHEMA|PROOF|GOVERNANCE|AUTH)_/);
  await unchanged(async () => {
    for (const { title, value } of [...forgedGovernance(), ...forgedQuestions()]) {
      expect({ title, code: await outcomeOf(value) }).toEqual({ title, code });
    }
  });
});
