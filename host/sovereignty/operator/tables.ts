import type { SchemaWords } from "../../store/index.ts";

/** Tables of what the operator searches; part of a Vault's store. */
export interface OperatorTables {
  /**
   * What each event of the Vault's log is about, one row for each; made from the log alone and never beyond it. Columns
   * that an event does not name itself are those of its task's `authorization.decided`.
   */
  audit_link: {
    sequence: number;
    type: string;
    time_ms: number;
    task_id: string | null;
    grant_id: string | null;
    actor_id: string | null;
    record_scope: string | null;
    usage_scope: string | null;
    reservation_id: string | null;
  };
  /** Chunks of bulk imports that are recorded. */
  consent_import: { import_id: string; chunk: number; prefix: Uint8Array; at_ms: number };
}

/** Columns that the trail is searched by, besides sequence and time. */
const SEARCHED = [
  "task_id",
  "grant_id",
  "actor_id",
  "record_scope",
  "usage_scope",
  "reservation_id",
] as const;

/** Statements of schema version 3 for {@link OperatorTables}. */
export function operatorStatements({
  text,
  blob,
  integer,
  strict,
}: SchemaWords): readonly string[] {
  return [
    `alter table access_grant add column revoked_reason ${text}`,
    `create index access_grant_actor on access_grant (actor_id, task_class)`,
    `create table audit_link (
       sequence ${integer} primary key, type ${text} not null, time_ms ${integer} not null,
       ${SEARCHED.map((column) => `${column} ${text}`).join(", ")}) ${strict}`,
    `create index audit_link_type on audit_link (type, sequence)`,
    `create index audit_link_time on audit_link (time_ms)`,
    ...SEARCHED.map(
      (column) =>
        `create index audit_link_${column} on audit_link (${column}, sequence)
         where ${column} is not null`,
    ),
    `create table consent_import (
       import_id ${text} not null, chunk ${integer} not null, prefix ${blob} not null,
       at_ms ${integer} not null, primary key (import_id, chunk)) ${strict}`,
  ];
}
