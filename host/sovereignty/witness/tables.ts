import type { SchemaWords } from "../../store/index.ts";

/** Tables of heads that Vaults cosign for each other; part of a Vault's store. */
export interface WitnessTables {}

/** Statements of schema version 3 for {@link WitnessTables}. */
export function witnessStatements(_sql: SchemaWords): readonly string[] {
  return [];
}
