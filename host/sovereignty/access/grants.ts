import {
  ConflictError,
  MalformedError,
  identifier,
  parseWith,
  taskClass,
  unixMs,
  usageScope,
  type TaskRequest,
} from "#protocol";
import { z } from "zod";

import { grantsOf, type Reading } from "../queries.ts";
import type { VaultContext } from "../vault-context.ts";
import { covers } from "./covers.ts";

/** The body of a `grant.added` event, too. */
export const accessGrantSchema = z.strictObject({
  grant_id: identifier,
  actor_id: identifier,
  task_class: taskClass,
  domain_id: identifier,
  /** One record scope of the domain, or null for all of them. */
  record_scope: identifier.nullable(),
  /** One purpose, or null for all. */
  usage_scope: usageScope.nullable(),
  /** In force during [not_before_ms, not_after_ms). */
  not_before_ms: unixMs.nullable(),
  not_after_ms: unixMs.nullable(),
});

/** A permission that the Vault's operator gives to an actor (AZ-1). Only the operator adds or revokes one. */
export type AccessGrant = z.infer<typeof accessGrantSchema>;

/** Why a grant is taken back. A closed list: the log that says it leaves the organisation. */
export const revocationReason = z.enum([
  "unstated",
  "no_longer_needed",
  "agreement_ended",
  "superseded",
  "misuse",
  "key_compromised",
]);
export type RevocationReason = z.infer<typeof revocationReason>;

/** The body of a `grant.revoked` event; before schema version 3 without the reason. */
export const revocationSchema = z.strictObject({
  grant_id: identifier,
  reason: revocationReason.default("unstated"),
});

/**
 * Adds a grant.
 *
 * @throws {@link ConflictError} AUTH_REPLAYED when its id is taken, also by a revoked one.
 * @throws {@link MalformedError} SCHEMA_MALFORMED, also for a window that nothing is in.
 */
export async function addGrant(context: VaultContext, given: AccessGrant): Promise<void> {
  const grant = parseWith(accessGrantSchema, given, "grant");
  requireWindow(grant);
  const { store, log, nowMs } = context;
  await store.write(async (trx) => {
    const inserted = await trx
      .insertInto("access_grant")
      .values({ ...grant, created_ms: nowMs(), revoked_ms: null, revoked_reason: null })
      .onConflict((conflict) => conflict.doNothing())
      .executeTakeFirst();
    if (inserted.numInsertedOrUpdatedRows === 0n) {
      throw new ConflictError(
        { code: "AUTH_REPLAYED", grant_id: grant.grant_id },
        `grant ${grant.grant_id}: expected a new identifier`,
      );
    }
    await log.append(trx, { type: "grant.added", taskId: null, body: grant });
  });
}

/**
 * Revokes a grant: no new decision, slice or delivery rests on it.
 *
 * @throws {@link ConflictError} AUTH_GRANT_MISSING for one that is unknown or revoked already.
 */
export async function revokeGrant(
  context: VaultContext,
  grantId: string,
  reason: RevocationReason = "unstated",
): Promise<void> {
  const { store, log, nowMs } = context;
  await store.write(async (trx) => {
    const updated = await trx
      .updateTable("access_grant")
      .set({ revoked_ms: nowMs(), revoked_reason: reason })
      .where("grant_id", "=", grantId)
      .where("revoked_ms", "is", null)
      .executeTakeFirst();
    if (updated.numUpdatedRows === 0n) {
      throw new ConflictError(
        { code: "AUTH_GRANT_MISSING", grant_id: grantId },
        `grant ${grantId}: expected one that is in force`,
      );
    }
    const body = { grant_id: grantId, reason };
    await log.append(trx, { type: "grant.revoked", taskId: null, body });
  });
}

/**
 * The oldest grant in force at `nowMs` that covers `request`, or undefined.
 *
 * @param args.grantId - When given, only this one counts.
 */
export async function findGrant(
  db: Reading,
  args: {
    readonly request: TaskRequest;
    readonly domainId: string;
    readonly nowMs: number;
    readonly grantId?: string;
  },
): Promise<string | undefined> {
  const { request, domainId: domain_id, nowMs: atMs, grantId } = args;
  const { actor_id, task_class, record_scope, usage_scope } = request;
  const asked = { actor_id, task_class, domain_id, record_scope, usage_scope, atMs };
  const grants = await grantsOf(db, actor_id, task_class);
  const covering = grants.find(
    (grant) => (grantId === undefined || grant.grant_id === grantId) && covers(grant, asked),
  );
  return covering?.grant_id;
}

function requireWindow({ not_before_ms: from, not_after_ms: until }: AccessGrant): void {
  if (from === null || until === null || from < until) return;
  throw new MalformedError(
    { code: "SCHEMA_MALFORMED", field: "not_after_ms" },
    `grant not_after_ms: expected a time after not_before_ms ${from}, got ${until}`,
  );
}
