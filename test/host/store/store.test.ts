import { spawn } from "node:child_process";
import { once } from "node:events";
import path from "node:path";

import { sql } from "kysely";
import { afterEach, expect, test } from "vitest";

import {
  afterWrite,
  openStore,
  type Generated,
  type Migration,
  type Store,
  type StorePlace,
} from "../../../host/store/index.ts";
import { describePlaces } from "../../helpers/store-places.ts";

interface Schema {
  item: { id: Generated<number>; text: string | null; bytes: Uint8Array | null };
}

const MIGRATIONS: readonly Migration[] = [
  {
    version: 1,
    statements: ({ position, text }) => [`create table item (id ${position}, text ${text} unique)`],
  },
  { version: 2, statements: ({ blob }) => [`alter table item add column bytes ${blob}`] },
];
const ROOT = path.resolve(import.meta.dirname, "../../..");
const UNAVAILABLE = { code: "INTERNAL_STORE_UNAVAILABLE" };

describePlaces((places) => {
  const stores: Store<Schema>[] = [];

  async function open(
    at: StorePlace = places.newPlace(),
    migrations: readonly Migration[] = MIGRATIONS,
  ): Promise<Store<Schema>> {
    const store = await openStore<Schema>({ at, migrations });
    stores.push(store);
    return store;
  }

  afterEach(async () => {
    for (const store of stores.splice(0)) await store.close();
  });

  function insert(store: Store<Schema>, text: string): Promise<unknown> {
    return store.write((trx) => trx.insertInto("item").values({ text }).execute());
  }

  async function texts(store: Store<Schema>): Promise<(string | null)[]> {
    const rows = await store.db.selectFrom("item").select("text").orderBy("id").execute();
    return rows.map(({ text }) => text);
  }

  test("a closed store is asked nothing more, in words of ours", async () => {
    const store = await open();
    await store.close();
    await expect(texts(store)).rejects.toMatchObject(UNAVAILABLE);
    await expect(insert(store, "late")).rejects.toMatchObject({ code: "INTERNAL_UNEXPECTED" });
  });

  test("keeps what it is given, and gives bytes and integers back", async () => {
    const at = places.newPlace();
    const store = await open(at);
    const bytes = Uint8Array.of(0, 1, 0xff);
    const values = { id: Number.MAX_SAFE_INTEGER, text: "ä\\'\n🜁", bytes };
    await store.write((trx) => trx.insertInto("item").values(values).execute());
    const empty = { id: 1, text: "", bytes: new Uint8Array(0) };
    await store.write((trx) => trx.insertInto("item").values(empty).execute());
    await store.close();
    const again = await open(at);
    const rows = await again.db.selectFrom("item").selectAll().orderBy("id").execute();
    expect(rows).toEqual([empty, values]);
    for (const row of rows) expect(row.bytes?.constructor).toBe(Uint8Array);
    const { count } = await again.db
      .selectFrom("item")
      .select((one) => one.fn.countAll().as("count"))
      .executeTakeFirstOrThrow();
    expect(count).toBe(2);
  });

  test("an integer past the safe range is refused rather than changed", async () => {
    const at = places.newPlace();
    const store = await open(at);
    const id = Number.MAX_SAFE_INTEGER;
    await store.write((trx) => trx.insertInto("item").values({ id }).execute());
    const larger = store.db
      .selectFrom("item")
      .select((one) => one("id", "+", one.ref("id")).as("sum"))
      .execute();
    await expect(larger).rejects.toMatchObject({ code: expect.stringMatching(/RANGE|TOO_LARGE/) });
  });

  test("text sorts by its bytes, whatever language the database was made for", async () => {
    const store = await open();
    for (const text of ["b", "a", "B", "é", "~", "🜁", "￿"]) await insert(store, text);
    const rows = await store.db.selectFrom("item").select("text").orderBy("text").execute();
    expect(rows.map(({ text }) => text)).toEqual(["B", "a", "b", "~", "é", "￿", "🜁"]);
  });

  test("writes run one at a time, and readers see committed state only", async () => {
    const store = await open();
    const seen: string[] = [];
    const slow = store.write(async (trx) => {
      seen.push("first");
      await trx.insertInto("item").values({ text: "a" }).execute();
      await new Promise((resolve) => setImmediate(resolve));
      expect(await texts(store)).toEqual([]);
      seen.push("first ends");
    });
    const next = store.write(async () => {
      await Promise.resolve();
      seen.push("second");
    });
    await Promise.all([slow, next]);
    expect(seen).toEqual(["first", "first ends", "second"]);
    expect(await texts(store)).toEqual(["a"]);
  });

  test("a write that throws is rolled back, and its listeners are told", async () => {
    const store = await open();
    const told: boolean[] = [];
    const failed = store.write(async (trx) => {
      afterWrite(trx, (committed) => void told.push(committed));
      await trx.insertInto("item").values({ text: "a" }).execute();
      throw new Error("no");
    });
    await expect(failed).rejects.toThrow("no");
    await store.write((trx) => {
      afterWrite(trx, (committed) => void told.push(committed));
      return Promise.resolve();
    });
    expect(told).toEqual([false, true]);
    expect(await texts(store)).toEqual([]);
  });

  test("the reading side cannot write", async () => {
    const store = await open();
    const written = store.db.insertInto("item").values({ text: "a" }).execute();
    await expect(written).rejects.toMatchObject(UNAVAILABLE);
  });

  test("a broken constraint stays the error it is", async () => {
    const store = await open();
    await insert(store, "a");
    await expect(insert(store, "a")).rejects.toMatchObject({
      code: expect.stringMatching(/^(ERR_SQLITE_ERROR|23505)$/),
    });
  });

  test("rows can be streamed while the loop over them reads and others write", async () => {
    const store = await open();
    await store.write(async (trx) => {
      const values = Array.from({ length: 300 }, (_, n) => ({ text: `${n}` }));
      await trx.insertInto("item").values(values).execute();
    });
    const rows = store.db.selectFrom("item").select("text").orderBy("id");
    let seen = 0;
    for await (const { text } of rows.stream(7)) {
      expect(text).toBe(`${seen}`);
      if (seen === 0) {
        expect(await texts(store)).toHaveLength(300);
        for await (const first of rows.stream()) {
          expect(first.text).toBe("0");
          break;
        }
        await insert(store, "late");
      }
      seen += 1;
    }
    expect(seen).toBe(300);
    await store.write(async (trx) => {
      await trx.deleteFrom("item").where("text", "<", "2").execute();
      const left: (string | null)[] = [];
      for await (const { text } of trx.selectFrom("item").select("text").stream(50))
        left.push(text);
      await trx
        .insertInto("item")
        .values({ text: `${left.length}` })
        .execute();
    });
    expect(await texts(store)).toContain("189");
  });

  test("a store of a newer schema is refused", async () => {
    const at = places.newPlace();
    await (await open(at)).close();
    await expect(open(at, MIGRATIONS.slice(0, 1))).rejects.toMatchObject({
      code: "VERSION_STORE_NEWER",
      details: { expected: 1, actual: 2 },
    });
    await expect(open(at)).resolves.toBeDefined();
  });

  test("an older store is brought up to date and keeps its rows", async () => {
    const at = places.newPlace();
    const old = await open(at, MIGRATIONS.slice(0, 1));
    await insert(old, "a");
    await old.close();
    const store = await open(at);
    const rows = await store.db.selectFrom("item").selectAll().execute();
    expect(rows).toEqual([{ id: 1, text: "a", bytes: null }]);
  });

  test("a failing migration leaves the store at the version before", async () => {
    const at = places.newPlace();
    await (await open(at, MIGRATIONS.slice(0, 1))).close();
    const broken: readonly Migration[] = [
      ...MIGRATIONS,
      { version: 3, statements: () => ["create nonsense"] },
    ];
    await expect(open(at, broken)).rejects.toThrow();
    const columns = await places.query(at, "select * from item");
    expect(columns).toEqual([]);
    const store = await open(at, MIGRATIONS.slice(0, 1));
    await expect(store.db.selectFrom("item").select("bytes").execute()).rejects.toThrow(/bytes/);
  });

  test("migrations that leave a version out are refused", async () => {
    const gap = MIGRATIONS.slice(1);
    await expect(open(places.newPlace(), gap)).rejects.toMatchObject({
      code: "INTERNAL_UNEXPECTED",
    });
  });

  test("what is append-only refuses changes from whoever asks", async () => {
    const at = places.newPlace();
    const store = await open(at, [
      ...MIGRATIONS,
      { version: 3, statements: ({ appendOnly }) => appendOnly("item") },
    ]);
    await insert(store, "a");
    await store.close();
    for (const statement of ["update item set text = 'b'", "delete from item"]) {
      await expect(async () => places.query(at, statement)).rejects.toThrow("item is append-only");
    }
    expect(await places.query(at, "select text from item")).toEqual([{ text: "a" }]);
  });

  test.for<{ title: string; value: unknown }>([
    { title: "an object", value: {} },
    { title: "a fraction", value: 0.5 },
    { title: "an integer past the safe range", value: 2 ** 53 },
    { title: "a bigint", value: 1n },
    { title: "text with U+0000", value: "a\0b" },
  ])("refuses $title before the database sees it", async ({ value }) => {
    const store = await open();
    const inserted = store.write((trx) =>
      sql`insert into item (text) values (${value})`.execute(trx),
    );
    await expect(inserted).rejects.toMatchObject({ code: "SCHEMA_MALFORMED" });
  });

  test("close waits for the writes that were asked for, and later ones are refused", async () => {
    const at = places.newPlace();
    const store = await open(at);
    const write = insert(store, "a");
    await Promise.all([store.close(), write]);
    await expect(insert(store, "b")).rejects.toMatchObject({ code: "INTERNAL_UNEXPECTED" });
    expect(await places.query(at, "select text from item")).toEqual([{ text: "a" }]);
  });

  test("a second opening is refused and names the holder", async () => {
    const at = places.newPlace();
    const store = await open(at);
    await insert(store, "a");
    await expect(open(at)).rejects.toMatchObject({
      code: "INTERNAL_STORE_LOCKED",
      details: { pid: expect.any(Number) },
    });
    expect(await texts(store)).toEqual(["a"]);
    await store.close();
    await expect(open(at)).resolves.toBeDefined();
  });

  test("a second process is refused, and takes over when the holder is killed", async () => {
    const at = places.newPlace();
    const child = spawn(process.execPath, ["--input-type=module", "-e", holderOf(at)], {
      stdio: ["ignore", "pipe", "inherit"],
      cwd: ROOT,
    });
    await once(child.stdout, "data");
    await expect(open(at)).rejects.toMatchObject({ code: "INTERNAL_STORE_LOCKED" });
    child.kill("SIGKILL");
    await once(child, "exit");
    // A server sees a moment later that its client is gone.
    await expect.poll(() => open(at).then(texts, () => [])).toEqual(["kept"]);
  });
});

/** A program that keeps one row, has another in a write that does not end, and says so. */
function holderOf(at: StorePlace): string {
  return `
    const { openStore } = await import(${JSON.stringify(path.join(ROOT, "host/store/index.ts"))});
    const table = (words) =>
      \`create table item (id \${words.position}, text \${words.text} unique, bytes \${words.blob})\`;
    const migrations = [
      { version: 1, statements: (words) => [table(words)] },
      { version: 2, statements: () => [] },
    ];
    const store = await openStore({ at: ${JSON.stringify(at)}, migrations });
    await store.write((trx) => trx.insertInto("item").values({ text: "kept" }).execute());
    void store.write(async (trx) => {
      await trx.insertInto("item").values({ text: "lost" }).execute();
      process.stdout.write("ready");
      await new Promise(() => setInterval(() => {}, 1000));
    });`;
}
