import { usageScope, type UsageScope } from "#protocol";

import type { VaultContext } from "../vault-context.ts";
import type { LedgerStep } from "./ledger.ts";
import { decodeSubjectSet } from "./subject-set.ts";

const LINES_MAX = 1_000;
/** Reservations that one page of a subject's statement looks into: each may have a set of its own to read. */
const EXAMINED_MAX = 100;

/** One page of a listing by position. */
export interface Page {
  /** Position of the last line seen; 0 to begin. */
  readonly after: number;
  readonly limit: number;
}

/** Which lines; all of them without either. */
export interface LedgerSelection {
  readonly usageScope?: UsageScope | undefined;
  readonly recordScope?: string | undefined;
}

/** One line of the privacy budget ledger, as it was appended (PB-1, PB-8). */
export interface LedgerLine {
  readonly position: number;
  readonly kind: LedgerStep["kind"];
  readonly reservation_id: string;
  readonly task_id: string;
  readonly record_scope: string;
  readonly usage_scope: string;
  readonly round: number | null;
  readonly epsilon_micro: number;
  readonly privacy_class: number;
  readonly epoch_id: number | null;
  readonly at_ms: number;
  /** On the commit of a task that is up for governance review (PB-3). */
  readonly flagged: boolean;
}

/** Why a request was declined; for the operator alone. Counts and digest are of the subjects it would have charged. */
export interface DeclineLine {
  readonly position: number;
  readonly request_digest: Uint8Array;
  readonly task_id: string;
  readonly actor_id: string;
  readonly task_class: string;
  readonly record_scope: string;
  readonly usage_scope: string;
  readonly epsilon_micro: number;
  readonly reason: string;
  readonly subjects: number;
  readonly exhausted: number;
  readonly frozen: number;
  readonly set_digest: Uint8Array;
  readonly at_ms: number;
}

/** What one task took of one subject's budget, or holds of it. */
export interface SubjectLine {
  /** Of the reservation in the ledger. */
  readonly position: number;
  readonly reservation_id: string;
  readonly task_id: string;
  readonly record_scope: string;
  readonly usage_scope: string;
  readonly privacy_class: number;
  readonly state: "reserved" | "executing" | "committed" | "released";
  readonly reserved_micro: number;
  readonly consumed_micro: number;
  readonly epoch_id: number | null;
  readonly reserved_ms: number;
  readonly ended_ms: number | null;
  readonly flagged: boolean;
}

/** See {@link subjectStatement}. */
export interface SubjectStatement {
  readonly balances: readonly {
    readonly usage_scope: UsageScope;
    readonly consumed_micro: number;
    readonly reserved_micro: number;
  }[];
  readonly lines: readonly SubjectLine[];
  /** Where the next page begins; null after the last. A page may have no lines and still not be the last. */
  readonly next: number | null;
}

/** Ledger lines after a position, oldest first, of one purpose or record scope when given; at most 1 000 at a time. */
export async function ledgerStatement(
  { store }: VaultContext,
  args: Page & LedgerSelection,
): Promise<LedgerLine[]> {
  const { usageScope: purpose, recordScope } = args;
  const rows = await store.db
    .selectFrom("ledger")
    .leftJoin("budget_flag", (join) =>
      join
        .onRef("budget_flag.reservation_id", "=", "ledger.reservation_id")
        .on("ledger.kind", "=", "commit"),
    )
    .select(["ledger.position", "ledger.kind", "ledger.reservation_id", "ledger.task_id"])
    .select(["ledger.record_scope", "ledger.usage_scope", "ledger.round", "ledger.epsilon_micro"])
    .select(["ledger.privacy_class", "ledger.epoch_id", "ledger.at_ms"])
    .select("budget_flag.at_ms as flagged_ms")
    .where("ledger.position", ">", args.after)
    .$if(purpose !== undefined, (query) => query.where("ledger.usage_scope", "=", purpose ?? ""))
    .$if(recordScope !== undefined, (query) =>
      query.where("ledger.record_scope", "=", recordScope ?? ""),
    )
    .orderBy("ledger.position")
    .limit(linesOf(args.limit))
    .execute();
  return rows.map(({ flagged_ms, ...line }) => ({ ...line, flagged: flagged_ms !== null }));
}

/** Declined requests after a position, oldest first; at most 1 000 at a time. */
export async function declines({ store }: VaultContext, page: Page): Promise<DeclineLine[]> {
  return await store.db
    .selectFrom("decline")
    .selectAll()
    .where("position", ">", page.after)
    .orderBy("position")
    .limit(linesOf(page.limit))
    .execute();
}

/** Sets of subjects that are counted at most. */
const EXHAUSTED_SETS_MAX = 100;

/**
 * How many sets requests were declined for because a budget in them was exhausted; at most 100, one look into an index
 * for each.
 */
