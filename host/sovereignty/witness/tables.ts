import type { Generated, SchemaWords } from "../../store/index.ts";

/** Tables of heads that Vaults cosign for each other; part of a Vault's store. */
export interface WitnessTables {
  /** The newest head of each other Vault's log that this one cosigned. */
  witness_head: {
    vault_id: string;
    size: number;
    root: Uint8Array;
    /** As that Vault signed it. */
    note: string;
    /** How many restarts that Vault had declared. */
    generation: number;
    /** Governance events that that Vault had accepted. */
    governance_size: number;
    /** 1 when this Vault has been restarted since from an older copy: there may have been newer heads. */
    stale: number;
  };
  /** Proof that another Vault signed two heads that cannot both be of one log; the first pair of a generation. */
  witness_fork: {
    vault_id: string;
    generation: number;
    held: string;
    other: string;
    at_ms: number;
  };
  /** Restarts that Vaults declared, this one too: signed statements, with the head last held before. */
  witness_restart: {
    vault_id: string;
    generation: number;
    statement: Uint8Array;
    abandoned_note: string | null;
    at_ms: number;
  };
  /** This Vault's own newest cosigned head, under the one name `own`. */
  witness_cosigned: { name: "own"; size: number; note: string };
  /** Why this Vault stands still; over when `thawed_ms` is set. */
  witness_freeze: {
    position: Generated<number>;
    reason: "behind" | "forked" | "restarted" | "restored";
    /** The head that this Vault signed and does not hold; its own where nobody remembers one. */
    note: string;
    at_ms: number;
    thawed_ms: number | null;
  };
}

/** Statements of schema version 3 for {@link WitnessTables}. */
export function witnessStatements(sql: SchemaWords): readonly string[] {
  return [
    `create table witness_head (
       vault_id ${sql.text} primary key, size ${sql.integer} not null, root ${sql.blob} not null,
       note ${sql.text} not null, generation ${sql.integer} not null,
       governance_size ${sql.integer} not null, stale ${sql.integer} not null) ${sql.strict}`,
    `create table witness_fork (
       vault_id ${sql.text} not null, generation ${sql.integer} not null, held ${sql.text} not null,
       other ${sql.text} not null, at_ms ${sql.integer} not null,
       primary key (vault_id, generation)) ${sql.strict}`,
    ...sql.appendOnly("witness_fork"),
    `create table witness_restart (
       vault_id ${sql.text} not null, generation ${sql.integer} not null,
       statement ${sql.blob} not null, abandoned_note ${sql.text}, at_ms ${sql.integer} not null,
       primary key (vault_id, generation)) ${sql.strict}`,
    ...sql.appendOnly("witness_restart"),
    `create table witness_cosigned (
       name ${sql.text} primary key, size ${sql.integer} not null,
       note ${sql.text} not null) ${sql.strict}`,
    `create table witness_freeze (
       position ${sql.position}, reason ${sql.text} not null, note ${sql.text} not null,
       at_ms ${sql.integer} not null, thawed_ms ${sql.integer}) ${sql.strict}`,
  ];
}
