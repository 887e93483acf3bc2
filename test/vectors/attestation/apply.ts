import { concat, fromHex } from "../../../protocol/index.ts";
import type { Edit } from "./schema.ts";

/**
 * `base` with `edits` made. Offsets are those of the original; edits are in order and do not overlap.
 *
 * @throws Error for an edit outside the base, out of order, or overlapping the one before it.
 */
export function applyEdits(base: Uint8Array, edits: readonly Edit[]): Uint8Array {
  const pieces: Uint8Array[] = [];
  let at = 0;
  for (const [offset, removed, insert] of edits) {
    if (offset < at || offset + removed > base.length) {
      throw new Error(`edit: expected an offset in [${at}, ${base.length}], got ${offset}`);
    }
    pieces.push(base.subarray(at, offset), fromHex(insert));
    at = offset + removed;
  }
  return concat(...pieces, base.subarray(at));
}
