import * as fs from "node:fs";
import os from "node:os";
import path from "node:path";

import { afterAll, expect, test } from "vitest";

import { thisMachine, type Machine } from "../../../host/cli/doctor/machine.ts";
import { runDoctor } from "../../../host/cli/doctor/command.ts";
import { spoken } from "../../helpers/spoken.ts";
import { runSymphony } from "../../helpers/symphony-process.ts";

const folder = fs.mkdtempSync(path.join(os.tmpdir(), "symphony-doctor-"));
afterAll(() => fs.rmSync(folder, { recursive: true, force: true }));

const ALLOCATOR = "etc/nitro_enclaves/allocator.yaml";
const PAGES = "sys/kernel/mm/hugepages";
const NOW = Date.UTC(2026, 5, 1);

/** Files of a machine that has everything. */
const EVERYTHING: Readonly<Record<string, string>> = {
  "dev/nitro_enclaves": "",
  "dev/vsock": "",
  "dev/nsm": "",
  "dev/sev-guest": "",
  "dev/tdx_guest": "",
  "bin/nitro-cli": "",
  "bin/socat": "",
  "proc/meminfo": "MemTotal:       16000000 kB\n",
  [ALLOCATOR]: "---\n# memory\nmemory_mib: 2048\ncpu_count: 2\n",
  [`${PAGES}/hugepages-2048kB/nr_hugepages`]: "512\n",
  [`${PAGES}/hugepages-1048576kB/nr_hugepages`]: "1\n",
};

let count = 0;

function machineOf(
  changes: Readonly<Record<string, string | null>> = {},
  probes: Partial<Machine> = {},
): Machine {
  const root = path.join(folder, `${(count += 1)}`);
  for (const [name, text] of Object.entries({ ...EVERYTHING, ...changes })) {
    if (text === null) continue;
    fs.mkdirSync(path.dirname(path.join(root, name)), { recursive: true });
    fs.writeFileSync(path.join(root, name), text, { mode: 0o755 });
  }
  const machine = thisMachine(root);
  return {
    ...machine,
    program: (name) => (fs.existsSync(path.join(root, "bin", name)) ? `/bin/${name}` : null),
    succeeds: () => true,
    env: { AWS_REGION: "eu-central-1", AWS_PROFILE: "enclaves" },
    nowMs: NOW,
    installedMs: NOW,
    diskFreeBytes: 1e12,
    nodeVersion: "24.21.0",
    sqliteVersion: "3.50.0",
    ...probes,
  };
}

async function doctor(machine: Machine, ...words: string[]) {
  const { exit, out: stdout, err: stderr } = await spoken((io) => runDoctor(words, io, machine));
  return { exit, stdout, stderr };
}

test("a machine that has everything is ready for every role", async () => {
  const { exit, stdout } = await doctor(machineOf(), "--json");
  const { ok, roles, findings } = JSON.parse(stdout);
  expect([exit, ok]).toEqual([0, true]);
  expect(roles).toHaveLength(6);
  expect(roles.every(({ ready }: { ready: boolean }) => ready)).toBe(true);
  expect(findings.filter(({ state }: { state: string }) => state !== "ok")).toEqual([]);
});

test("a machine that has nothing says so for each role, with what to do", async () => {
  const nothing = Object.fromEntries(Object.keys(EVERYTHING).map((name) => [name, null]));
  const machine = machineOf(nothing, { succeeds: () => null, env: {} });
  const { exit, stdout } = await doctor(machine);
  expect(exit).toBe(0);
  for (const words of [
    "/dev/nitro_enclaves is absent",
    "--enclave-options Enabled=true",
    "no /etc/nitro_enclaves/allocator.yaml",
    "0 MiB reserved",
    "/dev/nsm is absent",
    "/dev/sev-guest is absent",
    "/dev/tdx_guest is absent",
    "neither AWS_REGION nor an endpoint",
    "--insecure-no-isolation",
  ]) {
    expect(stdout).toContain(words);
  }
  const marked = stdout.split("\n").filter((line) => /^ {2}[✗!]/.test(line));
  expect(stdout.match(/remedy: /g)).toHaveLength(marked.length);
});

interface Case {
  readonly title: string;
  readonly files?: Readonly<Record<string, string | null>>;
  readonly probes?: Partial<Machine>;
  readonly says: string;
  readonly exit: number;
}

