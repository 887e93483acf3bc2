import { writeFile } from "node:fs/promises";
import { parseArgs } from "node:util";

import { EXIT, UsageError, type CliIo } from "#cli";
import {
  CROSS_DOMAIN_APPROVAL,
  GOVERNANCE_STATEMENT,
  LimitError,
  hex,
  registerSemantics,
  ruleDigest,
  signingKeyFromSeed,
  type GovernanceState,
} from "#protocol";
import type { TaskClient } from "../../http/task-client.ts";
import { readSeed } from "../../run/config.ts";
import { readBoundedFile } from "../bounded-file.ts";
import { reachNetwork, voterKeys } from "../governance/network.ts";
import { inTurn, propose, type Proposed } from "../governance/propose.ts";
import { proposalLines } from "../governance/words.ts";
import { readRegistryDocument } from "./document.ts";
import { changeLine, planRegistration, type RegistryPlan } from "./plan.ts";

export const REGISTRY_HELP = `symphony registry COMMAND FILE [...] [--dir DIR] [--json]

FILE is a registry document in YAML or JSON: the semantic_version to register and the entries it adds or moves, in the lists
domains, attributes, query_attributes, derivation_rules and record_scopes. Entries that it does not name stay as they
are. Of a registered entry only the status can differ. Faults are named with their line and column.

  plan     say what FILE changes of the version in force, and whether governance could take it
  apply    the same, then register it, approved by the governance keys given
  approve  sign, as a mediation authority, that the rule named may use attributes of another domain

  --dir DIR          folder of the network (default symphony-demo)
  --approval FILE    an approval of a mediation authority; as often as needed
  --key FILE         seed of a governance key, or of the authority that approves; as often as needed
  --rule ID          approve: the rule of FILE
  --authority ACTOR  approve: the mediation authority
  --out FILE         approve: where to write the approval
  --json             one JSON object on standard output

Exit codes: 0 ok (with nothing to change, too), 1 refused, 2 usage, 3 unavailable.
`;

const APPROVAL_BYTES_MAX = 4096;
/** Room for the statement around a registration, and for the signature around both. */
const REGISTRATION_BYTES_MAX = 63 * 1024;

const OPTIONS = {
  dir: { type: "string", default: "symphony-demo" },
  approval: { type: "string", multiple: true },
  key: { type: "string", multiple: true },
  rule: { type: "string" },
  authority: { type: "string" },
  out: { type: "string" },
  json: { type: "boolean", default: false },
} as const;

interface Invocation {
  readonly file: string;
  readonly values: {
    readonly approval?: readonly string[] | undefined;
    readonly key?: readonly string[] | undefined;
    readonly rule?: string | undefined;
    readonly authority?: string | undefined;
    readonly out?: string | undefined;
    readonly json: boolean;
  };
  readonly client: TaskClient;
  /** As a quorum of Vaults has cosigned it. */
  readonly state: GovernanceState;
}

/** `symphony registry`. @throws UsageError and what governance refuses */
export async function runRegistry(argv: readonly string[], io: CliIo): Promise<number> {
  const { values, positionals } = parseArgs({
    args: [...argv],
    allowPositionals: true,
    options: OPTIONS,
  });
  const [name, file, ...more] = positionals;
  const command = COMMANDS.get(name ?? "");
  if (command === undefined || file === undefined || more.length > 0) {
    throw new UsageError(`registry: expected one of ${[...COMMANDS.keys()].join(", ")} and a file`);
  }
  return command({ file, values, ...(await reachNetwork(values.dir)) }, io);
}

const COMMANDS: ReadonlyMap<string, (invocation: Invocation, io: CliIo) => Promise<number>> =
  new Map([
    ["plan", runPlan],
    ["apply", runApply],
    ["approve", runApprove],
  ]);

async function runPlan(invocation: Invocation, io: CliIo): Promise<number> {
  tell(await planOf(invocation), { invocation, io, proposed: null });
  return EXIT.ok;
}

async function runApply(invocation: Invocation, io: CliIo): Promise<number> {
  const { values } = invocation;
  if (values.key === undefined) throw new UsageError("apply: expected --key, got none");
  const keys = await voterKeys(values.key);
  const { client } = invocation;
  return inTurn(invocation, async (state) => {
    const current = { ...invocation, state };
    const plan = await planOf(current);
    const { registration } = plan;
    const decision = { type: "semantics_registered", registration } as const;
    const proposed =
      plan.changes.length > 0 ? await propose({ client, state, decision, keys }) : null;
    tell(plan, { invocation: current, io, proposed });
    return EXIT.ok;
  });
}

