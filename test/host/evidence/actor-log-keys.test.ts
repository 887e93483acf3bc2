import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from "vitest";

import {
  KEY_TAKEN,
  actorLogStatements,
  openActorLog,
  type ActorLog,
  type ActorLogSchema,
} from "../../../host/evidence/actor-log.ts";
import { openStore, type Store } from "../../../host/store/index.ts";
import {
  eventDigest,
  noPreviousEvent,
  parseEvent,
  signEvent,
  signingKeyFromSeed,
  type SigningKey,
} from "../../../protocol/index.ts";
import { testSeed } from "../../helpers/network.ts";
import { sqlitePlaces } from "../../helpers/store-places.ts";

const keyOf = (name: string): SigningKey => signingKeyFromSeed(testSeed(name));
const FIRST = keyOf("first");
const SECOND = keyOf("second");
const THIRD = keyOf("third");
const STRANGER = keyOf("stranger");
const REFUSED = expect.objectContaining({ code: "PROOF_SIGNATURE_INVALID" });

const places = sqlitePlaces();
let store: Store<ActorLogSchema>;

beforeAll(() => places.start());
afterAll(() => places.stop());
beforeEach(async () => {
  const migrations = [{ version: 1, statements: actorLogStatements }];
  store = await openStore<ActorLogSchema>({ at: places.newPlace(), migrations });
});
afterEach(async () => store.close());

function open(key: SigningKey, ...former: readonly SigningKey[]): Promise<ActorLog> {
  const formerKeys = former.map(({ publicKey }) => publicKey);
  return openActorLog({ store, actorId: "a", key, formerKeys, origin: "log/a", nowMs: () => 5 });
}

async function append(log: ActorLog, count: number): Promise<void> {
  for (let n = 0; n < count; n += 1) {
    await store.write((trx) => log.append(trx, { type: "done", taskId: null, body: { n } }));
  }
}

async function eventsOf(log: ActorLog): Promise<Uint8Array[]> {
  return (await log.entries(0, 100)).map(({ event }) => event);
}

/** What someone who can write to the store does: one more event at its end, signed with `key`. */
async function intrude(log: ActorLog, key: SigningKey): Promise<void> {
  const sequence = log.size;
  const last = (await eventsOf(log)).at(-1);
  const previous = last === undefined ? noPreviousEvent() : eventDigest(last);
  const place = { actor_id: "a", sequence, time_ms: 5, task_id: null, previous };
  const event = signEvent({ type: "forged", ...place, body: null }, key);
  await store.write((trx) =>
    trx
      .insertInto("actor_log")
      .values({ sequence, task_id: null, type: "forged", event })
      .execute(),
  );
}

test("[GS-3] a new key takes a log over with an event of its own, once, and goes on", async () => {
  await append(await open(FIRST), 3);
  const log = await open(SECOND, FIRST);
  expect(log.size).toBe(4);
  expect(parseEvent((await eventsOf(log))[3] ?? new Uint8Array(0))).toMatchObject({
    ...{ type: KEY_TAKEN, sequence: 3 },
    body: { previous_key: FIRST.publicKey, signing_key: SECOND.publicKey },
  });
  await append(log, 2);
  expect((await open(SECOND, FIRST)).size).toBe(6);
  const third = await open(THIRD, FIRST, SECOND);
  expect(third.size).toBe(7);
  expect((await open(THIRD, FIRST, SECOND)).root()).toEqual(third.root());
});

test("[GS-3] keys that never signed anything are passed over, and a new log is nobody's to take", async () => {
  expect((await open(SECOND, FIRST)).size).toBe(0);
  await append(await open(FIRST), 1);
  expect((await open(THIRD, FIRST, SECOND)).size).toBe(2);
});

test("[GS-3] a log is refused to a key that its actor did not name as the next, or has given up", async () => {
  await append(await open(FIRST), 2);
  await expect(open(SECOND)).rejects.toEqual(REFUSED);
  await expect(open(SECOND, STRANGER)).rejects.toEqual(REFUSED);
  await open(SECOND, FIRST);
  await expect(open(FIRST)).rejects.toEqual(REFUSED);
  await expect(open(FIRST, SECOND)).rejects.toEqual(REFUSED);
});

test("[GS-3] what a stolen key signs after it was given up is refused", async () => {
  await append(await open(FIRST), 2);
  await intrude(await open(SECOND, FIRST), FIRST);
  await expect(open(SECOND, FIRST)).rejects.toEqual(REFUSED);
  await expect(open(THIRD, FIRST, SECOND)).rejects.toEqual(REFUSED);
});

test("[GS-3] a key of nobody's is refused, at the end of a log and where another follows it", async () => {
  const log = await open(FIRST);
  await append(log, 2);
  await intrude(log, STRANGER);
  await expect(open(SECOND, FIRST)).rejects.toEqual(REFUSED);
  await intrude(await open(STRANGER), FIRST);
  await expect(open(SECOND, FIRST)).rejects.toEqual(REFUSED);
});

test("[GS-3] the new key alone does not rewrite what the old one signed", async () => {
  const pretended = { ...SECOND, keyId: FIRST.keyId };
  const empty = await open(SECOND);
  await intrude(empty, pretended);
  const entry = await empty.entry(0);
  const place = { actor_id: "a", sequence: 1, time_ms: 5, task_id: null };
  const previous = eventDigest(entry?.event ?? new Uint8Array(0));
  const event = signEvent({ type: "forged", ...place, previous, body: null }, SECOND);
  await store.write((trx) =>
    trx
      .insertInto("actor_log")
      .values({ sequence: 1, task_id: null, type: "forged", event })
      .execute(),
  );
  await expect(open(SECOND, FIRST)).rejects.toEqual(REFUSED);
});
