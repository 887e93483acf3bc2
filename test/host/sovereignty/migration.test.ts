import * as fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { DatabaseSync, type SQLInputValue } from "node:sqlite";

import { expect, onTestFinished, test } from "vitest";

import { VAULT_MIGRATIONS, type VaultSchema } from "../../../host/sovereignty/schema.ts";
import { SQLITE_WORDS, openStore } from "../../../host/store/index.ts";

const ROWS = 5;

/** The statements of versions 1 and 2, in order, as they were released: a record, never edited. */
const RELEASED: readonly (readonly string[])[] = JSON.parse(
  fs.readFileSync(path.join(import.meta.dirname, "released-schema.json"), "utf8"),
);

test("[PL-7] what was released of a Vault's schema is what it was", () => {
  const plain = (statement: string): string =>
    statement.replaceAll(/\s+/g, " ").replaceAll("( ", "(").trim();
  for (const [index, released] of RELEASED.entries()) {
    const now = VAULT_MIGRATIONS[index]?.statements(SQLITE_WORDS).map(plain);
    expect(now).toEqual(released.map(plain));
  }
});

test.for([1, 2])(
  "[PL-7] a store of version %i comes to the present with every row it had, unchanged",
  async (version) => {
    const folder = fs.mkdtempSync(path.join(os.tmpdir(), "symphony-migration-"));
    onTestFinished(() => fs.rmSync(folder, { recursive: true }));
    const file = path.join(folder, "vault.db");
    const before = releasedStore(file, version);
    expect(before.size).toBeGreaterThan(10);
    const at = { kind: "sqlite", file } as const;
    const store = await openStore<VaultSchema>({ at, migrations: VAULT_MIGRATIONS });
    await store.close();
    const fresh = { kind: "sqlite", file: path.join(folder, "fresh.db") } as const;
    await (await openStore<VaultSchema>({ at: fresh, migrations: VAULT_MIGRATIONS })).close();
    expect(columnsIn(file)).toEqual(columnsIn(fresh.file));
    const database = new DatabaseSync(file);
    try {
      for (const [table, { columns, rows }] of before) {
        expect(rows).toHaveLength(ROWS);
        expect(rowsOf(database, table, columns)).toEqual(rows);
      }
      const present = { user_version: VAULT_MIGRATIONS.length };
      expect(database.prepare("pragma user_version").get()).toEqual(present);
      expect(database.prepare("pragma foreign_key_check").all()).toEqual([]);
    } finally {
      database.close();
    }
  },
);

/** Every column of every table, with its type. */
function columnsIn(file: string): unknown[] {
  const database = new DatabaseSync(file);
  try {
    return database
      .prepare(
        `select t.name as "table", c.name as "column", c.type from sqlite_schema as t
           join pragma_table_info(t.name) as c where t.type = 'table' order by 1, 2`,
      )
      .all();
  } finally {
    database.close();
  }
}

interface Content {
  readonly columns: readonly string[];
  readonly rows: unknown[];
}

/** Makes the store of an earlier program, with rows in each of its tables. */
function releasedStore(file: string, version: number): Map<string, Content> {
  const database = new DatabaseSync(file);
  try {
    for (const statements of RELEASED.slice(0, version)) {
      for (const statement of statements) database.exec(statement);
    }
    database.exec(`pragma user_version = ${version}`);
    const tables = database
      .prepare("select name from sqlite_schema where type = 'table' and name not like 'sqlite_%'")
      .all()
      .map(({ name }) => String(name));
    return new Map(tables.map((table) => [table, filled(database, table)]));
  } finally {
    database.close();
  }
}

function filled(database: DatabaseSync, table: string): Content {
  const columns = database.prepare(`select name, type from pragma_table_info('${table}')`).all();
  const names = columns.map(({ name }) => String(name));
  const marks = names.map(() => "?").join();
  const insert = database.prepare(`insert into ${table} (${names.join()}) values (${marks})`);
  for (let row = 1; row <= ROWS; row += 1) {
    insert.run(...columns.map(({ type }) => valueOf(String(type), row)));
  }
  return { columns: names, rows: rowsOf(database, table, names) };
}

/** The same in every table, so that what refers to another row finds one. */
function valueOf(type: string, row: number): SQLInputValue {
  if (type.toLowerCase() === "integer") return row;
  return type.toLowerCase() === "text" ? `text ${row}` : new Uint8Array(32).fill(row);
}

function rowsOf(database: DatabaseSync, table: string, columns: readonly string[]): unknown[] {
  return database.prepare(`select ${columns.join()} from ${table} order by 1, 2`).all();
}
