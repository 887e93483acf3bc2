import {
  VerificationError,
  columnAttribute,
  columnsOfScope,
  commitRecord,
  equalBytes,
  recordAt,
  type CanonicalRecord,
  type OpenedBatch,
  type ParseParameters,
  type ParsedReceipt,
} from "#protocol";

import { parseReceiptImage, type Ocr } from "../../workloads/parse/index.ts";
import { consentUnavailable, type OpenedInputs } from "../inputs.ts";
import type { VerifiedTask } from "../task.ts";

/**
 * Reads the receipt on the one record that the task names by its commitment (VR-1).
 *
 * The commitment is computed again from the opened record, so that the output is linked to exactly these bytes.
 *
 * @throws {@link VerificationError} EXECUTION_INPUT_MISMATCH when no opened record has the commitment, or the scope
 *   has not exactly one attribute for a document
 * @throws {@link RefusedError} CONSENT_UNAVAILABLE when its subject does not consent
 * @throws {@link MalformedError} SCHEMA_IMAGE_MALFORMED
 * @throws {@link LimitError} SCHEMA_TOO_LARGE
 */
export async function parseSlice(args: {
  readonly task: VerifiedTask;
  readonly inputs: OpenedInputs;
  readonly parameters: ParseParameters;
  readonly startOcr: () => Promise<Ocr>;
}): Promise<ParsedReceipt> {
  const { task, inputs, parameters } = args;
  const found = findRecord(inputs, parameters.record_commitment);
  if (found === null) throw inputMismatch("the record of this commitment");
  if (inputs.usable[found.row] !== 1) throw consentUnavailable();
  const image = documentOf(found.record, task);
  return parseReceiptImage(await args.startOcr(), image);
}

function findRecord(
  { batches }: OpenedInputs,
  commitment: Uint8Array,
): { readonly record: CanonicalRecord; readonly row: number } | null {
  let first = 0;
  for (const batch of batches) {
    const index = indexOf(batch, commitment);
    if (index >= 0) return { record: recordAt(batch, index), row: first + index };
    first += batch.header.record_count;
  }
  return null;
}

function indexOf(batch: OpenedBatch, commitment: Uint8Array): number {
  return batch.subjectIds.findIndex(
    (_, index) =>
      !batch.erased.has(index) && equalBytes(commitRecord(recordAt(batch, index)), commitment),
  );
}

/** The scope's one attribute of bytes: a document to read. */
function documentOf(record: CanonicalRecord, { scope, state }: VerifiedTask): Uint8Array {
  const [name, ...others] = columnsOfScope(scope)
    .filter((column) => columnAttribute(state.semantics, column)?.type === "bytes")
    .map((column) => column.attribute_id);
  const value = name === undefined ? null : (record.attributes[name] ?? null);
  if (others.length > 0 || !(value instanceof Uint8Array)) {
    throw inputMismatch("a scope with one attribute for a document");
  }
  return value;
}

function inputMismatch(expected: string): VerificationError {
  return new VerificationError(
    { code: "EXECUTION_INPUT_MISMATCH", expected },
    `parse: expected ${expected}, got none`,
  );
}
