import { MalformedError } from "#protocol";

import { createSocketLauncher } from "../adapters/enclave-socket.ts";
import type { EnclaveLauncher } from "../execution/index.ts";
import { runAggregator } from "./aggregator.ts";
import {
  aggregatorConfigSchema,
  coordinatorConfigSchema,
  readConfig,
  vaultConfigSchema,
  type EnclavePlace,
} from "./config.ts";
import { runCoordinator } from "./coordinator.ts";
import type { RunEnvironment } from "./environment.ts";
import { runVault } from "./vault.ts";

/** Parts of a network that run as a process of their own. */
export const NODE_ROLES = ["coordinator", "vault", "aggregator"] as const;
export type NodeRole = (typeof NODE_ROLES)[number];

/** What {@link runNode} runs. */
export interface NodeRun {
  readonly role: NodeRole;
  /** Its configuration, of that role. */
  readonly configFile: string;
  /** Starts the enclaves of a node whose configuration says this of them; throws where it may not. */
  readonly launcherFor: (enclave: EnclavePlace | undefined) => EnclaveLauncher;
}

/**
 * Runs the node of a configuration until `environment.signal` aborts, and then until what is under way has ended.
 *
 * @throws {@link MalformedError} SCHEMA_CONFIG_MALFORMED, and what each node throws.
 */
export async function runNode(
  { role, configFile, launcherFor }: NodeRun,
  environment: RunEnvironment,
): Promise<void> {
  switch (role) {
    case "coordinator":
      return runCoordinator(await readConfig(configFile, coordinatorConfigSchema), environment);
    case "vault": {
      const config = await readConfig(configFile, vaultConfigSchema);
      return runVault(config, { ...environment, launcher: launcherFor(config.enclave) });
    }
    case "aggregator": {
      const config = await readConfig(configFile, aggregatorConfigSchema);
      return runAggregator(config, { ...environment, launcher: launcherFor(config.enclave) });
    }
  }
}

/** Enclaves of an image, behind the socket that the configuration names; there are no others. */
export function socketEnclaves(enclave: EnclavePlace | undefined): EnclaveLauncher {
  if (enclave !== undefined) return createSocketLauncher(enclave.socket);
  throw new MalformedError(
    { code: "SCHEMA_CONFIG_MALFORMED", field: "enclave" },
    "enclave: expected the socket behind which enclaves are, got nothing",
  );
}
