import { existsSync } from "node:fs";
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";

import { createKms, recipientKeyPolicy, type NetworkFile } from "#host";
import { GENESIS, hex, type Genesis } from "#protocol";
import { SIM_ACTORS } from "./create.ts";
import { startProcess, type NodeProcess } from "./processes.ts";

/** A running simulated network. */
export interface RunningNetwork {
  readonly directory: string;
  readonly genesis: Genesis;
  readonly genesisDigest: Uint8Array;
  readonly publicUrl: string;
  readonly vaultIds: readonly string[];
  /** By actor; `kms` is the simulated key service. */
  readonly processes: ReadonlyMap<string, NodeProcess>;
  /** Starts an actor again after it ended. */
  restart(name: string): Promise<NodeProcess>;
  stop(): Promise<void>;
}

/** Where a network is and how its enclaves are isolated. */
export interface StartOptions {
  readonly repositoryRoot: string;
  readonly directory: string;
  readonly isolation: "bubblewrap" | "none";
  /** Told of each process that is up. */
  readonly tell?: (line: string) => void;
}

const REGION = "us-sim-1";
const LOCAL = "127.0.0.1";

/** Starts every process of the network in `directory`: key service, coordinator, each Vault, aggregator. */
export async function startSimNetwork(options: StartOptions): Promise<RunningNetwork> {
  const network = new SimNetwork(options);
  try {
    await network.start();
  } catch (error) {
    await network.stop();
    throw error;
  }
  return network;
}

class SimNetwork implements RunningNetwork {
  readonly directory: string;
  readonly processes = new Map<string, NodeProcess>();
  readonly #options: StartOptions;
  readonly #words = new Map<string, readonly string[]>();
  #genesis: Genesis | undefined;
  publicUrl = "";

  constructor(options: StartOptions) {
    this.#options = options;
    this.directory = options.directory;
  }

  get genesis(): Genesis {
    if (this.#genesis === undefined) throw new Error("network: expected it to be started");
    return this.#genesis;
  }

  get genesisDigest(): Uint8Array {
    return GENESIS.digest(this.genesis);
  }

  get vaultIds(): readonly string[] {
    return this.genesis.actors
      .filter(({ role }) => role === "enterprise")
      .map(({ actor_id: actorId }) => actorId);
  }

  async start(): Promise<void> {
    const genesisFile = join(this.directory, "genesis.cbor");
    this.#genesis = GENESIS.decode(new Uint8Array(await readFile(genesisFile)));
    const starting = { kms: this.#startKms(), coordinator: this.#startCoordinator() };
    await together(Object.values(starting));
    const coordinator = await starting.coordinator;
    const endpoint = String((await starting.kms).ready["endpoint"]);
    this.publicUrl = String(coordinator.ready["public_url"]);
    const nodeUrl = String(coordinator.ready["node_url"]);
    await this.#fixPorts(coordinator);
    await this.#writeNetworkFile();
    await together([
      ...this.vaultIds.map((vaultId) => this.#startVault(vaultId, nodeUrl, endpoint)),
      this.#startAggregator(nodeUrl),
    ]);
  }

  /** A restarted coordinator must answer where its nodes look for it. */
  async #fixPorts(coordinator: NodeProcess): Promise<void> {
    const port = (url: unknown): number => Number(new URL(String(url)).port);
    await this.#writeConfig(SIM_ACTORS.coordinator, {
      role: "coordinator",
      actor_id: SIM_ACTORS.coordinator,
      ...COMMON_FILES,
      public_listen: { address: LOCAL, port: port(coordinator.ready["public_url"]) },
      node_listen: { address: LOCAL, port: port(coordinator.ready["node_url"]) },
    });
  }

