import { hash } from "node:crypto";

import { equalBytes, putLatin1 } from "./bytes.ts";
import { LimitError, VerificationError } from "./errors.ts";
import { sha256 } from "./hash.ts";

/** Most nodes in a proof: sizes are safe integers, so no path is longer than 53 and no proof than 54. */
export const PROOF_NODES_MAX = 54;

const HASH_BYTES = 32;
const LEAF_PREFIX = Uint8Array.of(0);
const NODE_PREFIX = Uint8Array.of(1);
const EMPTY_ROOT = sha256();

/** Hash of the leaf that holds `entry`: SHA-256(0x00 || entry). @see RFC 9162 § 2.1.1 */
export function leafHash(entry: Uint8Array): Uint8Array {
  return sha256(LEAF_PREFIX, entry);
}

function nodeHash(left: Uint8Array, right: Uint8Array): Uint8Array {
  return sha256(NODE_PREFIX, left, right);
}

/** Root over `leafHashes` in order; SHA-256 of nothing when there are none. @see RFC 9162 § 2.1.1 */
export function merkleRoot(leafHashes: readonly Uint8Array[]): Uint8Array {
  const tree = new MerkleRoot();
  for (const leaf of leafHashes) tree.append(leaf);
  return tree.root();
}

/**
 * The root of a tree that is asked for nothing else, in 32 bytes for each level. Hashes come as text of one unit for
 * each byte, which `node:crypto` gives in half the time that a new array takes.
 *
 * @see RFC 9162 § 2.1.1
 */
export class MerkleRoot {
  /** Roots of the complete subtrees, widest first. Their widths are the bits of `#size`. */
  readonly #subtrees: string[] = [];
  readonly #node = Buffer.alloc(1 + 2 * HASH_BYTES, NODE_PREFIX);
  #size = 0;

  /** Appends one leaf hash (see {@link leafHash}). */
  append(leaf: Uint8Array): void {
    this.#push(latin1(leaf));
  }

  /** Root of what was appended so far. */
  root(): Uint8Array {
    const [last, ...wider] = this.#subtrees.toReversed();
    if (last === undefined) return EMPTY_ROOT.slice();
    const root = wider.reduce((right, left) => this.#nodeHash(left, right), last);
    return new Uint8Array(Buffer.from(root, "latin1"));
  }

  #push(leaf: string): void {
    let node = leaf;
    for (let width = this.#size; isOdd(width); width = half(width)) {
      node = this.#nodeHash(this.#subtrees.pop() ?? "", node);
    }
    this.#subtrees.push(node);
    this.#size += 1;
  }

