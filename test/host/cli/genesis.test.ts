import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { afterAll, beforeAll, expect, test } from "vitest";

import { readFooting } from "../../../host/run/files.ts";
import { plainJson } from "../../../host/http/index.ts";
import { GENESIS, hex, type Genesis } from "../../../protocol/index.ts";
import { createNetwork } from "../../helpers/network.ts";
import { symphony } from "../../helpers/spoken.ts";

const folder = mkdtempSync(join(tmpdir(), "symphony-genesis-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

let genesis: Genesis;

beforeAll(async () => {
  const simulated = (await createNetwork()).genesis;
  const { policy } = simulated;
  const attestation = { ...policy.attestation, platforms: ["aws-nitro" as const] };
  genesis = { ...simulated, simulated: false, policy: { ...policy, attestation } };
});

function written(change: object = {}): string {
  const file = join(folder, "genesis.json");
  writeFileSync(file, JSON.stringify({ ...Object(plainJson(genesis)), ...change }));
  return file;
}

test("the founding files are those that every node reads, and their digest is told", async () => {
  const out = join(folder, "network");
  const { exit, out: said } = await symphony("governance", "genesis", written(), "--out", out);
  expect([exit, said]).toEqual([0, expect.stringContaining(hex(GENESIS.digest(genesis)))]);
  const files = { genesis_file: join(out, "genesis.cbor"), trust_file: join(out, "trust.json") };
  const { genesisBytes, trust } = await readFooting(files);
  expect(genesisBytes).toEqual(GENESIS.encode(genesis));
  expect([trust.simulated, trust.anchors.map(({ platform }) => platform)]).toEqual([
    false,
    ["aws-nitro"],
  ]);

  const before = readFileSync(files.genesis_file);
  const again = await symphony("governance", "genesis", written(), "--out", out);
  expect([again.exit, again.err]).toEqual([2, expect.stringContaining("genesis.cbor")]);
  expect(readFileSync(files.genesis_file)).toEqual(before);
});

test.for<readonly [string, (genesis: Genesis) => object, string]>([
  ["a simulated network", () => ({ simulated: true }), "simulated: expected false, got true"],
  [
    "the simulator's platform",
    ({ policy }) => ({
      policy: {
        ...policy,
        attestation: { ...policy.attestation, platforms: ["aws-nitro", "sim"] },
      },
    }),
    "policy.attestation.platforms: expected aws-nitro alone, got sim",
  ],
  ["a key of another length", () => ({ governance_keys: ["abcd"] }), "governance_keys.0"],
  ["nobody who decides", () => ({ governance_keys: [] }), "governance_keys"],
  ["a field too many", () => ({ note: "x" }), "note"],
])("[RT-3] refuses %s, and writes nothing", async ([, change, says]) => {
  const out = join(folder, "refused");
  const file = written(Object(plainJson(change(genesis))));
  const { exit, err } = await symphony("governance", "genesis", file, "--out", out);
  expect([exit, err]).toEqual([1, expect.stringContaining(says)]);
  expect(existsSync(out)).toBe(false);
});

test.for([
  [["governance", "genesis"]],
  [["governance", "genesis", "a"]],
  [["governance", "genesis", "a", "b", "--out", "c"]],
])("%s is called wrongly", async ([words = []]) => {
  const { exit, err } = await symphony(...words);
  expect([exit, err]).toEqual([2, expect.stringContaining("one FILE and --out FOLDER")]);
});
