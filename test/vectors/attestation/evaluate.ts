import { createPrivateKey, type KeyObject } from "node:crypto";

import { z } from "zod";

import type {
  AppraisalPolicy,
  ChainCache,
  Evidence,
  JudgedAt,
  TrustAnchor,
  VerifiedEvidence,
} from "../../../attestation/index.ts";
import { fromHex, hex } from "../../../protocol/index.ts";
import { applyEdits } from "./apply.ts";
import { isPresent, readReference } from "./load.ts";
import type { Base, Vector } from "./schema.ts";

/** What the evaluator needs of an attestation module, so that a mutated copy can be given. */
export interface AttestationModule {
  readonly verifyEvidence: (
    evidence: Evidence,
    anchors: readonly TrustAnchor[],
    at: JudgedAt,
  ) => VerifiedEvidence;
  readonly appraiseEvidence: (evidence: VerifiedEvidence, policy: AppraisalPolicy) => object;
  readonly createChainCache: (limits: { readonly entriesMax: number }) => ChainCache;
  readonly parseNitroDocument: (document: Uint8Array) => unknown;
  /** Until a format has a parser of its own, what it refuses counts as `verify`. */
  readonly parseSnpReport?: (document: Uint8Array) => unknown;
  readonly parseTdxQuote?: (document: Uint8Array) => unknown;
}

/** Opens a KMS blob with the recipient's private key. */
export type CmsOpener = (blob: Uint8Array, key: KeyObject) => Uint8Array;

/** What vectors are evaluated against. */
export interface Subject {
  readonly attestation: AttestationModule;
  readonly openCms: CmsOpener;
}

/** Accepted by all stages, or the first stage that refuses and its code. */
export type Outcome =
  { readonly accepted: true } | { readonly stage: Vector["stage"]; readonly code: string };

/** What of a vector is evaluated; a base has none of it. */
type Damage = Pick<Vector, "edits" | "parts" | "swap" | "policy" | "warm" | "anchors" | "at">;

const UNDAMAGED: Damage = { edits: [], parts: {}, swap: {}, policy: {}, warm: false };

/** Whether the files a vector or a base needs are there. */
export function isAvailable(base: Base, { swap, anchors }: Damage = UNDAMAGED): boolean {
  const roots = (anchors ?? base.anchors).map(({ certificate }) => certificate);
  const swapped = Object.values(swap).filter((reference) => reference !== null);
  return isPresent([...Object.values(base.parts), ...swapped, ...roots]);
}

/**
 * Evaluates one vector. A refusal without a code, such as a TypeError, has its class for a code.
 *
 * @param chainCache - Chains seen before; a vector with `warm` gets one that has seen its base at least.
 */
export function evaluateVector(
  vector: Vector,
  base: Base,
  { subject, chainCache = null }: { subject: Subject; chainCache?: ChainCache | null },
): Outcome {
  if (!vector.warm) return evaluate(base, vector, { subject, chainCache });
  const cache = chainCache ?? subject.attestation.createChainCache({ entriesMax: 2 });
  const warmed = evaluate(base, UNDAMAGED, { subject, chainCache: cache });
  return "accepted" in warmed ? evaluate(base, vector, { subject, chainCache: cache }) : warmed;
}

/** Evaluates the evidence that vectors damage; all of it has to be accepted. */
export function evaluateBase(
  base: Base,
  { subject, chainCache = null }: { subject: Subject; chainCache?: ChainCache | null },
): Outcome {
  return evaluate(base, UNDAMAGED, { subject, chainCache });
}

function evaluate(
  base: Base,
  damage: Damage,
  { subject, chainCache }: { subject: Subject; chainCache: ChainCache | null },
): Outcome {
  const { attestation, openCms } = subject;
  const parts = partsOf(base, damage);
  const document = partOf(parts, "document");
  let stage: Vector["stage"] = "parse";
  try {
    if (base.format === "cms") {
      stage = "open";
      openCms(document, privateKeyOf(parts));
      return { accepted: true };
    }
    parserOf(base.format, attestation)?.(document);
    stage = "verify";
    const anchors = (damage.anchors ?? base.anchors).map(anchorOf);
    const at = damage.at ?? base.at;
    if (at === null) throw new Error("base: expected a time, got none");
    const judgedAt = chainCache === null ? at : { ...at, chainCache };
    const verified = attestation.verifyEvidence(evidenceOf(base.format, parts), anchors, judgedAt);
    stage = "appraise";
    attestation.appraiseEvidence(verified, policyOf(base, damage));
    return { accepted: true };
  } catch (error) {
    return { stage, code: codeOf(error) };
  }
}

/**
 * What an accepted base says, as JSON with bytes in hex: all but the evidence itself. For a `cms` its plaintext.
 *
 * @throws what the subject throws.
 */
export function claimsOf(base: Base, { attestation, openCms }: Subject): unknown {
  const parts = partsOf(base);
  if (base.format === "cms") return plain(openCms(partOf(parts, "document"), privateKeyOf(parts)));
  if (base.at === null) throw new Error("base: expected a time, got none");
  const evidence = evidenceOf(base.format, parts);
  const verified = attestation.verifyEvidence(evidence, base.anchors.map(anchorOf), base.at);
  const report = attestation.appraiseEvidence(verified, policyOf(base, UNDAMAGED));
  return plain({ claims: verified.claims, report: { ...report, ...LEFT_OUT } });
}

