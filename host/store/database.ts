import type { Kysely } from "kysely";

import type { BackUp } from "./backup.ts";

/** A database that is locked for this process, intact, and at the schema version asked for. */
export interface OpenDatabase<Schema> {
  /** Names the store in messages. */
  readonly name: string;
  readonly reader: Kysely<Schema>;
  readonly writer: Kysely<Schema>;
  /** See `WriterOf`. */
  readonly isFatal: (cause: unknown, ending: boolean) => boolean;
  /** Has `lost` told when the connection that writes breaks. */
  readonly watch?: (lost: (cause: unknown) => void) => void;
  /** See `WriterOf`. */
  readonly committed?: () => void;
  /** See `Store.purge`; `between` does something while no transaction is open. */
  readonly purge: (args: {
    readonly tables: readonly string[];
    readonly between: (work: () => void) => Promise<void>;
  }) => Promise<void>;
  /** Absent for a database whose server has backups of its own. */
  readonly backUp?: BackUp;
  /** Closes the connections and frees the lock. */
  close(): Promise<void>;
}
