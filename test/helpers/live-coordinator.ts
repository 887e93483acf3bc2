import { randomBytes } from "node:crypto";
import * as fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { setTimeout } from "node:timers/promises";

import { formatTrust } from "../../host/evidence/trust.ts";
import { TaskClient } from "../../host/client/index.ts";
import { NodeClient } from "../../host/http/index.ts";
import { runCoordinator } from "../../host/run/coordinator.ts";
import {
  GOVERNANCE_SNAPSHOT,
  WORK_ITEM,
  cosignCheckpoint,
  hex,
  utf8,
  type WorkItem,
} from "../../protocol/index.ts";
import { rigPlatform } from "./enclave-rig.ts";
import { testSeed, type TestActor, type TestNetwork } from "./network.ts";

/** A whole coordinator, run by this process over a folder of its own, with real listeners. */
export interface LiveCoordinator {
  readonly network: TestNetwork;
  readonly folder: string;
  readonly publicUrl: string;
  readonly nodeUrl: string;
  readonly client: TaskClient;
  /** What it told its operator. */
  readonly reports: readonly Readonly<Record<string, unknown>>[];
  /** A node of the network, as it calls the coordinator. */
  node(actor: TestActor): NodeClient;
  /** The next piece of work of an actor, verified; waits for it. */
  work(actor: TestActor): Promise<WorkItem>;
  /** Has every Vault cosign the whole governance log, and waits until the coordinator knows: tasks and readers wait for it. */
  cosign(): Promise<void>;
  stop(): Promise<void>;
}

const WAIT_MS = 60_000;

/** Starts a coordinator of `network` in a new folder, or again in `folder`. */
export async function startCoordinator(
  network: TestNetwork,
  folder: string = fs.mkdtempSync(path.join(os.tmpdir(), "symphony-live-coordinator-")),
): Promise<LiveCoordinator> {
  writeFooting(network, folder);
  const stop = new AbortController();
  const reports: Readonly<Record<string, unknown>>[] = [];
  const ready = Promise.withResolvers<Readonly<Record<string, unknown>>>();
  const listen = { address: "127.0.0.1", port: 0 };
  const done = runCoordinator(
    {
      role: "coordinator",
      actor_id: network.coordinator.actorId,
      directory: folder,
      signing_seed_file: path.join(folder, "signing.seed"),
      genesis_file: path.join(folder, "genesis.cbor"),
      trust_file: path.join(folder, "trust.json"),
      public_listen: listen,
      node_listen: listen,
    },
    {
      nowMs: Date.now,
      random: (bytes) => new Uint8Array(randomBytes(bytes)),
      report: (event) => {
        reports.push(event);
        if (event["event"] === "ready") ready.resolve(event);
      },
      signal: stop.signal,
    },
  );
  done.catch((error: unknown) => ready.reject(error));
  const urls = await ready.promise;
  const publicUrl = String(urls["public_url"]);
  const nodeUrl = String(urls["node_url"]);
  const nodes = new Map<string, NodeClient>();
  const live: LiveCoordinator = {
    ...{ network, folder, publicUrl, nodeUrl, reports },
    client: new TaskClient(publicUrl),
    node: (actor) => {
      const known = nodes.get(actor.actorId) ?? newNode(nodeUrl, actor);
      nodes.set(actor.actorId, known);
      return known;
    },
    work: async (actor) => {
      const item = await live.node(actor).nextWork(WAIT_MS);
      return WORK_ITEM.verify(item ?? new Uint8Array(0), network.coordinator.signing.publicKey);
    },
    cosign: async () => {
      // Vaults are asked about each size that the log has had.
      while (!(await live.client.governanceState()).cosigned) {
        let size = Infinity;
        for (const vault of network.vaults) size = Math.min(size, await cosign(live, vault));
        await cosigned(live, size);
      }
    },
    stop: async () => {
      stop.abort();
      await done;
    },
  };
  return live;
}

/** Waits for the coordinator, which looks at answers when its next turn comes. */
async function cosigned({ client, network }: LiveCoordinator, size: number): Promise<void> {
  const deadlineMs = Date.now() + WAIT_MS;
  while (Date.now() < deadlineMs) {
    const known = await client.governance(network.genesisDigest).catch(() => undefined);
    if (known !== undefined && known.sequence >= size) return;
    await setTimeout(20);
  }
  throw new Error(`coordinator: expected it to know ${size} cosigned events`);
}

function writeFooting(network: TestNetwork, folder: string): void {
  const seed = hex(testSeed(`${network.coordinator.actorId} signing`));
  fs.writeFileSync(path.join(folder, "signing.seed"), `${seed}\n`, { mode: 0o600 });
  fs.writeFileSync(path.join(folder, "genesis.cbor"), network.genesisBytes);
  const trust = formatTrust({
    network: network.genesis.network,
    genesisDigest: network.genesisDigest,
    anchors: [rigPlatform().anchor],
  });
  fs.writeFileSync(path.join(folder, "trust.json"), trust);
}

function newNode(url: string, actor: TestActor): NodeClient {
  return new NodeClient({
    url,
    identity: { actorId: actor.actorId, key: actor.signing },
    nowMs: Date.now,
    random: (bytes) => new Uint8Array(randomBytes(bytes)),
    giveUpMs: 0,
  });
}

/** @returns How many events were cosigned. */
async function cosign(live: LiveCoordinator, vault: TestActor): Promise<number> {
  const { work_id: workId, work } = await live.work(vault);
  // Work on tasks stays undone: it is another test's, or nobody's.
  if (work.kind !== "cosign") return cosign(live, vault);
  const { checkpoint, events } = GOVERNANCE_SNAPSHOT.decode(work.governance);
  const note = cosignCheckpoint(checkpoint, {
    signerName: vault.actorId,
    key: vault.signing,
    timeSeconds: Math.floor(Date.now() / 1000),
  });
  await live.node(vault).complete(workId, { answer: utf8(note), code: null });
  return events.length;
}
