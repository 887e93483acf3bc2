import { leafHash, merkleRoot } from "./merkle.ts";

/** Bytes of a record commitment, and how many of them are one leaf entry. */
export const COMMITMENT_BYTES = 32;
const COMMITMENTS_PER_ENTRY = 64;

/**
 * What a batch commits to its records by: the RFC 9162 root whose leaf entries are the record commitments in record
 * order, 64 to an entry, fewer in the last. A tree with a leaf for each would bind no more, and would cost two hashes for
 * each record where this costs one for 32. See ADR 32.
 *
 * @param commitments - 32 bytes each, one after the other.
 */
export function recordRoot(commitments: Uint8Array): Uint8Array {
  const entryBytes = COMMITMENTS_PER_ENTRY * COMMITMENT_BYTES;
  const count = Math.ceil(commitments.length / entryBytes);
  const leaves = Array.from({ length: count }, (_, index) =>
    leafHash(commitments.subarray(index * entryBytes, (index + 1) * entryBytes)),
  );
  return merkleRoot(leaves);
}
