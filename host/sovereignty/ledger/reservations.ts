import { ConflictError, usageScope, type UsageScope } from "#protocol";

import type { LedgerNote } from "./books.ts";
import type { Reservation } from "./open-reservations.ts";
import type { SubjectSet } from "./subject-set.ts";
import type { Writing } from "../queries.ts";
import type { VaultContext } from "../vault-context.ts";

/** Why a reservation ended. */
export type EndReason = "settled" | "aborted" | "expired" | "deadline";

/** Where the log stood after an entry. */
export interface LogPosition {
  readonly root: Uint8Array;
  readonly size: number;
}

/** What reservations need of a Vault. */
export type LedgerContext = Pick<VaultContext, "books" | "log" | "nowMs">;

/**
 * Reserves budget of every one of `subjects`, with its event. The caller has asked the ledger, in the same write, that
 * it fits (PB-2).
 */
export async function reserveBudget(
  context: LedgerContext,
  trx: Writing,
  args: {
    readonly reservationId: string;
    readonly taskId: string;
    readonly recordScope: string;
    readonly usageScope: UsageScope;
    readonly privacyClass: number;
    readonly subjects: SubjectSet;
    readonly epsilonMicro: number;
    readonly expiresMs: number;
    readonly consentCommitment: Uint8Array;
    readonly inputCommitment: Uint8Array;
  },
): Promise<LogPosition> {
  const { reservationId, recordScope, usageScope: scope, privacyClass, subjects } = args;
  const { epsilonMicro, expiresMs, taskId } = args;
  await context.books.enter(
    trx,
    {
      kind: "reserve",
      reservationId,
      usageScope: scope,
      recordScope,
      subjects,
      epsilonMicro,
      expiresMs,
    },
    { taskId, recordScope, usageScope: scope, privacyClass, epochId: null, atMs: context.nowMs() },
  );
  return await context.log.append(trx, {
    type: "budget.reserved",
    taskId,
    body: {
      reservation_id: reservationId,
      record_scope: recordScope,
      usage_scope: scope,
      privacy_class: privacyClass,
      epsilon_micro: epsilonMicro,
      consent_commitment: args.consentCommitment,
      input_commitment: args.inputCommitment,
      expires_ms: expiresMs,
    },
  });
}

/** Gives a reservation back that never executed (PB-4). */
export async function releaseReservation(
  context: LedgerContext,
  trx: Writing,
  args: { readonly reservationId: string; readonly reason: EndReason },
): Promise<LogPosition> {
  const { reservationId, reason } = args;
  const note = await noteOf(context, trx, { reservationId, epochId: null });
  await context.books.enter(trx, { kind: "release", reservationId }, note);
  return await context.log.append(trx, {
    type: "budget.released",
    taskId: note.taskId,
    body: { reservation_id: reservationId, reason },
  });
}

/** Commits what an executing reservation consumed; nothing undoes it (PB-3, PB-5). */
export async function commitReservation(
  context: LedgerContext,
  trx: Writing,
  args: {
    readonly reservationId: string;
    readonly reason: EndReason;
    readonly epsilonMicro: number;
    readonly epochId: number | null;
    readonly flagged: boolean;
  },
): Promise<LogPosition> {
  const { reservationId, reason, epsilonMicro, epochId, flagged } = args;
  const note = await noteOf(context, trx, { reservationId, epochId });
  await context.books.enter(trx, { kind: "commit", reservationId, epsilonMicro }, note);
  return await context.log.append(trx, {
    type: "budget.committed",
    taskId: note.taskId,
    body: {
      reservation_id: reservationId,
      record_scope: note.recordScope,
      usage_scope: note.usageScope,
      privacy_class: note.privacyClass,
      epsilon_micro: epsilonMicro,
      epoch_id: epochId,
      flagged,
      reason,
    },
  });
}

/** What the rounds of a reservation that have begun were estimated at. */
export function estimateMicro({ executed }: Reservation): number {
  return [...executed.values()].reduce((sum, epsilon) => sum + epsilon, 0);
}

/**
 * Ends what time has ended: releases reservations that expired without executing, commits the estimate of executing
 * ones whose settlement did not come. Every admission begins with it.
 */
export async function endOverdue(context: LedgerContext, trx: Writing): Promise<void> {
  const { ledger } = context.books;
  const nowMs = context.nowMs();
  for (let due = ledger.overdue(nowMs); due !== undefined; due = ledger.overdue(nowMs)) {
    const { reservationId } = due;
    if (due.state === "reserved") {
      await releaseReservation(context, trx, { reservationId, reason: "expired" });
      continue;
    }
    await commitReservation(context, trx, {
      reservationId,
      reason: "deadline",
      epsilonMicro: estimateMicro(due),
      epochId: null,
      flagged: false,
    });
  }
}

/** What a later entry of a reservation repeats of its first. */
export async function noteOf(
  context: LedgerContext,
  trx: Writing,
  args: { readonly reservationId: string; readonly epochId: number | null },
): Promise<LedgerNote> {
  const first = await trx
    .selectFrom("ledger")
    .select(["task_id", "record_scope", "usage_scope", "privacy_class"])
    .where("reservation_id", "=", args.reservationId)
    .where("kind", "=", "reserve")
    .executeTakeFirst();
  if (first === undefined) {
    throw new ConflictError(
      { code: "PRIVACY_BUDGET_UNKNOWN_RESERVATION", reservation_id: args.reservationId },
      `reservation ${args.reservationId}: expected one of this ledger`,
    );
  }
  return {
    taskId: first.task_id,
    recordScope: first.record_scope,
    usageScope: usageScope.parse(first.usage_scope),
    privacyClass: first.privacy_class,
    epochId: args.epochId,
    atMs: context.nowMs(),
  };
}
