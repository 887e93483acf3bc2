import { beforeEach, expect, test } from "vitest";

import {
  RoundBoard,
  type BoardTransport,
  type RoundBody,
} from "../../../host/execution/round-board.ts";
import {
  ROUND_MESSAGE,
  genesisState,
  sha256,
  utf8,
  type GovernanceState,
  type RoundMessage,
} from "../../../protocol/index.ts";
import {
  NETWORK_TIME_MS,
  createNetwork,
  testActor,
  type TestActor,
  type TestNetwork,
} from "../../helpers/network.ts";

const ENVELOPE = sha256(utf8("envelope"));
const READY: RoundBody = { kind: "aggregator_ready", manifest: utf8("manifest") };

let network: TestNetwork;
let governance: GovernanceState;
let messages: { readonly position: number; readonly message: Uint8Array }[];
let closed: boolean;
let clock: { nowMs: number };
let board: RoundBoard;

/** A coordinator's board in memory, which anybody can put anything on; each read takes a second. */
const transport: BoardTransport = {
  post: async (message) => {
    messages.push({ position: messages.length + 1, message });
    return Promise.resolve();
  },
  read: async (after) => {
    clock.nowMs += 1_000;
    const fresh = messages.filter(({ position }) => position > after);
    return Promise.resolve({ messages: fresh, closed });
  },
};

beforeEach(async () => {
  network = await createNetwork();
  governance = genesisState(network.genesisBytes);
  messages = [];
  closed = false;
  clock = { nowMs: NETWORK_TIME_MS };
  board = boardOf(vault(0));
});

function vault(index: number): TestActor {
  const actor = network.vaults[index];
  if (actor === undefined) throw new Error("no such Vault");
  return actor;
}

function boardOf(actor: TestActor): RoundBoard {
  return new RoundBoard({
    transport,
    self: { actorId: actor.actorId, key: actor.signing },
    newest: () => governance,
    round: { envelopeDigest: ENVELOPE, round: 1, attempt: 0, epochId: 0 },
    nowMs: () => clock.nowMs,
  });
}

function put(changes: Partial<RoundMessage>, signer: TestActor = network.aggregator): void {
  const message: RoundMessage = {
    ...{ envelope_digest: ENVELOPE, round: 1, attempt: 0 },
    ...{ sender: network.aggregator.actorId, body: READY },
    ...changes,
  };
  const signed = ROUND_MESSAGE.sign(message, signer.signing);
  messages.push({ position: messages.length + 1, message: signed });
}

function awaitReady(deadlineMs = clock.nowMs + 3_000) {
  return board.waitFor({ kind: "aggregator_ready", sender: "aggregator", deadlineMs });
}

const TIMED_OUT = { code: "EXECUTION_TIMED_OUT" };

test("what an actor of the network posts, the others read as it was signed", async () => {
  await boardOf(network.aggregator).post(READY);
  expect(await awaitReady()).toEqual(READY);
  expect(board.all("aggregator_ready")).toEqual([{ sender: "aggregator", body: READY }]);
});

interface PassedOver {
  readonly title: string;
  readonly place: () => void | Promise<void>;
}

test.for<PassedOver>([
  { title: "signed by another actor", place: () => put({}, vault(1)) },
  { title: "of another round", place: () => put({ round: 0 }) },
  { title: "of another attempt", place: () => put({ attempt: 1 }) },
  { title: "for another envelope", place: () => put({ envelope_digest: sha256(utf8("other")) }) },
  { title: "in the name of another", place: () => put({ sender: vault(2).actorId }) },
  {
    title: "of a stranger",
    place: async () => put({ sender: "stranger" }, await testActor("stranger", "aggregator")),
  },
  {
    title: "that is no message",
    place: () => void messages.push({ position: 1, message: utf8("x") }),
  },
])("[MV-2] passes over a message $title", async ({ place }) => {
  await place();
  await expect(awaitReady()).rejects.toMatchObject(TIMED_OUT);
  expect(board.all("aggregator_ready")).toEqual([]);
});

