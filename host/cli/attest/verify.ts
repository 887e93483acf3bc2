import { writeFile } from "node:fs/promises";
import { parseArgs } from "node:util";

import { EXIT, UsageError, type CliIo } from "#cli";
import { encodeCbor } from "#protocol";

import { readEvidence, type FoundEvidence } from "./input.ts";
import { judge, type Verdict } from "./judge.ts";
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
import { formatVerdict } from "./verdict.ts";

export const ATTEST_VERIFY_HELP = `symphony attest verify FILE --policy POLICY [--at signed|TIME] [--nonce HEX] [--json] ...

Verifies attestation evidence and appraises it against a policy, offline. FILE is an AWS Nitro document, an AMD SEV-SNP
report, an Intel TDX quote (raw, hex or base64), or an archive. Believes the vendors' published roots, and a
simulator's only when you name it. Judges at the time now; an archive only with --at recorded. Exits 0 when it is accepted,
1 when not, 2 when called wrongly.

${EVIDENCE_OPTIONS_HELP}  --archive OUT         once accepted, write everything needed to verify again in ten years
`;

/** `symphony attest verify`. Reads files and nothing else. @returns the exit code */
export async function runAttestVerify(
  argv: readonly string[],
  io: CliIo,
  nowMs: number = Date.now(),
): Promise<number> {
  const { values, positionals } = parseArgs({
    args: [...argv],
    allowPositionals: true,
    options: { ...EVIDENCE_OPTIONS, archive: { type: "string" } },
  });
  const file = oneFile(positionals, "file of evidence");
  if (values.policy === undefined) {
    throw new UsageError("--policy: expected a policy file, got none");
  }
  const at = parseAt(values.at, nowMs);
  const policy = await readPolicy(values.policy, parseNonce(values.nonce));
  const anchors = await readAnchors(values);
  const found = await readEvidence(file, values);
  expectOptions(found, values);
  expectSignedTime(found, at);
  const { verdict, report } = judge(found, { anchors, policy, at });
  if (report !== null && values.archive !== undefined) {
    await writeFile(values.archive, encodeCbor(report), { flag: "wx" });
  }
  io.stdout(values.json ? `${JSON.stringify(verdict)}\n` : formatVerdict(verdict, verdictLine));
  return verdict.ok && report !== null ? EXIT.ok : EXIT.refused;
}

function verdictLine({ ok, error }: Verdict): string {
  return ok ? "accepted" : `NOT accepted: ${error?.code ?? "INTERNAL_UNEXPECTED"}`;
}

function expectOptions(
  found: FoundEvidence,
  { at, archive }: { readonly at?: string; readonly archive?: string },
): void {
  if (found.kind === "evidence") {
    if (found.missing !== null) throw new UsageError(found.missing);
    if (at === RECORDED) {
      throw new UsageError("--at: expected recorded with an archive only, which this is not");
    }
    return;
  }
  if (at !== RECORDED) {
    const expected = "--at recorded, because it is judged at a time of its own";
    throw new UsageError(`FILE: an archive takes ${expected}, got ${at ?? "none"}`);
  }
  if (archive !== undefined) {
    throw new UsageError("--archive: expected none with an archive, which is one already");
  }
}

/** Said by whoever verifies, so that nobody passes old evidence off as new by its form. */
const RECORDED = "recorded";
