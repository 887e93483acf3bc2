import { sql, type Generated, type Kysely, type Transaction } from "kysely";

import type { SchemaWords } from "../store/index.ts";

/** Work asked of actors, and the messages of rounds. Owned by the queue alone. */
export interface QueueSchema {
  work: {
    work_id: string;
    actor_id: string;
    task_id: string;
    kind: string;
    item: Uint8Array;
    state: "open" | "done";
    answer: Uint8Array | null;
    code: string | null;
    deadline_ms: number;
    issued_ms: number;
    lease_instance: string | null;
    lease_until_ms: number;
  };
  round_message: {
    position: Generated<number>;
    task_id: string;
    round: number;
    attempt: number;
    sender: string;
    slot: string;
    message: Uint8Array;
    at_ms: number;
  };
}

export function queueStatements(words: SchemaWords): readonly string[] {
  const { blob, integer, position, text } = words;
  return [
    `create table work (
       work_id ${text} primary key, actor_id ${text} not null, task_id ${text} not null,
       kind ${text} not null, item ${blob} not null, state ${text} not null, answer ${blob},
       code ${text}, deadline_ms ${integer} not null, issued_ms ${integer} not null,
       lease_instance ${text}, lease_until_ms ${integer} not null)`,
    `create index work_open on work (actor_id, state, issued_ms)`,
    `create index work_task on work (task_id, kind)`,
    `create table round_message (
       position ${position}, task_id ${text} not null, round ${integer} not null,
       attempt ${integer} not null, sender ${text} not null, slot ${text} not null,
       message ${blob} not null, at_ms ${integer} not null,
       unique (task_id, round, attempt, sender, slot))`,
  ];
}

type Reader = Kysely<QueueSchema> | Transaction<QueueSchema>;

/** The oldest open work of an actor that no other running process of it holds. */
export async function claimable(db: Reader, actorId: string, instance: string, nowMs: number) {
  return db
    .selectFrom("work")
    .selectAll()
    .where("actor_id", "=", actorId)
    .where("state", "=", "open")
    .where("deadline_ms", ">", nowMs)
    .where((where) =>
      where.or([
        where("lease_instance", "is", null),
        where.and([where("lease_instance", "!=", instance)]),
        where("lease_until_ms", "<=", nowMs),
      ]),
    )
    .orderBy("issued_ms")
    .orderBy("work_id")
    .limit(1)
    .executeTakeFirst();
}

/** Most messages and bytes of one page. A page has at least one message when there is one. */
const PAGE_MESSAGES_MAX = 256;
const PAGE_BYTES_MAX = 64 * 1024 * 1024;

/** The next page of a round's messages after `after`, in order of position. */
export async function messagePage(
  db: Reader,
  at: { readonly taskId: string; readonly round: number; readonly after: number },
): Promise<{ position: number; message: Uint8Array }[]> {
  const next = db
    .selectFrom("round_message")
    .where("task_id", "=", at.taskId)
    .where("round", "=", at.round)
    .where("position", ">", at.after)
    .orderBy("position");
  const sizes = await next
    .select(["position", sql<number>`length(message)`.as("bytes")])
    .limit(PAGE_MESSAGES_MAX)
    .execute();
  let bytes = 0;
  const page = sizes.filter(({ bytes: size }, index) => {
    bytes += size;
    return index === 0 || bytes <= PAGE_BYTES_MAX;
  });
  const last = page.at(-1);
  if (last === undefined) return [];
  return next.select(["position", "message"]).where("position", "<=", last.position).execute();
}
