import type { z } from "zod";

import {
  forgeLeaf,
  forgeReport,
  type LeafValues,
  type ReportPatch,
} from "../../../attestation/snp-forge.ts";
import type { VectorInput } from "../schema.ts";
import { SNP_BASES, type SnpBase } from "./f-bases.ts";

/** JSON, as a policy is written. */
export type Json = z.infer<ReturnType<typeof z.json>>;

/** A vector to be: bytes become edits of the base's, and the order gives the number. */
export interface SnpCase extends Omit<VectorInput, "number" | "source" | "edits" | "parts"> {
  readonly source?: VectorInput["source"];
  readonly document?: Uint8Array;
  /** Certificates instead of the base's, by position; one at position 3 comes after them. */
  readonly endorsements?: Readonly<Record<number, Uint8Array>>;
}

export const MILAN = baseNamed("snp-milan");
export const GENOA = baseNamed("snp-genoa");
export const TURIN = baseNamed("snp-turin");
export const MILAN_LATER = baseNamed("snp-milan-later");

function baseNamed(name: string): SnpBase {
  const base = SNP_BASES.get(name);
  if (base === undefined) throw new Error(`base ${name}: expected one, got none`);
  return base;
}

/** The base's report with other bytes, signed anew. */
export function resigned({ report }: SnpBase, patch: ReportPatch): Uint8Array {
  return forgeReport([report, patch]);
}

/** `bytes` with others from `at` on. */
export function withBytes(bytes: Uint8Array, at: number, others: Uint8Array): Uint8Array {
  const copy = bytes.slice();
  copy.set(others, at);
  return copy;
}

/** `bytes` with the lowest bit of the byte at `at` flipped. */
export function flip(bytes: Uint8Array, at: number): Uint8Array {
  return bytes.with(at, (bytes[at] ?? 0) ^ 1);
}

/** A leaf like the base's, with some extensions other. */
export function leafWith(base: SnpBase, changes: LeafValues): Uint8Array {
  return forgeLeaf({ ...base.leaf, ...changes }, { issuer: base.authority });
}

/** The base's expectations with some changed. */
export function withSnp(
  title: string,
  base: SnpBase,
  snp: Readonly<Record<string, Json>>,
): Pick<SnpCase, "title" | "base" | "policy"> {
  return { title, base: base.name, policy: { snp: { ...snp } } };
}

/** An expectation that is an object, with some fields changed. */
export function nested(
  base: SnpBase,
  field: string,
  changes: Readonly<Record<string, Json>>,
): Readonly<Record<string, Json>> {
  const section = base.json.policy?.["snp"];
  const before = isRecord(section) ? section[field] : undefined;
  if (!isRecord(before)) throw new Error(`${field}: expected an object in the policy`);
  return { ...before, ...changes };
}

/** An expectation that is an object, without one of its fields. */
export function without(base: SnpBase, field: string, name: string): Json {
  const { [name]: _removed, ...others } = nested(base, field, {});
  return others;
}

/** Whether `value` is a JSON object. */
export function isRecord(value: unknown): value is Record<string, Json> {
  return value !== null && typeof value === "object" && !Array.isArray(value);
}
