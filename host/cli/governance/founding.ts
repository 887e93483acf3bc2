import {
  MalformedError,
  actorRole,
  hex,
  identifier,
  type Actor,
  type ActorRole,
  type Genesis,
  type Policy,
  type SemanticRegistry,
} from "#protocol";
import { z } from "zod";

import type { PublicKeys } from "../public-keys.ts";

/** A file beside the founding document. */
const file = z.string().min(1).max(4096);

const STAKE_MAX = Number.MAX_SAFE_INTEGER;

/**
 * What the founders of a network on hardware write down; `examples/network/network.yaml` is one. Everything else of a
 * genesis is in the files that it names.
 */
export const foundingSchema = z.strictObject({
  network: identifier,
  /** When its first epoch opens. */
  opens_at: z.iso.datetime(),
  coordinator_id: identifier,
  /** Where submitters, auditors and governance reach it; no part of the genesis. */
  coordinator_url: z.url({ protocol: /^https?$/ }).max(2048),
  aggregator_id: identifier,
  /** Public keys of those who decide, as `symphony keygen --json` prints them. */
  governance_keys: z.array(file).min(1).max(32),
  actors: z
    .array(
      z.strictObject({
        actor_id: identifier,
        role: actorRole,
        keys: file,
        stake_minor: z.int().min(0).max(STAKE_MAX),
      }),
    )
    .min(1)
    .max(1024),
  /** A policy version, as `symphony policy` takes it. */
  policy: file,
  /** A registry document, as `symphony registry` takes it. */
  semantics: file,
});

type Founding = z.infer<typeof foundingSchema>;

/** What the files of a founding document say. */
interface FoundingFiles {
  readonly policy: Policy;
  readonly semantics: SemanticRegistry;
  /** By file, as the document names it. */
  readonly keys: ReadonlyMap<string, PublicKeys>;
}

/** The genesis of a founding document. */
export function genesisOf(founding: Founding, { policy, semantics, keys }: FoundingFiles): Genesis {
  const keysOf = (name: string): PublicKeys => {
    const found = keys.get(name);
    if (found === undefined) throw new Error(`keys ${name}: expected them to be read`);
    return found;
  };
  return {
    version: 1,
    network: founding.network,
    simulated: false,
    governance_keys: founding.governance_keys.map((name) => keysOf(name).signingKey),
    coordinator_id: founding.coordinator_id,
    aggregator_id: founding.aggregator_id,
    actors: founding.actors.map(({ actor_id, role, keys: name, stake_minor }) => ({
      actor_id,
      role,
      signing_key: keysOf(name).signingKey,
      box_key: keysOf(name).boxKey,
      stake_minor,
      status: "active",
    })),
    policy,
    semantics,
    opened_ms: Date.parse(founding.opens_at),
  };
}

/**
 * Refuses what the protocol would take and no network on hardware can work with.
 *
 * @throws {@link MalformedError} SCHEMA_CONFIG_MALFORMED
 */
export function requireWorkable(genesis: Genesis): void {
  const { actors, policy } = genesis;
  const isSimulated = policy.attestation.platforms.includes("sim");
  expectThat(!isSimulated, "policy.attestation.platforms", "hardware alone, got sim");
  requireRole(actors, genesis.coordinator_id, { field: "coordinator_id", role: "master" });
  requireRole(actors, genesis.aggregator_id, { field: "aggregator_id", role: "aggregator" });
  const names = actors.map((actor) => actor.actor_id);
  requireOnce("actors.actor_id", names);
  const signing = [...actors.map((actor) => actor.signing_key), ...genesis.governance_keys];
  requireOnce("governance_keys and actors.keys", signing.map(hex));
  const vaults = actors.filter(({ role }) => role === "enterprise").length;
  const quorum = policy.multi_vault.minimum_vault_quorum;
  expectThat(
    vaults >= quorum,
    "actors",
    `as many Vaults as the policy's quorum, ${quorum}, got ${vaults}`,
  );
}

function requireOnce(field: string, values: readonly string[]): void {
  const twice = values.find((value, index) => values.indexOf(value) !== index);
  expectThat(twice === undefined, field, `each once, got ${twice} again`);
}

function requireRole(
  actors: readonly Actor[],
  actorId: string,
  { field, role }: { readonly field: string; readonly role: ActorRole },
): void {
  const got = actors.find((actor) => actor.actor_id === actorId)?.role ?? "nobody";
  expectThat(got === role, field, `an actor of role ${role}, got ${got}`);
}

function expectThat(holds: boolean, field: string, expected: string): void {
  if (holds) return;
  throw new MalformedError(
    { code: "SCHEMA_CONFIG_MALFORMED", field },
    `founding document, ${field}: expected ${expected}`,
  );
}
