import * as fs from "node:fs";
import os from "node:os";
import path from "node:path";

import { afterAll, beforeAll, expect, onTestFinished, test } from "vitest";

import { EXIT } from "../../../cli/index.ts";
import { readSubmitter } from "../../../host/client/index.ts";
import { parseTrust } from "../../../host/index.ts";
import { GENESIS, hex } from "../../../protocol/index.ts";
import { startNode } from "../../helpers/started-node.ts";
import { symphony } from "../../helpers/spoken.ts";

const EXAMPLE = path.resolve(import.meta.dirname, "../../../examples/network");
const ACTORS = ["operator", "aggregator", "example-bank", "example-grocer", "example-energy"];
const OTHERS = ["analyst", "auditor", "governor-1", "governor-2", "governor-3"];
const OTHER_KEY_ID = "0".repeat(32);

const folder = fs.mkdtempSync(path.join(os.tmpdir(), "symphony-founding-"));
const near = (...names: string[]): string => path.join(folder, ...names);

/** The example with keys that its actors have made. */
beforeAll(async () => {
  fs.cpSync(EXAMPLE, folder, { recursive: true });
  fs.mkdirSync(near("keys"));
  for (const name of [...ACTORS, ...OTHERS]) {
    const { out } = await symphony("keygen", near("seeds", name), "--json");
    fs.writeFileSync(near("keys", `${name}.json`), out);
  }
});

afterAll(() => fs.rmSync(folder, { recursive: true, force: true }));

function found(file: string, out: string) {
  return symphony("governance", "genesis", near(file), "--out", near(out), "--json");
}

test("the same documents found the same network, and say what to look at again", async () => {
  const { exit, out } = await found("network.yaml", "one");
  expect(exit).toBe(EXIT.ok);
  const said: unknown = JSON.parse(out);
  const bytes = new Uint8Array(fs.readFileSync(near("one", "genesis.cbor")));
  const genesis = GENESIS.decode(bytes);
  const genesis_digest = hex(GENESIS.digest(genesis));
  expect(said).toMatchObject({ network: "example", genesis_digest });
  // The example's reference values wait for an image.
  expect(said).toHaveProperty("findings.0.path", "attestation.reference_values.0");
  expect(genesis).toMatchObject({ simulated: false, opened_ms: Date.parse("2027-01-01") });
  expect(genesis.actors.map((actor) => actor.actor_id)).toEqual([...ACTORS, "analyst", "auditor"]);
  const trust = parseTrust(fs.readFileSync(near("one", "trust.json"), "utf8"));
  expect([hex(trust.genesisDigest), trust.simulated]).toEqual([genesis_digest, false]);
  expect(trust.anchors.map(({ platform }) => platform)).toEqual(["aws-nitro"]);
  expect((await found("network.yaml", "two")).out).toBe(out);
});

test("the folder is one that commands take, as the actor that is named", async () => {
  const words = ["governance", "genesis", near("network.yaml"), "--out", near("mine")];
  expect((await symphony(...words, "--as", "nobody")).err).toContain("expected an actor");
  expect(fs.existsSync(near("mine"))).toBe(false);
  const { exit } = await symphony(...words, "--as", "analyst");
  fs.cpSync(near("seeds", "analyst"), near("mine", "submitter"), { recursive: true });
  const { network, genesisDigest } = await readSubmitter(near("mine"));
  const genesis = new Uint8Array(fs.readFileSync(near("mine", "genesis.cbor")));
  expect([exit, network.submitter_id, network.coordinator_url, network.simulated]).toEqual([
    ...[EXIT.ok, "analyst", "https://symphony.example.org", false],
  ]);
  expect(genesisDigest).toEqual(GENESIS.digest(GENESIS.decode(genesis)));
});

test("a genesis is never replaced", async () => {
  await found("network.yaml", "kept");
  const before = fs.readFileSync(near("kept", "genesis.cbor"));
  const { exit, err } = await found("network.yaml", "kept");
  expect([exit, err.includes("expected no file there yet")]).toEqual([EXIT.usage, true]);
  expect(fs.readFileSync(near("kept", "genesis.cbor"))).toEqual(before);
});

test("a founding that was interrupted goes on, and leaves no genesis beside another network's files", async () => {
  await found("network.yaml", "whole");
  for (const name of ["half", "mixed"]) {
    fs.mkdirSync(near(name));
    fs.copyFileSync(near("whole", "trust.json"), near(name, "trust.json"));
  }
  expect((await found("network.yaml", "half")).exit).toBe(EXIT.ok);
  const [whole, half] = ["whole", "half"].map((name) => fs.readdirSync(near(name)));
  expect(half).toEqual(whole);
  fs.writeFileSync(near("mixed", "network.json"), "{}");
  expect((await found("network.yaml", "mixed")).exit).toBe(EXIT.usage);
  expect(fs.readFileSync(near("mixed", "network.json"), "utf8")).toBe("{}");
  expect(fs.existsSync(near("mixed", "genesis.cbor"))).toBe(false);
});

