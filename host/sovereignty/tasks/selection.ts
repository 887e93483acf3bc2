import { RefusedError, inputCommitment, type GovernanceState, type TaskRequest } from "#protocol";

import { ordinalsOf, setBit, subjectSetOf } from "../ledger/subject-set.ts";
import { findRecord, type Writing } from "../queries.ts";
import type { VaultContext } from "../vault-context.ts";
import { BATCHES_MAX, BITMAP_BYTES_MAX } from "./decision-plan.ts";
import { selectScope, type ScopeSelection } from "./scope-selections.ts";

/** Why the records of a request are not enough to run it on. */
export type SelectionFault =
  "record_unknown" | "consent_missing" | "too_few_subjects" | "too_many_records";

/** The input of a task: batches in order, whose rows may be used, and the subjects behind those. */
export interface Selection extends ScopeSelection {
  /** Null when they are enough. */
  readonly fault: SelectionFault | null;
}

/** What a selection depends on, besides the Vault's own records and consents. */
export interface SelectionTerms {
  readonly request: Pick<TaskRequest, "parameters" | "record_scope" | "usage_scope">;
  readonly governance: GovernanceState;
  readonly nowMs: number;
}

/**
 * The records that a request may use: those of all consenting subjects of its record scope, before any predicate; for
 * `parse`, the one it names.
 *
 * @throws {@link RefusedError} POLICY_LIMIT_EXCEEDED for a record scope that no sealed order can carry.
 */
export async function select(
  context: VaultContext,
  trx: Writing,
  args: SelectionTerms,
): Promise<Selection> {
  const { request, nowMs } = args;
  const { parameters, record_scope: recordScope, usage_scope: usageScope } = request;
  if (parameters.task_class === "parse") {
    const found = await findRecord(trx, recordScope, parameters.record_commitment);
    return selectRecord(found, context.books.consents.isGranted(usageScope, nowMs));
  }
  const selection = await selectScope(context, trx, {
    ...{ recordScope, usageScope, nowMs },
    require: (batches, records) => {
      if (batches.length > BATCHES_MAX || records > BITMAP_BYTES_MAX * 8)
        throw tooMuch(recordScope);
    },
  });
  return { ...selection, fault: faultOf(selection, args) };
}

function faultOf(
  { records, subjects }: ScopeSelection,
  { request, governance }: SelectionTerms,
): SelectionFault | null {
  const { classes, privacy } = governance.policy;
  // An enclave pads its output to the class' bound, so more rows than that could not run.
  if (records > classes[request.parameters.task_class].rows_max) return "too_many_records";
  if (subjects.size === 0) return "consent_missing";
  return subjects.size < privacy.minimum_local_cardinality ? "too_few_subjects" : null;
}

function selectRecord(
  found: Awaited<ReturnType<typeof findRecord>>,
  isGranted: (ordinal: number) => boolean,
): Selection {
  const none: Omit<Selection, "fault"> = {
    batches: [],
    records: 0,
    bitmap: new Uint8Array(0),
    subjects: subjectSetOf([]),
    inputCommitment: inputCommitment([]),
  };
  if (found === undefined) return { ...none, fault: "record_unknown" };
  const { batch, row } = found;
  const ordinal = ordinalsOf(batch.ordinals)[row];
  if (ordinal === undefined || !isGranted(ordinal)) return { ...none, fault: "consent_missing" };
  const bitmap = new Uint8Array(Math.ceil(batch.record_count / 8));
  setBit(bitmap, row);
  return {
    batches: [batch],
    records: 1,
    bitmap,
    subjects: subjectSetOf([ordinal]),
    inputCommitment: inputCommitment([batch.root]),
    fault: null,
  };
}

function tooMuch(recordScope: string): RefusedError {
  return new RefusedError(
    { code: "POLICY_LIMIT_EXCEEDED", record_scope: recordScope },
    `record scope ${recordScope}: expected at most ${BATCHES_MAX} batches and ${BITMAP_BYTES_MAX * 8} records`,
  );
}
