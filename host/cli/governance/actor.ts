import { join } from "node:path";

import { UsageError, type CliIo } from "#cli";
import {
  ACTOR_REGISTRATION,
  KEY_ROTATION,
  actorRole,
  applyGovernanceEvent,
  boxKeyPairFromSeed,
  equalBytes,
  hex,
  signingKeyFromSeed,
  type GovernanceDecision,
  type GovernanceState,
  type SigningKey,
} from "#protocol";
import { actorView, createGovernanceEvent, type ActorView } from "../../governance/index.ts";
import { readSeed } from "../../run/config.ts";
import { writeKeyHistory } from "../../run/key-history.ts";
import type { GovernedNetwork } from "./network.ts";
import { inTurn } from "./propose.ts";

export const ACTOR_HELP = `
  actor list                      say who there is, with status and stake
  actor show ID                   say all about one: its keys, what is bonded, what its tier needs, what was taken
  actor register ID ROLE FOLDER   write the decision that registers ID with the keys in FOLDER (see symphony keygen), for
                                  governance propose
  actor replace ID FOLDER [EPOCH] the same, for a key that was lost: the old one counts for tasks up to EPOCH, or for none
  actor rotate ID FOLDER          give ID the keys in FOLDER; --key is the seed of its present signing key
  actor unbond ID AMOUNT          begin to take stake out, minor units; --key is the seed of its signing key
`;

/** What `symphony governance actor` was asked. */
export interface ActorInvocation {
  readonly network: GovernedNetwork;
  /** The words after `actor`. */
  readonly words: readonly string[];
  readonly keys: readonly SigningKey[];
  readonly json: boolean;
}

/** `symphony governance actor`. @throws UsageError and what governance refuses */
export async function runActor(invocation: ActorInvocation, io: CliIo): Promise<void> {
  const [name, actorId, ...rest] = invocation.words;
  const { state } = invocation.network;
  if (name === "list" && actorId === undefined) {
    const views = [...state.actors.values()].map((actor) => actorView(actor, state));
    const json = JSON.stringify({ actors: views });
    io.stdout(invocation.json ? `${json}\n` : views.map(actorLine).join(""));
    return;
  }
  if (actorId === undefined) throw usage();
  switch (name) {
    case "show":
      return show(invocation, actorId, io);
    case "register":
      return io.stdout(`${JSON.stringify(await registration(state, actorId, rest))}\n`);
    case "replace":
      return io.stdout(`${JSON.stringify(await replacement(state, actorId, rest))}\n`);
    case "rotate": {
      const signed_rotation = await rotation(state, actorId, rest[0]);
      await own(invocation, { type: "actor_key_rotated", actor_id: actorId, signed_rotation }, io);
      if (!invocation.json) io.stdout(nextSteps(actorId, rest[0]));
      return;
    }
    case "unbond": {
      const amount_minor = wholeNumber("AMOUNT", rest[0]);
      return own(invocation, { type: "unbonding_started", actor_id: actorId, amount_minor }, io);
    }
    default:
      throw usage();
  }
}

function show({ network: { state }, json }: ActorInvocation, actorId: string, io: CliIo): void {
  const actor = state.actors.get(actorId);
  if (actor === undefined) throw new UsageError(`actor: expected a registered one, got ${actorId}`);
  const view = actorView(actor, state);
  io.stdout(json ? `${JSON.stringify(view)}\n` : `${actorLine(view)}${detailLines(view)}`);
}

/** Makes a decision that the actor's own signature is enough for. */
async function own(
  { network, keys, json }: ActorInvocation,
  decision: GovernanceDecision,
  io: CliIo,
): Promise<void> {
  if (keys.length !== 1) throw new UsageError("expected one --key, the actor's own");
  await inTurn(network, async (state) => {
    const event = createGovernanceEvent({ state, decision, keys, timeMs: Date.now() });
    applyGovernanceEvent(state, event);
    await network.client.submitGovernanceEvent(event);
  });
  io.stdout(json ? `${JSON.stringify({ outcome: "decided" })}\n` : "decided\n");
}

