import { parseEvent, type LogEvent } from "#protocol";
import { z } from "zod";

import type { ActorLog, LogIndex } from "../../evidence/actor-log.ts";
import type { Store, Transaction } from "../../store/index.ts";
import type { Writing } from "../queries.ts";
import type { VaultSchema } from "../schema.ts";

const PAGE_EVENTS = 1_000;

/** What says, for every event of its task, on which grant and about whose request it was. */
export const DECIDED = "authorization.decided";

type Linked = VaultSchema["audit_link"];

/** What the bodies of events call the things that they are about. Other members, and other bodies, are passed over. */
const namedInBody = z.object({
  grant_id: z.string().nullish().catch(null),
  actor_id: z.string().nullish().catch(null),
  record_scope: z.string().nullish().catch(null),
  usage_scope: z.string().nullish().catch(null),
  reservation_id: z.string().nullish().catch(null),
});

/** Links each event in the write that appends it. */
export const AUDIT_INDEX: LogIndex = {
  async add(trx: Transaction<VaultSchema>, event: LogEvent): Promise<void> {
    await trx
      .insertInto("audit_link")
      .values(await linkOf(trx, event))
      .execute();
  },
};

/** Links the events that were appended before there were links, in pages; does nothing when there are none. */
export async function linkEarlierEvents(store: Store<VaultSchema>, log: ActorLog): Promise<void> {
  for (;;) {
    const last = await store.db
      .selectFrom("audit_link")
      .select((select) => select.fn.max("sequence").as("sequence"))
      .executeTakeFirst();
    const from = (last?.sequence ?? -1) + 1;
    if (from >= log.size) return;
    const page = await log.entries(from, from + PAGE_EVENTS);
    await store.write(async (trx) => {
      for (const { event } of page) await AUDIT_INDEX.add(trx, parseEvent(event));
    });
  }
}

async function linkOf(trx: Writing, event: LogEvent): Promise<Linked> {
  const { sequence, type, time_ms, task_id } = event;
  const body = namedInBody.safeParse(event.body);
  const named = body.success ? body.data : {};
  const decided = task_id === null || type === DECIDED ? undefined : await decidedOf(trx, task_id);
  return {
    ...{ sequence, type, time_ms, task_id },
    grant_id: named.grant_id ?? decided?.grant_id ?? null,
    actor_id: named.actor_id ?? decided?.actor_id ?? null,
    record_scope: named.record_scope ?? decided?.record_scope ?? null,
    usage_scope: named.usage_scope ?? decided?.usage_scope ?? null,
    reservation_id: named.reservation_id ?? null,
  };
}

async function decidedOf(trx: Writing, taskId: string) {
  return await trx
    .selectFrom("audit_link")
    .select(["grant_id", "actor_id", "record_scope", "usage_scope"])
    .where("task_id", "=", taskId)
    .where("type", "=", DECIDED)
    .orderBy("sequence")
    .limit(1)
    .executeTakeFirst();
}