test("a message after a hundred forged ones is found", async () => {
  for (let count = 0; count < 100; count += 1) put({}, vault(1));
  put({});
  expect(await awaitReady()).toEqual(READY);
});

test("a suspended actor's messages are passed over", async () => {
  const actors = new Map(governance.actors);
  const aggregator = actors.get("aggregator");
  if (aggregator === undefined) throw new Error("no aggregator");
  governance = {
    ...governance,
    actors: actors.set("aggregator", { ...aggregator, status: "suspended" }),
  };
  board = boardOf(vault(0));
  put({});
  await expect(awaitReady()).rejects.toMatchObject(TIMED_OUT);
});

test("waits no longer than the deadline, the end of the round, or the sender's own failure", async () => {
  const startedMs = clock.nowMs;
  await expect(awaitReady()).rejects.toMatchObject(TIMED_OUT);
  expect(clock.nowMs - startedMs).toBe(3_000);
  put({ body: { kind: "failed", code: "TEE_ENCLAVE_DIED", executing: false } }, vault(1));
  put({ body: { kind: "failed", code: "TEE_ENCLAVE_DIED", executing: false } });
  const failedMs = clock.nowMs;
  await expect(awaitReady(failedMs + 60_000)).rejects.toMatchObject(TIMED_OUT);
  expect(clock.nowMs - failedMs).toBe(1_000);
  closed = true;
  board = boardOf(vault(0));
  messages = [];
  await expect(awaitReady(clock.nowMs + 60_000)).rejects.toMatchObject(TIMED_OUT);
});

test("tells a message to this Vault from one to another", async () => {
  const secret = (vault_id: string): RoundBody => ({
    ...{ kind: "round_secret", vault_id, sealed: utf8(vault_id) },
  });
  put({ body: secret("vault-2") });
  put({ body: secret("vault-1") });
  const found = await board.waitFor({
    kind: "round_secret",
    sender: "aggregator",
    matches: (body) => body.vault_id === "vault-1",
    deadlineMs: clock.nowMs + 3_000,
  });
  expect(found.sealed).toEqual(utf8("vault-1"));
});

/** Governance after the aggregator's key has become `next`; the one before counts for tasks up to `untilEpoch`. */
function rotatedTo(next: TestActor, untilEpoch: number): GovernanceState {
  const aggregator = governance.actors.get("aggregator");
  if (aggregator === undefined) throw new Error("no aggregator");
  const { publicKey: signing_key } = next.signing;
  const present = { signingKey: signing_key, boxKey: null, fromEpoch: 0, untilEpoch: null };
  const keys = [...aggregator.keys.map((key) => ({ ...key, untilEpoch })), present];
  const actors = new Map(governance.actors).set("aggregator", { ...aggregator, signing_key, keys });
  return { ...governance, actors };
}

test("[GS-3] messages that an actor signed before and after it changed its key in a round both count", async () => {
  const next = await testActor("aggregator-next", "aggregator");
  put({});
  put({ body: { kind: "failed", code: "TEE_ENCLAVE_DIED", executing: false } }, next);
  await board.poll(clock.nowMs + 1_000);
  expect(board.all("failed"), "before the change is known").toEqual([]);
  governance = rotatedTo(next, 0);
  await board.poll(clock.nowMs + 1_000);
  expect(board.all("failed")).toHaveLength(1);
  expect(board.all("aggregator_ready")).toHaveLength(1);
  board = boardOf(vault(0));
  await board.poll(clock.nowMs + 1_000);
  expect(board.all("aggregator_ready"), "read after the change").toHaveLength(1);
});

test("[GS-3] what a key signed that never counted is passed over, also in a round it began before", async () => {
  put({});
  governance = rotatedTo(await testActor("aggregator-next", "aggregator"), -1);
  await expect(awaitReady()).rejects.toMatchObject(TIMED_OUT);
});
