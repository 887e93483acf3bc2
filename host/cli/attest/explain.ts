import { parseArgs } from "node:util";

import { EXIT, UsageError, type CliIo } from "#cli";
import {
  SIMULATED_MARK,
  evidenceOf,
  parseNitroDocument,
  parseSnpReport,
  parseTdxQuote,
  type Evidence,
  type VerifiedEvidence,
} from "#attestation";

import { readEvidence, type FoundEvidence } from "./input.ts";
import { judge, type AtTime, type Judgement, type Verdict } from "./judge.ts";
import {
  EVIDENCE_OPTIONS,
  EVIDENCE_OPTIONS_HELP,
  expectSignedTime,
  oneFile,
  parseAt,
  parseNonce,
} from "./options.ts";
import { readPolicy } from "./policy-file.ts";
import { readAnchors } from "./trust.ts";
import { SIMULATED_BANNER, formatVerdict } from "./verdict.ts";
import { viewNitro } from "./view-nitro.ts";
import { viewSnp } from "./view-snp.ts";
import { viewTdx } from "./view-tdx.ts";
import { viewArchive } from "./view-archive.ts";
import { formatGroups, type GroupView } from "./view.ts";
import { formatChain, type CertificateView } from "./certificate-view.ts";

export const ATTEST_EXPLAIN_HELP = `symphony attest explain FILE [--policy POLICY] [--json] ...

Tells what attestation evidence says, field by field: times as dates, certificates, registers with their meaning,
whether it is of a debug enclave, whether it is authentic and, with --policy, what the policy would say. Needs no time:
evidence that signs its own is judged at it. Exits 0 when it could be read, but 1 when a policy is given and it would
not be accepted.

${EVIDENCE_OPTIONS_HELP}`;

/** Everything that `explain` tells; the JSON form as it stands. */
export interface ExplainView {
  readonly simulated: boolean;
  readonly groups: readonly GroupView[];
  /** Root first; null for bytes that are no certificate. */
  readonly certificates: readonly (CertificateView | null)[];
  /**
   * Whether the evidence is authentic and, with a policy, whether it would be accepted; null without the files that
   * it takes to verify it, which `missing` then names.
   */
  readonly verdict: Verdict | null;
  readonly missing: string | null;
}

/** `symphony attest explain`. @returns the exit code */
export async function runAttestExplain(
  argv: readonly string[],
  io: CliIo,
  nowMs: number = Date.now(),
): Promise<number> {
  const { values, positionals } = parseArgs({
    args: [...argv],
    allowPositionals: true,
    options: EVIDENCE_OPTIONS,
  });
  const file = oneFile(positionals, "file of evidence");
  if (values.nonce !== undefined && values.policy === undefined) {
    throw new UsageError("--nonce: expected --policy with it, got none");
  }
  const policy =
    values.policy === undefined ? null : await readPolicy(values.policy, parseNonce(values.nonce));
  const anchors = await readAnchors(values);
  const found = await readEvidence(file, values);
  if (policy !== null && found.kind === "evidence" && found.missing !== null) {
    throw new UsageError(found.missing);
  }
  const at = values.at === undefined ? ownTime(found, nowMs) : parseAt(values.at, nowMs);
  expectSignedTime(found, at);
  const view = explain(found, { anchors, policy, at });
  io.stdout(values.json ? `${JSON.stringify(view)}\n` : formatExplain(view, policy !== null));
  return policy === null || view.verdict?.ok === true ? EXIT.ok : EXIT.refused;
}

/** Everything there is to say of evidence. @throws {@link SymphonyError} when it cannot be taken apart */
export function explain(found: FoundEvidence, judgement: Judgement): ExplainView {
  const evidence = found.kind === "archive" ? evidenceOf(found.report) : found.evidence;
  const missing = found.kind === "archive" ? null : found.missing;
  const { verdict, verified } = judge(found, judgement);
  const groups = [
    ...(found.kind === "archive" ? [viewArchive(found.report)] : []),
    ...viewEvidence(evidence, verified),
  ];
  const { certificates } = verdict;
  const claimsToBe = certificates[0]?.subject.includes(SIMULATED_MARK) ?? false;
  return {
    simulated: (missing === null && verdict.simulated) || claimsToBe,
    groups,
    certificates,
    verdict: missing === null ? verdict : null,
    missing,
  };
}

function viewEvidence(evidence: Evidence, verified: VerifiedEvidence | null): readonly GroupView[] {
  const claims = verified?.claims ?? null;
  switch (evidence.format) {
    case "nitro":
      return viewNitro(parseNitroDocument(evidence.document));
    case "snp":
      return viewSnp(parseSnpReport(evidence.document), claims?.format === "snp" ? claims : null);
    case "tdx":
      return viewTdx(parseTdxQuote(evidence.document), claims?.format === "tdx" ? claims : null);
  }
}

/** A document that signs its time is judged at it; other evidence, now. */
function ownTime(found: FoundEvidence, nowMs: number): AtTime {
  const signs = found.kind === "archive" || found.evidence.format === "nitro";
  return signs ? { kind: "signed" } : { kind: "now", nowMs };
}

function formatExplain(view: ExplainView, isAppraised: boolean): string {
  const { simulated, groups, certificates, verdict, missing } = view;
  const banner = simulated ? `${SIMULATED_BANNER}\n` : "";
  const judged =
    verdict === null
      ? `not verified; ${missing ?? ""}\n`
      : formatVerdict(verdict, (one) => conclusion(one, isAppraised));
  const chain = certificates.length === 0 ? [] : [formatChain(certificates)];
  return [
    `${banner}${formatGroups(groups)}`,
    ...chain,
    `${judged}${verdict?.simulated === true ? "" : banner}`,
  ].join("\n");
}

function conclusion({ ok, error, stage }: Verdict, isAppraised: boolean): string {
  if (!ok && stage !== "appraise") return `NOT authentic: ${error?.code ?? ""}`;
  if (!isAppraised) return "no policy given: nothing says whether to accept it";
  return ok ? "the policy accepts it" : `the policy does NOT accept it: ${error?.code ?? ""}`;
}
