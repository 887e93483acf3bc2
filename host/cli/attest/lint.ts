import { parseArgs } from "node:util";

import { EXIT, type CliIo } from "#cli";

import {
  lintKeyPolicy,
  type KeyPolicyFinding,
  type KeyPolicyReport,
} from "../../key-policy/index.ts";
import { oneFile } from "./options.ts";
import { printable } from "./view.ts";
import { readBoundedText } from "../bounded-file.ts";

export const LINT_KEY_POLICY_HELP = `symphony attest lint-key-policy FILE [--json]

Says whether anybody can decrypt with a KMS key of this policy without attestation of a chosen enclave image, and why.
FILE is a key policy document in JSON, as aws kms get-key-policy gives it. Grants and IAM policies are not in it and
not judged. Exits 0 when only attested enclaves decrypt and no one may change that, else 1.

  --json   one JSON object instead of lines
`;

const POLICY_BYTES_MAX = 128 * 1024;

/** `symphony attest lint-key-policy`. @returns the exit code */
export async function runLintKeyPolicy(argv: readonly string[], io: CliIo): Promise<number> {
  const { values, positionals } = parseArgs({
    args: [...argv],
    allowPositionals: true,
    options: { json: { type: "boolean", default: false } },
  });
  const file = oneFile(positionals, "key policy");
  const bound = { subject: "key policy", bytesMax: POLICY_BYTES_MAX };
  const report = lintKeyPolicy(await readBoundedText(file, bound));
  const ok = report.verdict === "attested-only";
  io.stdout(values.json ? `${JSON.stringify({ ok, ...report })}\n` : formatReport(report));
  return ok ? EXIT.ok : EXIT.refused;
}

const VERDICTS = {
  "attested-only": "only attested enclaves decrypt",
  changeable: "NOT safe: only attested enclaves decrypt today, but someone may change that",
  "decryptable-without-attestation": "NOT safe: someone decrypts without attestation",
} as const;

function formatReport({ verdict, findings }: KeyPolicyReport): string {
  return [...findings.flatMap(formatFinding), VERDICTS[verdict]]
    .map((line) => `${line}\n`)
    .join("");
}

function formatFinding(finding: KeyPolicyFinding): readonly string[] {
  const { severity, statement, sid, action, principal, reason, remedy } = finding;
  const name = sid === null ? "" : ` (${sid})`;
  const where = statement === null ? "the policy" : `statement ${statement}${name}`;
  return [
    printable(`${severity}: ${where}, ${principal}, ${action}`),
    printable(`    ${reason}`),
    printable(`    remedy: ${remedy}`),
  ];
}