async function registration(
  { genesisDigest }: GovernanceState,
  actor_id: string,
  [roleName, folder]: readonly string[],
) {
  const role = actorRole.safeParse(roleName);
  if (!role.success) throw new UsageError(`ROLE: expected one of ${actorRole.options.join(", ")}`);
  const { signing, boxKey } = await keysIn(folder);
  const signed = ACTOR_REGISTRATION.sign(
    {
      version: 1,
      genesis_digest: genesisDigest,
      actor_id,
      role: role.data,
      signing_key: signing.publicKey,
      box_key: boxKey,
    },
    signing,
  );
  return { type: "actor_registered", signed_registration: hex(signed) };
}

async function replacement(
  state: GovernanceState,
  actor_id: string,
  [folder, epoch]: readonly string[],
) {
  const signed_rotation = hex(await rotation(state, actor_id, folder));
  const previous_until_epoch = epoch === undefined ? null : wholeNumber("EPOCH", epoch);
  return { type: "actor_key_replaced", actor_id, signed_rotation, previous_until_epoch };
}

async function rotation(
  { genesisDigest, actors }: GovernanceState,
  actor_id: string,
  folder: string | undefined,
): Promise<Uint8Array> {
  const actor = actors.get(actor_id);
  if (actor === undefined) {
    throw new UsageError(`actor: expected a registered one, got ${actor_id}`);
  }
  const { signing, seedFile, boxKey } = await keysIn(folder);
  if (actor.keys.some(({ signingKey }) => equalBytes(signingKey, signing.publicKey))) {
    throw new UsageError(`FOLDER: expected new keys, got some that ${actor_id} has had`);
  }
  await writeKeyHistory(seedFile, actor, { actorId: actor_id, key: signing });
  return KEY_ROTATION.sign(
    {
      version: 1,
      genesis_digest: genesisDigest,
      actor_id,
      previous_key: actor.signing_key,
      signing_key: signing.publicKey,
      box_key: boxKey,
    },
    signing,
  );
}

/** The keys that `symphony keygen` left in a folder. */
async function keysIn(folder: string | undefined) {
  if (folder === undefined) throw usage();
  const seedFile = join(folder, "signing.seed");
  const signing = signingKeyFromSeed(await readSeed(seedFile));
  const box = await boxKeyPairFromSeed(await readSeed(join(folder, "box.seed")));
  return { signing, seedFile, boxKey: box.publicKey };
}

function nextSteps(actorId: string, folder = ""): string {
  return `${[
    `next: stop ${actorId}, and in its configuration`,
    `  signing_seed_file      ${join(folder, "signing.seed")} (signing.seed.history stays beside it)`,
    `  box_seed_file          ${join(folder, "box.seed")}`,
    `  former_box_seed_files  the box seed until now, of a Vault`,
    `then start it again; see docs/governance.md`,
  ].join("\n")}\n`;
}

function wholeNumber(name: string, text: string | undefined): number {
  const value = Number(text);
  if (/^[0-9]{1,16}$/.test(text ?? "") && Number.isSafeInteger(value)) return value;
  throw new UsageError(`${name}: expected a whole number, got ${text ?? "none"}`);
}

function actorLine({ actor_id, role, status, stake }: ActorView): string {
  const { bonded_minor: bonded, required_minor: required } = stake;
  return `${actor_id} ${role}, ${status}: ${bonded} bonded of ${required} needed\n`;
}

function detailLines({ keys, stake }: ActorView): string {
  const lines = [
    ...keys.map(
      ({ key_id: id, from_epoch: from, until_epoch: until }) =>
        `  key ${id} from epoch ${from}${until === null ? "" : `, counts for tasks up to ${until}`}`,
    ),
    `  deposited ${stake.deposited_minor}, withdrawn ${stake.withdrawn_minor}, slashed ${stake.slashed_minor}`,
    ...stake.unbonding.map((each) => `  ${each.amount_minor} unbond until ${each.release_epoch}`),
    ...stake.slashes.map((each) => `  ${each.amount_minor} taken: ${each.condition}`),
  ];
  return `${lines.join("\n")}\n`;
}

function usage(): UsageError {
  return new UsageError("actor: expected list, show, register, replace, rotate or unbond, and ID");
}
