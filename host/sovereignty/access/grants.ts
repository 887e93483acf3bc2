import {
  ConflictError,
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

const accessGrantSchema = z.strictObject({
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

/** Adds a grant. @throws {@link ConflictError} AUTH_REPLAYED when its id is taken; MalformedError SCHEMA_MALFORMED */
export async function addGrant(context: VaultContext, given: AccessGrant): Promise<void> {
  const grant = parseWith(accessGrantSchema, given, "grant");
  const { store, log, nowMs } = context;
  await store.write(async (trx) => {
    const inserted = await trx
      .insertInto("access_grant")
      .values({ ...grant, created_ms: nowMs(), revoked_ms: null })
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

/** Revokes a grant: no new decision, slice or delivery rests on it. @throws {@link ConflictError} AUTH_GRANT_MISSING */
export async function revokeGrant(context: VaultContext, grantId: string): Promise<void> {
  const { store, log, nowMs } = context;
  await store.write(async (trx) => {
    const updated = await trx
      .updateTable("access_grant")
      .set({ revoked_ms: nowMs() })
      .where("grant_id", "=", grantId)
      .where("revoked_ms", "is", null)
      .executeTakeFirst();
    if (updated.numUpdatedRows === 0n) {
      throw new ConflictError(
        { code: "AUTH_GRANT_MISSING", grant_id: grantId },
        `grant ${grantId}: expected one that is in force`,
      );
    }
    await log.append(trx, { type: "grant.revoked", taskId: null, body: { grant_id: grantId } });
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
  const { request, domainId, nowMs, grantId } = args;
  const grants = await grantsOf(db, request.actor_id, request.task_class);
  const covering = grants.find(
    (grant) =>
      (grantId === undefined || grant.grant_id === grantId) &&
      grant.domain_id === domainId &&
      (grant.record_scope === null || grant.record_scope === request.record_scope) &&
      (grant.usage_scope === null || grant.usage_scope === request.usage_scope) &&
      (grant.not_before_ms === null || grant.not_before_ms <= nowMs) &&
      (grant.not_after_ms === null || nowMs < grant.not_after_ms),
  );
  return covering?.grant_id;
}
