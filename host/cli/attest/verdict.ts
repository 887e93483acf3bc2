import type { PolicyCheck } from "./checks.ts";
import { hintFor, type FaultView } from "./fault.ts";
import type { Verdict } from "./judge.ts";

/** What stands first and last wherever evidence is a simulator's, or a simulator's root is believed. */
export const SIMULATED_BANNER =
  "SIMULATED: this comes from a simulator or trusts one. It proves nothing about real hardware.";

const FORMAT_NAMES = { nitro: "Nitro document", snp: "SEV-SNP report", tdx: "TDX quote" } as const;

/** A verdict as lines, the last one from `conclude`; SIMULATED first and last where it is. */
export function formatVerdict(verdict: Verdict, conclude: (verdict: Verdict) => string): string {
  const { simulated, error, checks, stage } = verdict;
  const banner = simulated ? [SIMULATED_BANNER] : [];
  const lines = [
    ...banner,
    headLine(verdict),
    ...(stage === "parse" || stage === "verify" ? faultLines(error) : verifiedLines(verdict)),
    ...checkLines(checks),
    ...(stage === "appraise" ? appraisalLines(error, checks) : []),
    conclude(verdict),
    ...banner,
  ];
  return lines.map((line) => `${line}\n`).join("");
}

function headLine({ format, bytes, archived }: Verdict): string {
  return `${archived ? "archived " : ""}${FORMAT_NAMES[format]} of ${bytes} bytes`;
}

function verifiedLines({
  platform,
  identity,
  judged_at: at,
  signed_at: signed,
}: Verdict): string[] {
  const when = signed === null ? `judged at ${at ?? ""}` : `signed ${signed}`;
  return [`✓ authentic: ${platform ?? ""} ${identity ?? ""}, ${when}`];
}

function faultLines(error: FaultView | null): string[] {
  if (error === null) return [];
  return [
    `✗ ${error.code}: ${error.message}`,
    ...error.facts.map((fact) => `    ${fact}`),
    ...(error.hint === null ? [] : [`  hint: ${error.hint}`]),
  ];
}

/** Expected and actual stand below each other, so that a difference shows. */
function checkLines(checks: readonly PolicyCheck[]): string[] {
  const width = Math.max(0, ...checks.map(({ check }) => check.length));
  return checks.flatMap(({ check, ok, code, expected, actual }) => {
    if (ok === null) return [`- ${check.padEnd(width)}  ${expected}`];
    if (ok) return [`✓ ${check.padEnd(width)}  ${expected}`];
    return [
      `✗ ${check.padEnd(width)}  ${code ?? ""}`,
      `    expected  ${expected}`,
      `    actual    ${actual ?? ""}`,
    ];
  });
}

function appraisalLines(error: FaultView | null, checks: readonly PolicyCheck[]): string[] {
  const codes = new Set(checks.flatMap(({ code }) => (code === null ? [] : [code])));
  if (codes.size === 0) return faultLines(error);
  return [...codes].flatMap((code) => {
    const hint = hintFor(code);
    return hint === null ? [] : [`hint, ${code}: ${hint}`];
  });
}
