import { spawnSync } from "node:child_process";
import * as fs from "node:fs";
import os from "node:os";
import path from "node:path";

import { afterAll, expect, test } from "vitest";
import { z } from "zod";

import { lintKeyPolicy } from "../../host/key-policy/index.ts";
import { vaultConfigSchema } from "../../host/run/config.ts";
import { NODE_ROLES } from "../../host/run/node.ts";

const ROOT = path.resolve(import.meta.dirname, "../..");
const read = (name: string): string => fs.readFileSync(path.join(ROOT, name), "utf8");
const GUIDE = read("docs/deploy-ec2.md");
const FILES = fs.readdirSync(path.join(ROOT, "deploy"));
const UNITS = FILES.filter((name) => name.endsWith(".service"));
/** Where the guide has the checkout put. */
const INSTALLED = "/opt/symphony/";

const folder = fs.mkdtempSync(path.join(os.tmpdir(), "symphony-deploy-"));
afterAll(() => fs.rmSync(folder, { recursive: true, force: true }));

/** The values of a setting in a unit. */
function settings(unit: string, name: string): readonly string[] {
  const lines = read(`deploy/${unit}`).matchAll(new RegExp(`^${name}=(.*)$`, "gm"));
  return [...lines].map(([, value = ""]) => value);
}

const enclaveSchema = z.strictObject({
  enclave_name: z.string(),
  eif_path: z.string(),
  cpu_count: z.number(),
  memory_mib: z.number(),
  enclave_cid: z.number(),
  debug_mode: z.literal(false),
});
const ENCLAVE = enclaveSchema.parse(JSON.parse(read("deploy/enclave.json")));
const CONFIG = vaultConfigSchema.parse(
  JSON.parse(/^```json\n([^]*?)^```$/m.exec(GUIDE)?.[1] ?? ""),
);

test("the guide names every file that is to be put in place", () => {
  for (const name of FILES.filter((each) => !each.endsWith(".sh"))) {
    expect(GUIDE, name).toContain(name);
  }
});

