import { RefusedError, type GovernanceState, type TaskRequest } from "#protocol";

import { ordinalsOf, setBit, subjectSetOf, type SubjectSet } from "../ledger/subject-set.ts";
import { batchesOf, findRecord, type StoredBatch, type Writing } from "../queries.ts";
import type { VaultContext } from "../vault-context.ts";
import { BATCHES_MAX, BITMAP_BYTES_MAX } from "./decision-plan.ts";

/** Why the records of a request are not enough to run it on. */
export type SelectionFault =
  "record_unknown" | "consent_missing" | "too_few_subjects" | "too_many_records";

/** The input of a task: batches in order, whose rows may be used, and the subjects behind those. */
export interface Selection {
  readonly batches: readonly StoredBatch[];
  readonly bitmap: Uint8Array;
  readonly subjects: SubjectSet;
  readonly records: number;
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
  const { parameters, record_scope, usage_scope } = args.request;
  const isGranted = (ordinal: number): boolean =>
    context.books.consents.stateOf(usage_scope, ordinal, args.nowMs) === "granted";
  if (parameters.task_class === "parse") {
    return selectRecord(
      await findRecord(trx, record_scope, parameters.record_commitment),
      isGranted,
    );
  }
  const batches = await batchesOf(trx, record_scope);
  const records = batches.reduce((sum, batch) => sum + batch.record_count, 0);
  const bitmap = new Uint8Array(Math.ceil(records / 8));
  if (batches.length > BATCHES_MAX || bitmap.length > BITMAP_BYTES_MAX) throw tooMuch(record_scope);
  const consenting = new Set<number>();
  let row = 0;
  for (const batch of batches) {
    for (const ordinal of ordinalsOf(batch.ordinals)) {
      if (isGranted(ordinal)) {
        setBit(bitmap, row);
        consenting.add(ordinal);
      }
      row += 1;
    }
  }
  const subjects = subjectSetOf(consenting);
  const fault = faultOf({ records, subjects: subjects.size }, args);
  return { batches, bitmap, subjects, records, fault };
}

function faultOf(
  { records, subjects }: { readonly records: number; readonly subjects: number },
  { request, governance }: SelectionTerms,
): SelectionFault | null {
  const { classes, privacy } = governance.policy;
  // An enclave pads its output to the class' bound, so more rows than that could not run.
  if (records > classes[request.parameters.task_class].rows_max) return "too_many_records";
  if (subjects === 0) return "consent_missing";
  return subjects < privacy.minimum_local_cardinality ? "too_few_subjects" : null;
}

function selectRecord(
  found: { readonly batch: StoredBatch; readonly row: number } | undefined,
  isGranted: (ordinal: number) => boolean,
): Selection {
  const none = { batches: [], bitmap: new Uint8Array(0), subjects: subjectSetOf([]), records: 0 };
  if (found === undefined) return { ...none, fault: "record_unknown" };
  const { batch, row } = found;
  const ordinal = ordinalsOf(batch.ordinals)[row];
  if (ordinal === undefined || !isGranted(ordinal)) return { ...none, fault: "consent_missing" };
  const bitmap = new Uint8Array(Math.ceil(batch.record_count / 8));
  setBit(bitmap, row);
  return { batches: [batch], bitmap, subjects: subjectSetOf([ordinal]), records: 1, fault: null };
}

function tooMuch(recordScope: string): RefusedError {
  return new RefusedError(
    { code: "POLICY_LIMIT_EXCEEDED", record_scope: recordScope },
    `record scope ${recordScope}: expected at most ${BATCHES_MAX} batches and ${BITMAP_BYTES_MAX * 8} records`,
  );
}
