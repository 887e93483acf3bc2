import { readFileSync } from "node:fs";

import { EXIT, UsageError, type CliIo } from "#cli";
import { z } from "zod";

const packageSchema = z.object({ version: z.string() });

interface Command {
  readonly run: (argv: readonly string[], io: CliIo) => Promise<number>;
  /** The help for words that hold `--help`. */
  readonly help: (argv: readonly string[]) => string;
}

interface NamedCommand {
  readonly summary: string;
  /** Loads what this command needs and no other's: the servers' code is most of the whole. */
  readonly load: () => Promise<Command>;
}

const COMMANDS: ReadonlyMap<string, NamedCommand> = new Map([
  [
    "ingest",
    {
      summary: "put records into a Vault",
      load: async () => {
        const { INGEST_HELP, runIngest } = await import("./vault/ingest.ts");
        return { run: runIngest, help: () => INGEST_HELP };
      },
    },
  ],
  [
    "submit",
    {
      summary: "sign and send a task",
      load: async () => {
        const { SUBMIT_HELP, runSubmit } = await import("./submit.ts");
        return { run: runSubmit, help: () => SUBMIT_HELP };
      },
    },
  ],
  [
    "status",
    {
      summary: "say where a task stands",
      load: async () => {
        const { STATUS_HELP, runStatus } = await import("./task-commands.ts");
        return { run: runStatus, help: () => STATUS_HELP };
      },
    },
  ],
  [
    "export",
    {
      summary: "write a task's evidence to a file",
      load: async () => {
        const { EXPORT_HELP, runExport } = await import("./task-commands.ts");
        return { run: runExport, help: () => EXPORT_HELP };
      },
    },
  ],
  [
    "explain",
    {
      summary: "how a task was resolved, priced and judged",
      load: async () => {
        const { EXPLAIN_HELP, runExplain } = await import("./explain/command.ts");
        return { run: runExplain, help: () => EXPLAIN_HELP };
      },
    },
  ],
  [
    "challenge",
    {
      summary: "dispute a task's result before it is settled",
      load: async () => {
        const { CHALLENGE_HELP, runChallenge } = await import("./challenge.ts");
        return { run: runChallenge, help: () => CHALLENGE_HELP };
      },
    },
  ],
  [
    "verify",
    {
      summary: "check evidence offline",
      load: async () => {
        const { VERIFY_HELP, runVerify } = await import("./verify.ts");
        return { run: runVerify, help: () => VERIFY_HELP };
      },
    },
  ],
  [
    "attest",
    {
      summary: "verify and explain attestation",
      load: async () => {
        const { attestHelp, runAttest } = await import("./attest/command.ts");
        return { run: runAttest, help: attestHelp };
      },
    },
  ],
  [
    "vault",
    {
      summary: "run a Vault, and its operator's commands: consent, grants, audit",
      load: async () => {
        const { runVault, vaultHelp } = await import("./vault/index.ts");
        return { run: runVault, help: vaultHelp };
      },
    },
  ],
  ...(["aggregator", "coordinator"] as const).map((role) => nodeGroup(role)),
  [
    "registry",
    {
      summary: "what attributes mean: show and register changes",
      load: async () => {
        const { REGISTRY_HELP, runRegistry } = await import("./registry/command.ts");
        return { run: runRegistry, help: () => REGISTRY_HELP };
      },
    },
  ],
  [
    "policy",
    {
      summary: "what the network permits: judge, compare and announce versions",
      load: async () => {
        const { POLICY_HELP, runPolicy } = await import("./policy/command.ts");
        return { run: runPolicy, help: () => POLICY_HELP };
      },
    },
  ],
  [
    "governance",
    {
      summary: "who decides: propose, vote, see where it stands",
      load: async () => {
        const { GOVERNANCE_HELP, runGovernance } = await import("./governance/command.ts");
        return { run: runGovernance, help: () => GOVERNANCE_HELP };
      },
    },
  ],
  [
    "keygen",
    {
      summary: "create an actor's keys",
      load: async () => {
        const { KEYGEN_HELP, runKeygen } = await import("./keygen.ts");
        return { run: runKeygen, help: () => KEYGEN_HELP };
      },
    },
  ],
  [
    "doctor",
    {
      summary: "say what this machine can run",
      load: async () => {
        const { DOCTOR_HELP, runDoctor } = await import("./doctor/command.ts");
        return { run: runDoctor, help: () => DOCTOR_HELP };
      },
    },
  ],
]);

function nodeGroup(role: "aggregator" | "coordinator"): readonly [string, NamedCommand] {
  return [
    role,
    {
      summary: `be a network's ${role}, until told to stop`,
      load: async () => {
        const { nodeHelp, runNodeGroup } = await import("./node.ts");
        return { run: (argv, io) => runNodeGroup(role, argv, io), help: () => nodeHelp(role) };
      },
    },
  ];
}

/** Commands that the launcher gives to other entries (bin/symphony.js). */
const ELSEWHERE = [
  ["demo", "run four tasks on a simulated network and verify their evidence"],
  ["up", "start the simulated network that the demo left"],
  ["sim", "parts of the simulator on their own, such as its key service"],
  ["image", "the enclave image: build, measure, inspect, compare, verify"],
] as const;

/** The overview that \`symphony --help\` prints. */
export function overview(): string {
  const here = [...COMMANDS].map(([name, { summary }]) => [name, summary] as const);
  return [
    "symphony COMMAND [...]",
    "",
    ...[...ELSEWHERE, ...here].map(([name, summary]) => `  ${name.padEnd(11)} ${summary}`),
    "",
    "symphony COMMAND --help says more; symphony --version says which this is.",
    "Exit codes: 0 ok, 1 refused, 2 usage, 3 unavailable, 70 a bug.",
    "",
  ].join("\n");
}

/** Runs one command of the host's command line. @throws UsageError and the command's own errors */
export async function runCommand(argv: readonly string[], io: CliIo): Promise<number> {
  const [name, ...rest] = argv;
  switch (name) {
    case undefined:
      io.stderr(overview());
      return EXIT.usage;
    case "--help":
    case "help":
      io.stdout(overview());
      return EXIT.ok;
    case "--version":
      io.stdout(`symphony ${version()}\n`);
      return EXIT.ok;
    default:
      return runNamed(name, rest, io);
  }
}

async function runNamed(name: string, rest: readonly string[], io: CliIo): Promise<number> {
  const named = COMMANDS.get(name);
  if (named === undefined) {
    const names = [...ELSEWHERE.map(([word]) => word), ...COMMANDS.keys()].join(", ");
    throw new UsageError(`expected one of ${names}, got ${name}`);
  }
  const command = await named.load();
  if (rest.includes("--help")) {
    io.stdout(command.help(rest));
    return EXIT.ok;
  }
  return command.run(rest, io);
}

function version(): string {
  const file = new URL("../../package.json", import.meta.url);
  return packageSchema.parse(JSON.parse(readFileSync(file, "utf8"))).version;
}