/** Of a report: what the base has itself. */
const LEFT_OUT = { evidence: undefined, endorsements: undefined, collateral: undefined };

/** Bytes as hex, maps as objects, large integers as decimal digits. */
function plain(value: unknown): unknown {
  if (value instanceof Uint8Array) return hex(value);
  if (value instanceof Map) return plain(Object.fromEntries(value));
  if (typeof value === "bigint") return `${value}`;
  if (Array.isArray(value)) return value.map(plain);
  if (!isRecord(value)) return value;
  return Object.fromEntries(Object.entries(value).map(([key, each]) => [key, plain(each)]));
}

function parserOf(format: Base["format"], attestation: AttestationModule) {
  switch (format) {
    case "nitro":
      return attestation.parseNitroDocument;
    case "snp":
      return attestation.parseSnpReport;
    case "tdx":
      return attestation.parseTdxQuote;
    case "cms":
      return undefined;
  }
}

type Parts = ReadonlyMap<string, Uint8Array>;

const read = new Map<string, Uint8Array>();

function readOnce(reference: string): Uint8Array {
  const bytes = read.get(reference) ?? readReference(reference);
  read.set(reference, bytes);
  return bytes;
}

/** The parts of a vector: the base's, some from elsewhere, then edited. */
export function partsOf(base: Base, { edits, parts, swap }: Damage = UNDAMAGED): Parts {
  const edited = new Map(Object.entries({ document: edits, ...parts }));
  const result = new Map<string, Uint8Array>();
  for (const [name, reference] of Object.entries({ ...base.parts, ...swap })) {
    if (reference !== null) {
      result.set(name, applyEdits(readOnce(reference), edited.get(name) ?? []));
    }
  }
  return result;
}

function partOf(parts: Parts, name: string): Uint8Array {
  const part = parts.get(name);
  if (part === undefined) throw new Error(`part ${name}: expected it in the base, got none`);
  return part;
}

function listOf(parts: Parts, prefix: string): Uint8Array[] {
  return [...parts]
    .filter(([name]) => name.startsWith(`${prefix}/`))
    .sort(([left], [right]) => left.localeCompare(right, "en", { numeric: true }))
    .map(([, bytes]) => bytes);
}

function evidenceOf(format: "nitro" | "snp" | "tdx", parts: Parts): Evidence {
  const document = partOf(parts, "document");
  const bound = listOf(parts, "binding").length > 0;
  const bind = (name: string): Uint8Array | null => parts.get(`binding/${name}`) ?? null;
  const binding = bound
    ? { nonce: bind("nonce"), userData: bind("userData"), publicKey: bind("publicKey") }
    : null;
  switch (format) {
    case "nitro":
      return { format, document };
    case "snp":
      return { format, document, endorsements: listOf(parts, "endorsements"), binding };
    case "tdx":
      return {
        format,
        document,
        collateral: {
          tcbInfo: partOf(parts, "collateral/tcbInfo"),
          qeIdentity: partOf(parts, "collateral/qeIdentity"),
          tcbSigningChain: listOf(parts, "collateral/tcbSigningChain"),
          pckCrl: partOf(parts, "collateral/pckCrl"),
          rootCrl: partOf(parts, "collateral/rootCrl"),
        },
        binding,
      };
  }
}

const anchorSchema = z.custom<TrustAnchor>((value) => value !== null && typeof value === "object");

/** The platform is given as it stands: a wrong label is a case of its own. */
function anchorOf(anchor: Base["anchors"][number]): TrustAnchor {
  return anchorSchema.parse({ ...anchor, certificate: readOnce(anchor.certificate) });
}

function privateKeyOf(parts: Parts): KeyObject {
  return createPrivateKey(Buffer.from(partOf(parts, "key")));
}

const policySchema = z.custom<AppraisalPolicy>(
  (value) => value !== null && typeof value === "object",
);
const SECTIONS = ["nitro", "snp", "tdx"] as const;

/** The base's policy with the vector's changes, as the verifier takes it. */
export function policyOf(base: Base, { policy }: Pick<Damage, "policy">): AppraisalPolicy {
  const merged: Record<string, unknown> = { ...base.policy, ...policy };
  for (const name of SECTIONS) {
    const [before, change] = [base.policy?.[name], policy[name]];
    if (isRecord(before) && isRecord(change)) merged[name] = { ...before, ...change };
  }
  const present = Object.entries(merged).filter(([, value]) => !isAbsent(value));
  return policySchema.parse(revive(Object.fromEntries(present)));
}

function isAbsent(value: unknown): boolean {
  return isRecord(value) && value["$absent"] === true;
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return value !== null && typeof value === "object" && !Array.isArray(value);
}

function revive(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(revive);
  if (!isRecord(value)) return value;
  const { $hex, $bigint, $number } = value;
  if (typeof $hex === "string") return fromHex($hex);
  if (typeof $bigint === "string") return BigInt($bigint);
  if (typeof $number === "string") return Number($number);
  return Object.fromEntries(Object.entries(value).map(([key, each]) => [key, revive(each)]));
}

const errorSchema = z.object({ code: z.string() });

function codeOf(error: unknown): string {
  const parsed = errorSchema.safeParse(error);
  if (parsed.success) return parsed.data.code;
  return error instanceof Error ? error.constructor.name : typeof error;
}
