import * as fs from "node:fs";
import os from "node:os";
import path from "node:path";

import { afterAll, expect, test } from "vitest";

import { EXIT } from "../../../cli/index.ts";
import { runSimCommand } from "../../../sim/cli.ts";
import { startCoordinator } from "../../helpers/live-coordinator.ts";
import { createNetwork } from "../../helpers/network.ts";
import { startNode } from "../../helpers/started-node.ts";
import { spoken, symphony } from "../../helpers/spoken.ts";

const folder = fs.mkdtempSync(path.join(os.tmpdir(), "symphony-node-"));
afterAll(() => fs.rmSync(folder, { recursive: true, force: true }));

const LISTEN = { address: "127.0.0.1", port: 0 };
const FILES = {
  directory: ".",
  signing_seed_file: "signing.seed",
  genesis_file: "genesis.cbor",
  trust_file: "trust.json",
};
const AGGREGATOR = { role: "aggregator", actor_id: "a", ...FILES, coordinator_url: "http://x" };
const VAULT = {
  ...{ role: "vault", actor_id: "v", ...FILES, box_seed_file: "box.seed" },
  coordinator_url: "http://x",
  operator_listen: LISTEN,
};
const COORDINATOR = {
  ...{ role: "coordinator", actor_id: "c", ...FILES },
  ...{ public_listen: LISTEN, node_listen: LISTEN },
};

function configFile(config: object): string {
  const file = path.join(folder, "config.json");
  fs.writeFileSync(file, JSON.stringify(config));
  return file;
}

test.for([
  { title: "a Vault without enclaves", role: "vault", config: VAULT, field: "enclave" },
  {
    title: "an aggregator without enclaves",
    role: "aggregator",
    config: AGGREGATOR,
    field: "enclave",
  },
  {
    title: "a simulated enclave",
    role: "vault",
    config: { ...VAULT, enclave: { platform: "sim" } },
    field: "enclave",
  },
  { title: "another role's", role: "coordinator", config: VAULT, field: "role" },
  {
    title: "a coordinator with enclaves",
    role: "coordinator",
    config: { ...COORDINATOR, enclave: { socket: "s" } },
    field: "enclave",
  },
])("[RT-3] refuses the configuration of $title", async ({ role, config, field }) => {
  const { exit, err } = await symphony(role, "run", configFile(config));
  expect([exit, err.includes("SCHEMA_CONFIG_MALFORMED")]).toEqual([EXIT.refused, true]);
  expect(err).toContain(field);
});

test("[RT-3] the simulator refuses the configuration of enclaves behind a socket", async () => {
  const file = configFile({ ...VAULT, enclave: { socket: "/run/symphony/enclave.sock" } });
  const words = ["sim", "node", "vault", "--config", file, "--platform", path.join(folder, "p")];
  const { exit, err } = await spoken((io) =>
    runSimCommand(words, {
      io,
      repositoryRoot: path.resolve(import.meta.dirname, "../../.."),
      nowMs: Date.now,
      random: (bytes) => new Uint8Array(bytes),
      signal: AbortSignal.abort(),
    }),
  );
  expect(exit).toBe(EXIT.refused);
  expect(err).toContain("enclave: expected nothing for simulated enclaves, got a socket");
});

test.for([
  { words: ["vault", "run"], says: "CONFIG" },
  { words: ["vault", "run", "a", "b"], says: "CONFIG" },
  { words: ["aggregator"], says: "run and one CONFIG" },
  { words: ["aggregator", "stop", "a"], says: "run and one CONFIG" },
  { words: ["coordinator", "run", "a", "b"], says: "run and one CONFIG" },
  { words: ["coordinator", "run", "a", "--insecure-no-isolation"], says: "insecure" },
  { words: ["coordinator", "run", "/nowhere/config.json"], says: "/nowhere/config.json" },
])("$words is called wrongly", async ({ words, says }) => {
  const { exit, out, err } = await symphony(...words);
  expect([exit, out]).toEqual([EXIT.usage, ""]);
  expect(err).toContain(says);
});

test("runs until it is interrupted, says so line by line, and exits 0", async () => {
  const earlier = await startCoordinator(await createNetwork(), makeHome());
  await earlier.stop();
  const config = { ...COORDINATOR, actor_id: earlier.network.coordinator.actorId };
  const file = path.join(earlier.folder, "config.json");
  fs.writeFileSync(file, JSON.stringify(config));
  const node = await startNode(["coordinator", "run", file]);
  expect(node.events).toMatchObject([
    { event: "ready", actor_id: config.actor_id, simulated: true },
  ]);
  expect(await node.stop()).toBe(EXIT.ok);
});

function makeHome(): string {
  const home = path.join(folder, "coordinator");
  fs.mkdirSync(home);
  return home;
}