/** The plan of a document, which governance would take as it stands. */
async function planOf({ file, values, state }: Invocation): Promise<RegistryPlan> {
  const document = await readRegistryDocument(file, state.semantics);
  const approvals = await Promise.all(
    (values.approval ?? []).map((path) =>
      readBoundedFile(path, { subject: "approval", bytesMax: APPROVAL_BYTES_MAX }),
    ),
  );
  const plan = planRegistration(state.semantics, document, approvals);
  if (plan.changes.length === 0) return plan;
  registerSemantics(state, plan.registration);
  requireRoom(plan, state);
  return plan;
}

/** A statement has a bound, and so has what one version changes. */
function requireRoom({ registration }: RegistryPlan, state: GovernanceState): void {
  const { length } = GOVERNANCE_STATEMENT.encode({
    genesis_digest: state.genesisDigest,
    sequence: state.sequence,
    previous: state.head,
    time_ms: 0,
    decision: { type: "semantics_registered", registration },
  });
  if (length <= REGISTRATION_BYTES_MAX) return;
  throw new LimitError(
    { code: "SCHEMA_TOO_LARGE", bytes: length, maxBytes: REGISTRATION_BYTES_MAX },
    `registration: expected at most ${REGISTRATION_BYTES_MAX} bytes, got ${length}: divide it over several versions`,
  );
}

function tell(
  { changes, registration }: RegistryPlan,
  args: {
    readonly invocation: Invocation;
    readonly io: CliIo;
    readonly proposed: Proposed | null;
  },
): void {
  const { io, proposed } = args;
  const { predecessor_version: from, semantic_version: to } = registration;
  if (args.invocation.values.json) {
    const proposal = proposed?.outcome === "proposed" ? proposed.proposal.proposal_id : null;
    const registered = isTaken(proposed);
    io.stdout(`${JSON.stringify({ from, to, changes, registered, proposal })}\n`);
    return;
  }
  if (changes.length === 0) return io.stdout(`${from}: nothing to change\n`);
  const lines = [`${from} -> ${to}`, ...changes.map((change) => `  ${changeLine(change)}`)];
  io.stdout(`${lines.join("\n")}\n${endOf(proposed)}`);
}

function isTaken(proposed: Proposed | null): boolean {
  if (proposed?.outcome === "proposed") return proposed.proposal.status === "approved";
  return proposed !== null;
}

function endOf(proposed: Proposed | null): string {
  if (proposed === null) return "";
  if (proposed.outcome === "proposed") return proposalLines(proposed.proposal);
  return "registered\n";
}

async function runApprove(invocation: Invocation, io: CliIo): Promise<number> {
  const { file, values, state } = invocation;
  const { rule: ruleId, authority, out } = values;
  const [keyFile, ...others] = values.key ?? [];
  if (ruleId === undefined || authority === undefined || out === undefined) {
    throw new UsageError("approve: expected --rule, --authority and --out");
  }
  if (keyFile === undefined || others.length > 0)
    throw new UsageError("approve: expected one --key");
  const { derivation_rules: rules } = await readRegistryDocument(file, state.semantics);
  const rule = rules.find((each) => each.rule_id === ruleId);
  if (rule === undefined)
    throw new UsageError(`approve: expected a rule of ${file}, got ${ruleId}`);
  const approval = CROSS_DOMAIN_APPROVAL.sign(
    {
      genesis_digest: state.genesisDigest,
      rule_digest: ruleDigest(rule),
      mediation_authority: authority,
    },
    await keyOf(keyFile),
  );
  await writeFile(out, approval, { flag: "wx" });
  const digest = hex(ruleDigest(rule));
  io.stdout(
    values.json
      ? `${JSON.stringify({ rule_id: ruleId, rule_digest: digest, file: out })}\n`
      : `${out}: ${authority} approves rule ${ruleId}, ${digest}\n`,
  );
  return EXIT.ok;
}

async function keyOf(path: string) {
  return signingKeyFromSeed(await readSeed(path));
}
