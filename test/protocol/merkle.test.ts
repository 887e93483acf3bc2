import fc from "fast-check";
import { expect, test } from "vitest";

import {
  MerkleTree,
  concat,
  fromHex,
  hex,
  leafHash,
  merkleRoot,
  sha256,
  verifyConsistency,
  verifyInclusion,
  type ConsistencyClaim,
  type InclusionClaim,
} from "#protocol";

/** The tree that the reference implementations of RFC 6962 and RFC 9162 test with. */
const REFERENCE_LEAVES = [
  ...["", "00", "10", "2021", "3031", "40414243", "5051525354555657"],
  "606162636465666768696a6b6c6d6e6f",
].map((text) => leafHash(fromHex(text)));

const REFERENCE_ROOTS = [
  "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
  "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
  "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
  "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
  "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
  "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
  "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
  "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
  "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
];

const INCLUSION_0_OF_8 = [
  "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
  "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
  "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
];

const CONSISTENCY_6_TO_8 = [
  "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
  "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
  "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
];

function treeOf(leaves: readonly Uint8Array[]): MerkleTree {
  const tree = new MerkleTree();
  for (const leaf of leaves) tree.append(leaf);
  return tree;
}

/** `size` distinct leaves. */
function leavesOf(size: number): Uint8Array[] {
  return Array.from({ length: size }, (_, index) => leafHash(Uint8Array.of(index, index >> 8)));
}

/** RFC 9162 § 2.1.1 as it is written, without any stored node. */
function rootByDefinition(leaves: readonly Uint8Array[]): Uint8Array {
  const [first, ...rest] = leaves;
  if (first === undefined) return sha256();
  if (rest.length === 0) return first;
  const k = 2 ** (Math.ceil(Math.log2(leaves.length)) - 1);
  const [left, right] = [leaves.slice(0, k), leaves.slice(k)].map(rootByDefinition);
  return sha256(concat(Uint8Array.of(1), left ?? first, right ?? first));
}

test("[DT-2] the reference tree has its roots at every size", () => {
  const tree = treeOf(REFERENCE_LEAVES);
  for (const [size, root] of REFERENCE_ROOTS.entries()) {
    expect(hex(tree.root(size))).toBe(root);
    expect(hex(merkleRoot(REFERENCE_LEAVES.slice(0, size)))).toBe(root);
  }
});

test("the reference tree has its proofs", () => {
  const tree = treeOf(REFERENCE_LEAVES);
  expect(tree.inclusionProof(0).map(hex)).toEqual(INCLUSION_0_OF_8);
  expect(tree.inclusionProof(0, 1)).toEqual([]);
  expect(tree.consistencyProof(6).map(hex)).toEqual(CONSISTENCY_6_TO_8);
  expect(tree.consistencyProof(1, 1)).toEqual([]);
});

test("a tree that was cut grows as if what was cut off had never been", () => {
  fc.assert(
    fc.property(fc.nat(70), fc.nat(70), fc.nat(20), (first, cut, more) => {
      const kept = Math.min(first, cut);
      const tree = new MerkleTree();
      for (let n = 0; n < first; n += 1) tree.append(leafHash(Uint8Array.of(0, n)));
      tree.truncate(kept);
      for (let n = 0; n < more; n += 1) tree.append(leafHash(Uint8Array.of(1, n)));
      const other = new MerkleTree();
      for (let n = 0; n < kept; n += 1) other.append(leafHash(Uint8Array.of(0, n)));
      for (let n = 0; n < more; n += 1) other.append(leafHash(Uint8Array.of(1, n)));
      expect(tree.size).toBe(kept + more);
      for (let size = 0; size <= tree.size; size += 1)
        expect(tree.root(size)).toEqual(other.root(size));
    }),
  );
  expect(() => new MerkleTree().truncate(1)).toThrow(
    expect.objectContaining({ code: "SCHEMA_TOO_LARGE" }),
  );
});

test("a leaf is no node, and an entry of 64 bytes no pair of hashes", () => {
  const [left, right] = leavesOf(2);
  const pair = concat(left ?? new Uint8Array(0), right ?? new Uint8Array(0));
  expect(leafHash(pair)).not.toEqual(merkleRoot(leavesOf(2)));
});

