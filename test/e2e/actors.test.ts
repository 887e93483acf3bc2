import * as fs from "node:fs";
import path from "node:path";

import { afterAll, beforeAll, expect, test } from "vitest";

import { hex, type GovernanceDecision } from "../../protocol/index.ts";
import { propose } from "../helpers/govern.ts";
import { startCoordinator, type LiveCoordinator } from "../helpers/live-coordinator.ts";
import { createNetwork, openedNow, testActor, testSeed } from "../helpers/network.ts";
import { submitterFolder, symphony as speak, writeSeed } from "../helpers/spoken.ts";

const network = await createNetwork({ genesis: openedNow });
const newcomer = await testActor("vault-4", "enterprise");
let live: LiveCoordinator;
let folder: string;

beforeAll(async () => {
  live = await startCoordinator(network);
  await live.cosign();
  folder = submitterFolder(live);
  for (const number of [1, 2]) writeSeed(seedAt(`voter-${number}`), `governance ${number}`);
  writeSeed(seedAt("own"), "vault-1 signing");
  writeKeys("vault-4", "vault-4");
  writeKeys("next", "vault-1-next");
});

afterAll(async () => {
  await live.stop();
  for (const each of [folder, live.folder]) fs.rmSync(each, { recursive: true, force: true });
});

const seedAt = (name: string): string => path.join(folder, `${name}.seed`);
const keysAt = (name: string): string => path.join(folder, name);

/** Seeds as `symphony keygen` leaves them. */
function writeKeys(name: string, actorId: string): void {
  fs.mkdirSync(keysAt(name));
  for (const kind of ["signing", "box"]) {
    const file = path.join(keysAt(name), `${kind}.seed`);
    fs.writeFileSync(file, hex(testSeed(`${actorId} ${kind}`)), { mode: 0o600 });
  }
}

async function actor(...words: string[]): Promise<string> {
  const { exit, out, err } = await speak("governance", "actor", ...words, "--dir", folder);
  expect({ exit, err }).toEqual({ exit: 0, err: "" });
  return out;
}

/** Has governance decide, and Vaults cosign it. */
async function decide(decision: object): Promise<void> {
  const keyFiles = [1, 2].map((number) => seedAt(`voter-${number}`));
  await propose({ directory: folder, keyFiles }, decision);
  await live.cosign();
}

/** Waits until a quorum of Vaults stands behind so many events: the command line believes no less. */
async function cosigned(sequence: number): Promise<void> {
  const newest = () => live.client.governance(network.genesisDigest);
  await expect.poll(newest, { timeout: 60_000 }).toMatchObject({ sequence });
}

async function get(route: string): Promise<unknown> {
  return (await fetch(`${live.publicUrl}/v1/governance/actors${route}`)).json();
}

test("[GS-3] an operator registers a Vault, stakes it, and rotates a key", async () => {
  await cosigned(0);
  await decide(JSON.parse(await actor("register", "vault-4", "enterprise", keysAt("vault-4"))));
  await cosigned(1);
  expect(await get("/vault-4")).toMatchObject({
    role: "enterprise",
    signing_key: hex(newcomer.signing.publicKey),
    stake: { bonded_minor: 0, required_minor: 1_000 },
  });
  const deposit: GovernanceDecision = {
    type: "stake_deposited",
    actor_id: "vault-4",
    amount_minor: 1_000,
    reference: "wire-1",
  };
  await decide(deposit);
  await cosigned(2);
  const line = "vault-4 enterprise, active: 1000 bonded of 1000 needed\n";
  expect(await actor("list")).toContain(line);
  writeKeys("present", "vault-1");
  const same = ["rotate", "vault-1", keysAt("present"), "--key", seedAt("own"), "--dir", folder];
  expect(await speak("governance", "actor", ...same)).toMatchObject({ exit: 2 });
  expect(fs.readdirSync(keysAt("present"))).toHaveLength(2);
  const said = await actor("rotate", "vault-1", keysAt("next"), "--key", seedAt("own"));
  expect(said).toContain("decided\nnext: stop vault-1");
  expect(fs.readdirSync(keysAt("next"))).toContain("signing.seed.history");
  const { signing } = await testActor("vault-1-next", "enterprise");
  expect(await get("/vault-1")).toMatchObject({
    signing_key: hex(signing.publicKey),
    keys: [{ until_epoch: 0 }, { until_epoch: null }],
  });
});

test("[GS-3] another's stake is not taken out, and what nobody registered is not shown", async () => {
  const key = ["--key", seedAt("own"), "--dir", folder];
  const refused = await speak("governance", "actor", "unbond", "vault-2", "5", ...key);
  expect(refused.exit).toBe(1);
  expect(refused.err).toContain("GOVERNANCE_QUORUM_NOT_MET");
  expect(await get("/nobody")).toMatchObject({ code: "AUTH_UNKNOWN_ACTOR" });
  const unknown = await speak("governance", "actor", "show", "nobody", "--dir", folder);
  expect(unknown.exit).toBe(2);
});