test.for(UNITS)("%s starts what is there, and gives it no more than it needs", (unit) => {
  const words = settings(unit, "ExecStart").flatMap((line) => line.split(" "));
  for (const word of words.filter((each) => each.startsWith(INSTALLED))) {
    expect(fs.existsSync(path.join(ROOT, word.slice(INSTALLED.length))), word).toBe(true);
  }
  expect(words[0]).toMatch(/^\/(?:opt\/symphony\/(?:deploy|node_modules\/\.bin)|usr\/bin)\//);
  expect(settings(unit, "User")).toEqual([expect.stringMatching(/^symphony/)]);
  for (const [name, value] of Object.entries({
    NoNewPrivileges: "yes",
    CapabilityBoundingSet: "",
    ProtectSystem: "strict",
    ProtectHome: "yes",
    LimitCORE: "0",
  })) {
    expect(settings(unit, name), name).toEqual([value]);
  }
});

test("a node's unit runs the command of its role, with the configuration that the guide has", () => {
  for (const role of NODE_ROLES) {
    const [start = ""] = settings(`symphony-${role}.service`, "ExecStart");
    const command = `${role} run /etc/symphony/${role}.json`;
    expect(start.endsWith(` /opt/symphony/host/main.ts ${command}`), role).toBe(true);
    expect(GUIDE).toContain(`    symphony ${command}\n`);
  }
});

test("a node that listens may do so on all addresses", () => {
  for (const role of ["coordinator", "vault"]) {
    const [families = ""] = settings(`symphony-${role}.service`, "RestrictAddressFamilies");
    // Fastify asks for the machine's addresses then, and the process ends where it may not.
    expect(families.split(" ").toSorted(), role).toEqual([
      ...["AF_INET", "AF_INET6", "AF_NETLINK", "AF_UNIX"],
    ]);
  }
});

test("the socket's unit carries the gate's port of the enclave to where the node looks, for the node's user alone", () => {
  const unit = "symphony-enclave-socket.service";
  const [start = ""] = settings(unit, "ExecStart");
  const socket = /UNIX-LISTEN:([^,]+),(\S+) VSOCK-CONNECT:(\d+):(\d+)$/.exec(start);
  const [, place, options = "", cid, port] = socket ?? [];
  expect(place).toBe(CONFIG.enclave?.socket);
  expect(options.split(",")).toContain("mode=0600");
  expect(Number(cid)).toBe(ENCLAVE.enclave_cid);
  expect(port).toBe(/^#define PORT (\d+)$/m.exec(read("image/gate/gate.c"))?.[1]);
  const [runtime] = settings(unit, "RuntimeDirectory");
  expect(path.dirname(place ?? "")).toBe(`/run/${runtime}`);
  expect(settings(unit, "RuntimeDirectoryMode")).toEqual(["0700"]);
  expect(settings(unit, "User")).toEqual(settings("symphony-vault.service", "User"));
});

test("the enclave is started in production mode, within what the allocator sets aside", () => {
  const allocated = (name: string): number =>
    Number(new RegExp(`^${name}: (\\d+)$`, "m").exec(read("deploy/allocator.yaml"))?.[1]);
  expect(ENCLAVE.memory_mib).toBeLessThanOrEqual(allocated("memory_mib"));
  expect(ENCLAVE.cpu_count).toBeLessThanOrEqual(allocated("cpu_count"));
  // Its user may not enter the folder that has the node's keys.
  const [start = ""] = settings("symphony-enclave.service", "ExecStart");
  const [, place = ""] = start.split(" ");
  expect(GUIDE).toMatch(new RegExp(`^\\| \`enclave.json\` +\\| \`${place}\` +\\|$`, "m"));
  expect(place.startsWith("/etc/symphony/")).toBe(false);
  expect(read("deploy/run-enclave.sh")).not.toContain("debug");
  expect(read("deploy/run-enclave.sh")).toContain(`"EnclaveName": "${ENCLAVE.enclave_name}"`);
  expect(settings("symphony-enclave.service", "ExecStopPost").join()).toContain(
    `--enclave-name ${ENCLAVE.enclave_name}`,
  );
});

test("[RT-5] the key policy lets nobody decrypt but attested enclaves, as the guide says", () => {
  const policy = read("deploy/key-policy.json");
  expect(lintKeyPolicy(policy).verdict).toBe("attested-only");
  const administered = policy.replace('"kms:GetKeyPolicy"', '"kms:PutKeyPolicy"');
  expect(lintKeyPolicy(administered).verdict).toBe("changeable");
});

const verify = spawnSync("systemd-analyze", ["--version"]).status === 0;

test.skipIf(!verify)("systemd takes every unit", () => {
  const units = UNITS.map((unit) => path.join(ROOT, "deploy", unit));
  const { stderr } = spawnSync("systemd-analyze", ["verify", ...units], { encoding: "utf8" });
  const said = stderr
    .split("\n")
    .filter((line) => line.startsWith("symphony") || line.includes("/deploy/"));
  // Neither the programs nor the allocator's unit are on this machine.
  const absent = /is not executable: No such file|Unit nitro-enclaves-allocator.service not found/;
  expect(said.filter((line) => !absent.test(line))).toEqual([]);
});

/** Puts programs in place of nitro-cli and sleep, and runs the script; what nitro-cli was asked for, in order. */
function runEnclave(described: readonly string[]): {
  readonly status: number | null;
  asked: string[];
} {
  const bin = fs.mkdtempSync(path.join(folder, "bin-"));
  const program = (name: string, text: string): void =>
    fs.writeFileSync(path.join(bin, name), `#!/usr/bin/env bash\n${text}\n`, { mode: 0o755 });
  described.forEach((text, at) => fs.writeFileSync(path.join(bin, `answer-${at + 1}`), text));
  program("sleep", "exit 0");
  program(
    "nitro-cli",
    `echo "$1" >> "${bin}/asked"; [ "$1" = describe-enclaves ] || exit 0
     cat "${bin}/answer-$(grep -c describe "${bin}/asked")"`,
  );
  const script = path.join(ROOT, "deploy/run-enclave.sh");
  const env = { PATH: `${bin}:${process.env["PATH"]}` };
  const { status } = spawnSync(script, ["enclave.json"], { env });
  return { status, asked: fs.readFileSync(path.join(bin, "asked"), "utf8").trim().split("\n") };
}

test("the enclave's unit stays as long as the enclave runs, through an answer that fails, and ends with it", () => {
  const runs = '[\n  {\n    "EnclaveName": "symphony",\n    "State": "RUNNING"\n  }\n]\n';
  const { status, asked } = runEnclave([runs, "[]\n", "", runs, "[]\n", "[]\n", "[]\n"]);
  expect(status).toBe(1);
  expect(asked).toEqual(["run-enclave", ...Array<string>(7).fill("describe-enclaves")]);
});

test("an answer longer than a pipe holds is read to its end", () => {
  const runs = `"EnclaveName": "symphony"\n${" ".repeat(200_000)}`;
  const { asked } = runEnclave([runs, "", "", runs, "", "", ""]);
  expect(asked).toHaveLength(8);
});
