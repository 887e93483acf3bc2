import { join } from "node:path";
import { parseArgs } from "node:util";

import { EXIT, UsageError, type CliIo } from "#cli";
import {
  CHALLENGE,
  ConflictError,
  TASK_ENVELOPE,
  fromHex,
  signingKeyFromSeed,
  type Challenge,
} from "#protocol";
import { z } from "zod";

import { TaskClient } from "../http/index.ts";
import { readJsonFile, readSeed } from "../run/config.ts";
import { networkFileSchema } from "./network-files.ts";

export const CHALLENGE_HELP = `symphony challenge TASK --by ID --key FILE --reason TEXT [--target WHAT] [--dir DIR] [--json]

Challenges the result of a task: waits until there is one, signs what is disputed, and opens the challenge. Governance
decides about it; until then the task is not settled. The bond is what the policy in force asks for.

  --by ID      who challenges: a verifier, or governance
  --key FILE   seed of its key
  --reason     for those who decide, at most 500 characters
  --target     aggregation, composite (default), round N, or slice N of a VAULT: "round 2", "slice 2 of vault-a"
  --dir DIR    folder of the network (default symphony-demo)
  --json       one JSON object on standard output
`;

const OPTIONS = {
  by: { type: "string" },
  key: { type: "string" },
  reason: { type: "string" },
  target: { type: "string", default: "composite" },
  dir: { type: "string", default: "symphony-demo" },
  json: { type: "boolean", default: false },
} as const;

/** `symphony challenge`. @throws UsageError; ConflictError GOVERNANCE_CHALLENGE_CLOSED; what the coordinator refuses */
export async function runChallenge(argv: readonly string[], io: CliIo): Promise<number> {
  const { values, positionals } = parseArgs({
    args: [...argv],
    allowPositionals: true,
    options: OPTIONS,
  });
  const [taskId, ...more] = positionals;
  const { by, key, reason } = values;
  if (taskId === undefined || more.length > 0) {
    throw new UsageError("challenge: expected one task identifier");
  }
  if (by === undefined || key === undefined || reason === undefined) {
    throw new UsageError("challenge: expected --by, --key and --reason");
  }
  const target = readTarget(values.target);
  const signingKey = signingKeyFromSeed(await readSeed(key));
  const network = await readJsonFile(join(values.dir, "network.json"), networkFileSchema);
  const client = new TaskClient(network.coordinator_url);
  const disputed = await disputedOf({ client, taskId, target });
  const challenge: Challenge = {
    version: 1,
    genesis_digest: fromHex(network.genesis_digest),
    ...{ task_id: taskId, ...disputed, target, reason, challenger: by },
    bond_minor: await bondOf(client, fromHex(network.genesis_digest)),
    opened_ms: Date.now(),
  };
  await client.challenge(taskId, CHALLENGE.sign(challenge, signingKey));
  const { task_id, target: told, bond_minor } = challenge;
  const opened = { task_id, challenger: by, target: told, bond_minor };
  io.stdout(
    values.json ? `${JSON.stringify(opened)}\n` : `${task_id}: challenged for ${bond_minor}\n`,
  );
  return EXIT.ok;
}

/** @throws UsageError */
function readTarget(text: string): Challenge["target"] {
  if (text === "aggregation" || text === "composite") return { kind: text };
  const [, kind, round, vaultId] = /^(round|slice) (\d{1,9})(?: of (\S+))?$/.exec(text) ?? [];
  if (kind === "round" && vaultId === undefined) return { kind, round: Number(round) };
  if (kind === "slice" && vaultId !== undefined) {
    return { kind, round: Number(round), vault_id: vaultId };
  }
  throw new UsageError(
    `--target: expected aggregation, composite, "round N" or "slice N of VAULT", got ${text}`,
  );
}

/** Longest wait for a result, milliseconds. */
const FOLLOW_MS_MAX = 15 * 60_000;
const candidateSchema = z.object({ round_bundles: z.array(z.string()) });

/** Envelope and round bundle that a challenge names, once the task's result is a candidate. */
async function disputedOf(args: {
  readonly client: TaskClient;
  readonly taskId: string;
  readonly target: Challenge["target"];
}): Promise<Pick<Challenge, "envelope_digest" | "round_bundle">> {
  const { client, taskId, target } = args;
  const signal = AbortSignal.timeout(FOLLOW_MS_MAX);
  for await (const { type, body } of client.events(taskId, { signal })) {
    if (type !== "settlement_candidate") continue;
    const bundles = candidateSchema.parse(body).round_bundles;
    const bundle = "round" in target ? bundles[target.round] : bundles.at(-1);
    if (bundle === undefined) {
      throw new UsageError(`--target: expected a round of the ${bundles.length} there are`);
    }
    const envelope = TASK_ENVELOPE.decode(await client.envelope(taskId));
    return { envelope_digest: TASK_ENVELOPE.digest(envelope), round_bundle: fromHex(bundle) };
  }
  throw new ConflictError(
    { code: "GOVERNANCE_CHALLENGE_CLOSED" },
    "challenge: expected a task with a result, got one that ended without",
  );
}

async function bondOf(client: TaskClient, genesisDigest: Uint8Array): Promise<number> {
  const { policy } = await client.governance(genesisDigest);
  return policy.governance.challenge_bond_minor;
}
