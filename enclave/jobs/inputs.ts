import {
  LimitError,
  MalformedError,
  RefusedError,
  VerificationError,
  batchWrapInfo,
  columnAttribute,
  columnOfVault,
  columnsOfScope,
  decryptOnce,
  equalBytes,
  hex,
  hmacSha256,
  inputCommitment,
  openBatch,
  parseBatchHeader,
  type AttributeValue,
  type BatchHeader,
  type CanonicalAttribute,
  type OpenedBatch,
  type SealedOrder,
  type WorkOrder,
} from "#protocol";

import type { BootedEnclave } from "../boot.ts";
import type { VerifiedTask } from "./task.ts";

/** The data of one Vault as its host hands it over: stored batches and keys that only this enclave can use. */
export interface PresentedInputs {
  readonly batches: readonly Uint8Array[];
  readonly batchKeys: readonly { readonly batch_id: Uint8Array; readonly cms: Uint8Array }[];
  readonly sealedOrder: SealedOrder;
  readonly order: WorkOrder;
}

/** A Vault's batches, still sealed, held against its order, and the keys that open them. */
export interface VerifiedInputs {
  readonly batches: readonly {
    readonly header: BatchHeader;
    readonly bytes: Uint8Array;
    readonly dataKey: Uint8Array;
  }[];
  /** Bit for each row: whether its subject consents; bit 0 is the lowest of byte 0. */
  readonly consent: Uint8Array;
}

/** Opened batches, and for each row whether its subject consents; rows run over the batches in order. */
export interface OpenedInputs {
  readonly batches: readonly OpenedBatch[];
  /** 1 for a row whose subject consents and that is not erased. */
  readonly usable: Uint8Array;
}

/** The rows a workload may see, by attribute; consenting and not erased. */
export interface InputRows {
  readonly rows: number;
  readonly columns: ReadonlyMap<string, readonly AttributeValue[]>;
  /** Pseudonym of each row's subject, lower-case hex. */
  readonly subjects: readonly string[];
}

/**
 * Holds a Vault's batches against the order without opening one: roots, consent bitmap, keys.
 *
 * @throws {@link VerificationError} EXECUTION_INPUT_MISMATCH for other batches, PROOF_COMMITMENT_MISMATCH for another
 *   consent, INTERNAL_OPEN_FAILED for keys that do not open
 * @throws {@link MalformedError} SCHEMA_BATCH_MALFORMED
 */
export function verifyInputs(enclave: BootedEnclave, presented: PresentedInputs): VerifiedInputs {
  const headers = presented.batches.map(parseBatchHeader);
  const root = inputCommitment(headers.map((header) => header.record_root));
  if (!equalBytes(root, presented.order.input_commitment)) throw inputMismatch("committed batches");
  const rows = headers.reduce((sum, header) => sum + header.record_count, 0);
  const consent = verifyConsent(presented, rows);
  const batches = headers.map((header, index) => ({
    header,
    bytes: presented.batches[index] ?? new Uint8Array(0),
    dataKey: dataKeyOf(enclave, presented, header.batch_id),
  }));
  return { batches, consent };
}

/**
 * Opens verified batches and forgets their keys. What fails here or later may depend on the data, see `closed`.
 *
 * @throws {@link LimitError} EXECUTION_BOUND_EXCEEDED above the policy's row bound
 * @throws {@link VerificationError} INTERNAL_OPEN_FAILED
 * @throws {@link MalformedError} SCHEMA_BATCH_MALFORMED
 */
export function openInputs(
  { batches: sealed, consent }: VerifiedInputs,
  rowsMax: number,
): OpenedInputs {
  const rows = sealed.reduce((sum, { header }) => sum + header.record_count, 0);
  if (rows > rowsMax) {
    throw new LimitError(
      { code: "EXECUTION_BOUND_EXCEEDED", bound: "rows", max: rowsMax },
      `rows: expected at most ${rowsMax}, got more`,
    );
  }
  const batches = sealed.map(({ bytes, dataKey }) => {
    try {
      return openBatch(bytes, dataKey);
    } finally {
      dataKey.fill(0);
    }
  });
  const erased = batches.flatMap((batch) =>
    batch.subjectIds.map((_, row) => batch.erased.has(row)),
  );
  const usable = Uint8Array.from({ length: rows }, (_, row) => {
    const bit = ((consent[row >> 3] ?? 0) >> (row & 7)) & 1;
    return bit === 1 && erased[row] === false ? 1 : 0;
  });
  return { batches, usable };
}

function verifyConsent({ sealedOrder, order }: PresentedInputs, rows: number): Uint8Array {
  const { consent_bitmap: bitmap, consent_key: key } = sealedOrder;
  if (!equalBytes(hmacSha256(key, bitmap), order.consent_commitment)) {
    throw new VerificationError(
      { code: "PROOF_COMMITMENT_MISMATCH", subject: "consent" },
      "consent: expected the committed bitmap, got another",
    );
  }
  const last = bitmap.at(-1) ?? 0;
  const beyond = rows % 8 === 0 ? 0 : last >> (rows % 8);
  if (bitmap.length !== Math.ceil(rows / 8) || beyond !== 0) {
    throw inputMismatch("one consent bit for each row");
  }
  return bitmap;
}

