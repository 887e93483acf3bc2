import type { Collateral } from "../../../../attestation/index.ts";
import { hex } from "../../../../protocol/index.ts";
import { TDX_COLLATERAL } from "../../../attestation/tdx-collateral.ts";
import {
  BINDING,
  TDX_EXPECTATIONS,
  TDX_NOW,
  forgeQuote,
  tdxPolicyOf,
} from "../../../attestation/tdx-forge.ts";
import { diffEdits } from "../diff.ts";
import type { Base, Edit, VectorInput } from "../schema.ts";

/** A vector to be: bytes become edits of the base's, and the order gives the number. */
export interface TdxCase extends Omit<
  VectorInput,
  "number" | "source" | "base" | "edits" | "parts"
> {
  /** {@link TDX_V4} unless said otherwise. */
  readonly base?: typeof TDX_V5;
  readonly document?: Uint8Array;
  readonly collateral?: Partial<Collateral>;
}

/** A version 4 quote with a TDX 1.0 report, and a version 5 quote with a TDX 1.5 report. */
export const TDX_V4 = "tdx-v4";
export const TDX_V5 = "tdx-v5";

const DOCUMENTS: ReadonlyMap<string, Uint8Array> = new Map([
  [TDX_V4, forgeQuote()],
  [TDX_V5, forgeQuote({ version: 5 })],
]);

/** For a policy that is to let something else refuse. */
export const ANY = { unchecked: "to show what refuses it" } as const;

/** Files of the bases beside their JSON. */
export function baseFiles(): ReadonlyMap<string, Uint8Array> {
  const { tcbInfo, qeIdentity, tcbSigningChain, pckCrl, rootCrl } = TDX_COLLATERAL;
  const [root, signer] = tcbSigningChain;
  if (root === undefined || signer === undefined) throw new Error("chain: expected two");
  return new Map([
    ...[...DOCUMENTS].map(([name, document]) => [`${name}.bin`, document] as const),
    ["tdx-root.der", root],
    ["tdx-signer.der", signer],
    ["tdx-tcb-info.json.bin", tcbInfo],
    ["tdx-qe-identity.json.bin", qeIdentity],
    ["tdx-pck.crl", pckCrl],
    ["tdx-root.crl", rootCrl],
  ]);
}

const TITLES = new Map([
  [TDX_V4, "a version 4 quote with a TDX 1.0 report, bound to values beside it"],
  [TDX_V5, "a version 5 quote with a TDX 1.5 report, bound to values beside it"],
]);

/** The JSON of the bases, by name. */
export function baseJson(): ReadonlyMap<string, Base> {
  return new Map([...TITLES].map(([name, title]) => [name, jsonOf(name, title)]));
}

function jsonOf(name: string, title: string): Base {
  const { nonce, userData, publicKey } = BINDING;
  return {
    title,
    source: "synthetic",
    format: "tdx",
    parts: {
      document: `${name}.bin`,
      "collateral/tcbInfo": "tdx-tcb-info.json.bin",
      "collateral/qeIdentity": "tdx-qe-identity.json.bin",
      "collateral/tcbSigningChain/0": "tdx-root.der",
      "collateral/tcbSigningChain/1": "tdx-signer.der",
      "collateral/pckCrl": "tdx-pck.crl",
      "collateral/rootCrl": "tdx-root.crl",
      "binding/nonce": `hex:${hex(nonce)}`,
      "binding/userData": `hex:${hex(userData)}`,
      "binding/publicKey": `hex:${hex(publicKey)}`,
    },
    anchors: [{ platform: "intel-tdx", certificate: "tdx-root.der" }],
    at: { mode: "live", nowMs: TDX_NOW },
    policy: plain(
      tdxPolicyOf({
        tdx: {
          ...TDX_EXPECTATIONS,
          mrServiceTd: name === TDX_V4 ? TDX_EXPECTATIONS.mrServiceTd : { equals: "00".repeat(48) },
        },
      }),
    ),
  };
}

/** Bytes as `{"$hex": ...}`; see `evaluate.ts`. */
function plain(value: object): NonNullable<Base["policy"]> {
  const text = JSON.stringify(value, (_, each: unknown) =>
    each instanceof Uint8Array ? { $hex: hex(each) } : each,
  );
  return JSON.parse(text);
}

/** The case as it is stored. */
export function vectorOf(
  { base, document, collateral = {}, ...others }: TdxCase,
  at: number,
): VectorInput {
  const name = base ?? TDX_V4;
  const before = DOCUMENTS.get(name);
  const { parts, swap } = changesOf(collateral);
  const edits = document === undefined || before === undefined ? [] : diffEdits(before, document);
  return {
    number: `G-${String(at + 1).padStart(2, "0")}`,
    ...others,
    source: "synthetic",
    base: name,
    edits,
    parts,
    swap: { ...swap, ...others.swap },
  };
}

function changesOf({ tcbSigningChain = [], ...others }: Partial<Collateral>): {
  readonly parts: Record<string, Edit[]>;
  readonly swap: Record<string, string | null>;
} {
  const parts: Record<string, Edit[]> = {};
  const swap: Record<string, string | null> = {};
  const before = new Map<string, unknown>(Object.entries(TDX_COLLATERAL));
  for (const [name, bytes] of Object.entries(others)) {
    const original = before.get(name);
    if (original instanceof Uint8Array) {
      parts[`collateral/${name}`] = diffEdits(original, bytes);
    }
  }
  tcbSigningChain.forEach((certificate, position) => {
    const name = `collateral/tcbSigningChain/${position}`;
    const original = TDX_COLLATERAL.tcbSigningChain[position];
    if (original === undefined) swap[name] = `hex:${hex(certificate)}`;
    else parts[name] = diffEdits(original, certificate);
  });
  return { parts, swap };
}

/** `bytes` with the lowest bit of the byte at `at` flipped; a negative place counts from the end. */
export function flip(bytes: Uint8Array, at: number): Uint8Array {
  const from = at < 0 ? bytes.length + at : at;
  return bytes.with(from, (bytes[from] ?? 0) ^ 1);
}

/** An anchor that is only in this vector. */
export function anchorOf(certificate: Uint8Array, platform = "intel-tdx") {
  return { platform, certificate: `hex:${hex(certificate)}` };
}
