import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";

import {
  backupStore,
  openStore,
  type Migration,
  type Store,
  type StorePlace,
} from "../../../host/store/index.ts";
import { parsePostgresPlace } from "../../../host/store/postgres-place.ts";
import { postgresAbsent, startPostgres, type TestPostgres } from "../../helpers/postgres.ts";

interface Schema {
  item: { id: number };
}

const MIGRATIONS: readonly Migration[] = [
  {
    version: 1,
    statements: ({ integer }) => [`create table item (id ${integer} primary key)`],
  },
];
const UNAVAILABLE = { code: "INTERNAL_STORE_UNAVAILABLE" };
const absent = postgresAbsent();

describe.skipIf(absent !== null)(absent ?? "a server", () => {
  let server: TestPostgres;
  let place: StorePlace & { kind: "postgres" };
  let count = 0;
  const stores: Store<Schema>[] = [];

  beforeAll(async () => {
    server = await startPostgres();
  });
  afterAll(() => server.stop());
  afterEach(async () => {
    for (const store of stores.splice(0)) await store.close();
  });

  async function open(migrations = MIGRATIONS): Promise<Store<Schema>> {
    place = { kind: "postgres", url: server.url, schema: `s_${(count += 1)}` };
    return openAgain(migrations);
  }

  async function openAgain(migrations = MIGRATIONS): Promise<Store<Schema>> {
    const store = await openStore<Schema>({ at: place, migrations });
    stores.push(store);
    return store;
  }

  function insert(store: Store<Schema>, id: number): Promise<unknown> {
    return store.write((trx) => trx.insertInto("item").values({ id }).execute());
  }

  async function ids(store: Store<Schema>): Promise<number[]> {
    return (await store.db.selectFrom("item").selectAll().orderBy("id").execute()).map(
      ({ id }) => id,
    );
  }

  test("a session that is ended closes the store to everyone until it is opened again", async () => {
    const store = await open();
    await insert(store, 1);
    const running = store.write(async (trx) => {
      await trx.insertInto("item").values({ id: 2 }).execute();
      await server.query(
        "select pg_terminate_backend(pid) from pg_locks where locktype = 'advisory'",
      );
      await trx.insertInto("item").values({ id: 3 }).execute();
    });
    await expect(running).rejects.toMatchObject(UNAVAILABLE);
    await expect(insert(store, 4)).rejects.toMatchObject(UNAVAILABLE);
    await expect(ids(store)).rejects.toMatchObject(UNAVAILABLE);
    expect(await ids(await openAgain())).toEqual([1]);
  });

  test("an idle session that is ended closes the store, too: its lock is gone", async () => {
    const store = await open();
    await server.query(
      "select pg_terminate_backend(pid) from pg_locks where locktype = 'advisory'",
    );
    await expect
      .poll(() => ids(store).catch(({ code }) => code))
      .toBe("INTERNAL_STORE_UNAVAILABLE");
    const next = await openAgain();
    await expect(insert(store, 1)).rejects.toMatchObject(UNAVAILABLE);
    await insert(next, 2);
    expect(await ids(next)).toEqual([2]);
  });

  test("a server that crashes loses nothing that it has acknowledged", async () => {
    const store = await open();
    await Promise.all(Array.from({ length: 50 }, (_, id) => insert(store, id)));
    const running = store.write(async (trx) => {
      await trx.insertInto("item").values({ id: 99 }).execute();
      await server.crash();
    });
    await expect(running).rejects.toMatchObject(UNAVAILABLE);
    await expect(openAgain()).rejects.toMatchObject(UNAVAILABLE);
    await server.restart();
    expect(await ids(await openAgain())).toEqual(Array.from({ length: 50 }, (_, id) => id));
  });

  test("a table whose text does not sort by bytes is refused", async () => {
    const careless: readonly Migration[] = [
      { version: 1, statements: () => ["create table item (id bigint, name text)"] },
    ];
    await expect(open(careless)).rejects.toMatchObject({
      code: "INTERNAL_UNEXPECTED",
      details: { table: "item", column: "name" },
    });
  });

  test("what is append-only cannot be emptied either", async () => {
    const store = await open([
      ...MIGRATIONS,
      { version: 2, statements: ({ appendOnly }) => appendOnly("item") },
    ]);
    await insert(store, 1);
    const emptied = server.query("truncate item", place.schema);
    await expect(emptied).rejects.toThrow("item is append-only");
  });

  test("a server that does not flush is refused", async () => {
    await server.query("alter system set full_page_writes = off");
    await server.query("select pg_reload_conf()");
    try {
      await expect
        .poll(() => open().catch(({ details }) => details.reason))
        .toMatch(/without fsync/);
    } finally {
      await server.query("alter system reset full_page_writes");
      await server.query("select pg_reload_conf()");
    }
    await expect.poll(() => open().then(ids, () => undefined)).toEqual([]);
  });

  test("its backups are the server's", async () => {
    const store = await open();
    await expect(backupStore(store, "/nowhere/b.db")).rejects.toMatchObject(UNAVAILABLE);
  });
});

describe("a place", () => {
  const SECRET = "hunter2";

  test.for<{ title: string; url: string; schema?: string }>([
    { title: "no URL", url: "nothing" },
    { title: "another scheme", url: "https://u@h/d" },
    { title: "no host", url: "postgresql:///d?user=u" },
    { title: "no user", url: "postgresql://localhost/d" },
    { title: "no database", url: `postgresql://u:${SECRET}@localhost` },
    { title: "an unknown parameter", url: "postgresql://u@localhost/d?options=-c%20fsync=off" },
    { title: "another machine in the clear", url: `postgresql://u:${SECRET}@db.example/d` },
    { title: "a server nobody verifies", url: "postgresql://u@db.example/d?sslmode=require" },
    { title: "an absent root", url: "postgresql://u@h/d?sslmode=verify-full&sslrootcert=/absent" },
    { title: "a URL without end", url: `postgresql://u@localhost/${"d".repeat(2_048)}` },
    { title: "a schema that needs quotes", url: "postgresql://u@localhost/d", schema: 'a";--' },
    { title: "an empty schema", url: "postgresql://u@localhost/d", schema: "" },
  ])("refuses $title, and does not repeat it", ({ url, schema = "s" }) => {
    let refused: unknown;
    try {
      parsePostgresPlace({ kind: "postgres", url, schema });
    } catch (cause) {
      refused = cause;
    }
    expect(refused).toMatchObject({ code: "SCHEMA_CONFIG_MALFORMED" });
    expect(String(refused)).not.toContain(SECRET);
  });

  test("takes a socket, a loopback address and a verified server", () => {
    const at = (url: string) => parsePostgresPlace({ kind: "postgres", url, schema: "s" });
    expect(at("postgresql:///d?host=/run/pg&user=u")).toMatchObject({
      ...{ host: "/run/pg", user: "u", database: "d", ssl: false },
    });
    expect(at(`postgres://u:${SECRET}@[::1]:5433/d`)).toMatchObject({
      ...{ host: "::1", port: 5433, password: SECRET, ssl: false },
    });
    expect(at("postgres://u@db.example/d?sslmode=verify-full")).toMatchObject({ ssl: true });
  });
});
