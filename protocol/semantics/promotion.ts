import { z } from "zod";

import { compareBytes, equalBytes } from "../bytes.ts";
import { LimitError, RefusedError } from "../errors.ts";
import { identifier } from "../fields.ts";
import { digestOf } from "../hash.ts";
import { keyIdOf, parseCose } from "../signing.ts";
import { fits, type LocalType, type MappingSignal } from "./local-attributes.ts";
import {
  LOCAL_ATTRIBUTE_CANDIDATE,
  requireWindow,
  windowEpochsOf,
  type CandidateSubject,
  type CandidateWindow,
  type LocalAttributeCandidate,
} from "./local-candidate.ts";
import { registerVersion, type SemanticRegistration } from "./registration.ts";
import { registryIndex } from "./registry-index.ts";
import {
  canonicalAttributeSchema,
  type CanonicalAttribute,
  type SemanticRegistry,
} from "./semantics.ts";
import type { GovernanceState } from "../governance/governance-state.ts";

/** Candidates of one attribute and window that are looked at together. */
export const CANDIDATES_MAX = 256;

/** One thing that a promotion takes. */
export interface Precondition {
  readonly name: string;
  readonly met: boolean;
  readonly expected: string;
  readonly actual: string;
}

/** A new canonical attribute, as whoever proposes it defines it. */
export const promotionSchema = z.strictObject({
  definition: canonicalAttributeSchema.omit({
    ...{ status: true, effective_from: true, deprecated_from: true, retired_from: true },
  }),
  /** What it is to each attribute that a signal names: the same under another name, or what comes in its place. */
  resolutions: z
    .array(z.strictObject({ attribute_id: identifier, relation: z.enum(["alias", "replacement"]) }))
    .max(64),
});
export type Promotion = z.infer<typeof promotionSchema>;

/** What the candidates of several Vaults say together (LA-2). It proposes nothing and makes nothing active. */
export interface CandidateReport {
  readonly window: CandidateWindow;
  /** Ascending, distinct. */
  readonly vaults: readonly string[];
  readonly domains: readonly string[];
  readonly types: readonly LocalType[];
  /** Of the enterprises that are active, how many have the column, in percent. */
  readonly coverage_percent: number;
  readonly noised_rows: number;
  /** Of the epochs of the window, in how many the Vault has it that has it in fewest, in percent. */
  readonly stability_percent: number;
  /** Each attribute that a candidate names, with its surest signal, by name. */
  readonly signals: readonly MappingSignal[];
  /** Digests of the candidates, ascending, and of them all: whoever has the candidates comes to this report. */
  readonly evidence: readonly Uint8Array[];
  readonly evidence_digest: Uint8Array;
}

/** What came of judging a promotion (LA-4). */
export interface PromotionJudgement {
  readonly preconditions: readonly Precondition[];
  readonly report: CandidateReport;
  /**
   * What governance could vote on: the attribute in state `proposed`, or its step to `registered` where an exception has
   * proposed it; null unless every precondition is met.
   */
  readonly registration: SemanticRegistration | null;
}

/**
 * Judges whether a column of several Vaults could become a canonical attribute. Pure: equal candidates in any order give
 * equal judgements. What it gives is a registration to propose; only governance's decision changes the registry.
 *
 * @param args.signed - COSE_Sign1 of candidates for the definition's attribute, all of one window.
 * @throws As {@link aggregateCandidates}; MalformedError DERIVATION_REGISTRY_INVALID for a definition that no registry
 * has; VerificationError GOVERNANCE_EVENT_INVALID
 */
export function judgePromotion(
  governance: GovernanceState,
  args: {
    readonly promotion: Promotion;
    readonly signed: readonly Uint8Array[];
    readonly exception: string | null;
  },
): PromotionJudgement {
  const { promotion, signed, exception } = args;
  const { definition } = promotion;
  const { domain_id: domainId, attribute_id: attributeId } = definition;
  const report = aggregateCandidates(governance, { domainId, attributeId, exception }, signed);
  const preconditions = [
    coverage(governance, report, exception),
    stability(governance, report),
    domainBinding(governance, report, domainId),
    typeAgreement(report, definition.type),
    noConflict(report, promotion),
    newName(governance, definition, exception),
  ];
  const isMet = preconditions.every(({ met }) => met);
  const registration = isMet ? proposalOf(governance, definition) : null;
  return { preconditions, report, registration };
}

