import type { TaskClass } from "#protocol";
import type { Kysely, Selectable, Transaction } from "kysely";

import type { SchemaWords } from "../store/index.ts";

/** The coordinator's tasks and sub-tasks. Owned by the task register alone. */
export interface TaskSchema {
  task: {
    task_id: string;
    /** Null for a parent or an atomic task. */
    parent_task_id: string | null;
    /** Round of a sub-task; 0 otherwise. */
    round: number;
    task_class: TaskClass;
    state: string;
    signed_request: Uint8Array;
    request_digest: Uint8Array;
    envelope: Uint8Array | null;
    envelope_digest: Uint8Array | null;
    epoch_id: number;
    policy_version: string;
    /** Why the task ended as it did, or completed and was not delivered; null otherwise. */
    reason: string | null;
    created_ms: number;
    /** When the present state times out. */
    deadline_ms: number;
    delivered: number;
    /** Governance events the result was verified under; null before verification. */
    governance_size: number | null;
    /** Who submitted it, and their name for the request; null for a sub-task. */
    actor_id: string | null;
    request_id: Uint8Array | null;
  };
  /** What is left of a submitter's rate for a class, as of a time; see `TokenWindow`. */
  admission_window: {
    actor_id: string;
    task_class: TaskClass;
    tokens: number;
    remainder: number;
    at_ms: number;
  };
  /** Money set aside for one task. */
  budget_lock: {
    lock_ref: string;
    task_id: string;
    actor_id: string;
    amount_minor: number;
    state: "locked" | "released" | "settled";
    charged_minor: number;
    locked_ms: number;
    ended_ms: number | null;
  };
  /** Sums of a submitter's locks: of those that hold, and what settled ones were charged. */
  submitter_account: { actor_id: string; locked_minor: number; spent_minor: number };
}

/** Blobs that belong to tasks. Owned by `TaskBlobs` alone. */
export interface BlobSchema {
  artifact: { digest: string; bytes: Uint8Array };
  log_excerpt: { task_id: string; actor_id: string; excerpt: Uint8Array };
}

export function taskStatements(words: SchemaWords): readonly string[] {
  const { blob, integer, text } = words;
  return [
    `create table task (
       task_id ${text} primary key, parent_task_id ${text}, round ${integer} not null,
       task_class ${text} not null, state ${text} not null, signed_request ${blob} not null,
       request_digest ${blob} not null, envelope ${blob}, envelope_digest ${blob},
       epoch_id ${integer} not null, policy_version ${text} not null, reason ${text},
       created_ms ${integer} not null, deadline_ms ${integer} not null,
       delivered ${integer} not null, governance_size ${integer})`,
    `create index task_state on task (state)`,
    `create index task_parent on task (parent_task_id, round)`,
    `create table artifact (digest ${text} primary key, bytes ${blob} not null)`,
    `create table log_excerpt (
       task_id ${text} not null, actor_id ${text} not null, excerpt ${blob} not null,
       primary key (task_id, actor_id))`,
  ];
}

/** What version 2 of the coordinator's store adds: who submitted a task, and the controls of admission. */
export function controlStatements(words: SchemaWords): readonly string[] {
  const { blob, integer, text } = words;
  return [
    `alter table task add column actor_id ${text}`,
    `alter table task add column request_id ${blob}`,
    `create unique index task_request on task (actor_id, request_id)`,
    `create index task_actor on task (actor_id, state)`,
    `create table admission_window (
       actor_id ${text} not null, task_class ${text} not null, tokens ${integer} not null,
       remainder ${integer} not null, at_ms ${integer} not null,
       primary key (actor_id, task_class))`,
    `create table budget_lock (
       lock_ref ${text} primary key, task_id ${text} not null unique, actor_id ${text} not null,
       amount_minor ${integer} not null, state ${text} not null, charged_minor ${integer} not null,
       locked_ms ${integer} not null, ended_ms ${integer})`,
    `create table submitter_account (
       actor_id ${text} primary key, locked_minor ${integer} not null,
       spent_minor ${integer} not null)`,
  ];
}

/** States of a task that has not ended. */
export const ACTIVE_STATES = [
  "accepted",
  "resolving",
  "dispatched",
  "verifying",
  "awaiting_settlement",
  "challenged",
] as const;

type Reader = Kysely<TaskSchema> | Transaction<TaskSchema>;

/** Tasks that run: parents and atomic tasks that have not ended, of one actor or of all. As many as run are counted. */
export async function countRunning(db: Reader, actorId: string | null): Promise<number> {
  const running = db
    .selectFrom("task")
    .select((select) => select.fn.countAll<number>().as("count"))
    .where("parent_task_id", "is", null)
    .where("state", "in", [...ACTIVE_STATES]);
  const asked = actorId === null ? running : running.where("actor_id", "=", actorId);
  return Number((await asked.executeTakeFirst())?.count ?? 0);
}

/** The task that a submitter's request identifier names, if any. */
export async function taskOfRequest(
  db: Reader,
  request: { readonly actorId: string; readonly requestId: Uint8Array },
): Promise<string | undefined> {
  const row = await db
    .selectFrom("task")
    .select("task_id")
    .where("actor_id", "=", request.actorId)
    .where("request_id", "=", request.requestId)
    .executeTakeFirst();
  return row?.task_id;
}

/** A task as a row gives it. */
export type StoredTask = Selectable<TaskSchema["task"]>;
