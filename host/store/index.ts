export { afterWrite, openStore, type AfterWrite, type Store, type StorePlace } from "./store.ts";
export { storeUnavailable } from "./store-errors.ts";
export { SQLITE_WORDS, type Migration, type SchemaWords } from "./migrate.ts";
export type { Generated, Kysely, Transaction } from "kysely";