/**
 * What candidates say together.
 *
 * @throws {@link RefusedError} DERIVATION_CANDIDATE_REFUSED for candidates of other networks, attributes or windows, one
 * twice, none, and as `requireWindow`; {@link LimitError} SCHEMA_TOO_LARGE; VerificationError PROOF_SIGNATURE_INVALID
 */
export function aggregateCandidates(
  governance: GovernanceState,
  subject: CandidateSubject,
  signed: readonly Uint8Array[],
): CandidateReport {
  if (signed.length > CANDIDATES_MAX) throw tooMany(signed.length);
  const candidates = signed.map((each) => ofSubject(verifyCandidate(governance, each), subject));
  const [first] = candidates;
  if (first === undefined) throw refused("candidates", "one or more", "none");
  const { window } = first;
  requireWindow(governance, window, subject);
  if (candidates.some(({ window: other }) => !isSame(other, window))) {
    throw refused("candidates", "one window", "several");
  }
  const names = candidates.map(({ vault_id, local_id }) => `${vault_id}/${local_id}`);
  if (new Set(names).size < names.length) throw refused("candidates", "each once", "one twice");
  const digests = candidates.map((each) => LOCAL_ATTRIBUTE_CANDIDATE.digest(each));
  const evidenceDigests = digests.sort(compareBytes);
  const vaults = sorted(candidates.map(({ vault_id }) => vault_id));
  const active = [...governance.actors.values()].filter(
    ({ role, status }) => role === "enterprise" && status === "active",
  );
  return {
    ...{ window, vaults },
    domains: sorted(candidates.map(({ domain_id }) => domain_id)),
    types: sorted(candidates.map(({ type }) => type)),
    coverage_percent: Math.floor((100 * vaults.length) / active.length),
    noised_rows: candidates.reduce((sum, each) => sum + each.noised_rows, 0),
    stability_percent: stabilityOf(candidates, window),
    signals: surest(candidates.flatMap(({ signals }) => signals)),
    evidence: evidenceDigests,
    evidence_digest: digestOf("candidate-evidence", evidenceDigests),
  };
}

/** Of the Vault that has the column in fewest epochs; of a Vault with several such columns, by its steadiest. */
function stabilityOf(
  candidates: readonly LocalAttributeCandidate[],
  window: CandidateWindow,
): number {
  const present = new Map<string, number>();
  for (const { vault_id: vault, epochs_present: epochs } of candidates) {
    present.set(vault, Math.max(epochs, present.get(vault) ?? 0));
  }
  return Math.floor((100 * Math.min(...present.values())) / windowEpochsOf(window));
}

/**
 * Verifies a candidate that an active enterprise of this network has signed with its present key.
 *
 * @throws {@link RefusedError} DERIVATION_CANDIDATE_REFUSED; VerificationError PROOF_SIGNATURE_INVALID
 */
export function verifyCandidate(
  { actors, genesisDigest }: GovernanceState,
  signed: Uint8Array,
): LocalAttributeCandidate {
  const { keyId, payload } = parseCose(signed, 16_384);
  // Whose it says to be: to look for the key instead would take as long as there are actors.
  const signer = actors.get(LOCAL_ATTRIBUTE_CANDIDATE.decode(payload).vault_id);
  const isActive = signer?.role === "enterprise" && signer.status === "active";
  if (!isActive || keyIdOf(signer.signing_key) !== keyId) {
    throw refused("candidate", "one that its active enterprise has signed", "another");
  }
  const candidate = LOCAL_ATTRIBUTE_CANDIDATE.verify(signed, signer.signing_key);
  if (equalBytes(candidate.genesis_digest, genesisDigest)) return candidate;
  throw refused("candidate", "one of this network", "another");
}

function ofSubject(
  candidate: LocalAttributeCandidate,
  { attributeId }: CandidateSubject,
): LocalAttributeCandidate {
  if (candidate.attribute_id === attributeId) return candidate;
  throw refused("candidate", `one for ${attributeId}`, `one for ${candidate.attribute_id}`);
}

function coverage(
  { policy }: GovernanceState,
  { vaults }: CandidateReport,
  exception: string | null,
): Precondition {
  const { minimum_vaults: least } = policy.semantics.local_attributes;
  return {
    ...{ name: "coverage", met: vaults.length >= least || exception !== null },
    ...{ expected: `${least} Vaults, or an exception`, actual: `${vaults.length}` },
  };
}

function stability({ policy }: GovernanceState, report: CandidateReport): Precondition {
  const { stability_percent: least } = policy.semantics.local_attributes;
  const { stability_percent: actual } = report;
  return {
    ...{ name: "stability", met: actual >= least },
    ...{ expected: `${least}% of the window in each Vault`, actual: `${actual}%` },
  };
}

