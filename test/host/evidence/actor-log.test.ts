import { expect, test } from "vitest";

import {
  actorLogStatements,
  openActorLog,
  type ActorLog,
  type ActorLogSchema,
} from "../../../host/evidence/actor-log.ts";
import {
  openStore,
  type Migration,
  type Store,
  type StorePlace,
} from "../../../host/store/index.ts";
import {
  eventLeaf,
  parseEvent,
  signingKeyFromSeed,
  verifyCheckpoint,
  verifyConsistency,
  verifyEvent,
  verifyEventOrder,
  verifyInclusion,
} from "../../../protocol/index.ts";
import { describePlaces } from "../../helpers/store-places.ts";

interface Schema extends ActorLogSchema {
  thing: { id: number };
}

const KEY = signingKeyFromSeed(new Uint8Array(32).fill(7));
const MIGRATIONS: readonly Migration[] = [
  {
    version: 1,
    statements: (words) => [
      ...actorLogStatements(words),
      `create table thing (id ${words.integer})`,
    ],
  },
];
/** What someone who owns the database can always do. */
const DROP_TRIGGER = {
  sqlite: "drop trigger actor_log_no_delete",
  postgres: "drop trigger actor_log_append_only on actor_log",
} as const;

describePlaces((places) => {
  async function open(
    at: StorePlace = places.newPlace(),
  ): Promise<{ store: Store<Schema>; log: ActorLog; at: StorePlace }> {
    const store = await openStore<Schema>({ at, migrations: MIGRATIONS });
    try {
      const origin = "symphony.log/a";
      const log = await openActorLog({ store, actorId: "a", key: KEY, origin, nowMs: () => 5 });
      return { store, log, at };
    } catch (cause) {
      await store.close();
      throw cause;
    }
  }

  async function append(store: Store<Schema>, log: ActorLog, count: number, taskId: string | null) {
    for (let n = 0; n < count; n += 1) {
      await store.write((trx) => log.append(trx, { type: "thing.done", taskId, body: { n } }));
    }
  }

  test("[TL-6] every event carries its time, its actor and its place, signed", async () => {
    const { store, log } = await open();
    await append(store, log, 3, "t-1");
    await append(store, log, 1, "t-2");
    const entries = await log.entriesForTask("t-1");
    expect(entries.map((entry) => entry.sequence)).toEqual([0, 1, 2]);
    const event = verifyEvent(entries[2]?.event ?? new Uint8Array(0), KEY.publicKey);
    expect(event).toMatchObject({ actor_id: "a", time_ms: 5, task_id: "t-1", type: "thing.done" });
    expect(verifyEventOrder((await log.entries(0, 10)).map((entry) => entry.event))).toHaveLength(
      4,
    );
    await store.close();
  });

  test("proofs and checkpoints verify against the committed log", async () => {
    const { store, log } = await open();
    await append(store, log, 5, null);
    const entry = await log.entry(3);
    verifyInclusion({
      leafHash: eventLeaf(entry?.event ?? new Uint8Array(0)),
      index: 3,
      size: 5,
      proof: log.inclusionProof(3),
      root: log.root(),
    });
    verifyConsistency({
      oldSize: 2,
      newSize: 5,
      oldRoot: log.root(2),
      newRoot: log.root(),
      proof: log.consistencyProof(2),
    });
    const trust = { origin: "symphony.log/a", log: { name: "a", publicKey: KEY.publicKey } };
    const head = verifyCheckpoint(log.checkpoint(), { ...trust, witnesses: [], quorum: 0 });
    expect(head).toMatchObject({ size: 5, root: log.root() });
    expect(() => log.inclusionProof(3, 6)).toThrow(
      expect.objectContaining({ code: "SCHEMA_TOO_LARGE" }),
    );
    await store.close();
  });

  test("[DS-6] a rolled back transaction leaves no event, a committed one leaves it with its state", async () => {
    const { store, log } = await open();
    await append(store, log, 2, null);
    const root = log.root();
    const failed = store.write(async (trx) => {
      await trx.insertInto("thing").values({ id: 1 }).execute();
      const appended = await log.append(trx, { type: "thing.done", taskId: null, body: null });
      expect(appended).toMatchObject({ sequence: 2, size: 3 });
      expect(log.size).toBe(2);
      throw new Error("no");
    });
    await expect(failed).rejects.toThrow("no");
    expect(log.size).toBe(2);
    expect(log.root()).toEqual(root);
    await store.write(async (trx) => {
      await log.append(trx, { type: "thing.one", taskId: null, body: null });
      const second = await log.append(trx, { type: "thing.two", taskId: null, body: null });
      expect(second).toMatchObject({ sequence: 3, size: 4, root: expect.any(Uint8Array) });
    });
    const types = (await log.entries(2, 9)).map((entry) => parseEvent(entry.event).type);
    expect(types).toEqual(["thing.one", "thing.two"]);
    expect(await store.db.selectFrom("thing").selectAll().execute()).toEqual([]);
    await store.close();
  });

  test("[DS-6] writes that share a commit: what failed leaves no event, the others stay", async () => {
    const { store, log, at } = await open();
    const write = (n: number, fails: boolean): Promise<void> =>
      store.write(async (trx) => {
        await log.append(trx, { type: "thing.done", taskId: null, body: { n } });
        await log.append(trx, { type: "thing.done", taskId: null, body: { n } });
        if (fails) throw new Error("no");
      });
    const outcomes = await Promise.allSettled([
      write(0, false),
      write(1, false),
      write(2, true),
      write(3, false),
      write(4, true),
    ]);
    expect(outcomes.map(({ status }) => status)).toEqual([
      "fulfilled",
      "fulfilled",
      "rejected",
      "fulfilled",
      "rejected",
    ]);
    const root = log.root();
    expect(log.size).toBe(6);
    const bodies = (await log.entries(0, 9)).map((entry) => parseEvent(entry.event).body);
    expect(bodies).toEqual([0, 0, 1, 1, 3, 3].map((n) => ({ n })));
    await store.close();
    const again = await open(at);
    expect(again.log.root()).toEqual(root);
    await again.store.close();
  });

  test("reopening gives the same head, and an altered log is refused", async () => {
    const first = await open();
    await append(first.store, first.log, 4, null);
    const root = first.log.root();
    await first.store.close();
    const again = await open(first.at);
    expect(again.log.root()).toEqual(root);
    await again.store.close();
    const erase = "delete from actor_log where sequence = 1";
    await expect(async () => places.query(first.at, erase)).rejects.toThrow("append-only");
    await places.query(first.at, DROP_TRIGGER[first.at.kind]);
    await places.query(first.at, erase);
    await expect(open(first.at)).rejects.toMatchObject({ code: "PROOF_CONSISTENCY_INVALID" });
  });

  test("another key's log is refused", async () => {
    const first = await open();
    await append(first.store, first.log, 1, null);
    await first.store.close();
    const store = await openStore<Schema>({ at: first.at, migrations: MIGRATIONS });
    const key = signingKeyFromSeed(new Uint8Array(32).fill(8));
    const opened = openActorLog({ store, actorId: "a", key, origin: "o", nowMs: () => 0 });
    await expect(opened).rejects.toMatchObject({ code: "PROOF_SIGNATURE_INVALID" });
    await store.close();
  });
});
