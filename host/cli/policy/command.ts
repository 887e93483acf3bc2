import { parseArgs } from "node:util";

import { EXIT, UsageError, type CliIo } from "#cli";
import {
  announcePolicy,
  type GovernanceState,
  type GovernedDecision,
  type Policy,
} from "#protocol";
import { reachNetwork, voterKeys } from "../governance/network.ts";
import { inTurn, propose } from "../governance/propose.ts";
import { proposedLines } from "../governance/words.ts";
import { differences } from "./diff.ts";
import { lintPolicy } from "./lint.ts";
import { readPolicy } from "./policy-file.ts";

export const POLICY_HELP = `symphony policy COMMAND FILE [...] [--dir DIR] [--json]

FILE is a policy version in YAML or JSON: one complete document, with nothing left out. Faults are named with their line.

  lint FILE      say what is wrong with it, or seldom meant; with --dir also whether governance could announce it now
  diff A B       say where two versions differ; with --dir, A and B may also be versions of the network, by identifier
  announce FILE  have governance announce it, as symphony governance propose does

  --dir DIR   folder of the network (announce: default symphony-demo)
  --key FILE  announce: seed of a voter's key; as often as needed
  --json      one JSON object on standard output

Exit codes: 0 ok, 1 refused or found wanting, 2 usage, 3 unavailable.
`;

const OPTIONS = {
  dir: { type: "string" },
  key: { type: "string", multiple: true },
  json: { type: "boolean", default: false },
} as const;

interface Invocation {
  readonly files: readonly string[];
  readonly values: {
    readonly dir?: string | undefined;
    readonly key?: readonly string[] | undefined;
    readonly json: boolean;
  };
}

type Command = (invocation: Invocation, io: CliIo) => Promise<number>;

const COMMANDS: ReadonlyMap<string, Command> = new Map([
  ["lint", runLint],
  ["diff", runDiff],
  ["announce", runAnnounce],
]);

/** `symphony policy`. @throws UsageError and what governance refuses */
export async function runPolicy(argv: readonly string[], io: CliIo): Promise<number> {
  const { values, positionals } = parseArgs({
    args: [...argv],
    allowPositionals: true,
    options: OPTIONS,
  });
  const [name, ...files] = positionals;
  const command = COMMANDS.get(name ?? "");
  if (command === undefined) {
    throw new UsageError(`policy: expected one of ${[...COMMANDS.keys()].join(", ")}`);
  }
  return command({ files, values }, io);
}

function only(files: readonly string[]): string {
  const [file, ...others] = files;
  if (file !== undefined && others.length === 0) return file;
  throw new UsageError(`policy: expected one FILE, got ${files.length}`);
}

async function runLint({ files, values }: Invocation, io: CliIo): Promise<number> {
  const policy = await readPolicy(only(files));
  if (values.dir !== undefined) {
    const { state } = await reachNetwork(values.dir);
    announcePolicy(state, { type: "policy_announced", policy });
  }
  const findings = lintPolicy(policy, Date.now());
  io.stdout(
    values.json
      ? `${JSON.stringify({ policy_version_id: policy.policy_version_id, findings })}\n`
      : `${[`${policy.policy_version_id}: ${findings.length} findings`, ...findings.map(({ path, message }) => `  ${path}: ${message}`)].join("\n")}\n`,
  );
  return findings.length === 0 ? EXIT.ok : EXIT.refused;
}

async function runDiff({ files, values }: Invocation, io: CliIo): Promise<number> {
  const [from, to, ...others] = files;
  if (from === undefined || to === undefined || others.length > 0) {
    throw new UsageError(`diff: expected A and B, got ${files.length}`);
  }
  const state = values.dir === undefined ? undefined : (await reachNetwork(values.dir)).state;
  const found = differences(await versionOf(from, state), await versionOf(to, state));
  io.stdout(
    values.json
      ? `${JSON.stringify({ differences: found })}\n`
      : found
          .map(
            (each) => `${each.path}: ${JSON.stringify(each.from)} -> ${JSON.stringify(each.to)}\n`,
          )
          .join(""),
  );
  return EXIT.ok;
}

/** A version of the network when there is one of this name, or what a file has. */
async function versionOf(name: string, state: GovernanceState | undefined): Promise<Policy> {
  return state?.policies.get(name)?.policy ?? readPolicy(name);
}

async function runAnnounce({ files, values }: Invocation, io: CliIo): Promise<number> {
  const policy = await readPolicy(only(files));
  const keys = await voterKeys(values.key);
  const decision: GovernedDecision = { type: "policy_announced", policy };
  const network = await reachNetwork(values.dir ?? "symphony-demo");
  const proposed = await inTurn(network, (state) =>
    propose({ client: network.client, state, decision, keys }),
  );
  io.stdout(values.json ? `${JSON.stringify(proposed)}\n` : proposedLines(proposed));
  return EXIT.ok;
}
