import { z } from "zod";

import { RefusedError } from "../errors.ts";
import { bytes32, identifier, microEpsilon, natural } from "../fields.ts";
import { defineObject } from "../object.ts";
import { localTypeSchema, mappingSignalSchema } from "./local-attributes.ts";
import type { GovernanceState } from "../governance/governance-state.ts";

/** Epochs of a regular aggregation window, and of one of a domain that policy lists as highly active (LA-2). */
const WINDOW_EPOCHS = 10;
const ACTIVE_WINDOW_EPOCHS = 5;
/** Epochs of any window: no pool remembers more. */
export const WINDOW_EPOCHS_MAX = 64;

/** Epochs that a candidate is about, both ends in. All of them have ended. */
export const candidateWindowSchema = z.strictObject({ first_epoch: natural, last_epoch: natural });
export type CandidateWindow = z.infer<typeof candidateWindowSchema>;

/** The approved proposal that registers the attribute lets its candidates have another window. 64 hex digits. */
export const exceptionSchema = z.string().regex(/^[0-9a-f]{64}$/);

/**
 * What one Vault says of one of its columns, for an attribute that its operator suggests (LA-2): noised counts, and how
 * the column's name and type stand to attributes of the domain. Neither a value nor the name of the column.
 */
export const localAttributeCandidateSchema = z.strictObject({
  genesis_digest: bytes32,
  vault_id: identifier,
  domain_id: identifier,
  /** What the operator suggests to call the attribute. */
  attribute_id: identifier,
  /** Tells the Vault's columns apart; says nothing of their names. */
  local_id: identifier,
  /** The registry that `signals` are about. */
  semantic_version: identifier,
  window: candidateWindowSchema,
  /** By noised counts of values. */
  type: localTypeSchema,
  /** Rows of the sources that had the column, with discrete Laplace noise, in the epochs that had enough of them. */
  noised_rows: natural,
  /** In how many epochs of the window there were enough. */
  epochs_present: natural,
  /** What one row contributed to all of this, at most. */
  epsilon_micro: microEpsilon,
  signals: z.array(mappingSignalSchema).max(8),
});
export type LocalAttributeCandidate = z.infer<typeof localAttributeCandidateSchema>;

export const LOCAL_ATTRIBUTE_CANDIDATE = defineObject(
  "local-attribute-candidate",
  localAttributeCandidateSchema,
  8192,
);

/** What a candidate is for, and on which authority. */
export interface CandidateSubject {
  readonly domainId: string;
  readonly attributeId: string;
  /** See {@link exceptionSchema}; null without. */
  readonly exception: string | null;
}

/** How many epochs the windows of a domain have. */
export function windowEpochs(
  { policy }: Pick<GovernanceState, "policy">,
  domainId: string,
): number {
  const { high_activity_domains: active } = policy.semantics.local_attributes;
  return active.includes(domainId) ? ACTIVE_WINDOW_EPOCHS : WINDOW_EPOCHS;
}

/** How many epochs a window has. */
export function windowEpochsOf({ first_epoch, last_epoch }: CandidateWindow): number {
  return last_epoch - first_epoch + 1;
}

/** The last regular window that has ended. @throws {@link RefusedError} DERIVATION_CANDIDATE_REFUSED before the first */
export function lastWindow(governance: GovernanceState, domainId: string): CandidateWindow {
  const length = windowEpochs(governance, domainId);
  const end = Math.floor(governance.epoch.epochId / length) * length;
  if (end === 0) throw refused("window", `an epoch ${length} or later`, governance.epoch.epochId);
  return { first_epoch: end - length, last_epoch: end - 1 };
}

/**
 * Refuses a window that has not ended, and one that is not a regular one of the domain unless governance has approved the
 * attribute itself outside of them.
 *
 * @throws {@link RefusedError} DERIVATION_CANDIDATE_REFUSED
 */
export function requireWindow(
  governance: GovernanceState,
  window: CandidateWindow,
  subject: CandidateSubject,
): void {
  const { first_epoch: first, last_epoch: last } = window;
  const count = windowEpochsOf(window);
  if (count < 1 || count > WINDOW_EPOCHS_MAX || last >= governance.epoch.epochId) {
    throw refused("window", "epochs that have ended, 64 at most", `${first} to ${last}`);
  }
  const length = windowEpochs(governance, subject.domainId);
  if (subject.exception === null) {
    if (count === length && first % length === 0) return;
    throw refused("window", `${length} epochs from a multiple of ${length}`, `${first} to ${last}`);
  }
  if (!isExcepted(governance, subject)) {
    throw refused("exception", "an approved proposal that registers the attribute", "another");
  }
}

/** Whether `exception` names an approved proposal whose registration adds exactly this attribute. */
function isExcepted(
  { proposals }: GovernanceState,
  { domainId, attributeId, exception }: CandidateSubject,
): boolean {
  const proposal = proposals.get(exception ?? "");
  if (proposal?.outcome !== "approved" || proposal.decision.type !== "semantics_registered") {
    return false;
  }
  return proposal.decision.registration.attributes.some(
    (each) => each.domain_id === domainId && each.attribute_id === attributeId,
  );
}

function refused(field: string, expected: string, actual: string | number): RefusedError {
  return new RefusedError(
    { code: "DERIVATION_CANDIDATE_REFUSED", field, expected },
    `${field}: expected ${expected}, got ${actual}`,
  );
}