  async #startKms(): Promise<NodeProcess> {
    const [folder, platform] = [join(this.directory, "kms"), join(this.directory, "platform")];
    return this.#launch("kms", ["sim", "kms", "--dir", folder, "--platform", platform]);
  }

  async #startCoordinator(): Promise<NodeProcess> {
    await this.#writeConfig(SIM_ACTORS.coordinator, {
      role: "coordinator",
      actor_id: SIM_ACTORS.coordinator,
      ...COMMON_FILES,
      public_listen: { address: LOCAL, port: 0 },
      node_listen: { address: LOCAL, port: 0 },
    });
    return this.#launchNode("coordinator", SIM_ACTORS.coordinator);
  }

  async #startVault(vaultId: string, nodeUrl: string, endpoint: string): Promise<void> {
    await this.#writeConfig(vaultId, {
      role: "vault",
      actor_id: vaultId,
      ...COMMON_FILES,
      box_seed_file: "box.seed",
      coordinator_url: nodeUrl,
      operator_listen: { address: LOCAL, port: 0 },
      key_custody: {
        kind: "kms",
        endpoint,
        region: REGION,
        key_id: await this.#keyOf(vaultId, endpoint),
      },
    });
    await this.#launchNode("vault", vaultId);
  }

  async #startAggregator(nodeUrl: string): Promise<void> {
    await this.#writeConfig(SIM_ACTORS.aggregator, {
      role: "aggregator",
      actor_id: SIM_ACTORS.aggregator,
      ...COMMON_FILES,
      coordinator_url: nodeUrl,
    });
    await this.#launchNode("aggregator", SIM_ACTORS.aggregator);
  }

  /** The Vault's key at the key service, created once: its policy releases to the accepted images only. */
  async #keyOf(vaultId: string, endpoint: string): Promise<string> {
    const path = join(this.directory, vaultId, "kms-key-id");
    if (existsSync(path)) return (await readFile(path, "utf8")).trim();
    const kms = createKms({
      region: REGION,
      endpoint,
      credentials: { accessKeyId: "local", secretAccessKey: "local" },
    });
    try {
      const references = this.genesis.policy.attestation.reference_values;
      const policy = recipientKeyPolicy("arn:aws:iam::000000000000:root", references);
      const keyId = await kms.createKey(policy);
      await writeFile(path, `${keyId}\n`, { mode: 0o600 });
      return keyId;
    } finally {
      kms.close();
    }
  }

  async #launchNode(role: string, actorId: string): Promise<NodeProcess> {
    const isolation = this.#options.isolation === "none" ? ["--insecure-no-isolation"] : [];
    return this.#launch(actorId, [
      "sim",
      "node",
      role,
      "--config",
      join(this.directory, actorId, "config.json"),
      "--platform",
      join(this.directory, "platform"),
      ...isolation,
    ]);
  }

  async #launch(name: string, words: readonly string[]): Promise<NodeProcess> {
    const { repositoryRoot, directory } = this.#options;
    this.#words.set(name, words);
    const started = await startProcess({ name, repositoryRoot, directory, words });
    this.processes.set(name, started);
    this.#options.tell?.(`${name} is up (pid ${started.pid})`);
    return started;
  }

  async restart(name: string): Promise<NodeProcess> {
    await this.processes.get(name)?.exited;
    return this.#launch(name, this.#words.get(name) ?? []);
  }

  async #writeConfig(actorId: string, config: Record<string, unknown>): Promise<void> {
    const folder = join(this.directory, actorId);
    await mkdir(folder, { recursive: true, mode: 0o700 });
    const text = `${JSON.stringify(config, null, 2)}\n`;
    await writeFile(join(folder, "config.json"), text, { mode: 0o600 });
  }

  async #writeNetworkFile(): Promise<void> {
    const file: NetworkFile = {
      network: this.genesis.network,
      simulated: true,
      coordinator_url: this.publicUrl,
      genesis_digest: hex(this.genesisDigest),
      submitter_id: SIM_ACTORS.submitter,
      vaults: this.vaultIds.map((vaultId) => ({
        vault_id: vaultId,
        directory: join(this.directory, vaultId),
      })),
    };
    await writeFile(join(this.directory, "network.json"), `${JSON.stringify(file, null, 2)}\n`);
  }

  async stop(): Promise<void> {
    const { coordinator } = SIM_ACTORS;
    const others = [...this.processes.values()].filter(({ name }) => name !== coordinator);
    await Promise.all(others.map((each) => each.stop()));
    await this.processes.get(coordinator)?.stop();
  }
}

/** Waits for all; a failure is told once each has ended, so that none comes up after the rest were stopped. */
async function together(starting: readonly Promise<unknown>[]): Promise<void> {
  await Promise.allSettled(starting);
  await Promise.all(starting);
}

const COMMON_FILES = {
  directory: ".",
  signing_seed_file: "signing.seed",
  genesis_file: "../genesis.cbor",
  trust_file: "../trust.json",
} as const;
