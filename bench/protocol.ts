import { createCipheriv } from "node:crypto";

import {
  encodeCbor,
  generateBoxKeyPair,
  leafHash,
  MerkleTree,
  open,
  seal,
  sha256,
} from "../protocol/index.ts";
import { bestSeconds, type Figure } from "./figures.ts";

const MIB = 1024 * 1024;

/** Sealed boxes against bare AES-256-GCM, canonical bytes, and the log's tree. */
export async function protocolFigures(): Promise<readonly Figure[]> {
  return [...(await sealFigures()), ...(await hashFigures())];
}

async function sealFigures(): Promise<Figure[]> {
  const key = await generateBoxKeyPair();
  const plaintext = new Uint8Array(8 * MIB);
  const aad = new Uint8Array(32);
  const info = "bench";
  const sealed = await seal({ to: key.publicKey, info, aad, plaintext });
  const sealing = await bestSeconds(() => seal({ to: key.publicKey, info, aad, plaintext }));
  const opening = await bestSeconds(() => open({ key, info, aad, sealed }));
  const bare = await bestSeconds(() => {
    const cipher = createCipheriv("aes-256-gcm", new Uint8Array(32), new Uint8Array(12));
    for (let at = 0; at < plaintext.length; at += MIB)
      cipher.update(plaintext.subarray(at, at + MIB));
    cipher.final();
  });
  return [
    { name: "seal 8 MiB", value: 8 / 1024 / sealing, unit: "GiB/s" },
    { name: "open 8 MiB", value: 8 / 1024 / opening, unit: "GiB/s" },
    { name: "seal against bare AES-256-GCM, time", value: sealing / bare, unit: "x" },
  ];
}

async function hashFigures(): Promise<Figure[]> {
  const record = { schema: "customers@1", subject_id: new Uint8Array(32), age: 42, city: "Carrow" };
  const rounds = 10_000;
  const encoding = await bestSeconds(() => {
    for (let i = 0; i < rounds; i += 1) sha256(encodeCbor({ ...record, age: i }));
  }, 3);
  const appending = await bestSeconds(() => {
    const tree = new MerkleTree();
    for (let i = 0; i < rounds; i += 1) tree.append(leafHash(encodeCbor(i)));
    tree.root();
  }, 3);
  return [
    { name: "canonical bytes and digest of a record", value: rounds / encoding / 1e3, unit: "k/s" },
    { name: "append to a log's tree", value: rounds / appending / 1e3, unit: "k/s" },
  ];
}
