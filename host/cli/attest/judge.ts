import {
  appraiseEvidence,
  evidenceOf,
  parseNitroDocument,
  parseTdxQuote,
  verifyEvidence,
  verifyReportReplay,
  type AppraisalPolicy,
  type AttestationReport,
  type Evidence,
  type JudgedAt,
  type TrustAnchor,
  type VerifiedEvidence,
} from "#attestation";
import { SymphonyError } from "#protocol";

import { policyChecks, type PolicyCheck } from "./checks.ts";
import { viewFault, type FaultView } from "./fault.ts";
import type { FoundEvidence } from "./input.ts";
import type { PolicyFile } from "./policy-file.ts";
import { date } from "./view.ts";
import { decodePem } from "./certificate-file.ts";
import { viewChain, type CertificateView } from "./certificate-view.ts";

/** What evidence is judged by. */
export interface Judgement {
  readonly anchors: readonly TrustAnchor[];
  /** Null to verify only, and appraise nothing. */
  readonly policy: PolicyFile | null;
  readonly at: AtTime;
}

/** When evidence is judged: now, at another time, or when the platform signed it. */
export type AtTime =
  | { readonly kind: "now"; readonly nowMs: number }
  | { readonly kind: "time"; readonly nowMs: number }
  | { readonly kind: "signed" };

/** What came of it. `stage` is where it was refused. */
export interface Verdict {
  readonly ok: boolean;
  /** Whether a simulator's root was believed: then this says nothing of hardware. */
  readonly simulated: boolean;
  readonly stage: "parse" | "verify" | "appraise" | null;
  readonly format: Evidence["format"];
  readonly bytes: number;
  readonly archived: boolean;
  /** From the root that vouches for it; null until verified. */
  readonly platform: string | null;
  readonly identity: string | null;
  readonly judged_at: string | null;
  readonly signed_at: string | null;
  readonly checks: readonly PolicyCheck[];
  readonly error: FaultView | null;
  readonly expiries: readonly { readonly subject: string; readonly not_after: string }[];
  /** Root first; null for bytes that are no certificate. Authentic once verified. */
  readonly certificates: readonly (CertificateView | null)[];
}

/** A verdict, and the report to archive when there is one. */
export interface Judged {
  readonly verdict: Verdict;
  readonly report: AttestationReport | null;
  readonly verified: VerifiedEvidence | null;
}

/**
 * Verifies and appraises evidence by the attestation module, and says of every step what came of it.
 *
 * An archived report is judged at the time that it was recorded at, whatever `at` says.
 */
export function judge(found: FoundEvidence, { anchors, policy, at }: Judgement): Judged {
  const evidence = found.kind === "archive" ? evidenceOf(found.report) : found.evidence;
  const certificates = viewChain(chainOf(evidence));
  const isSimulator = anchors.some(({ platform }) => platform === "sim");
  const facts = {
    format: evidence.format,
    bytes: evidence.document.length,
    archived: found.kind === "archive",
    certificates,
  };
  let verified: VerifiedEvidence | null = null;
  let checks: readonly PolicyCheck[] = [];
  let report: AttestationReport | null = null;
  let fault: SymphonyError | null = null;
  try {
    verified = verifyEvidence(evidence, anchors, judgedAt(found, at));
    if (policy !== null) {
      const whole = policyAt(policy, verified, found.kind === "archive" ? { kind: "signed" } : at);
      checks = policyChecks(verified, whole);
      report =
        found.kind === "archive"
          ? verifyReportReplay(found.report, anchors, whole)
          : appraiseEvidence(verified, whole);
    }
  } catch (error) {
    if (!(error instanceof SymphonyError)) throw error;
    fault = error;
  }
  const simulated = verified === null ? isSimulator : verified.platform === "sim";
  const verdict: Verdict = {
    ok: fault === null,
    simulated,
    stage: fault === null ? null : stageOf(fault),
    ...facts,
    ...claimsOf(verified),
    checks,
    error: fault === null ? null : viewFault(fault, certificates),
  };
  return { verdict, report, verified };
}

const NO_AGE = { unchecked: "it is judged at its own time and has no age" };

/** A document that is judged at the time it signs itself is of no age, whatever a policy asks. */
function policyAt(policy: PolicyFile, verified: VerifiedEvidence, at: AtTime): AppraisalPolicy {
  if (at.kind !== "signed") return { ...policy, judgedAtMs: at.nowMs };
  const { timestampMs, judgedAtMs } = verified;
  return { ...policy, judgedAtMs, maxAgeMs: timestampMs === null ? policy.maxAgeMs : NO_AGE };
}

type Claims = Pick<Verdict, "platform" | "identity" | "judged_at" | "signed_at" | "expiries">;

function claimsOf(verified: VerifiedEvidence | null): Claims {
  if (verified === null) {
    return { platform: null, identity: null, judged_at: null, signed_at: null, expiries: [] };
  }
  const { platform, identity, judgedAtMs, timestampMs, expiries } = verified;
  return {
    platform,
    identity,
    judged_at: date(judgedAtMs),
    signed_at: timestampMs === null ? null : date(timestampMs),
    expiries: expiries.map(({ subject, notAfterMs }) => ({ subject, not_after: date(notAfterMs) })),
  };
}

function judgedAt(found: FoundEvidence, at: AtTime): JudgedAt {
  if (found.kind === "archive") return { mode: "replay", recordedMs: found.report.time_ms };
  return at.kind === "signed" ? { mode: "replay" } : { mode: "live", nowMs: at.nowMs };
}

function stageOf(error: SymphonyError): "parse" | "verify" | "appraise" {
  if (error.class === "malformed" || error.class === "limit") return "parse";
  return error.class === "appraisal" ? "appraise" : "verify";
}

/** The certificates that evidence brings, root first; none when it cannot be taken apart. */
function chainOf(evidence: Evidence): readonly Uint8Array[] {
  try {
    switch (evidence.format) {
      case "nitro": {
        const { cabundle, certificate } = parseNitroDocument(evidence.document);
        return [...cabundle, certificate];
      }
      case "snp":
        return evidence.endorsements;
      case "tdx":
        return decodePem(parseTdxQuote(evidence.document).pckChain, "CERTIFICATE").toReversed();
    }
  } catch (error) {
    if (error instanceof SymphonyError) return [];
    throw error;
  }
}
