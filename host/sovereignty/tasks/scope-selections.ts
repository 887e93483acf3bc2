import { equalBytes, inputCommitment, type UsageScope } from "#protocol";

import type { Books } from "../ledger/books.ts";
import { ordinalsOf, setBit, subjectSetOf, type SubjectSet } from "../ledger/subject-set.ts";
import { batchHeads, batchOrdinals, type BatchHead, type Writing } from "../queries.ts";

const SCOPES_MAX = 64;
const BYTES_MAX = 256 * 1024 * 1024;
/** About what a batch's head takes in memory. */
const HEAD_BYTES = 256;

/** What tasks of one purpose may use of one record scope, as long as its batches and the consents stay as they were. */
export interface ScopeSelection {
  readonly batches: readonly BatchHead[];
  readonly records: number;
  /** Bit of each record, in order of the batches, whose subject consents. */
  readonly bitmap: Uint8Array;
  /** Subjects of those records. */
  readonly subjects: SubjectSet;
  readonly inputCommitment: Uint8Array;
}

interface Kept {
  readonly selection: ScopeSelection;
  readonly consentVersion: number;
  /** It holds during [fromMs, untilMs). */
  readonly fromMs: number;
  readonly untilMs: number;
  readonly bytes: number;
}

/** Selections that were made before: a bounded number of bytes, the least lately used go first. In memory only. */
export class ScopeSelections {
  readonly #kept = new Map<string, Kept>();
  #bytes = 0;

  find(key: string): Kept | undefined {
    const kept = this.#kept.get(key);
    if (kept === undefined) return undefined;
    this.#kept.delete(key);
    this.#kept.set(key, kept);
    return kept;
  }

  keep(key: string, kept: Kept): void {
    this.#remove(key);
    if (kept.bytes > BYTES_MAX) return;
    this.#kept.set(key, kept);
    this.#bytes += kept.bytes;
    for (const oldest of this.#kept.keys()) {
      if (this.#kept.size <= SCOPES_MAX && this.#bytes <= BYTES_MAX) return;
      this.#remove(oldest);
    }
  }

  #remove(key: string): void {
    this.#bytes -= this.#kept.get(key)?.bytes ?? 0;
    this.#kept.delete(key);
  }
}

/**
 * The records of a scope whose subjects consent to a purpose. Costs the number of batches, and the number of records
 * only when a batch or a consent has changed or expired since it was asked last.
 *
 * @param args.require - Called with the batches before any record is looked at; throws for more than an order carries.
 */
export async function selectScope(
  { books, selections }: { readonly books: Books; readonly selections: ScopeSelections },
  trx: Writing,
  args: {
    readonly recordScope: string;
    readonly usageScope: UsageScope;
    readonly nowMs: number;
    readonly require: (batches: readonly BatchHead[], records: number) => void;
  },
): Promise<ScopeSelection> {
  const { recordScope, usageScope, nowMs } = args;
  const batches = await batchHeads(trx, recordScope);
  const records = batches.reduce((sum, batch) => sum + batch.record_count, 0);
  args.require(batches, records);
  const key = `${usageScope} ${recordScope}`;
  const consentVersion = books.consents.versionOf(usageScope);
  const kept = selections.find(key);
  if (kept !== undefined && kept.consentVersion === consentVersion) {
    const timely = kept.fromMs <= nowMs && nowMs < kept.untilMs;
    if (timely && isSame(kept.selection.batches, batches)) return kept.selection;
  }
  const isGranted = books.consents.isGranted(usageScope, nowMs);
  const selection = await selectionOf(trx, { batches, records, isGranted });
  const untilMs = books.consents.nextExpiryMs(usageScope, nowMs) ?? Infinity;
  const { bitmap, subjects } = selection;
  const bytes = bitmap.length + subjects.encoded.length * 2 + batches.length * HEAD_BYTES;
  selections.keep(key, { selection, consentVersion, fromMs: nowMs, untilMs, bytes });
  return selection;
}

async function selectionOf(
  trx: Writing,
  args: {
    readonly batches: readonly BatchHead[];
    readonly records: number;
    readonly isGranted: (ordinal: number) => boolean;
  },
): Promise<ScopeSelection> {
  const { batches, records, isGranted } = args;
  const bitmap = new Uint8Array(Math.ceil(records / 8));
  const consenting = new Uint32Array(records);
  let row = 0;
  let found = 0;
  for (const { batch_id } of batches) {
    for (const ordinal of ordinalsOf(await batchOrdinals(trx, batch_id))) {
      if (isGranted(ordinal)) {
        setBit(bitmap, row);
        consenting[found] = ordinal;
        found += 1;
      }
      row += 1;
    }
  }
  const subjects = subjectSetOf(consenting.subarray(0, found));
  const roots = batches.map(({ root }) => root);
  return { batches, records, bitmap, subjects, inputCommitment: inputCommitment(roots) };
}

/** A batch that was sealed anew has another id there, whatever else stayed. */
function isSame(kept: readonly BatchHead[], found: readonly BatchHead[]): boolean {
  return (
    kept.length === found.length &&
    kept.every(({ batch_id, sealed_id, root }, index) => {
      const other = found[index];
      return (
        other !== undefined &&
        equalBytes(batch_id, other.batch_id) &&
        equalBytes(sealed_id ?? batch_id, other.sealed_id ?? other.batch_id) &&
        equalBytes(root, other.root)
      );
    })
  );
}