test.for<Case>([
  { title: "no driver", files: { "dev/nitro_enclaves": null }, says: "modprobe", exit: 1 },
  {
    title: "a driver this user may not use",
    probes: { access: (file) => (file === "/dev/nitro_enclaves" ? "denied" : "ok") },
    says: "usermod -aG ne",
    exit: 1,
  },
  { title: "no nitro-cli", files: { "bin/nitro-cli": null }, says: "nitro-cli: not on", exit: 1 },
  {
    title: "too little memory for an enclave",
    files: { [ALLOCATOR]: "memory_mib: 512\ncpu_count: 2\n" },
    says: "512 MiB and 2 CPUs",
    exit: 1,
  },
  {
    title: "one CPU for an enclave",
    files: { [ALLOCATOR]: "memory_mib: 2048\ncpu_count: 1\n" },
    says: "2048 MiB and 1 CPUs",
    exit: 1,
  },
  {
    title: "a pool of CPUs",
    files: { [ALLOCATOR]: "memory_mib: 2048\ncpu_pool: 2,10\n" },
    says: "a pool of CPUs",
    exit: 0,
  },
  {
    title: "settings that are comments",
    files: { [ALLOCATOR]: "# memory_mib: 4096\n#cpu_count: 4\n" },
    says: "no MiB and no CPUs",
    exit: 1,
  },
  {
    title: "an allocator that is not started",
    files: {
      [`${PAGES}/hugepages-2048kB/nr_hugepages`]: "0\n",
      [`${PAGES}/hugepages-1048576kB/nr_hugepages`]: "0\n",
    },
    says: "0 MiB reserved of 2048 MiB",
    exit: 1,
  },
  { title: "no socat", files: { "bin/socat": null }, says: "✗ socat: not on PATH", exit: 1 },
  { title: "no region", probes: { env: { AWS_PROFILE: "x" } }, says: "! key service", exit: 0 },
  { title: "an old Node", probes: { nodeVersion: "20.1.0" }, says: "✗ Node: running 20", exit: 1 },
  { title: "no SQLite", probes: { sqliteVersion: null }, says: "✗ SQLite", exit: 1 },
  {
    title: "a clock before the installation",
    probes: { nowMs: Date.UTC(1970, 0, 1) },
    says: "✗ clock: 1970-01-01T00:00:00.000Z, but this program was installed at 2026-06-01",
    exit: 1,
  },
  { title: "a clock far ahead", probes: { nowMs: Date.UTC(2090, 0, 1) }, says: "chrony", exit: 1 },
  { title: "a full disk", probes: { diskFreeBytes: 5 }, says: "! disk: 0.0 GiB", exit: 0 },
  { title: "no memory", files: { "proc/meminfo": "MemTotal: 9 kB" }, says: "! memory", exit: 0 },
])("a Nitro parent with $title", async ({ files = {}, probes = {}, says, exit }) => {
  const ran = await doctor(machineOf(files, probes), "--role", "nitro-parent");
  expect(ran.stdout).toContain(says);
  expect(ran.exit).toBe(exit);
});

test.for(["inside-enclave", "snp-guest", "tdx-guest", "simulator"])(
  "--role %s looks at that and what every part needs",
  async (role) => {
    const { exit, stdout } = await doctor(machineOf(), "--role", role, "--json");
    expect(exit).toBe(0);
    const { roles } = JSON.parse(stdout);
    expect(roles.map((each: { role: string }) => each.role)).toEqual(["any", role]);
  },
);

test("says which ways to credentials there are, and no secret of any", async () => {
  const env = {
    AWS_ACCESS_KEY_ID: "AKIDEXAMPLE",
    AWS_SECRET_ACCESS_KEY: "a-very-secret-key",
    AWS_SESSION_TOKEN: "a-session-token",
    AWS_ENDPOINT_URL_KMS: "https://user:password@kms.example",
    HOME: "/home/operator",
  };
  const machine = machineOf({ "home/operator/.aws/credentials": "aws_secret = hidden" }, { env });
  for (const words of [[], ["--json"]]) {
    const { stdout } = await doctor(machine, ...words);
    expect(stdout).toContain("from environment, file; not tried here");
    expect(stdout).not.toMatch(/AKID|very-secret|session-token|password|hidden|https:/);
  }
});

test("another role is a usage error", async () => {
  const { exit, stderr } = await doctor(machineOf(), "--role", "any");
  expect(exit).toBe(2);
  expect(stderr).toContain("--role: expected one of simulator, nitro-parent");
});

test("runs as a process on whatever machine this is", async () => {
  const { code, stdout } = await runSymphony(["doctor", "--json"], { cwd: folder });
  expect(code).toBe(0);
  expect(JSON.parse(stdout)).toMatchObject({ ok: true, roles: expect.any(Array) });
});
