import { padTo } from "#aggregation";
import { concat, compareBytes, hmacSha256, utf8, type QueryParameters } from "#protocol";

import { compilePredicate, type QueryColumns } from "../../workloads/query/index.ts";
import type { InputRows } from "../inputs.ts";
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
 * without a link counts in its own Vault only. Fewer subjects than the local threshold count as none (XP-12, AC-3).
 *
 * @throws {@link MalformedError} EXECUTION_INPUT_MISMATCH for an attribute that is not in the record scope
 */
export function querySlice(work: SliceWork, parameters: QueryParameters): Uint8Array {
  const { rows, task } = work;
  const mask = compilePredicate(parameters.predicate).match(scannable(rows), rows.rows);
  const tokens = new Map<string, Uint8Array>();
  mask.forEach((matches, row) => {
    if (matches !== 1) return;
    const token = tokenOf(work, row);
    tokens.set(Buffer.from(token).toString("latin1"), token);
  });
  const enough = tokens.size >= task.policy.privacy.minimum_local_cardinality;
  const kept = enough ? [...tokens.values()].toSorted(compareBytes) : [];
  return padTo(concat(...kept), queryOutputBytes(task.rowsMax));
}

function tokenOf({ rows, task, tokenKey, vaultId }: SliceWork, row: number): Uint8Array {
  const attribute = task.scope.link_attribute_id;
  const value = attribute === null ? null : (rows.columns.get(attribute)?.[row] ?? null);
  const text = value === null || value instanceof Uint8Array ? "" : linkText(value);
  // Without a link the pseudonym stands in; the zero byte keeps it apart from every link value.
  const unlinked = `\u0000${vaultId}\u0000${rows.subjects[row] ?? ""}`;
  return hmacSha256(tokenKey, utf8(text === "" ? unlinked : text));
}

/** One spelling for each value that links: NFC, lower case, no space at either end. */
function linkText(value: number | string): string {
  return String(value).normalize("NFC").toLowerCase().normalize("NFC").trim();
}

/** The columns a predicate can test; documents are no values to compare. */
export function scannable(rows: InputRows): QueryColumns {
  const columns = new Map<string, readonly (number | string | null)[]>();
  for (const [name, values] of rows.columns) {
    columns.set(
      name,
      values.map((value) => (value instanceof Uint8Array ? null : value)),
    );
  }
  return columns;
}
