import type { TaskClass } from "#protocol";
import type { Selectable } from "kysely";

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
  };
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

/** A task as a row gives it. */
export type StoredTask = Selectable<TaskSchema["task"]>;
