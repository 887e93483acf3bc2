import { DatabaseSync } from "node:sqlite";
import path from "node:path";

import { hex, sha256, utf8 } from "../../../../protocol/index.ts";

/** What others' heads do to a store, on their own time, is no answer to a call. */
const OWN_TIME = /^(sqlite_|witness)/;

/** A digest of the committed rows of each table of a Vault's store, by the table's name. */
export function storeState(directory: string): Readonly<Record<string, string>> {
  const database = new DatabaseSync(path.join(directory, "vault.db"), { readOnly: true });
  try {
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
  } finally {
    database.close();
  }
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
