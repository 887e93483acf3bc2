import { parseArgs } from "node:util";

import { EXIT, UsageError, type CliIo } from "#cli";

import type { ProposalStanding } from "../../http/governance-views.ts";
import { ACTOR_HELP, runActor } from "./actor.ts";
import { readDecision } from "./decision-file.ts";
import { GENESIS_HELP, runGenesis } from "./genesis.ts";
import { ofLastWindow } from "./last-window.ts";
import { reachNetwork, voterKeys, type GovernedNetwork } from "./network.ts";
import { cast, inTurn, propose } from "./propose.ts";
import { candidateLines, proposalLines, proposedLines, statusLines } from "./words.ts";

export const GOVERNANCE_HELP = `symphony governance COMMAND [...] [--dir DIR] [--json]

  propose FILE  have governance take the decision in FILE, as the policy in force says: at once by the keys given, or by
                a proposal that the first of them opens and each of them approves
  vote ID       vote on a proposal with each of the keys given; a vote is final
  candidates ATTRIBUTE
                list what Vaults have handed in about columns for an attribute, and what the last window comes to
  status [ID]   say where governance stands, its processes and proposals; or one proposal and its votes
${ACTOR_HELP}
${GENESIS_HELP}
FILE is YAML or JSON: a governed-decision of docs/wire.md, with byte strings in lower-case hex.

  --dir DIR   folder of the network (default symphony-demo)
  --key FILE  seed of a voter's key; as often as needed
  --reject    vote: against the proposal
  --exception ID  candidates: the approved proposal that allows another window than the domain's
  --out FOLDER  genesis: where to
  --as ID     genesis: who submits from there (default the coordinator)
  --json      one JSON object on standard output

Exit codes: 0 ok, 1 refused, 2 usage, 3 unavailable.
`;

const OPTIONS = {
  dir: { type: "string", default: "symphony-demo" },
  key: { type: "string", multiple: true },
  reject: { type: "boolean", default: false },
  exception: { type: "string" },
  out: { type: "string" },
  as: { type: "string" },
  json: { type: "boolean", default: false },
} as const;

interface Invocation {
  readonly network: GovernedNetwork;
  /** What follows the command's name. */
  readonly subject: string | undefined;
  readonly values: {
    readonly key?: readonly string[] | undefined;
    readonly reject: boolean;
    readonly exception?: string | undefined;
    readonly json: boolean;
  };
}

type Command = (invocation: Invocation, io: CliIo) => Promise<void>;

const COMMANDS: ReadonlyMap<string, Command> = new Map([
  ["propose", runPropose],
  ["vote", runVote],
  ["status", runStatus],
  ["candidates", runCandidates],
]);

/** `symphony governance`. @throws UsageError and what governance refuses */
export async function runGovernance(argv: readonly string[], io: CliIo): Promise<number> {
  const { values, positionals } = parseArgs({
    args: [...argv],
    allowPositionals: true,
    options: OPTIONS,
  });
  const [name, subject, ...more] = positionals;
  if (name === "genesis") return runGenesis([subject, ...more], values, io);
  if (name === "actor") {
    const network = await reachNetwork(values.dir);
    const keys = values.key === undefined ? [] : await voterKeys(values.key);
    await runActor({ network, words: positionals.slice(1), keys, json: values.json }, io);
    return EXIT.ok;
  }
  const command = COMMANDS.get(name ?? "");
  if (command === undefined || more.length > 0) {
    throw new UsageError(
      `governance: expected one of ${[...COMMANDS.keys(), "actor", "genesis"].join(", ")}`,
    );
  }
  await command({ network: await reachNetwork(values.dir), subject, values }, io);
  return EXIT.ok;
}

async function runPropose({ network, subject, values }: Invocation, io: CliIo): Promise<void> {
  if (subject === undefined) throw new UsageError("propose: expected FILE, got none");
  const keys = await voterKeys(values.key);
  const decision = await readDecision(subject);
  const proposed = await inTurn(network, (state) =>
    propose({ client: network.client, state, decision, keys }),
  );
  io.stdout(values.json ? `${JSON.stringify(proposed)}\n` : proposedLines(proposed));
}

async function runVote({ network, subject, values }: Invocation, io: CliIo): Promise<void> {
  if (subject === undefined) throw new UsageError("vote: expected ID, got none");
  const vote = values.reject ? "reject" : "approve";
  const { client, state } = network;
  const keys = await voterKeys(values.key);
  let proposal: ProposalStanding = await client.proposal(subject);
  for (const key of keys) proposal = await cast({ client, state, key, proposal, vote });
  io.stdout(values.json ? `${JSON.stringify(proposal)}\n` : proposalLines(proposal));
}

async function runCandidates({ network, subject, values }: Invocation, io: CliIo): Promise<void> {
  if (subject === undefined) throw new UsageError("candidates: expected ATTRIBUTE, got none");
  const { client, state } = network;
  const about = { attributeId: subject, exception: values.exception ?? null };
  const candidates = await client.candidates(subject);
  const [newest] = ofLastWindow(state, candidates, about.exception);
  const report =
    newest === undefined
      ? null
      : await client.candidateReport({ ...about, domainId: newest.domainId }, newest.window);
  io.stdout(
    values.json
      ? `${JSON.stringify({ candidates, report })}\n`
      : candidateLines(candidates, report),
  );
}

async function runStatus({ network, subject, values }: Invocation, io: CliIo): Promise<void> {
  const { client, state } = network;
  if (subject !== undefined) {
    const proposal = await client.proposal(subject);
    io.stdout(values.json ? `${JSON.stringify(proposal)}\n` : proposalLines(proposal));
    return;
  }
  const proposals = await client.proposals();
  io.stdout(statusLines(state, proposals, values.json));
}
