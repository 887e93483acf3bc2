import * as fs from "node:fs";
import os from "node:os";
import path from "node:path";

import { afterAll, beforeAll, describe, expect, test } from "vitest";

import {
  importStore,
  openStore,
  snapshotStore,
  type Generated,
  type Migration,
  type Store,
} from "../../../host/store/index.ts";
import { postgresAbsent, startPostgres, type TestPostgres } from "../../helpers/postgres.ts";

interface Schema {
  item: { id: Generated<number>; text: string | null; bytes: Uint8Array };
}

const MIGRATIONS: readonly Migration[] = [
  {
    version: 1,
    statements: ({ position, text, blob, strict, appendOnly }) => [
      `create table item (id ${position}, text ${text}, bytes ${blob} not null) ${strict}`,
      ...appendOnly("item"),
    ],
  },
];
const CANARY = "canary-51b0-of-a-deleted-row";
const absent = postgresAbsent();

describe.skipIf(absent !== null)(absent ?? "a server", () => {
  let server: TestPostgres;
  let folder: string;
  let count = 0;

  beforeAll(async () => {
    server = await startPostgres();
    folder = fs.mkdtempSync(path.join(os.tmpdir(), "symphony-copy-"));
  });
  afterAll(async () => {
    await server.stop();
    fs.rmSync(folder, { recursive: true });
  });

  function newSchema() {
    return { kind: "postgres", url: server.url, schema: `c_${(count += 1)}` } as const;
  }

  function open(at: ReturnType<typeof newSchema>): Promise<Store<Schema>> {
    return openStore<Schema>({ at, migrations: MIGRATIONS });
  }

  async function filled(rows: number) {
    const at = newSchema();
    const store = await open(at);
    const values = Array.from({ length: rows }, (_, index) => ({
      text: index % 3 === 0 ? null : `row ${index} \u00e9`,
      bytes: new Uint8Array(index % 50).fill(index),
    }));
    await store.write((trx) => trx.insertInto("item").values(values).execute());
    return { at, store };
  }

  test("[PL-7] a server's store copied into a file and back is the same, and counts on", async () => {
    const { store } = await filled(1_500);
    const file = path.join(folder, "a.db");
    await snapshotStore({ store, file, migrations: MIGRATIONS });
    await store.write((trx) =>
      trx
        .insertInto("item")
        .values({ text: "later", bytes: new Uint8Array(1) })
        .execute(),
    );
    const at = newSchema();
    expect(await importStore({ file, at, migrations: MIGRATIONS })).toBe(true);
    expect(await importStore({ file, at, migrations: MIGRATIONS })).toBe(false);
    const back = await open(at);
    const items = (from: Store<Schema>) =>
      from.db.selectFrom("item").selectAll().where("id", "<=", 1_500).orderBy("id").execute();
    expect(await items(back)).toEqual(await items(store));
    const { id } = await back.write((trx) =>
      trx
        .insertInto("item")
        .values({ text: null, bytes: new Uint8Array(0) })
        .returning("id")
        .executeTakeFirstOrThrow(),
    );
    expect(id).toBe(1_501);
    await store.close();
    await back.close();
    expect(fs.readdirSync(folder).filter((name) => name.includes("partial"))).toEqual([]);
  });

  test("what was deleted is in no table's file after a purge", async () => {
    const at = newSchema();
    const store = await openStore<Schema>({
      at,
      migrations: [
        {
          version: 1,
          statements: ({ position, text, blob }) => [
            `create table item (id ${position}, text ${text}, bytes ${blob} not null)`,
          ],
        },
      ],
    });
    const bytes = new Uint8Array(0);
    await store.write((trx) => trx.insertInto("item").values({ text: CANARY, bytes }).execute());
    await server.query("checkpoint");
    expect(tableFilesWith(CANARY)).not.toEqual([]);
    await store.write((trx) => trx.deleteFrom("item").execute());
    await store.purge(["item"]);
    await server.query("checkpoint");
    expect(tableFilesWith(CANARY)).toEqual([]);
    await store.close();
  });

  function tableFilesWith(text: string): string[] {
    const base = path.join(/host=([^&]+)/.exec(server.url)?.[1] ?? "", "data", "base");
    return fs
      .readdirSync(base, { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile())
      .map((entry) => path.join(entry.parentPath, entry.name))
      .filter((file) => fs.readFileSync(file).includes(text));
  }
});
