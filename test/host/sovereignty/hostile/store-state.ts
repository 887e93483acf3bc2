import { DatabaseSync } from "node:sqlite";
import path from "node:path";

import { hex, sha256, utf8 } from "../../../../protocol/index.ts";

/** What others' heads do to a store, on their own time, is no answer to a call. */
const OWN_TIME = /^(sqlite_|witness)/;

/** A digest of the committed rows of each table of a Vault's store, by the table's name. */
export function storeState(directory: string): Readonly<Record<string, string>> {
  const database = opened(directory);
  try {
    return stateOf(database);
  } finally {
    database.close();
  }
}

/** See {@link watchStore}. */
export interface StoreWatch {
  /** Names of the tables whose rows differ since this was last asked, or since the watch began. */
  changed(): string[];
  close(): void;
}

/** As {@link storeState} again and again: SQLite counts commits of others, and without one nothing is read. */
export function watchStore(directory: string): StoreWatch {
  const database = opened(directory);
  const commits = database.prepare("pragma data_version");
  let seen = commits.get()?.data_version;
  let before = stateOf(database);
  return {
    changed: () => {
      const present = commits.get()?.data_version;
      if (present === seen) return [];
      const after = stateOf(database);
      const names = changedTables(before, after);
      seen = present;
      before = after;
      return names;
    },
    close: () => database.close(),
  };
}

function opened(directory: string): DatabaseSync {
  return new DatabaseSync(path.join(directory, "vault.db"), { readOnly: true });
}

function stateOf(database: DatabaseSync): Readonly<Record<string, string>> {
  const names = database.prepare("select name from sqlite_master where type = 'table'").all();
  const tables = names.map(({ name }) => String(name)).filter((name) => !OWN_TIME.test(name));
  return Object.fromEntries(
    tables
      .toSorted((a, b) => (a < b ? -1 : 1))
      .map((name) => {
        const rows = database.prepare(`select * from "${name}"`).all();
        const text = rows.map((row) => Object.values(row).map(shown).join(" ")).join("\n");
        return [name, hex(sha256(utf8(text)))];
      }),
  );
}

function shown(value: unknown): string {
  return value instanceof Uint8Array ? hex(value) : String(value);
}

/** Names of the tables whose rows differ. */
export function changedTables(
  before: Readonly<Record<string, string>>,
  after: Readonly<Record<string, string>>,
): string[] {
  return Object.keys(after).filter((name) => before[name] !== after[name]);
}
