import { parseArgs } from "node:util";

import { EXIT, UsageError, reportError, type CliIo } from "#cli";
import { EVIDENCE_BYTES_MAX } from "#protocol";

import {
  parseTrust,
  verifyBundle,
  type CheckResult,
  type VerificationReport,
} from "../evidence/index.ts";
import { readBoundedFile, readBoundedText } from "./bounded-file.ts";
import { TRUST_FILE_BYTES_MAX } from "./attest/trust.ts";

export const VERIFY_HELP = `symphony verify FILE --trust ROOTS [--json]

Verifies an evidence file offline and prints a checklist. Uses no network and no server: what is believed
comes from ROOTS, the trust file you keep, and never from FILE. Exits 0 when every check holds, 1 when one
does not, 2 when called wrongly.

  --trust ROOTS   your trust file: the network's genesis digest and the platform roots you accept
  --json          one JSON object instead of lines
`;

const BOUND = { subject: "evidence file", bytesMax: EVIDENCE_BYTES_MAX };
const TRUST_BOUND = { subject: "trust file", bytesMax: TRUST_FILE_BYTES_MAX };
const SIMULATED_BANNER =
  "SIMULATED: the trust file names a simulated platform. This proves nothing about real hardware.";

/** \`symphony verify\`. Reads two files and nothing else. @returns the exit code */
export async function runVerify(argv: readonly string[], io: CliIo): Promise<number> {
  const json = argv.includes("--json");
  try {
    const args = parseVerifyArgs(argv);
    if (args === null) {
      io.stdout(VERIFY_HELP);
      return EXIT.ok;
    }
    const trust = parseTrust(await readBoundedText(args.trust, TRUST_BOUND));
    const report = verifyBundle(await readBoundedFile(args.file, BOUND), trust);
    io.stdout(json ? `${JSON.stringify(report)}\n` : formatReport(report));
    return report.ok ? EXIT.ok : EXIT.refused;
  } catch (error) {
    return reportError(error, io, json);
  }
}

function parseVerifyArgs(argv: readonly string[]): { file: string; trust: string } | null {
  const { values, positionals } = parse(argv);
  if (values.help) return null;
  const [file, ...more] = positionals;
  if (file === undefined || more.length > 0) {
    throw new UsageError(`FILE: expected one evidence file, got ${positionals.length}`);
  }
  if (values.trust === undefined) {
    throw new UsageError("--trust: expected your trust file, got none");
  }
  return { file, trust: values.trust };
}

function parse(argv: readonly string[]) {
  try {
    return parseArgs({
      args: [...argv],
      allowPositionals: true,
      options: {
        trust: { type: "string" },
        json: { type: "boolean", default: false },
        help: { type: "boolean", default: false },
      },
    });
  } catch (cause) {
    throw new UsageError(cause instanceof Error ? cause.message : "arguments: expected others");
  }
}

function formatReport(report: VerificationReport): string {
  const lines = report.checks.map(formatCheck);
  const verdict =
    report.failure === null
      ? `verified: ${report.task_class} ${report.task_id} of network ${report.network}`
      : `NOT verified: ${report.failure.check} failed with ${report.failure.code}`;
  const banner = report.simulated ? [SIMULATED_BANNER] : [];
  return [...banner, ...lines, verdict, ...banner].map((line) => `${line}\n`).join("");
}

function formatCheck({ check, ok, detail }: CheckResult): string {
  return `${ok ? "✓" : "✗"} ${check}: ${detail}`;
}
