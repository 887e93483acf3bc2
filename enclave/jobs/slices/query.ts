import { compareBytes, equalBytes, hmacSha256, utf8, type QueryParameters } from "#protocol";

import { compilePredicate } from "../../workloads/query/index.ts";
import { projectedColumns } from "./projections.ts";
import type { SliceWork } from "./work.ts";

/** Bytes of one subject's token. */
export const TOKEN_BYTES = 32;

/** Size of a query's slice output, whatever is in it: a length and room for a token per row. */
export function queryOutputBytes(rowsMax: number): number {
  return 4 + rowsMax * TOKEN_BYTES;
}

/**
 * The tokens of the distinct consenting subjects that match, sorted, padded to the public bound.
 *
 * A token is an HMAC of the attribute that links subjects across Vaults, under the key of this round; a subject
 * without a link counts in its own Vault only, and one with several links counts once, by the smallest. Fewer
 * subjects than the local threshold count as none (XP-12, AC-3).
 *
 * Time must not say how many match (PB-6): every row gets a token, dummies fill up to the public bound, and which are
 * kept is decided by arithmetic on all of them.
 *
 * @throws {@link MalformedError} EXECUTION_INPUT_MISMATCH for an attribute that is not in the record scope
 */
export function querySlice(work: SliceWork, parameters: QueryParameters): Uint8Array {
  const { rows, task } = work;
  const mask = compilePredicate(parameters.predicate).match(
    projectedColumns(rows, task),
    rows.subjects,
  );
  const links = linksOf(work);
  const tokens = Array.from({ length: task.rowsMax }, (_, row) => {
    const link = links.get(rows.subjects[row] ?? "") ?? `\u0000\u0000${row}`;
    return { token: hmacSha256(work.tokenKey, utf8(link)), matches: mask[row] ?? 0 };
  });
  return packed(tokens, task.policy.privacy.minimum_local_cardinality);
}

interface MaskedToken {
  readonly token: Uint8Array;
  /** 1 or 0. */
  readonly matches: number;
}

/** The distinct matching tokens in order, padded to room for all; none when they are fewer than `countMin`. */
function packed(tokens: readonly MaskedToken[], countMin: number): Uint8Array {
  const sorted = tokens.toSorted((left, right) => compareBytes(left.token, right.token));
  // Every token is written at the place of the next one kept; one that is not kept is written over.
  const kept = new Uint8Array((sorted.length + 1) * TOKEN_BYTES);
  let count = 0;
  let matched = 0;
  sorted.forEach(({ token, matches }, at) => {
    matched |= matches;
    kept.set(token, count * TOKEN_BYTES);
    const next = sorted[at + 1]?.token;
    const last = next === undefined || !equalBytes(token, next) ? 1 : 0;
    count += matched & last;
    matched &= 1 - last;
  });
  const length = count * Number(count >= countMin) * TOKEN_BYTES;
  const output = new Uint8Array(queryOutputBytes(sorted.length));
  new DataView(output.buffer).setUint32(0, length);
  for (let at = 0; at < sorted.length * TOKEN_BYTES; at += 1) {
    output[4 + at] = (kept[at] ?? 0) * Number(at < length);
  }
  return output;
}

/**
 * What stands for each subject: its smallest link over all of its rows, so that it moves one token however many it has;
 * without a link its pseudonym. The zero byte keeps that apart from every link.
 */
function linksOf({ rows, task, vaultId }: SliceWork): ReadonlyMap<string, string> {
  const attribute = task.scope.link_attribute_id;
  const values = attribute === null ? undefined : rows.columns.get(attribute);
  const smallest = new Map<string, string>();
  rows.subjects.forEach((subject, row) => {
    const value = values?.[row] ?? null;
    const text = value === null || value instanceof Uint8Array ? "" : linkText(value);
    const known = smallest.get(subject) ?? "";
    const better = text !== "" && (known === "" || text < known);
    smallest.set(subject, better ? text : known);
  });
  return new Map(
    [...smallest].map(([subject, text]) => [
      subject,
      text === "" ? `\u0000${vaultId}\u0000${subject}` : text,
    ]),
  );
}

/** One spelling for each value that links: NFC, lower case, no space at either end. */
function linkText(value: number | string): string {
  return String(value).normalize("NFC").toLowerCase().normalize("NFC").trim();
}
