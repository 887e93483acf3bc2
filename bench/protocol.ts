import { createCipheriv } from "node:crypto";

import {
  applyGovernanceEvent,
  encodeCbor,
  foldGovernance,
  generateBoxKeyPair,
  genesisState,
  leafHash,
  MerkleTree,
  open,
  seal,
  sha256,
} from "../protocol/index.ts";
import { createGovernanceEvent } from "../host/governance/index.ts";
import { createNetwork, NETWORK_TIME_MS } from "../test/helpers/network.ts";
import { bestSeconds, type Figure } from "./figures.ts";

const MIB = 1024 * 1024;

/** Sealed boxes against bare AES-256-GCM, canonical bytes, and the log's tree. */
export async function protocolFigures(): Promise<readonly Figure[]> {
  return [...(await sealFigures()), ...(await hashFigures()), ...(await foldFigures())];
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

/** A governance log as a Vault takes it: whole, and with one event more than it has folded before. */
async function foldFigures(): Promise<Figure[]> {
  const { genesisBytes, governanceKeys } = await createNetwork();
  const decision = { type: "epoch_boundary_requested", reason: "bench" } as const;
  const keys = governanceKeys.slice(0, 2);
  const events: Uint8Array[] = [];
  let state = genesisState(genesisBytes);
  let known = state;
  for (let count = 0; count < 300; count += 1) {
    const event = createGovernanceEvent({ state, decision, keys, timeMs: NETWORK_TIME_MS });
    known = state;
    state = applyGovernanceEvent(state, event);
    events.push(event);
  }
  const leaves = events.slice(0, -1).map((event) => leafHash(event));
  const whole = await bestSeconds(() => foldGovernance(genesisBytes, events), 3);
  const next = await bestSeconds(() =>
    foldGovernance(genesisBytes, events, { state: known, leaves }),
  );
  return [
    { name: "fold a governance log", value: events.length / whole / 1e3, unit: "k/s" },
    { name: "fold one event more of 300 against all", value: whole / next, unit: "x" },
  ];
}
