import { attestHelp, runAttest } from "./attest/command.ts";
import { runDoctor, DOCTOR_HELP } from "./doctor/command.ts";
import { EXPLAIN_HELP, runExplain } from "./explain/command.ts";
import { EXIT, UsageError, type CliIo } from "./io.ts";
import { GOVERNANCE_HELP, runGovernance } from "./governance/command.ts";
import { KEYGEN_HELP, runKeygen } from "./keygen.ts";
import { POLICY_HELP, runPolicy } from "./policy/command.ts";
import { REGISTRY_HELP, runRegistry } from "./registry/command.ts";
import { SUBMIT_HELP, runSubmit } from "./submit.ts";
import { EXPORT_HELP, STATUS_HELP, runExport, runStatus } from "./task-commands.ts";
import { INGEST_HELP, runIngest } from "./vault/ingest.ts";
import { runVault, vaultHelp } from "./vault/index.ts";
import { VERIFY_HELP, runVerify } from "./verify.ts";

interface Command {
  readonly run: (argv: readonly string[], io: CliIo) => Promise<number>;
  /** The help for words that hold `--help`. */
  readonly help: (argv: readonly string[]) => string;
  readonly summary: string;
}

const COMMANDS: ReadonlyMap<string, Command> = new Map([
  ["ingest", { run: runIngest, help: () => INGEST_HELP, summary: "put records into a Vault" }],
  ["submit", { run: runSubmit, help: () => SUBMIT_HELP, summary: "sign and send a task" }],
  ["status", { run: runStatus, help: () => STATUS_HELP, summary: "say where a task stands" }],
  [
    "export",
    { run: runExport, help: () => EXPORT_HELP, summary: "write a task's evidence to a file" },
  ],
  [
    "explain",
    {
      run: runExplain,
      help: () => EXPLAIN_HELP,
      summary: "how a task was resolved, priced and judged",
    },
  ],
  ["verify", { run: runVerify, help: () => VERIFY_HELP, summary: "check evidence offline" }],
  ["attest", { run: runAttest, help: attestHelp, summary: "verify and explain attestation" }],
  [
    "vault",
    { run: runVault, help: vaultHelp, summary: "a Vault's operator: consent, grants, audit" },
  ],
  [
    "registry",
    {
      run: runRegistry,
      help: () => REGISTRY_HELP,
      summary: "what attributes mean: show and register changes",
    },
  ],
  [
    "policy",
    {
      run: runPolicy,
      help: () => POLICY_HELP,
      summary: "what the network permits: judge, compare and announce versions",
    },
  ],
  [
    "governance",
    {
      run: runGovernance,
      help: () => GOVERNANCE_HELP,
      summary: "who decides: propose, vote, see where it stands",
    },
  ],
  ["keygen", { run: runKeygen, help: () => KEYGEN_HELP, summary: "create an actor's keys" }],
  ["doctor", { run: runDoctor, help: () => DOCTOR_HELP, summary: "say what this machine can run" }],
]);

/** The overview that \`symphony --help\` prints. */
export function overview(): string {
  const lines = [...COMMANDS].map(([name, { summary }]) => `  ${name.padEnd(10)} ${summary}`);
  return [
    "symphony COMMAND [...]",
    "",
    "  demo       run four tasks on a simulated network and verify their evidence",
    "  up         start the simulated network that the demo left",
    "  sim        parts of the simulator on their own, such as its key service",
    ...lines,
    "",
    "symphony COMMAND --help says more. Exit codes: 0 ok, 1 refused, 2 usage, 3 unavailable, 70 a bug.",
    "",
  ].join("\n");
}

/** Runs one command of the host's command line. @throws UsageError and the command's own errors */
export async function runCommand(argv: readonly string[], io: CliIo): Promise<number> {
  const [name, ...rest] = argv;
  if (name === undefined || name === "--help" || name === "help") {
    (name === undefined ? io.stderr : io.stdout)(overview());
    return name === undefined ? EXIT.usage : EXIT.ok;
  }
  const command = COMMANDS.get(name);
  if (command === undefined) {
    throw new UsageError(`expected one of ${[...COMMANDS.keys()].join(", ")}, got ${name}`);
  }
  if (rest.includes("--help")) {
    io.stdout(command.help(rest));
    return EXIT.ok;
  }
  return command.run(rest, io);
}