test("[DT-2] every root is the one of the definition", () => {
  const leaves = leavesOf(70);
  const tree = treeOf(leaves);
  for (let size = 0; size <= leaves.length; size += 1) {
    expect(tree.root(size)).toEqual(rootByDefinition(leaves.slice(0, size)));
  }
});

test("every leaf has a proof at every size, and every size at every later one", () => {
  const leaves = leavesOf(35);
  const tree = treeOf(leaves);
  for (let size = 1; size <= leaves.length; size += 1) {
    const root = tree.root(size);
    for (let index = 0; index < size; index += 1) {
      const leaf = leaves[index] ?? root;
      verifyInclusion({
        leafHash: leaf,
        index,
        size,
        root,
        proof: tree.inclusionProof(index, size),
      });
    }
    for (let oldSize = 0; oldSize <= size; oldSize += 1) {
      const proof = tree.consistencyProof(oldSize, size);
      const oldRoot = tree.root(oldSize);
      verifyConsistency({ oldSize, newSize: size, oldRoot, newRoot: root, proof });
    }
  }
  expect(tree.size).toBe(leaves.length);
});

const ALTERED = new Uint8Array(32);

test.for<{ title: string; damage: (claim: InclusionClaim) => InclusionClaim }>([
  { title: "another leaf", damage: (claim) => ({ ...claim, leafHash: ALTERED }) },
  { title: "a short leaf", damage: (claim) => ({ ...claim, leafHash: new Uint8Array(31) }) },
  { title: "another index", damage: (claim) => ({ ...claim, index: claim.index + 1 }) },
  { title: "a negative index", damage: (claim) => ({ ...claim, index: -1 }) },
  { title: "half an index", damage: (claim) => ({ ...claim, index: 0.5 }) },
  { title: "an index past the end", damage: (claim) => ({ ...claim, index: claim.size }) },
  { title: "half the size", damage: (claim) => ({ ...claim, size: 3 }) },
  { title: "twice the size", damage: (claim) => ({ ...claim, size: 12 }) },
  { title: "no size", damage: (claim) => ({ ...claim, size: Number.NaN }) },
  { title: "another root", damage: (claim) => ({ ...claim, root: ALTERED }) },
  { title: "an empty root", damage: (claim) => ({ ...claim, root: new Uint8Array(0) }) },
  { title: "no proof", damage: (claim) => ({ ...claim, proof: [] }) },
  { title: "a node less", damage: (claim) => ({ ...claim, proof: claim.proof.slice(1) }) },
  { title: "a node more", damage: (claim) => ({ ...claim, proof: [...claim.proof, ALTERED] }) },
  { title: "nodes swapped", damage: (claim) => ({ ...claim, proof: claim.proof.toReversed() }) },
  { title: "a long proof", damage: (claim) => ({ ...claim, proof: Array(99).fill(ALTERED) }) },
  {
    title: "a node of 33 bytes",
    damage: (claim) => ({ ...claim, proof: claim.proof.with(0, new Uint8Array(33)) }),
  },
])("inclusion: refuses $title", ({ damage }) => {
  const leaves = leavesOf(6);
  const tree = treeOf(leaves);
  const [, leaf = ALTERED] = leaves;
  const genuine = {
    leafHash: leaf,
    index: 1,
    size: 6,
    root: tree.root(),
    proof: tree.inclusionProof(1),
  };
  verifyInclusion(genuine);
  expect(() => verifyInclusion(damage(genuine))).toThrow(
    expect.objectContaining({ class: "verification", code: "PROOF_INCLUSION_INVALID" }),
  );
});

