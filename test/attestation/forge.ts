import { generateKeyPairSync, type KeyObject } from "node:crypto";

import type { AppraisalPolicy, TrustAnchor } from "../../attestation/index.ts";
import { encodeCbor, fromHex, sha384, utf8 } from "../../protocol/index.ts";
import { encodePayload, encodePcrs, signCose, type PayloadSpec } from "../../sim/cose.ts";
import {
  basicConstraints,
  issueCertificate,
  keyUsage,
  type CertificateSpec,
} from "../../sim/x509.ts";

/** The signed time of forged documents, and the time they are judged at. */
export const NOW = 1_790_000_000_000;
export const MODULE_ID = "i-0123456789abcdef-enc0123456789abcdef";
export const NONCE = utf8("a nonce of this session");
export const USER_DATA = utf8("digest of the manifest");
export const PUBLIC_KEY = utf8("a public key");
export const IMAGE = { pcr0: "aa".repeat(48), pcr1: "bb".repeat(48), pcr2: "cc".repeat(48) };

const HOUR = 3_600_000;
const LIVES = [
  { notBeforeMs: NOW - 24 * 365 * HOUR, notAfterMs: NOW + 24 * 365 * HOUR },
  { notBeforeMs: NOW - 24 * HOUR, notAfterMs: NOW + 240 * HOUR },
  { notBeforeMs: NOW - 12 * HOUR, notAfterMs: NOW + 48 * HOUR },
  { notBeforeMs: NOW - 6 * HOUR, notAfterMs: NOW + 12 * HOUR },
  { notBeforeMs: NOW - 3000, notAfterMs: NOW + 10_800_000 },
] as const;
const NAMES = ["SIMULATED root", "regional", "zonal", "instance", "leaf"] as const;
const PATH_LENGTHS = [null, 2, 1, 0] as const;
const KEYS = NAMES.map(() => generateKeyPairSync("ec", { namedCurve: "P-384" }));

export const authority = (pathLength: number | null) => [
  basicConstraints({ pathLength }),
  keyUsage(0x86, { critical: true }),
];
export const LEAF_EXTENSIONS = [basicConstraints(null), keyUsage(0xc0, { critical: false })];

/** What to do differently for the certificate at a position: 0 is the root, 4 the leaf. */
export type ChainChanges = Readonly<Record<number, Partial<CertificateSpec>>>;

export function keyAt(position: number): KeyObject {
  const pair = KEYS[position];
  if (pair === undefined) throw new Error("no such position");
  return pair.privateKey;
}

let root: Uint8Array | null = null;

/** Five certificates as the platform issues them, with changes; root first, the same unless changed. */
export function forgeChain(changes: ChainChanges = {}): readonly Uint8Array[] {
  return NAMES.map((name, position) => {
    if (position === 0 && root !== null && changes[0] === undefined) return root;
    const certificate = forgeCertificate(name, position, changes);
    if (position === 0) root ??= certificate;
    return certificate;
  });
}

function forgeCertificate(name: string, position: number, changes: ChainChanges): Uint8Array {
  const pathLength = PATH_LENGTHS[position];
  const publicKey = KEYS[position]?.publicKey;
  const life = LIVES[position];
  if (publicKey === undefined || life === undefined) throw new Error("no such position");
  return issueCertificate({
    subject: name,
    issuer: NAMES[Math.max(0, position - 1)] ?? "",
    serial: Uint8Array.of(position + 1),
    ...life,
    publicKey,
    issuerKey: keyAt(Math.max(0, position - 1)),
    extensions: pathLength === undefined ? LEAF_EXTENSIONS : authority(pathLength),
    ...changes[position],
  });
}

export const CHAIN = forgeChain();
export const ANCHOR: TrustAnchor = { platform: "sim", certificate: CHAIN[0] ?? utf8("") };

/** PCRs of a production enclave called {@link MODULE_ID}. */
export function forgePcrs(): Map<number, Uint8Array> {
  const zero = new Uint8Array(48);
  const pcrs = new Map<number, Uint8Array>();
  for (let index = 0; index < 16; index++) pcrs.set(index, zero);
  pcrs.set(0, fromHex(IMAGE.pcr0)).set(1, fromHex(IMAGE.pcr1)).set(2, fromHex(IMAGE.pcr2));
  pcrs.set(3, zero.with(0, 3));
  return pcrs.set(4, sha384(zero, utf8("i-0123456789abcdef")));
}

/** The fields of a document, encoded, in the order genuine ones have. */
export function forgeFields(chain: readonly Uint8Array[] = CHAIN): Map<string, Uint8Array> {
  return new Map([
    ["module_id", encodeCbor(MODULE_ID)],
    ["digest", encodeCbor("SHA384")],
    ["timestamp", encodeCbor(NOW)],
    ["pcrs", encodePcrs(forgePcrs())],
    ["certificate", encodeCbor(chain.at(-1) ?? null)],
    ["cabundle", encodeCbor(chain.slice(0, -1))],
    ["public_key", encodeCbor(PUBLIC_KEY)],
    ["user_data", encodeCbor(USER_DATA)],
    ["nonce", encodeCbor(NONCE)],
  ]);
}

/** How a forged document differs from a good one. */
export interface DocumentChanges {
  readonly chain?: readonly Uint8Array[];
  /** A changed field, encoded; null leaves it out. */
  readonly fields?: Readonly<Record<string, Uint8Array | null>>;
  readonly length?: PayloadSpec["length"];
  readonly key?: KeyObject;
}

/** A document that is good but for `changes`, and signed accordingly. */
export function forgeDocument(changes: DocumentChanges = {}): Uint8Array {
  const fields = forgeFields(changes.chain ?? CHAIN);
  for (const [name, value] of Object.entries(changes.fields ?? {})) {
    if (value === null) fields.delete(name);
    else fields.set(name, value);
  }
  const length = changes.length ?? "indefinite";
  return signCose(encodePayload({ fields: [...fields], length }), changes.key ?? keyAt(4));
}

/** A policy that accepts the unchanged document, with changes. */
export function policyOf(changes: Partial<AppraisalPolicy> = {}): AppraisalPolicy {
  return {
    platforms: ["sim"],
    measurements: [{ ...IMAGE, validFromMs: 0, validUntilMs: NOW + 1 }],
    revokedMeasurements: [],
    revokedIdentities: [],
    nitro: { pcr3: { unchecked: "any role" }, pcr8: { unchecked: "unsigned image" } },
    snp: null,
    tdx: null,
    nonce: { equals: NONCE },
    userData: { equals: USER_DATA },
    publicKey: { equals: PUBLIC_KEY },
    maxAgeMs: { atMost: 60_000 },
    judgedAtMs: NOW,
    ...changes,
  };
}