function domainBinding(
  { semantics }: GovernanceState,
  { domains }: CandidateReport,
  domainId: string,
): Precondition {
  const known = registryIndex(semantics).domains.get(domainId) ?? [];
  const isActive = known.some(({ status }) => status === "active");
  return {
    name: "domain_binding",
    met: isActive && domains.every((each) => each === domainId),
    expected: `domain ${domainId}, active, of every candidate`,
    actual: domains.join(),
  };
}

function typeAgreement(
  { types }: CandidateReport,
  canonical: CanonicalAttribute["type"],
): Precondition {
  const met = types.every((type) => fits(type, canonical));
  return { name: "type", met, expected: `types that fit ${canonical}`, actual: types.join() };
}

/** Each attribute that a signal names has a resolution; one that is replaced is superseded by the definition. */
function noConflict(
  { signals }: CandidateReport,
  { definition, resolutions }: Promotion,
): Precondition {
  const open = signals.filter(({ attribute_id: id }) => {
    const relation = resolutions.find((each) => each.attribute_id === id)?.relation;
    return relation === undefined || (relation === "replacement" && definition.supersedes !== id);
  });
  return {
    ...{ name: "no_conflict", met: open.length === 0 },
    expected: "an alias or replacement declared for each attribute that signals name",
    actual: open.length === 0 ? "all declared" : open.map((each) => each.attribute_id).join(),
  };
}

function newName(
  { semantics }: GovernanceState,
  definition: Promotion["definition"],
  exception: string | null,
): Precondition {
  const known = registered(semantics, definition);
  const isProposed = exception !== null && known?.status === "proposed";
  return {
    ...{ name: "new_name", met: known === undefined || isProposed },
    expected: "a name that was never registered, or what an exception has proposed",
    actual: known?.status ?? "new",
  };
}

function registered(
  registry: SemanticRegistry,
  { domain_id, attribute_id }: Promotion["definition"],
): CanonicalAttribute | undefined {
  const named = registryIndex(registry).attributes.get(attribute_id) ?? [];
  return named.find((each) => each.domain_id === domain_id);
}

/** The attribute, proposed; or the step to `registered` of one that an exception has proposed. */

function proposalOf(
  { semantics, genesisDigest }: GovernanceState,
  definition: Promotion["definition"],
): SemanticRegistration {
  const ends = { effective_from: null, deprecated_from: null, retired_from: null };
  const { domain_id, attribute_id } = definition;
  const isThere = registered(semantics, definition) !== undefined;
  const registration: SemanticRegistration = {
    semantic_version: definition.semantic_version,
    predecessor_version: semantics.semantic_version,
    attributes: isThere ? [] : [{ ...definition, status: "proposed", ...ends }],
    ...{ domains: [], query_attributes: [], derivation_rules: [], record_scopes: [] },
    transitions: isThere ? [{ kind: "attribute", domain_id, attribute_id, to: "registered" }] : [],
    approvals: [],
  };
  // What governance could not take is no proposal.
  registerVersion(semantics, registration, { genesisDigest, keyOf: () => undefined });
  return registration;
}

function surest(signals: readonly MappingSignal[]): MappingSignal[] {
  const best = new Map<string, MappingSignal>();
  for (const signal of signals) {
    const key = `${signal.attribute_id} ${signal.kind}`;
    const known = best.get(key);
    if (known === undefined || known.confidence_percent < signal.confidence_percent) {
      best.set(key, signal);
    }
  }
  return [...best.keys()].sort().flatMap((key) => best.get(key) ?? []);
}

function sorted<T extends string>(names: readonly T[]): T[] {
  return [...new Set(names)].sort();
}

function isSame(left: CandidateWindow, right: CandidateWindow): boolean {
  return left.first_epoch === right.first_epoch && left.last_epoch === right.last_epoch;
}

function refused(field: string, expected: string, actual: string): RefusedError {
  return new RefusedError(
    { code: "DERIVATION_CANDIDATE_REFUSED", field, expected },
    `${field}: expected ${expected}, got ${actual}`,
  );
}

function tooMany(actual: number): LimitError {
  return new LimitError(
    { code: "SCHEMA_TOO_LARGE", field: "candidates", max: CANDIDATES_MAX },
    `candidates: expected at most ${CANDIDATES_MAX}, got ${actual}`,
  );
}
