import { randomBytes } from "node:crypto";
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";

import type { NitroMeasurement, TrustAnchor } from "#attestation";
import {
  GENESIS,
  base64,
  boxKeyPairFromSeed,
  hex,
  signingKeyFromSeed,
  type Actor,
  type ActorRole,
  type Genesis,
  type SemanticRegistry,
} from "#protocol";
import { attributesOf, recordScopeOf, type DemoPlan } from "./plan.ts";
import { simulatedPolicy } from "./policy.ts";

const SEMANTIC_VERSION = "semantics-1";
const GOVERNANCE_KEYS = 3;

/** Actors of a simulated network besides its Vaults. */
export const SIM_ACTORS = {
  coordinator: "coordinator",
  aggregator: "aggregator",
  submitter: "analyst",
  verifier: "verifier",
} as const;

/** What creating a network leaves for starting it. */
export interface CreatedNetwork {
  readonly genesis: Genesis;
  readonly genesisDigest: Uint8Array;
}

/**
 * Creates the files of a simulated network in `directory`: keys (0600) of every actor in its own folder, the genesis,
 * and the trust file that verifiers take. Writes nothing an actor should not hold into that actor's folder.
 */
export async function createSimNetwork(args: {
  readonly directory: string;
  readonly plan: DemoPlan;
  readonly anchor: TrustAnchor;
  readonly measurement: NitroMeasurement;
  readonly nowMs: number;
}): Promise<CreatedNetwork> {
  const { directory, plan } = args;
  const actors = [
    await createActor(directory, SIM_ACTORS.coordinator, "master"),
    await createActor(directory, SIM_ACTORS.aggregator, "aggregator"),
    await createActor(directory, SIM_ACTORS.submitter, "submitter", "submitter"),
    await createActor(directory, SIM_ACTORS.verifier, "verifier"),
  ];
  for (const { vaultId } of plan.vaults) {
    actors.push(await createActor(directory, vaultId, "enterprise"));
  }
  const genesis: Genesis = {
    version: 1,
    network: plan.network,
    simulated: true,
    governance_keys: await createGovernanceKeys(directory),
    coordinator_id: SIM_ACTORS.coordinator,
    aggregator_id: SIM_ACTORS.aggregator,
    actors,
    policy: plan.policy(simulatedPolicy(args.measurement, args.nowMs)),
    semantics: semanticsOf(plan),
    opened_ms: args.nowMs,
  };
  const genesisDigest = GENESIS.digest(genesis);
  await writeFile(join(directory, "genesis.cbor"), GENESIS.encode(genesis));
  const trust = {
    version: 1,
    network: plan.network,
    genesis_digest: hex(genesisDigest),
    anchors: [{ platform: "sim", certificate: base64(args.anchor.certificate) }],
    simulated: true,
  };
  await writeFile(join(directory, "trust.json"), `${JSON.stringify(trust, null, 2)}\n`);
  return { genesis, genesisDigest };
}

async function createActor(
  directory: string,
  actorId: string,
  role: ActorRole,
  folder: string = actorId,
): Promise<Actor> {
  const home = join(directory, folder);
  const signing = await createSeed(home, "signing.seed");
  const box = await createSeed(home, "box.seed");
  return {
    actor_id: actorId,
    role,
    signing_key: signingKeyFromSeed(signing).publicKey,
    box_key: (await boxKeyPairFromSeed(box)).publicKey,
    stake_minor: 1_000_000,
    status: "active",
  };
}

async function createGovernanceKeys(directory: string): Promise<Uint8Array[]> {
  const keys: Uint8Array[] = [];
  for (let index = 1; index <= GOVERNANCE_KEYS; index += 1) {
    const seed = await createSeed(join(directory, "governance"), `key-${index}.seed`);
    keys.push(signingKeyFromSeed(seed).publicKey);
  }
  return keys;
}

/** Writes a new 32-byte seed as hex, readable by its owner alone. */
async function createSeed(folder: string, name: string): Promise<Uint8Array> {
  await mkdir(folder, { recursive: true, mode: 0o700 });
  const seed = new Uint8Array(randomBytes(32));
  await writeFile(join(folder, name), `${hex(seed)}\n`, { mode: 0o600, flag: "wx" });
  return seed;
}

function semanticsOf(plan: DemoPlan): SemanticRegistry {
  const domains = [...new Set(plan.scopes.map(({ domain }) => domain))];
  return {
    semantic_version: SEMANTIC_VERSION,
    domains: [
      {
        domain_id: "global",
        parent_domain_id: null,
        layer: "global",
        domain_version: 1,
        semantic_version: SEMANTIC_VERSION,
        status: "active",
        cross_domain: "denied",
      },
      ...domains.map((domain) => ({
        domain_id: domain,
        parent_domain_id: "global",
        layer: "concrete" as const,
        domain_version: 1,
        semantic_version: SEMANTIC_VERSION,
        status: "active" as const,
        cross_domain: "denied" as const,
      })),
    ],
    attributes: plan.scopes.flatMap((scope) => attributesOf(scope, SEMANTIC_VERSION)),
    query_attributes: [],
    derivation_rules: [],
    record_scopes: plan.scopes.map(recordScopeOf),
  };
}