test.for<{ title: string; damage: (claim: ConsistencyClaim) => ConsistencyClaim }>([
  { title: "another old size", damage: (claim) => ({ ...claim, oldSize: 2 }) },
  { title: "an old size past the new", damage: (claim) => ({ ...claim, oldSize: 8 }) },
  { title: "old size zero", damage: (claim) => ({ ...claim, oldSize: 0 }) },
  { title: "equal sizes", damage: (claim) => ({ ...claim, oldSize: 7 }) },
  { title: "a negative size", damage: (claim) => ({ ...claim, oldSize: -3 }) },
  { title: "another new size", damage: (claim) => ({ ...claim, newSize: 9 }) },
  { title: "another old root", damage: (claim) => ({ ...claim, oldRoot: ALTERED }) },
  { title: "another new root", damage: (claim) => ({ ...claim, newRoot: ALTERED }) },
  { title: "a short root", damage: (claim) => ({ ...claim, oldRoot: new Uint8Array(3) }) },
  { title: "no proof", damage: (claim) => ({ ...claim, proof: [] }) },
  { title: "a node less", damage: (claim) => ({ ...claim, proof: claim.proof.slice(0, -1) }) },
  { title: "a node more", damage: (claim) => ({ ...claim, proof: [...claim.proof, ALTERED] }) },
  {
    title: "an altered node",
    damage: (claim) => ({ ...claim, proof: claim.proof.with(0, ALTERED) }),
  },
  { title: "nodes swapped", damage: (claim) => ({ ...claim, proof: claim.proof.toReversed() }) },
])("consistency: refuses $title", ({ damage }) => {
  const tree = treeOf(leavesOf(7));
  const genuine = {
    oldSize: 3,
    newSize: 7,
    oldRoot: tree.root(3),
    newRoot: tree.root(7),
    proof: tree.consistencyProof(3, 7),
  };
  verifyConsistency(genuine);
  expect(() => verifyConsistency(damage(genuine))).toThrow(
    expect.objectContaining({ class: "verification", code: "PROOF_CONSISTENCY_INVALID" }),
  );
});

test("consistency: the empty tree and equal sizes need the right roots and no nodes", () => {
  const tree = treeOf(leavesOf(4));
  const [empty, root] = [tree.root(0), tree.root()];
  const from = { oldSize: 0, newSize: 4, oldRoot: empty, newRoot: root, proof: [] };
  verifyConsistency(from);
  verifyConsistency({ ...from, newSize: 0, newRoot: empty });
  const refused = [
    { ...from, oldRoot: ALTERED },
    { ...from, proof: [ALTERED] },
    { ...from, newSize: 0, oldRoot: root },
    { ...from, newSize: 0, newRoot: root, oldRoot: root },
    { ...from, oldSize: 4 },
    { ...from, oldSize: 4, oldRoot: root, proof: [ALTERED] },
  ];
  for (const claim of refused) {
    expect(() => verifyConsistency(claim)).toThrow(
      expect.objectContaining({ code: "PROOF_CONSISTENCY_INVALID" }),
    );
  }
});

test("a history that was rewritten has no proof", () => {
  const sizes = fc.tuple(fc.integer({ min: 1, max: 30 }), fc.nat(30), fc.nat(29));
  fc.assert(
    fc.property(sizes, ([oldSize, more, at]) => {
      const leaves = leavesOf(oldSize + more);
      const forged = leaves.with(at % oldSize, ALTERED);
      const tree = treeOf(forged);
      const claim = {
        oldSize,
        newSize: leaves.length,
        oldRoot: merkleRoot(leaves.slice(0, oldSize)),
        newRoot: tree.root(),
        proof: tree.consistencyProof(oldSize),
      };
      expect(() => verifyConsistency(claim)).toThrow(
        expect.objectContaining({ code: "PROOF_CONSISTENCY_INVALID" }),
      );
    }),
  );
});

test("a tree answers for its own sizes only, and its answers are copies", () => {
  const tree = treeOf(leavesOf(3));
  const beyond = expect.objectContaining({ code: "SCHEMA_TOO_LARGE" });
  expect(() => tree.root(4)).toThrow(beyond);
  expect(() => tree.root(-1)).toThrow(beyond);
  expect(() => tree.root(1.5)).toThrow(beyond);
  expect(() => tree.inclusionProof(3)).toThrow(beyond);
  expect(() => tree.inclusionProof(0, 4)).toThrow(beyond);
  expect(() => tree.consistencyProof(3, 2)).toThrow(beyond);
  const root = tree.root();
  tree.root(1).fill(0);
  for (const node of tree.inclusionProof(2)) node.fill(0);
  expect(tree.root()).toEqual(root);
});
