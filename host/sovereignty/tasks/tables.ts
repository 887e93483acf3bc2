import type { Generated, SchemaWords } from "../../store/index.ts";

/** Tables of what tasks leave for the operator alone; part of a Vault's store. */
export interface TasksTables {
  /** Append-only: why a request was declined. Never in the log, nor in an answer to anybody but the operator. */
  decline: {
    position: Generated<number>;
    request_digest: Uint8Array;
    task_id: string;
    actor_id: string;
    task_class: string;
    record_scope: string;
    usage_scope: string;
    epsilon_micro: number;
    reason: string;
    /** Subjects that would have been charged. */
    subjects: number;
    /** How many of them lack budget, and how many are frozen. */
    exhausted: number;
    frozen: number;
    /** Names their set. */
    set_digest: Uint8Array;
    at_ms: number;
  };
  /** Append-only: tasks that consumed more than was reserved, or in a round more than its part, beyond tolerance. */
  budget_flag: {
    reservation_id: string;
    task_id: string;
    reserved_micro: number;
    actual_micro: number;
    tolerance_micro: number;
    at_ms: number;
  };
}

/** Statements of schema version 3 for {@link TasksTables}. */
export function tasksStatements(sql: SchemaWords): readonly string[] {
  const { blob, integer, position, text, strict, appendOnly } = sql;
  return [
    `alter table decision add column policy_version ${text}`,
    `create table decline (
       position ${position}, request_digest ${blob} not null unique, task_id ${text} not null,
       actor_id ${text} not null, task_class ${text} not null, record_scope ${text} not null,
       usage_scope ${text} not null, epsilon_micro ${integer} not null, reason ${text} not null,
       subjects ${integer} not null, exhausted ${integer} not null, frozen ${integer} not null,
       set_digest ${blob} not null, at_ms ${integer} not null) ${strict}`,
    ...appendOnly("decline"),
    `create index decline_exhausted on decline (set_digest) where exhausted > 0`,
    `create table budget_flag (
       reservation_id ${text} primary key, task_id ${text} not null,
       reserved_micro ${integer} not null, actual_micro ${integer} not null,
       tolerance_micro ${integer} not null, at_ms ${integer} not null) ${strict}`,
    ...appendOnly("budget_flag"),
    `create index ledger_usage_scope on ledger (usage_scope, position)`,
    `create index ledger_record_scope on ledger (record_scope, position)`,
  ];
}
