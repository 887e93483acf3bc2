import { parseWith } from "#protocol";
import { z } from "zod";

import type { Reading } from "../queries.ts";
import type { VaultContext } from "../vault-context.ts";
import { accessGrantSchema, revocationReason } from "./grants.ts";

/** Where a grant stands at some time. */
export const grantState = z.enum(["in_force", "not_yet", "ended", "revoked"]);
export type GrantState = z.infer<typeof grantState>;

/** A grant as its operator sees it. */
export type GrantView = z.infer<typeof storedGrantSchema> & { readonly state: GrantState };

/** Grants of one page. */
export const GRANTS_PAGE_MAX = 1_000;

/** Which grants, and from where on. */
export interface GrantFilter {
  readonly actorId?: string | undefined;
  readonly state?: GrantState | undefined;
  /** The last grant of the page before. */
  readonly after?: string | undefined;
  /** 1 to {@link GRANTS_PAGE_MAX}. */
  readonly limit: number;
}

const storedGrantSchema = accessGrantSchema.extend({
  created_ms: z.int(),
  revoked_ms: z.int().nullable(),
  revoked_reason: revocationReason.nullable(),
});

/** The grants that a filter names, by identifier, and where the next page begins; null after the last. */
export async function listGrants(
  { store, nowMs }: VaultContext,
  filter: GrantFilter,
): Promise<{ readonly grants: readonly GrantView[]; readonly next: string | null }> {
  const atMs = nowMs();
  const rows = await pageOf(store.db, filter, atMs).execute();
  const grants = rows.map((row) => {
    const grant = parseWith(storedGrantSchema, row, "grant");
    return { ...grant, state: stateOf(grant, atMs) };
  });
  return { grants, next: rows.length < filter.limit ? null : (rows.at(-1)?.grant_id ?? null) };
}

function pageOf(db: Reading, { actorId, state, after, limit }: GrantFilter, atMs: number) {
  const page = db
    .selectFrom("access_grant")
    .selectAll()
    .where("grant_id", ">", after ?? "")
    .orderBy("grant_id")
    .limit(limit);
  const ofActor = actorId === undefined ? page : page.where("actor_id", "=", actorId);
  if (state === undefined) return ofActor;
  if (state === "revoked") return ofActor.where("revoked_ms", "is not", null);
  const standing = ofActor.where("revoked_ms", "is", null);
  if (state === "not_yet") return standing.where("not_before_ms", ">", atMs);
  const begun = standing.where((where) =>
    where.or([where("not_before_ms", "is", null), where("not_before_ms", "<=", atMs)]),
  );
  if (state === "ended") return begun.where("not_after_ms", "<=", atMs);
  return begun.where((where) =>
    where.or([where("not_after_ms", "is", null), where("not_after_ms", ">", atMs)]),
  );
}

function stateOf(grant: z.infer<typeof storedGrantSchema>, atMs: number): GrantState {
  if (grant.revoked_ms !== null) return "revoked";
  if (grant.not_before_ms !== null && atMs < grant.not_before_ms) return "not_yet";
  return grant.not_after_ms !== null && grant.not_after_ms <= atMs ? "ended" : "in_force";
}
