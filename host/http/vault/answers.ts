import { taskClass, usageScope } from "#protocol";
import { z } from "zod";

/** A list that nobody adds to. */
function listOf<T>(item: z.ZodType<T>) {
  return z.array(item).readonly();
}

const size = z.number();
const micro = z.number();
const timeMs = z.number();
const text = z.string();
const rootHex = z.string();
const textOrNull = z.string().nullable();

/** A row that an ingest left out: where it is, and what was expected there. */
export const quarantinedSchema = z.object({ line: z.number(), column: textOrNull, expected: text });

/** What an ingest did. */
export const ingestReportSchema = z.object({
  ...{ ingest_id: text, record_scope: text },
  ...{ records: size, batches: size, quarantined: size },
  first_quarantined: listOf(quarantinedSchema),
});

/** What became of a source that was published before; null for one that was not. */
export const publishedSchema = z.object({ published: ingestReportSchema.nullable() });

/** Open ingests, oldest first, and the last published ones, newest first. */
export const ingestsSchema = z.object({
  open: listOf(
    z.object({
      ...{ ingest_id: text, record_scope: text, source_name: text },
      state: z.enum(["running", "interrupted", "publishing"]),
      staged: z.object({ rows: size, records: size, batches: size, bytes: size }),
      progress: z
        .object({ rows: size, records: size, quarantined: size, bytes: size, rowsPerSecond: size })
        .nullable(),
      ...{ created_ms: timeMs, touched_ms: timeMs },
    }),
  ),
  published: listOf(ingestReportSchema),
});

/** A page of record commitments; `next` is null after the last. */
export const recordsSchema = z.object({
  records: listOf(z.object({ commitment: text, batch_id: text, row: size })),
  next: textOrNull,
});

/** A page of grants, ascending by identifier; `next` is null after the last. */
export const grantsAnswer = z.object({
  grants: listOf(
    z.object({
      ...{ grant_id: text, actor_id: text, task_class: taskClass, domain_id: text },
      ...{ record_scope: textOrNull, usage_scope: usageScope.nullable() },
      ...{ not_before_ms: timeMs.nullable(), not_after_ms: timeMs.nullable() },
      ...{ created_ms: timeMs, revoked_ms: timeMs.nullable() },
      revoked_reason: textOrNull,
      state: z.enum(["in_force", "not_yet", "ended", "revoked"]),
    }),
  ),
  next: textOrNull,
});

/** A page of the log, with what links its events. */
export const auditAnswer = z.object({
  log: z.object({ origin: text, size, root: rootHex }),
  entries: listOf(
    z.object({
      ...{ sequence: size, type: text, time_ms: timeMs, task_id: textOrNull },
      ...{ grant_id: textOrNull, actor_id: textOrNull, record_scope: textOrNull },
      ...{ usage_scope: textOrNull, reservation_id: textOrNull, digest: text },
      body: z.unknown(),
      proof: listOf(text).nullable(),
    }),
  ),
  next: size.nullable(),
});

/** What came of judging every authorization again. */
export const replayAnswer = z.object({
  ...{ events: size, decisions: size, differences: size },
  listed: listOf(
    z.object({
      ...{ sequence: size, type: text, task_id: textOrNull, decided: textOrNull },
      covering: listOf(text),
    }),
  ),
});

/** A backup and how it stands. */
export const backupAnswer = z.object({
  backup_id: text,
  state: z.enum(["making", "whole", "outstanding", "destroyed"]),
  ...{ directory: text, keys_directory: text, created_ms: timeMs, log_size: size, bytes: size },
  expired_ms: timeMs.nullable(),
  destroyed_by: z.enum(["vault", "operator"]).nullable(),
});

/** See {@link backupAnswer}. */
export const backupsAnswer = listOf(backupAnswer);

/** How far an import of consents is. */
export const importAnswer = z.object({
  ...{ import_id: text, rows: size, repeated: size, complete: z.boolean() },
  faults: listOf(quarantinedSchema),
});

/** What one subject consented to, and what used it. */
export const subjectTrailAnswer = z.object({
  known: z.boolean(),
  consents: listOf(z.object({ usage_scope: text, state: text })),
  decisions: listOf(
    z.object({ usage_scope: text, state: text, expires_ms: timeMs.nullable(), at_ms: timeMs }),
  ),
  uses: listOf(
    z.object({
      ...{ task_id: text, reservation_id: text, record_scope: text, usage_scope: text },
      ...{ epsilon_micro: micro, at_ms: timeMs },
    }),
  ),
  next: z.object({ after_consent: size, after_use: size }).nullable(),
});

