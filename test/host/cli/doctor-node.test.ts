import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { afterAll, beforeAll, expect, test } from "vitest";
import { z } from "zod";

import { AWS_NITRO_ROOT_G1, type NitroMeasurement } from "../../../attestation/index.ts";
import { formatTrust } from "../../../host/evidence/trust.ts";
import { measureSimImage } from "../../../sim/measure.ts";
import { createInsecureSimPlatform } from "../../../sim/platform.ts";
import { canBuildGate, startImageGate, type ImageGate } from "../../helpers/gate.ts";
import { createNetwork, type TestNetwork } from "../../helpers/network.ts";
import { symphony } from "../../helpers/spoken.ts";

const ROOT = join(import.meta.dirname, "../../..");
const OTHER = "ab".repeat(48);

const findingsSchema = z.object({
  ok: z.boolean(),
  findings: z.array(
    z.object({ role: z.string(), check: z.string(), state: z.string(), detail: z.string() }),
  ),
});

let folder = "";
let gate: ImageGate;
let measurement: NitroMeasurement;
let named: TestNetwork;

beforeAll(async () => {
  if (!canBuildGate) return;
  folder = mkdtempSync(join(tmpdir(), "symphony-doctor-node-"));
  const platform = createInsecureSimPlatform(join(folder, "platform"));
  measurement = measureSimImage(ROOT, platform.anchor);
  gate = await startImageGate({ directory: folder, platform, measurement });
  named = await createNetwork({ measurement });
  writeNetwork("named", named, platform.anchor);
  writeNetwork("hardware", named, AWS_NITRO_ROOT_G1);
  writeNetwork("other", await createNetwork(), platform.anchor);
});

afterAll(() => {
  if (!canBuildGate) return;
  gate.stop();
  rmSync(folder, { recursive: true, force: true });
});

function writeNetwork(
  name: string,
  network: TestNetwork,
  anchor: Parameters<typeof formatTrust>[0]["anchors"][number],
): void {
  const { genesis, genesisDigest } = network;
  const trust = formatTrust({ network: genesis.network, genesisDigest, anchors: [anchor] });
  writeFileSync(join(folder, `${name}-genesis.cbor`), network.genesisBytes);
  writeFileSync(join(folder, `${name}-trust.json`), trust);
}

function configOf(name: string, socket: string = gate.socket): string {
  const file = join(folder, `${name}.json`);
  const config = {
    ...{ role: "aggregator", actor_id: "aggregator-1", directory: "." },
    ...{ signing_seed_file: "none", coordinator_url: "http://x", enclave: { socket } },
    ...{ genesis_file: `${name}-genesis.cbor`, trust_file: `${name}-trust.json` },
  };
  writeFileSync(file, JSON.stringify(config));
  return file;
}

/** What the doctor says of the node of a configuration, by check. */
async function findings(...words: string[]) {
  const { exit, out, err } = await symphony("doctor", "--json", "--node", ...words);
  const { ok, findings: all } = findingsSchema.parse(JSON.parse(out || err));
  expect(exit).toBe(ok ? 0 : 1);
  const of = all.filter(({ role }) => role === "node");
  return Object.fromEntries(of.map(({ check, state, detail }) => [check, { state, detail }]));
}

/** A file as nitro-cli prints it. */
function imageFile(change: Partial<NitroMeasurement>): string {
  const { pcr0: PCR0, pcr1: PCR1, pcr2: PCR2 } = { ...measurement, ...change };
  const file = join(folder, "image.json");
  const Measurements = { HashAlgorithm: "Sha384 { ... }", PCR0, PCR1, PCR2 };
  writeFileSync(file, JSON.stringify({ Measurements }));
  return file;
}

test.skipIf(!canBuildGate)(
  "[RT-2] the doctor has an enclave attest itself through the gate, and tells of its image",
  async () => {
    expect(await findings(configOf("named"))).toEqual({
      enclave: { state: "ok", detail: `answers at ${gate.socket}` },
      evidence: { state: "ok", detail: expect.stringMatching(/^sim, i-/) },
      image: { state: "ok", detail: expect.stringContaining(measurement.pcr0) },
    });
    expect(await findings(configOf("named"), "--image", imageFile({}))).toMatchObject({
      image: { state: "ok" },
    });
  },
);

test.skipIf(!canBuildGate)("[RT-2] it tells another image from the one that must run", async () => {
  expect(await findings(configOf("other"))).toMatchObject({ image: { state: "warning" } });
  const image = imageFile({ pcr2: OTHER });
  expect(await findings(configOf("named"), "--image", image)).toMatchObject({
    evidence: { state: "ok" },
    image: {
      state: "missing",
      detail: `pcr2: expected ${OTHER}, got ${measurement.pcr2}`,
    },
  });
});

test.skipIf(!canBuildGate)(
  "[RT-2] hardware that the trust file does not name is none",
  async () => {
    expect(await findings(configOf("hardware"))).toEqual({
      enclave: { state: "missing", detail: expect.stringContaining("TEE_CHAIN_UNTRUSTED") },
    });
  },
);

test.skipIf(!canBuildGate)("an enclave that does not answer is missing", async () => {
  expect(await findings(configOf("named", "none.sock"))).toEqual({
    enclave: { state: "missing", detail: expect.stringContaining(join(folder, "none.sock")) },
  });
});

test("--image goes with --node", async () => {
  const { exit, err } = await symphony("doctor", "--image", "x.eif");
  expect([exit, err.includes("--node")]).toEqual([2, true]);
});