export async function exhaustedSets({ store }: Pick<VaultContext, "store">): Promise<number> {
  let after = new Uint8Array(0);
  for (let sets = 0; sets < EXHAUSTED_SETS_MAX; sets += 1) {
    const next = await store.db
      .selectFrom("decline")
      .select("set_digest")
      .where("exhausted", ">", 0)
      .where("set_digest", ">", after)
      .orderBy("set_digest")
      .limit(1)
      .executeTakeFirst();
    if (next === undefined) return sets;
    after = new Uint8Array(next.set_digest);
  }
  return EXHAUSTED_SETS_MAX;
}

/**
 * Which tasks took of the budget of one subject, oldest first; nothing for a subject that the Vault does not know.
 *
 * A page looks into a bounded number of reservations, whether the subject is in their sets or not.
 *
 * @param args.subject - The operator's own name of the subject; only its keyed hash is compared.
 */
export async function subjectStatement(
  context: VaultContext,
  args: Page & { readonly subject: string },
): Promise<SubjectStatement> {
  const { store, secrets } = context;
  const known = await store.db
    .selectFrom("subject")
    .select("ordinal")
    .where("subject_id", "=", secrets.subjectId(args.subject))
    .executeTakeFirst();
  if (known === undefined) return { balances: [], lines: [], next: null };
  const { ordinal } = known;
  const examined = await store.db
    .selectFrom("ledger")
    .select(["position", "reservation_id", "task_id", "record_scope", "usage_scope"])
    .select(["privacy_class", "epsilon_micro", "set_digest", "at_ms"])
    .where("kind", "=", "reserve")
    .where("position", ">", args.after)
    .orderBy("position")
    .limit(Math.min(EXAMINED_MAX, linesOf(args.limit)))
    .execute();
  const setsOfOthers = new Map<string, boolean>();
  const lines: SubjectLine[] = [];
  for (const row of examined) {
    if (await isMember(context, { ...row, ordinal, known: setsOfOthers })) {
      lines.push(await lineOf(context, row));
    }
  }
  const last = examined.at(-1)?.position ?? null;
  return { balances: balancesOf(context, ordinal), lines, next: last };
}

function balancesOf({ books }: VaultContext, ordinal: number): SubjectStatement["balances"] {
  return usageScope.options.map((scope) => ({
    usage_scope: scope,
    consumed_micro: books.ledger.consumedMicro(scope, ordinal),
    reserved_micro: books.ledger.reservedMicro(scope, ordinal),
  }));
}

async function isMember(
  { store }: VaultContext,
  args: {
    readonly set_digest: Uint8Array | null;
    readonly ordinal: number;
    readonly known: Map<string, boolean>;
  },
): Promise<boolean> {
  const { set_digest: digest, ordinal, known } = args;
  if (digest === null) return false;
  const key = Buffer.from(digest).toString("latin1");
  const before = known.get(key);
  if (before !== undefined) return before;
  const stored = await store.db
    .selectFrom("subject_set")
    .select("subjects")
    .where("digest", "=", digest)
    .executeTakeFirst();
  const found = stored !== undefined && decodeSubjectSet(stored.subjects).has(ordinal);
  known.set(key, found);
  return found;
}

interface ReserveRow {
  readonly position: number;
  readonly reservation_id: string;
  readonly task_id: string;
  readonly record_scope: string;
  readonly usage_scope: string;
  readonly privacy_class: number;
  readonly epsilon_micro: number;
  readonly at_ms: number;
}

async function lineOf({ store, books }: VaultContext, row: ReserveRow): Promise<SubjectLine> {
  const { state, committedMicro } = await books.reservation(store.db, row.reservation_id);
  const last = await store.db
    .selectFrom("ledger")
    .select(["epoch_id", "at_ms"])
    .where("reservation_id", "=", row.reservation_id)
    .orderBy("position", "desc")
    .executeTakeFirst();
  const flag = await store.db
    .selectFrom("budget_flag")
    .select("at_ms")
    .where("reservation_id", "=", row.reservation_id)
    .executeTakeFirst();
  const ended = state === "committed" || state === "released";
  return {
    position: row.position,
    reservation_id: row.reservation_id,
    task_id: row.task_id,
    record_scope: row.record_scope,
    usage_scope: row.usage_scope,
    privacy_class: row.privacy_class,
    state,
    reserved_micro: row.epsilon_micro,
    consumed_micro: committedMicro,
    epoch_id: last?.epoch_id ?? null,
    reserved_ms: row.at_ms,
    ended_ms: ended ? (last?.at_ms ?? null) : null,
    flagged: flag !== undefined,
  };
}

function linesOf(limit: number): number {
  return Math.min(Math.max(1, limit), LINES_MAX);
}
