import { eventDigest, parseEvent, type CborValue } from "#protocol";

import type { Reading } from "../queries.ts";
import type { VaultContext } from "../vault-context.ts";

/** Entries of one page. */
export const AUDIT_PAGE_MAX = 500;

/** Which events. What is absent matters not; what is given must all hold. */
export interface AuditFilter {
  readonly type?: string | undefined;
  readonly taskId?: string | undefined;
  readonly grantId?: string | undefined;
  readonly actorId?: string | undefined;
  readonly recordScope?: string | undefined;
  readonly usageScope?: string | undefined;
  readonly reservationId?: string | undefined;
  /** Unix milliseconds, included. */
  readonly sinceMs?: number | undefined;
  /** Unix milliseconds, not included. */
  readonly untilMs?: number | undefined;
}

/** From where on, how many, and whether with proofs. */
export interface AuditPage {
  /** Sequence of the last entry of the page before; -1 for the first page. */
  readonly after: number;
  /** 1 to {@link AUDIT_PAGE_MAX}. */
  readonly limit: number;
  readonly proofs: boolean;
}

/** One event of the Vault's log, with what links it to others. */
export interface AuditEntry {
  readonly sequence: number;
  readonly type: string;
  readonly time_ms: number;
  readonly task_id: string | null;
  readonly grant_id: string | null;
  readonly actor_id: string | null;
  readonly record_scope: string | null;
  readonly usage_scope: string | null;
  readonly reservation_id: string | null;
  /** Digest of the signed event, by which the next one names it. */
  readonly digest: Uint8Array;
  readonly body: CborValue;
  /** RFC 9162 proof that the log of `log.size` events holds it; null when not asked for. */
  readonly proof: readonly Uint8Array[] | null;
}

/** See {@link auditTrail}. */
export interface AuditTrail {
  readonly log: { readonly origin: string; readonly size: number; readonly root: Uint8Array };
  readonly entries: readonly AuditEntry[];
  /** What to continue after; null when these were the last. */
  readonly next: number | null;
}

const LINKED = [
  ["sequence", "type", "time_ms", "task_id", "grant_id", "actor_id"],
  ["record_scope", "usage_scope", "reservation_id"],
] as const;

/**
 * A page of the audit trail: which task used which record scope for which purpose, under which grant and reservation,
 * as the Vault's one signed log has it (DS-6). Oldest first.
 */
export async function auditTrail(
  context: VaultContext,
  filter: AuditFilter,
  page: AuditPage,
): Promise<AuditTrail> {
  const { log } = context;
  const size = log.size;
  const links = await linksOf(context.store.db, filter, page);
  const committed = links.filter(({ sequence }) => sequence < size);
  const entries = await Promise.all(
    committed.map((link) => entryOf(context, link, page.proofs ? size : null)),
  );
  const next = links.length < page.limit ? null : (entries.at(-1)?.sequence ?? null);
  return { log: { origin: log.origin, size, root: log.root(size) }, entries, next };
}

type Link = Awaited<ReturnType<typeof linksOf>>[number];

async function linksOf(db: Reading, filter: AuditFilter, { after, limit }: AuditPage) {
  let query = db
    .selectFrom("audit_link")
    .select([...LINKED[0], ...LINKED[1]])
    .where("sequence", ">", after);
  if (filter.type !== undefined) query = query.where("type", "=", filter.type);
  for (const [column, value] of columnsOf(filter)) {
    if (value !== undefined) query = query.where(column, "=", value);
  }
  if (filter.sinceMs !== undefined) query = query.where("time_ms", ">=", filter.sinceMs);
  if (filter.untilMs !== undefined) query = query.where("time_ms", "<", filter.untilMs);
  return await query.orderBy("sequence").limit(limit).execute();
}

function columnsOf(filter: AuditFilter) {
  return [
    ["task_id", filter.taskId],
    ["grant_id", filter.grantId],
    ["actor_id", filter.actorId],
    ["record_scope", filter.recordScope],
    ["usage_scope", filter.usageScope],
    ["reservation_id", filter.reservationId],
  ] as const;
}

async function entryOf(
  { log }: VaultContext,
  link: Link,
  proofSize: number | null,
): Promise<AuditEntry> {
  const entry = await log.entry(link.sequence);
  const signed = entry?.event ?? new Uint8Array(0);
  return {
    ...link,
    digest: eventDigest(signed),
    body: parseEvent(signed).body,
    proof: proofSize === null ? null : log.inclusionProof(link.sequence, proofSize),
  };
}
