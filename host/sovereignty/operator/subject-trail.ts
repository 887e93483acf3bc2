import { consentPurpose, type ConsentPurpose } from "#protocol";

import type { ConsentState } from "../consent/consent.ts";
import { decodeSubjectSet } from "../ledger/subject-set.ts";
import type { Reading } from "../queries.ts";
import type { VaultContext } from "../vault-context.ts";

/** Sets of subjects that one page reads, of decisions and of reservations. */
export const SUBJECT_TRAIL_PAGE_MAX = 200;

/** From where on: positions of the page before, 0 for the first. */
export interface SubjectTrailPage {
  readonly afterConsent: number;
  readonly afterUse: number;
}

/** A consent decision that names the subject. */
export interface SubjectDecision {
  readonly usage_scope: string;
  readonly state: string;
  readonly expires_ms: number | null;
  readonly at_ms: number;
}

/** A task that reserved budget of the subject. */
export interface SubjectUse {
  readonly task_id: string;
  readonly reservation_id: string;
  readonly record_scope: string;
  readonly usage_scope: string;
  readonly epsilon_micro: number;
  readonly at_ms: number;
}

/** See {@link subjectTrail}. */
export interface SubjectTrail {
  readonly known: boolean;
  /** How each purpose stands now. */
  readonly consents: readonly {
    readonly usage_scope: ConsentPurpose;
    readonly state: ConsentState;
  }[];
  readonly decisions: readonly SubjectDecision[];
  readonly uses: readonly SubjectUse[];
  /** What to continue after; null when this was the last page. Pages may be empty before the last. */
  readonly next: { readonly after_consent: number; readonly after_use: number } | null;
}

/**
 * What the Vault knows of one subject's consents, and which tasks used their records, oldest first (DS-6). Each page
 * reads at most {@link SUBJECT_TRAIL_PAGE_MAX} sets of subjects. The events of a task are in the audit trail.
 *
 * @param subject - The operator's own value of the subject attribute. It is hashed here and kept nowhere.
 */
export async function subjectTrail(
  { store, secrets, books, nowMs }: VaultContext,
  subject: string,
  { afterConsent, afterUse }: SubjectTrailPage,
): Promise<SubjectTrail> {
  const row = await store.db
    .selectFrom("subject")
    .select("ordinal")
    .where("subject_id", "=", secrets.subjectId(subject))
    .executeTakeFirst();
  if (row === undefined) {
    return { known: false, consents: [], decisions: [], uses: [], next: null };
  }
  const { ordinal } = row;
  const atMs = nowMs();
  const decisions = await decisionsAfter(store.db, afterConsent);
  const uses = await usesAfter(store.db, afterUse);
  const more = Math.max(decisions.length, uses.length) >= SUBJECT_TRAIL_PAGE_MAX;
  const has = (set: Uint8Array): boolean => decodeSubjectSet(set).has(ordinal);
  return {
    known: true,
    consents: consentPurpose.options.map((usage_scope) => ({
      usage_scope,
      state: books.consents.stateOf(usage_scope, ordinal, atMs),
    })),
    decisions: decisions
      .filter(({ subjects }) => has(subjects))
      .map(({ usage_scope, state, expires_ms, at_ms }) => ({
        ...{ usage_scope, state, expires_ms, at_ms },
      })),
    uses: uses
      .filter(({ subjects }) => has(subjects))
      .map(({ task_id, reservation_id, record_scope, usage_scope, epsilon_micro, at_ms }) => ({
        ...{ task_id, reservation_id, record_scope, usage_scope, epsilon_micro, at_ms },
      })),
    next: more
      ? {
          after_consent: decisions.at(-1)?.position ?? afterConsent,
          after_use: uses.at(-1)?.position ?? afterUse,
        }
      : null,
  };
}

async function decisionsAfter(db: Reading, after: number) {
  return await db
    .selectFrom("consent_event")
    .selectAll()
    .where("position", ">", after)
    .orderBy("position")
    .limit(SUBJECT_TRAIL_PAGE_MAX)
    .execute();
}

async function usesAfter(db: Reading, after: number) {
  return await db
    .selectFrom("ledger")
    .innerJoin("subject_set", "subject_set.digest", "ledger.set_digest")
    .select(["ledger.position", "ledger.task_id", "ledger.reservation_id", "ledger.record_scope"])
    .select(["ledger.usage_scope", "ledger.epsilon_micro", "ledger.at_ms", "subject_set.subjects"])
    .where("ledger.position", ">", after)
    .where("ledger.kind", "=", "reserve")
    .orderBy("ledger.position")
    .limit(SUBJECT_TRAIL_PAGE_MAX)
    .execute();
}