/** How long work stands. */
export const jobStateAnswer = z.object({
  state: z.enum(["running", "done", "failed"]),
  ...{ done: size, total: size, report: z.unknown(), code: textOrNull, message: textOrNull },
});

/** Whether a task can be executed again from its sealed inputs. */
export const replayableAnswer = z.object({
  task_id: text,
  replay: z.enum(["replayable", "unreplayable: erased"]),
});

/** Lines of the privacy budget's ledger. */
export const ledgerAnswer = listOf(
  z.object({
    ...{ position: size, kind: text, reservation_id: text, task_id: text, record_scope: text },
    ...{ usage_scope: text, round: size.nullable(), epsilon_micro: micro, privacy_class: size },
    ...{ epoch_id: size.nullable(), at_ms: timeMs, flagged: z.boolean() },
  }),
);

/** Why requests were declined. */
export const declinesAnswer = listOf(
  z.object({
    ...{ position: size, request_digest: text, task_id: text, actor_id: text, task_class: text },
    ...{ record_scope: text, usage_scope: text, epsilon_micro: micro, reason: text },
    ...{ subjects: size, exhausted: size, frozen: size, set_digest: text, at_ms: timeMs },
  }),
);

/** One subject's balances, and what consumed them. */
export const subjectStatementAnswer = z.object({
  balances: listOf(z.object({ usage_scope: text, consumed_micro: micro, reserved_micro: micro })),
  lines: listOf(
    z.object({
      ...{ position: size, reservation_id: text, task_id: text, record_scope: text },
      ...{ usage_scope: text, privacy_class: size },
      state: z.enum(["reserved", "executing", "committed", "released"]),
      ...{ reserved_micro: micro, consumed_micro: micro, epoch_id: size.nullable() },
      ...{ reserved_ms: timeMs, ended_ms: timeMs.nullable(), flagged: z.boolean() },
    }),
  ),
  next: size.nullable(),
});

/** What would come of a request, as this Vault would judge it. */
export const vaultDryRunAnswer = z.object({
  outcome: z.enum(["admitted", "declined", "refused"]),
  ...{ code: textOrNull, reason: textOrNull, message: textOrNull, governance_size: size },
  cost: z
    .object({
      ...{ price_micro: micro, charged_micro: micro, rounds: size, allowance_micro: micro },
      ...{ privacy_class: size, grant_id: textOrNull, records: size, subjects: size },
      ...{ exhausted: size, frozen: size },
    })
    .nullable(),
});

const headSchema = z.object({ size, root: rootHex });

/** How the Vault stands with its witnesses. */
export const witnessAnswer = z.object({
  standing: z.enum(["unconfirmed", "confirmed", "frozen"]),
  frozen: z
    .object({
      reason: z.enum(["behind", "forked", "restarted", "restored"]),
      ...{ held_size: size, held_root: rootHex, at_ms: timeMs },
    })
    .nullable(),
  ...{ log_size: size, cosigned_size: size.nullable(), restarts: size },
  held_by: listOf(z.object({ vault_id: text, size })),
  forks: listOf(
    z.looseObject({ vault_id: text, generation: size, held: headSchema, other: headSchema }),
  ),
  restarts_of_others: listOf(z.looseObject({ vault_id: text, generation: size })),
});

/** What a thaw gave up. */
export const thawedAnswer = z.object({ generation: size, abandoned_size: size, log_size: size });

/** How the Vault stands. Of a budget, the most that any one subject has consumed and reserved. */
export const statusAnswer = z.object({
  ...{ vault_id: text, records: size, batches: size, batches_set_aside: size, subjects: size },
  consents: listOf(z.object({ usageScope: text, granted: size })),
  budgets: listOf(
    z.object({
      ...{ usageScope: text, subjects: size, consumedMaxMicro: micro, reservedMaxMicro: micro },
      ...{ frozen: size, writtenOffMicro: micro },
    }),
  ),
  reservations: z.object({ reserved: size, executing: size }),
  ...{ flagged: size, exhausted_sets: size, open_ingests: size, grants: size },
  witness: witnessAnswer,
  log: headSchema,
});
