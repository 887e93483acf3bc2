import { hex } from "../../../protocol/index.ts";
import type { Edit } from "./schema.ts";

/** Equal bytes shorter than this do not end an edit: an edit of its own would be longer than they are. */
const ANCHOR_BYTES = 8;

/**
 * Edits that make `forged` of `base`: few and short, not the fewest.
 *
 * Walks both from the left; at a difference it looks for the nearest place where {@link ANCHOR_BYTES} of both agree
 * again. Quadratic in the distance between such places, so for inputs of some kilobytes.
 */
export function diffEdits(base: Uint8Array, forged: Uint8Array): Edit[] {
  const edits: Edit[] = [];
  let [left, right] = [0, 0];
  while (left < base.length || right < forged.length) {
    if (left < base.length && base[left] === forged[right]) {
      left += 1;
      right += 1;
      continue;
    }
    const [skip, insert] = nextAgreement(base.subarray(left), forged.subarray(right));
    edits.push([left, skip, hex(forged.subarray(right, right + insert))]);
    left += skip;
    right += insert;
  }
  return edits;
}

/** The distances to the nearest agreement, by their sum; the ends of both when there is none. */
function nextAgreement(base: Uint8Array, forged: Uint8Array): readonly [number, number] {
  const places = placesOf(base);
  let best: readonly [number, number] = [base.length, forged.length];
  for (let insert = 0; insert < Math.min(forged.length, best[0] + best[1]); insert++) {
    const skip = places.get(keyAt(forged, insert));
    if (skip !== undefined && skip + insert < best[0] + best[1]) best = [skip, insert];
  }
  return best;
}

/** The first place of each run of bytes; the last bytes count as a run too. */
function placesOf(bytes: Uint8Array): ReadonlyMap<string, number> {
  const places = new Map<string, number>();
  for (let at = bytes.length - 1; at >= 0; at--) places.set(keyAt(bytes, at), at);
  return places;
}

function keyAt(bytes: Uint8Array, at: number): string {
  return Buffer.from(bytes.subarray(at, at + ANCHOR_BYTES)).toString("latin1");
}
