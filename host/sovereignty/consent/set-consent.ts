import { LimitError, unixMs, type ConsentPurpose } from "#protocol";

import type { ConsentDecision } from "./consent.ts";
import { allocateOrdinals } from "../ledger/queries.ts";
import { subjectCount } from "../queries.ts";
import { firstSubjects, subjectSetOf } from "../ledger/subject-set.ts";
import type { VaultContext } from "../vault-context.ts";

/** Consent of some subjects for one purpose. */
export interface ConsentChange {
  readonly usageScope: ConsentPurpose;
  /** Every subject that the Vault knows now, or those with these values of the subject attribute. */
  readonly subjects: "all-known" | readonly string[];
  readonly decision: ConsentDecision;
}

/** Subjects that one call may name. */
export const CONSENT_SUBJECTS_MAX = 100_000;

/**
 * Records a consent decision (CO-1, CO-2). Withdrawal blocks new admission and freezes the subjects' budget for the
 * purpose; it does not stop what was dispatched. A subject may be named before there is a record of theirs.
 *
 * The event in the log carries a keyed commitment to the subjects, not the subjects (CO-3).
 *
 * @returns How many subjects the decision is about.
 * @throws {@link LimitError} SCHEMA_TOO_LARGE above {@link CONSENT_SUBJECTS_MAX} named subjects.
 */
export async function setConsent(
  context: VaultContext,
  change: ConsentChange,
): Promise<{ readonly subjects: number }> {
  const { usageScope, subjects: named, decision } = change;
  if (named !== "all-known" && named.length > CONSENT_SUBJECTS_MAX) {
    throw new LimitError(
      { code: "SCHEMA_TOO_LARGE", max: CONSENT_SUBJECTS_MAX, actual: named.length },
      `subjects: expected at most ${CONSENT_SUBJECTS_MAX}, got ${named.length}`,
    );
  }
  if (decision.state === "granted" && decision.expiresMs !== null) unixMs.parse(decision.expiresMs);
  const { store, books, log, secrets, nowMs } = context;
  return await store.write(async (trx) => {
    const subjects =
      named === "all-known"
        ? firstSubjects(await subjectCount(trx))
        : subjectSetOf(
            await allocateOrdinals(
              trx,
              Buffer.concat(named.map((name) => secrets.subjectId(name))),
            ),
          );
    if (subjects.size === 0) return { subjects: 0 };
    await books.consent(trx, { purpose: usageScope, subjects, decision, atMs: nowMs() });
    await log.append(trx, {
      type: `consent.${decision.state}`,
      taskId: null,
      body: {
        usage_scope: usageScope,
        expires_ms: decision.state === "granted" ? decision.expiresMs : null,
        subjects: secrets.subjectSetCommitment(subjects.encoded),
      },
    });
    return { subjects: subjects.size };
  });
}
