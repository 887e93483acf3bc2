import { parseArgs } from "node:util";

import { SIMULATED_MARK, evidenceOf, parseNitroDocument, type Evidence } from "#attestation";

import { readEvidence, type FoundEvidence } from "./attest-input.ts";
import { judge, type AtTime, type Judgement, type Verdict } from "./attest-judge.ts";
import {
  EVIDENCE_OPTIONS,
  EVIDENCE_OPTIONS_HELP,
  oneFile,
  parseAt,
  parseNonce,
} from "./attest-options.ts";
import { readPolicy } from "./attest-policy-file.ts";
import { readAnchors } from "./attest-trust.ts";
import { SIMULATED_BANNER, formatVerdict } from "./attest-verdict.ts";
import { viewNitro } from "./attest-view-nitro.ts";
import { viewArchive } from "./attest-view-archive.ts";
import { formatGroups, type GroupView } from "./attest-view.ts";
import { formatChain, type CertificateView } from "./certificate-view.ts";
import { EXIT, UsageError, type CliIo } from "./io.ts";

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
  /** Whether the evidence is authentic and, with a policy, whether it would be accepted. */
  readonly verdict: Verdict;
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
  const at = values.at === undefined ? ownTime(found, nowMs) : parseAt(values.at, nowMs);
  const view = explain(found, { anchors, policy, at });
  io.stdout(values.json ? `${JSON.stringify(view)}\n` : formatExplain(view, policy !== null));
  return view.verdict.ok || policy === null ? EXIT.ok : EXIT.refused;
}

/** Everything there is to say of evidence. @throws {@link SymphonyError} when it cannot be taken apart */
export function explain(found: FoundEvidence, judgement: Judgement): ExplainView {
  const evidence = found.kind === "archive" ? evidenceOf(found.report) : found.evidence;
  const groups = [
    ...(found.kind === "archive" ? [viewArchive(found.report)] : []),
    ...viewEvidence(evidence),
  ];
  const { verdict } = judge(found, judgement);
  const { certificates } = verdict;
  const claimsToBe = certificates[0]?.subject.includes(SIMULATED_MARK) ?? false;
  return { simulated: verdict.simulated || claimsToBe, groups, certificates, verdict };
}

function viewEvidence(evidence: Evidence): readonly GroupView[] {
  switch (evidence.format) {
    case "nitro":
      return viewNitro(parseNitroDocument(evidence.document));
    case "snp":
    case "tdx":
      return [];
  }
}

/** A document that signs its time is judged at it; other evidence, now. */
function ownTime(found: FoundEvidence, nowMs: number): AtTime {
  const signs = found.kind === "archive" || found.evidence.format === "nitro";
  return signs ? { kind: "signed" } : { kind: "now", nowMs };
}

function formatExplain(view: ExplainView, isAppraised: boolean): string {
  const { simulated, groups, certificates, verdict } = view;
  const banner = simulated && !verdict.simulated ? `${SIMULATED_BANNER}\n` : "";
  const parts = [
    `${banner}${formatGroups(groups)}`,
    formatChain(certificates),
    formatVerdict(verdict, (judged) => conclusion(judged, isAppraised)) + banner,
  ];
  return parts.join("\n");
}

function conclusion({ ok, error, stage }: Verdict, isAppraised: boolean): string {
  if (!ok && stage !== "appraise") return `NOT authentic: ${error?.code ?? ""}`;
  if (!isAppraised) return "no policy given: nothing says whether to accept it";
  return ok ? "the policy accepts it" : `the policy does NOT accept it: ${error?.code ?? ""}`;
}