test("a coordinator opens the network that was founded", async () => {
  await found("network.yaml", "network");
  fs.copyFileSync(near("seeds", "operator", "signing.seed"), near("network", "signing.seed"));
  const listen = { address: "127.0.0.1", port: 0 };
  const config = {
    ...{ role: "coordinator", actor_id: "operator", directory: "." },
    ...{ signing_seed_file: "signing.seed", genesis_file: "genesis.cbor" },
    ...{ trust_file: "trust.json", public_listen: listen, node_listen: listen },
  };
  fs.writeFileSync(near("network", "config.json"), JSON.stringify(config));
  const node = await startNode(["coordinator", "run", near("network", "config.json")]);
  expect(node.events).toMatchObject([{ event: "ready", simulated: false }]);
  expect(await node.stop()).toBe(EXIT.ok);
});

/** A copy of one of the documents with `from` replaced, for one test. */
function changed(file: string, from: string | RegExp, to: string): void {
  const text = fs.readFileSync(near(file), "utf8");
  onTestFinished(() => fs.writeFileSync(near(file), text));
  const other = text.replace(from, to);
  expect(other).not.toBe(text);
  fs.writeFileSync(near(file), other);
}

test.for([
  {
    title: "a simulated platform",
    ...{ file: "policy.yaml", from: "[aws-nitro]", to: "[aws-nitro, sim]" },
    says: "policy.attestation.platforms: expected hardware alone, got sim",
  },
  {
    title: "a coordinator that is none",
    ...{ file: "network.yaml", from: "coordinator_id: operator", to: "coordinator_id: analyst" },
    says: "coordinator_id: expected an actor of role master, got submitter",
  },
  {
    title: "an aggregator that nobody is",
    ...{ file: "network.yaml", from: "aggregator_id: aggregator", to: "aggregator_id: other" },
    says: "aggregator_id: expected an actor of role aggregator, got nobody",
  },
  {
    title: "a coordinator's address that is none",
    ...{ file: "network.yaml", from: "https://symphony", to: "file:///symphony" },
    says: "coordinator_url",
  },
  {
    title: "one actor twice",
    ...{ file: "network.yaml", from: "actor_id: example-energy", to: "actor_id: example-bank" },
    says: "actors.actor_id: expected each once, got example-bank again",
  },
  {
    title: "one key for two",
    ...{ file: "network.yaml", from: "keys/example-energy.json", to: "keys/example-bank.json" },
    says: "governance_keys and actors.keys: expected each once",
  },
  {
    title: "a governor's key for an actor",
    ...{ file: "network.yaml", from: "keys/analyst.json", to: "keys/governor-1.json" },
    says: "governance_keys and actors.keys: expected each once",
  },
  {
    title: "fewer Vaults than the quorum",
    ...{ file: "policy.yaml", from: "minimum_vault_quorum: 2", to: "minimum_vault_quorum: 4" },
    says: "actors: expected as many Vaults as the policy's quorum, 4, got 3",
  },
  {
    title: "keys that are not what they are called",
    ...{ file: "keys/analyst.json", from: /"key_id":"\w+"/, to: `"key_id":"${OTHER_KEY_ID}"` },
    says: "key_id: expected that of the signing key",
  },
  {
    title: "half a key",
    ...{ file: "keys/analyst.json", from: /"box_key":"\w{8}/, to: '"box_key":"' },
    says: "box_key: expected 2432 hex digits",
  },
  {
    title: "a field that nobody knows",
    ...{ file: "network.yaml", from: "stake_minor: 10000 }", to: "stake: 10000 }" },
    says: "actors.6.stake_minor: expected number, got nothing",
  },
  {
    title: "governors that could decide nothing",
    ...{ file: "network.yaml", from: ", keys/governor-2.json, keys/governor-3.json", to: "" },
    says: "GOVERNANCE_EVENT_INVALID",
  },
  {
    title: "semantics that do not hold together",
    ...{ file: "semantics.yaml", from: "parent_domain_id: global", to: "parent_domain_id: none" },
    says: "DERIVATION_REGISTRY_INVALID",
  },
])("[RT-3] refuses $title, and leaves nothing", async ({ file, from, to, says }) => {
  changed(file, from, to);
  const { exit, out, err } = await found("network.yaml", "refused");
  expect([exit, out]).toEqual([EXIT.refused, ""]);
  expect(err).toContain(says);
  expect(fs.existsSync(near("refused"))).toBe(false);
});

test("is called wrongly without a folder, without a file, with two", async () => {
  const words = ["governance", "genesis"];
  const calls = [
    [...words, near("network.yaml")],
    [...words, "--out", near("x")],
    [...words, near("network.yaml"), "b", "--out", near("x")],
    [...words, near("nowhere.yaml"), "--out", near("x")],
  ];
  for (const call of calls) expect((await symphony(...call)).exit).toBe(EXIT.usage);
});
