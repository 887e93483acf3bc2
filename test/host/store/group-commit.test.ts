import { afterEach, expect, test } from "vitest";

import { WAITING_WRITES_MAX } from "../../../host/store/group-commit.ts";
import {
  afterWrite,
  openStore,
  type Migration,
  type Store,
  type StorePlace,
  type Transaction,
} from "../../../host/store/index.ts";
import { describePlaces } from "../../helpers/store-places.ts";

interface Schema {
  item: { id: number };
  /** Its `item_id` must be in `item`, which is looked at by COMMIT and not before. */
  note: { item_id: number };
}

const MIGRATIONS: readonly Migration[] = [
  {
    version: 1,
    statements: ({ integer }) => [
      `create table item (id ${integer} primary key)`,
      `create table note (
         item_id ${integer} references item (id) deferrable initially deferred)`,
    ],
  },
];

describePlaces((places) => {
  let place: StorePlace;
  let store: Store<Schema>;
  let told: string[] = [];

  afterEach(() => store.close());

  async function open(): Promise<void> {
    place = places.newPlace();
    store = await openStore<Schema>({ at: place, migrations: MIGRATIONS });
    told = [];
  }

  /** A write of one item that says what it is told, twice over. */
  function insert(id: number, then: () => Promise<void> = () => Promise.resolve()): Promise<void> {
    return store.write(async (trx) => {
      tell(trx, `${id}a`);
      await trx.insertInto("item").values({ id }).execute();
      tell(trx, `${id}b`);
      await then();
    });
  }

  function tell(trx: Transaction<Schema>, name: string): void {
    afterWrite(trx, (committed) => void told.push(`${name} ${committed}`));
  }

  function refuse(): Promise<never> {
    return Promise.reject(new Error("no"));
  }

  async function ids(): Promise<number[]> {
    const rows = await store.db.selectFrom("item").select("id").orderBy("id").execute();
    return rows.map(({ id }) => id);
  }

  test("a hundred writes at once take a few commits, in the order asked for", async () => {
    await open();
    await insert(0);
    const before = await places.commitsOf(place);
    const writes = Array.from({ length: 100 }, (_, index) => insert(index + 1));
    await Promise.all(writes);
    expect((await places.commitsOf(place)) - before).toBe(1);
    expect(await ids()).toEqual(Array.from({ length: 101 }, (_, id) => id));
    const names = Array.from({ length: 101 }, (_, id) => [`${id}a true`, `${id}b true`]);
    expect(told).toEqual(names.flat());
  });

  test("a write that comes while others run joins them", async () => {
    await open();
    await insert(0);
    const before = await places.commitsOf(place);
    const gate = Promise.withResolvers<void>();
    const first = insert(1, () => gate.promise);
    const second = insert(2);
    gate.resolve();
    await Promise.all([first, second]);
    expect((await places.commitsOf(place)) - before).toBe(1);
  });

  test("[PB-2] a write that throws is undone alone, after those before it are told", async () => {
    await open();
    const [first, second, third] = [insert(1), insert(2, refuse), insert(3)];
    await expect(second).rejects.toThrow("no");
    await Promise.all([first, third]);
    expect(told.join()).toBe("1a true,1b true,2b false,2a false,3a true,3b true");
    expect(await ids()).toEqual([1, 3]);
  });

  test("what a failed write leaves in memory is undone before the next one runs", async () => {
    await open();
    const memory: number[] = [];
    const remember = (id: number, fails: boolean): Promise<number> =>
      store.write(async (trx) => {
        memory.push(id);
        afterWrite(trx, (committed) => {
          if (!committed) memory.splice(memory.indexOf(id));
        });
        await trx.insertInto("item").values({ id }).execute();
        if (fails) throw new Error("no");
        return memory.length;
      });
    const outcomes = await Promise.allSettled([
      remember(1, false),
      remember(2, true),
      remember(3, false),
      remember(4, true),
      remember(5, true),
    ]);
    expect(outcomes.map(({ status }) => status === "fulfilled")).toEqual([
      true,
      false,
      true,
      false,
      false,
    ]);
    expect(memory).toEqual([1, 3]);
    expect(await ids()).toEqual(memory);
  });

  test("when COMMIT fails every write of the group fails, the last one first", async () => {
    await open();
    const dangling = (): Promise<unknown> =>
      store.write((trx) => {
        tell(trx, "n");
        return trx.insertInto("note").values({ item_id: 99 }).execute();
      });
    const outcomes = await Promise.allSettled([insert(1), dangling(), insert(3)]);
    expect(outcomes.map(({ status }) => status)).toEqual(["rejected", "rejected", "rejected"]);
    expect(told.join()).toBe("3b false,3a false,n false,1b false,1a false");
    expect(await ids()).toEqual([]);
    await insert(4);
    expect(await ids()).toEqual([4]);
  });

  test("when COMMIT fails after a write has failed, that one is told first", async () => {
    await open();
    const dangling = store.write(async (trx) => {
      await trx.insertInto("note").values({ item_id: 99 }).execute();
      tell(trx, "n");
    });
    const outcomes = await Promise.allSettled([dangling, insert(2, refuse)]);
    expect(outcomes.map(({ status }) => status)).toEqual(["rejected", "rejected"]);
    expect(told.join()).toBe("2b false,2a false,n false");
  });

  test("a statement that fails fails its write, even when its failure is caught", async () => {
    await open();
    await insert(1);
    const deaf = store.write(async (trx) => {
      await trx.insertInto("item").values({ id: 2 }).execute();
      await trx
        .insertInto("item")
        .values({ id: 1 })
        .execute()
        .catch(() => undefined);
    });
    await expect(Promise.all([deaf, insert(3)])).rejects.toMatchObject({
      code: "INTERNAL_STORE_UNAVAILABLE",
    });
    await expect.poll(() => ids()).toEqual([1, 3]);
  });

  test("a transaction that outlives its write is refused", async () => {
    await open();
    let left: Transaction<Schema> | undefined;
    await store.write((trx) => {
      left = trx;
      return Promise.resolve();
    });
    const late = store.write(async () => {
      await left?.insertInto("item").values({ id: 1 }).execute();
    });
    await expect(late).rejects.toMatchObject({ code: "INTERNAL_UNEXPECTED" });
    expect(() => tell(requireSet(left), "late")).toThrow(
      expect.objectContaining({ code: "INTERNAL_UNEXPECTED" }),
    );
    expect(await ids()).toEqual([]);
  });

  function requireSet<T>(value: T | undefined): T {
    if (value === undefined) throw new Error("expected a value");
    return value;
  }

  test("a write inside a write is refused, one inside a write of another store is not", async () => {
    await open();
    const nested = store.write(() => insert(1));
    await expect(nested).rejects.toMatchObject({ code: "INTERNAL_UNEXPECTED" });
    const other = await openStore<Schema>({ at: places.newPlace(), migrations: MIGRATIONS });
    await other.write(() => insert(1));
    await other.close();
    expect(await ids()).toEqual([1]);
  });

  test("after a listener that throws, the store is closed to everyone", async () => {
    await open();
    const broken = store.write((trx) => {
      afterWrite(trx, () => {
        throw new Error("memory");
      });
      return Promise.resolve();
    });
    const behind = insert(2);
    const lost = { code: "INTERNAL_STORE_UNAVAILABLE" };
    await expect(broken).rejects.toThrow("memory");
    await behind.catch(() => undefined);
    await expect(insert(3)).rejects.toMatchObject(lost);
    await expect(ids()).rejects.toMatchObject(lost);
  });

  test("more writes than may wait are refused", async () => {
    await open();
    const gate = Promise.withResolvers<void>();
    const first = insert(0, () => gate.promise);
    const waiting = Array.from({ length: WAITING_WRITES_MAX }, () => store.write(idle));
    // The first write waits no longer once it runs.
    const last = store.write(idle);
    const outcomes = Promise.allSettled([...waiting, last]);
    gate.resolve();
    await first;
    const refused = (await outcomes).filter(({ status }) => status === "rejected");
    expect(refused).toHaveLength(2);
    expect(refused[0]).toMatchObject({ reason: { code: "INTERNAL_STORE_BUSY" } });
    await insert(1);
  });

  function idle(): Promise<void> {
    return Promise.resolve();
  }
});
