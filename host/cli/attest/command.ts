import { UsageError, type CliIo } from "#cli";

import { ATTEST_EXPLAIN_HELP, runAttestExplain } from "./explain.ts";
import { POLICY_FROM_IMAGE_HELP, runPolicyFromImage } from "./image.ts";
import { LINT_KEY_POLICY_HELP, runLintKeyPolicy } from "./lint.ts";
import { ATTEST_VERIFY_HELP, runAttestVerify } from "./verify.ts";

interface Subcommand {
  readonly run: (argv: readonly string[], io: CliIo) => Promise<number>;
  readonly help: string;
  readonly summary: string;
}

const SUBCOMMANDS: ReadonlyMap<string, Subcommand> = new Map([
  [
    "verify",
    {
      run: (argv, io) => runAttestVerify(argv, io),
      help: ATTEST_VERIFY_HELP,
      summary: "is this evidence authentic, and does my policy accept it?",
    },
  ],
  [
    "explain",
    {
      run: (argv, io) => runAttestExplain(argv, io),
      help: ATTEST_EXPLAIN_HELP,
      summary: "what does this evidence say?",
    },
  ],
  [
    "policy-from-image",
    {
      run: (argv, io) => runPolicyFromImage(argv, io),
      help: POLICY_FROM_IMAGE_HELP,
      summary: "a policy that accepts this enclave image",
    },
  ],
  [
    "lint-key-policy",
    {
      run: runLintKeyPolicy,
      help: LINT_KEY_POLICY_HELP,
      summary: "can anybody decrypt with this KMS key without attestation?",
    },
  ],
]);

const HELP = [
  "symphony attest COMMAND FILE [...]",
  "",
  "Tools for attestation evidence. They read files and nothing else: no network, no server.",
  "",
  ...[...SUBCOMMANDS].map(([name, { summary }]) => `  ${name.padEnd(17)} ${summary}`),
  "",
  "symphony attest COMMAND --help says more.",
  "",
].join("\n");

/** The help of one subcommand, or of all together. */
export function attestHelp([name = ""]: readonly string[]): string {
  return SUBCOMMANDS.get(name)?.help ?? HELP;
}

/** `symphony attest`. @throws UsageError and the subcommands' own errors */
export async function runAttest(argv: readonly string[], io: CliIo): Promise<number> {
  const [name, ...rest] = argv;
  const subcommand = SUBCOMMANDS.get(name ?? "");
  if (subcommand !== undefined) return subcommand.run(rest, io);
  const names = [...SUBCOMMANDS.keys()].join(", ");
  throw new UsageError(`attest: expected one of ${names}, got ${name ?? "none"}`);
}
