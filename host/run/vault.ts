import { join } from "node:path";

import {
  RefusedError,
  SymphonyError,
  boxKeyPairFromSeed,
  columnAttribute,
  columnsOfScope,
  genesisState,
  hex,
  signingKeyFromSeed,
  type BoxKeyPair,
  type SemanticRegistry,
} from "#protocol";
import { HeldGovernance, runVaultNode } from "../execution/index.ts";
import {
  NodeClient,
  addVaultRoutes,
  createServer,
  listen,
  type RunningServer,
  type VaultRoutesContext,
} from "../http/index.ts";
import { openVault, type Vault } from "../sovereignty/index.ts";
import { readSeed, storePlaceOf, type VaultConfig } from "./config.ts";
import { COORDINATOR_AWAY_MS_MAX, reporterOf, type EnclaveEnvironment } from "./environment.ts";
import { readFooting, readyOf, writeWhole } from "./files.ts";
import { readFormerKeys } from "./key-history.ts";
import { openCustody } from "./vault-custody.ts";

/** How long an operator may send one source: a day. */
const INGEST_MS_MAX = 24 * 60 * 60 * 1_000;

/**
 * Runs a Vault node: opens the Vault, serves its operator, and takes work until told to stop.
 *
 * Writes `operator.json` (URL and token, 0600) into the Vault's folder once it answers.
 */
export async function runVault(
  config: VaultConfig,
  environment: EnclaveEnvironment,
): Promise<void> {
  const footing = await readFooting(config);
  const signingKey = signingKeyFromSeed(await readSeed(config.signing_seed_file));
  const identity = { actorId: config.actor_id, key: signingKey };
  const formerKeys = await readFormerKeys(config.signing_seed_file, identity);
  const [boxKey, formerBoxKeys] = await boxKeysOf(config);
  const { nowMs, random } = environment;
  const keys = openCustody(config, { anchors: footing.trust.anchors, nowMs, random });
  const vault = await openVault({
    directory: config.directory,
    store: await storePlaceOf(config, "vault.db"),
    ...(config.secrets_file === undefined ? {} : { secretsFile: config.secrets_file }),
    vaultId: config.actor_id,
    network: footing.genesis.network,
    signingKey,
    ...{ formerKeys, boxKey, formerBoxKeys },
    custody: keys.custody,
    nowMs,
    random,
  });
  const resumed = resumeErasures(vault, environment);
  const held = new HeldGovernance(genesisState(footing.genesisBytes));
  const running = await serveOperator(config, environment, {
    vault,
    token: hex(random(32)),
    governance: () => held.newest,
    scope: scopeReader(() => held.newest.semantics),
  });
  environment.report({ ...readyOf(config, footing), operator_url: running.url });
  try {
    await runVaultNode(
      {
        self: { ...identity, coordinatorKey: footing.coordinatorKey },
        coordinator: new NodeClient({
          url: config.coordinator_url,
          identity,
          nowMs,
          random,
          giveUpMs: COORDINATOR_AWAY_MS_MAX,
        }),
        ...{ vault, boxKeys: [boxKey, ...formerBoxKeys], launcher: environment.launcher },
        anchors: footing.trust.anchors,
        genesis: footing.genesisBytes,
        held,
        genesisDigest: footing.genesisDigest,
        ...{ nowMs, random, report: reporterOf(environment) },
      },
      environment.signal,
    );
  } finally {
    await running.close();
    await resumed;
    await vault.close();
    keys.close();
  }
}

/** The present box key, and those before. */
async function boxKeysOf(config: VaultConfig): Promise<readonly [BoxKeyPair, BoxKeyPair[]]> {
  const pairOf = async (file: string) => boxKeyPairFromSeed(await readSeed(file));
  const former = await Promise.all((config.former_box_seed_files ?? []).map(pairOf));
  return [await pairOf(config.box_seed_file), former];
}

/** The operator's listener, and the file that says where it is. */
async function serveOperator(
  config: VaultConfig,
  environment: EnclaveEnvironment,
  context: VaultRoutesContext,
): Promise<RunningServer> {
  const server = createServer({
    requestMsMax: INGEST_MS_MAX,
    report: (id, error) => environment.report(unexpected(id, error)),
  });
  addVaultRoutes(server, context);
  const running = await listen(server, config.operator_listen);
  const operator = `${JSON.stringify({ url: running.url, token: context.token })}\n`;
  await writeWhole(join(config.directory, "operator.json"), operator);
  return running;
}

/** An erasure that was interrupted goes on; one that cannot yet is told of, and goes on when it is asked for again. */
async function resumeErasures(vault: Vault, { report }: EnclaveEnvironment): Promise<void> {
  try {
    await vault.custody.resumeErasures();
  } catch (error) {
    const code = error instanceof SymphonyError ? error.code : "INTERNAL_UNEXPECTED";
    report({ event: "erasure_waits", code });
  }
}

function scopeReader(newest: () => SemanticRegistry) {
  return (scopeId: string) => {
    const semantics = newest();
    const recordScope = semantics.record_scopes.find((each) => each.record_scope_id === scopeId);
    if (recordScope === undefined) {
      throw new RefusedError(
        { code: "DERIVATION_UNRESOLVED", field: "scope" },
        "scope: expected a registered record scope",
      );
    }
    const attributes = columnsOfScope(recordScope).flatMap(
      (column) => columnAttribute(semantics, column) ?? [],
    );
    return { recordScope, attributes };
  };
}

/** What the operator sees of an error nobody expected: where it was thrown, not what it held. */
export function unexpected(id: string, error: unknown): Record<string, unknown> {
  const stack =
    error instanceof Error ? error.stack?.split("\n").slice(1, 6).join("\n") : undefined;
  return {
    event: "unexpected_error",
    error_id: id,
    name: error instanceof Error ? error.name : typeof error,
    stack,
  };
}
