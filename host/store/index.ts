export { afterWrite, type AfterWrite } from "./group-commit.ts";
export { backupStore, type BackupProgress } from "./backup.ts";
export { importStore, sideFiles, snapshotStore } from "./copy.ts";
export { openStore, type Store, type StorePlace } from "./store.ts";
export { storeUnavailable } from "./store-errors.ts";
export { SQLITE_WORDS, type Migration, type SchemaWords } from "./migrate.ts";
export type { Generated, Kysely, Selectable, Transaction } from "kysely";