  #nodeHash(left: string, right: string): string {
    putLatin1(this.#node, 1, left);
    putLatin1(this.#node, 1 + HASH_BYTES, right);
    return hash("sha256", this.#node, "binary");
  }
}

function latin1(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString("latin1");
}

/**
 * A Merkle tree that grows at its end and answers for its present and every earlier size.
 *
 * Holds every complete subtree once, level by level: about 64 bytes per leaf. Appending costs two hashes
 * on average; a root or a proof costs O(log n).
 *
 * @see RFC 9162 § 2.1
 */
export class MerkleTree {
  /** `#levels[k][i]` is the root of leaves [i * 2^k, (i + 1) * 2^k). */
  readonly #levels: Uint8Array[][] = [[]];

  /** Number of leaves. */
  get size(): number {
    return this.#level(0).length;
  }

  /** Appends one leaf hash (see {@link leafHash}) and returns its index. */
  append(hash: Uint8Array): number {
    const index = this.size;
    let node: Uint8Array = hash.slice();
    for (let k = 0; ; k += 1) {
      const level = this.#level(k);
      level.push(node);
      if (level.length % 2 !== 0) return index;
      node = nodeHash(this.#node(k, level.length - 2), node);
    }
  }

  /** Forgets every leaf from `size` on. @throws {@link LimitError} SCHEMA_TOO_LARGE past the tree's size. */
  truncate(size: number): void {
    this.#requireSize(size);
    let width = size;
    for (const level of this.#levels) {
      level.length = width;
      width = half(width);
    }
  }

  /** Root of the first `size` leaves. @throws {@link LimitError} SCHEMA_TOO_LARGE past the tree's size. */
  root(size: number = this.size): Uint8Array {
    this.#requireSize(size);
    return size === 0 ? EMPTY_ROOT.slice() : this.#range(0, size).slice();
  }

  /**
   * Audit path of leaf `index` in the tree of the first `size` leaves, leaf side first.
   *
   * @throws {@link LimitError} SCHEMA_TOO_LARGE when `index` is not below `size`, or `size` is past the tree's.
   * @see RFC 9162 § 2.1.3.1
   */
  inclusionProof(index: number, size: number = this.size): Uint8Array[] {
    this.#requireSize(size);
    if (!isCount(index) || index >= size) throw outside("leaf index", index, size - 1);
    const proof: Uint8Array[] = [];
    let start = 0;
    let end = size;
    while (end - start > 1) {
      const middle = start + splitPoint(end - start);
      const left = index < middle;
      proof.push(left ? this.#range(middle, end) : this.#range(start, middle));
      if (left) end = middle;
      else start = middle;
    }
    return proof.reverse().map((node) => node.slice());
  }

  /**
   * Proof that the first `oldSize` leaves are a prefix of the first `newSize`; empty when either the sizes
   * are equal or `oldSize` is zero.
   *
   * @throws {@link LimitError} SCHEMA_TOO_LARGE when the sizes are not in order or past the tree's.
   * @see RFC 9162 § 2.1.4.1
   */
  consistencyProof(oldSize: number, newSize: number = this.size): Uint8Array[] {
    this.#requireSize(newSize);
    if (!isCount(oldSize) || oldSize > newSize) throw outside("old size", oldSize, newSize);
    if (oldSize === 0 || oldSize === newSize) return [];
    const proof: Uint8Array[] = [];
    let start = 0;
    let end = newSize;
    while (end > oldSize) {
      const middle = start + splitPoint(end - start);
      if (oldSize <= middle) {
        proof.push(this.#range(middle, end));
        end = middle;
      } else {
        proof.push(this.#range(start, middle));
        start = middle;
      }
    }
    if (start !== 0) proof.push(this.#range(start, end));
    return proof.reverse().map((node) => node.slice());
  }

  /** Root of leaves [start, end); `start` is a multiple of the smallest power of two not below the width. */
  #range(start: number, end: number): Uint8Array {
    const width = end - start;
    const k = Math.log2(width);
    if (Number.isInteger(k) && 2 ** k === width) return this.#node(k, start / width);
    const middle = start + splitPoint(width);
    return nodeHash(this.#range(start, middle), this.#range(middle, end));
  }

  #level(k: number): Uint8Array[] {
    const level = (this.#levels[k] ??= []);
    return level;
  }

  #node(k: number, index: number): Uint8Array {
    const node = this.#levels[k]?.[index];
    if (node === undefined) throw outside("node", index, this.size);
    return node;
  }

  #requireSize(size: number): void {
    if (!isCount(size) || size > this.size) throw outside("tree size", size, this.size);
  }
}

/** What {@link verifyInclusion} judges. `leafHash` and `root` are 32 bytes; `proof` is leaf side first. */
export interface InclusionClaim {
  readonly leafHash: Uint8Array;
  readonly index: number;
  readonly size: number;
  readonly proof: readonly Uint8Array[];
  readonly root: Uint8Array;
}

/**
 * Verifies that the tree of `size` leaves with this `root` holds `leafHash` at `index`.
 *
 * @throws {@link VerificationError} PROOF_INCLUSION_INVALID
 * @see RFC 9162 § 2.1.3.2
 */
export function verifyInclusion(claim: InclusionClaim): void {
  const { index, size, proof, root } = claim;
  const shaped = isCount(index) && isCount(size) && index < size && isProof(proof);
  if (!shaped || !isHash(claim.leafHash)) throw inclusionInvalid(index, size);
  let fn = index;
  let sn = size - 1;
  let hash = claim.leafHash;
  for (const node of proof) {
    if (sn === 0) throw inclusionInvalid(index, size);
    if (isOdd(fn) || fn === sn) {
      hash = nodeHash(node, hash);
      while (!isOdd(fn) && fn !== 0) [fn, sn] = [half(fn), half(sn)];
    } else {
      hash = nodeHash(hash, node);
    }
    [fn, sn] = [half(fn), half(sn)];
  }
  if (sn !== 0 || !equalBytes(hash, root)) throw inclusionInvalid(index, size);
}

/** What {@link verifyConsistency} judges. Roots are 32 bytes. */
export interface ConsistencyClaim {
  readonly oldSize: number;
  readonly newSize: number;
  readonly oldRoot: Uint8Array;
  readonly newRoot: Uint8Array;
  readonly proof: readonly Uint8Array[];
}

/**
 * Verifies that the tree (`oldSize`, `oldRoot`) is a prefix of the tree (`newSize`, `newRoot`).
 *
 * The RFC leaves two cases open. Here equal sizes need equal roots and an empty proof; the empty tree is a
 * prefix of every tree, with its own root and an empty proof.
 *
 * @throws {@link VerificationError} PROOF_CONSISTENCY_INVALID
 * @see RFC 9162 § 2.1.4.2
 */
export function verifyConsistency(claim: ConsistencyClaim): void {
  const { oldSize, newSize, oldRoot, newRoot, proof } = claim;
  const shaped = isCount(oldSize) && isCount(newSize) && oldSize <= newSize && isProof(proof);
  if (!shaped || !isHash(oldRoot) || !isHash(newRoot)) throw consistencyInvalid(oldSize, newSize);
  if (oldSize === newSize || oldSize === 0) {
    const expectedOldRoot = oldSize === newSize ? newRoot : EMPTY_ROOT;
    const bothEmpty = newSize !== 0 || equalBytes(newRoot, EMPTY_ROOT);
    if (proof.length !== 0 || !bothEmpty || !equalBytes(oldRoot, expectedOldRoot)) {
      throw consistencyInvalid(oldSize, newSize);
    }
    return;
  }
  if (!provesPrefix(claim)) throw consistencyInvalid(oldSize, newSize);
}

function provesPrefix(claim: ConsistencyClaim): boolean {
  let [fn, sn] = [claim.oldSize - 1, claim.newSize - 1];
  while (isOdd(fn)) [fn, sn] = [half(fn), half(sn)];
  // After the shift, zero means that the old size is a power of two: the old root is itself the first node.
  const path = fn === 0 ? [claim.oldRoot, ...claim.proof] : claim.proof;
  const [first, ...rest] = path;
  if (first === undefined || claim.proof.length === 0) return false;
  let [oldHash, newHash] = [first, first];
  for (const node of rest) {
    if (sn === 0) return false;
    if (isOdd(fn) || fn === sn) {
      oldHash = nodeHash(node, oldHash);
      newHash = nodeHash(node, newHash);
      while (!isOdd(fn) && fn !== 0) [fn, sn] = [half(fn), half(sn)];
    } else {
      newHash = nodeHash(newHash, node);
    }
    [fn, sn] = [half(fn), half(sn)];
  }
  return sn === 0 && equalBytes(oldHash, claim.oldRoot) && equalBytes(newHash, claim.newRoot);
}

/** The largest power of two below `width`; `width` is at least 2. */
function splitPoint(width: number): number {
  let k = 1;
  while (k * 2 < width) k *= 2;
  return k;
}

/** Sizes can exceed 32 bits, so there are no bit operators here. */
function isOdd(value: number): boolean {
  return value % 2 === 1;
}

function half(value: number): number {
  return Math.floor(value / 2);
}

function isCount(value: number): boolean {
  return Number.isSafeInteger(value) && value >= 0;
}

function isHash(value: Uint8Array): boolean {
  return value.length === HASH_BYTES;
}

function isProof(proof: readonly Uint8Array[]): boolean {
  return proof.length <= PROOF_NODES_MAX && proof.every(isHash);
}

function outside(subject: string, got: number, max: number): LimitError {
  return new LimitError(
    { code: "SCHEMA_TOO_LARGE", got, max },
    `${subject}: expected an integer in [0, ${max}], got ${got}`,
  );
}

function inclusionInvalid(index: number, size: number): VerificationError {
  return new VerificationError(
    { code: "PROOF_INCLUSION_INVALID", index, size },
    `inclusion proof: expected leaf ${index} of ${size} to lead to the root, got another root or shape`,
  );
}

function consistencyInvalid(oldSize: number, newSize: number): VerificationError {
  return new VerificationError(
    { code: "PROOF_CONSISTENCY_INVALID", oldSize, newSize },
    `consistency proof: expected size ${oldSize} to be a prefix of size ${newSize}, got another history`,
  );
}