function dataKeyOf(
  enclave: BootedEnclave,
  { batchKeys, sealedOrder }: PresentedInputs,
  id: Uint8Array,
): Uint8Array {
  const released = batchKeys.filter((entry) => equalBytes(entry.batch_id, id));
  const secrets = sealedOrder.batch_secrets.filter((entry) => equalBytes(entry.batch_id, id));
  const [cms] = released;
  const [secret] = secrets;
  if (cms === undefined || secret === undefined || released.length + secrets.length !== 2) {
    throw inputMismatch("one key and one secret for each batch");
  }
  const wrapped = openReleased(enclave, cms.cms);
  const dataKey = decryptOnce(secret.secret, batchWrapInfo(id), wrapped);
  wrapped.fill(0);
  return dataKey;
}

/** What the key service released. A host learns the same of an envelope that does not open as of one with another key. */
function openReleased({ environment, recipient }: BootedEnclave, cms: Uint8Array): Uint8Array {
  try {
    return environment.openCms(cms, recipient.privateKey);
  } catch (cause) {
    if (!(cause instanceof MalformedError)) throw cause;
    throw new VerificationError(
      { code: "INTERNAL_OPEN_FAILED" },
      "sealed value: expected one sealed under this key for this purpose",
      { cause },
    );
  }
}

/**
 * The usable rows of all batches as columns of the task's record scope.
 *
 * Numbers outside the registered range of their attribute are held to it; nothing a record says aborts. A column of the
 * Vault's own is absent in batches from before it was kept.
 *
 * @throws {@link MalformedError} EXECUTION_INPUT_MISMATCH when a batch lacks a column of the scope, or has it in
 *   another type or scale
 */
export function usableRows({ batches, usable }: OpenedInputs, task: VerifiedTask): InputRows {
  const columns = new Map<string, AttributeValue[]>();
  const usableOf = (
    attribute: CanonicalAttribute,
    valuesOf: (batch: OpenedBatch) => readonly AttributeValue[],
  ): AttributeValue[] => {
    const values = batches.flatMap(valuesOf).filter((_, row) => usable[row] === 1);
    return values.map((value) => held(value, attribute));
  };
  for (const column of columnsOfScope(task.scope)) {
    const { attribute_id: name } = column;
    const attribute = columnAttribute(task.state.semantics, column);
    if (attribute === undefined) throw columnMismatch(name);
    columns.set(
      name,
      usableOf(attribute, (batch) => columnOf(batch, attribute)),
    );
  }
  for (const attribute of task.vaultAttributes.map(columnOfVault)) {
    const { attribute_id: name } = attribute;
    columns.set(
      name,
      usableOf(attribute, (batch) => keptColumnOf(batch, attribute)),
    );
  }
  const subjects = batches
    .flatMap((batch) => batch.subjectIds)
    .filter((_, row) => usable[row] === 1)
    .map(hex);
  return { rows: subjects.length, columns, subjects };
}

function columnOf(batch: OpenedBatch, attribute: CanonicalAttribute): readonly AttributeValue[] {
  const name = attribute.attribute_id;
  const column = batch.header.columns.find((candidate) => candidate.name === name);
  const values = batch.columns.get(name);
  const fits = column?.type === attribute.type && column.scale === attribute.scale;
  if (values === undefined || !fits) throw columnMismatch(name);
  return values;
}

function keptColumnOf(
  batch: OpenedBatch,
  attribute: CanonicalAttribute,
): readonly AttributeValue[] {
  if (batch.columns.has(attribute.attribute_id)) return columnOf(batch, attribute);
  return batch.subjectIds.map(() => null);
}

function held(value: AttributeValue, { range }: CanonicalAttribute): AttributeValue {
  if (typeof value !== "number" || range === null) return value;
  return Math.min(Math.max(value, range.min), range.max);
}

/** A dense number for each row's subject, in order of first appearance. */
export function subjectNumbers(subjects: readonly string[]): Int32Array {
  const known = new Map<string, number>();
  return Int32Array.from(subjects, (subject) => {
    const number = known.get(subject) ?? known.size;
    known.set(subject, number);
    return number;
  });
}

/** Refuses a record whose subject has not consented, with the one answer that says nothing more. */
export function consentUnavailable(): RefusedError {
  return new RefusedError(
    { code: "CONSENT_UNAVAILABLE" },
    "record: expected one this task may use, got none",
  );
}

function inputMismatch(expected: string): VerificationError {
  return new VerificationError(
    { code: "EXECUTION_INPUT_MISMATCH", expected },
    `inputs: expected ${expected}, got others`,
  );
}

function columnMismatch(attribute: string): MalformedError {
  return new MalformedError(
    { code: "EXECUTION_INPUT_MISMATCH", attribute },
    `columns: expected ${attribute} as registered, got none or another type`,
  );
}
