import { afterAll, expect, test } from "vitest";

import { contentOf } from "../../image/archive/content.ts";
import { cpioOf, type Tree } from "../../image/archive/cpio.ts";
import { runImage } from "../../image/cli/command.ts";
import { reportError } from "../../cli/index.ts";
import { measureImage, readImage, readSection } from "../../image/eif/reader.ts";
import { utf8 } from "../../protocol/index.ts";
import { simulatedPolicy } from "../../sim/network/policy.ts";
import { SECTIONS, writeEif } from "../attestation/eif-file.ts";
import { INIT_TREE, ROOT_TREE, createImageFolder, createSigner, treeOf } from "./rig.ts";

const folder = createImageFolder();
afterAll(() => folder.remove());

const NOW = Date.UTC(2026, 5, 1);

async function image(...words: string[]) {
  const ran = { stdout: "", stderr: "" };
  const io = {
    stdout: (text: string): void => void (ran.stdout += text),
    stderr: (text: string): void => void (ran.stderr += text),
    nowMs: () => NOW,
    repositoryRoot: folder.path,
    home: folder.path,
  };
  const exit = await runImage(words, io).catch((error: unknown) =>
    reportError(error, io, words.includes("--json")),
  );
  return { exit, ...ran };
}

const plain = await folder.image("plain.eif");
const signer = createSigner();
const signed = await folder.image("signed.eif", { signer });
const { pcr0, pcr1, pcr2 } = await measureImage(plain);

test("[RT-1] measure prints the registers", async () => {
  const { exit, stdout } = await image("measure", plain);
  expect(exit).toBe(0);
  expect(stdout).toBe(`PCR0  ${pcr0}\nPCR1  ${pcr1}\nPCR2  ${pcr2}\n`);
  const json = JSON.parse((await image("measure", signed, "--json")).stdout);
  expect(json).toMatchObject({ pcr0, pcr1, pcr2, is_signed: true, architecture: "x86_64" });
  expect(json.pcr8_unverified).toMatch(/^[0-9a-f]{96}$/);
});

test("inspect lists command line, metadata, sections and files", async () => {
  const { exit, stdout } = await image("inspect", plain, "--files");
  expect(exit).toBe(0);
  expect(stdout).toContain(`command line  "console=ttyS0"`);
  expect(stdout).toContain("ramdisk 1     5 entries");
  expect(stdout).toMatch(/file {3}644 {10}9 [0-9a-f]{64} rootfs\/enclave\/main.ts/);
  const json = JSON.parse((await image("inspect", plain, "--json")).stdout);
  expect(json).toMatchObject({ cmdline: "console=ttyS0", metadata: `{"ImageName":"small"}` });
  expect(json.ramdisks[0]).toEqual([expect.objectContaining({ path: "init", kind: "file" })]);
});

test("inspect shows what a file says of itself without its control characters", async () => {
  const hostile = await folder.image("hostile.eif", { metadata: utf8("\u001b[2J\n") });
  expect((await image("inspect", hostile)).stdout).toContain(`metadata      "\\u001b[2J\\n"`);
});

const other: Tree = new Map([
  ...treeOf({ "rootfs/bin/node": "a newer node", "rootfs/enclave/more.ts": "" }),
  ["rootfs/enclave", { kind: "folder", mode: 0o700 }],
]);

test.for([
  {
    title: "the kernel",
    changes: { kernel: contentOf(utf8("another")) },
    says: ["~ kernel  content  (PCR0 PCR1)"],
  },
  {
    title: "the command line",
    changes: { cmdline: "quiet" },
    says: ["~ cmdline  content  (PCR0 PCR1)"],
  },
  {
    title: "the first program",
    changes: { ramdisks: [cpioOf(treeOf({ init: "another" })), cpioOf(ROOT_TREE)] as const },
    says: ["~ ramdisk 0  init  content  (PCR0 PCR1)"],
  },
  {
    title: "files of the application",
    changes: { ramdisks: [cpioOf(INIT_TREE), cpioOf(other)] as const },
    says: [
      "~ ramdisk 1  rootfs/bin/node  content  (PCR0 PCR2)",
      "~ ramdisk 1  rootfs/enclave  mode  (PCR0 PCR2)",
      "- ramdisk 1  rootfs/enclave/main.ts  (PCR0 PCR2)",
      "+ ramdisk 1  rootfs/enclave/more.ts  (PCR0 PCR2)",
    ],
  },
  {
    title: "a ramdisk less",
    changes: { ramdisks: [cpioOf(INIT_TREE)] as const },
    says: ["- ramdisk 1  (PCR0 PCR2)"],
  },
  {
    title: "a packed ramdisk",
    changes: { ramdisks: [cpioOf(INIT_TREE), contentOf(utf8("\u001f12345678901"))] as const },
    says: ["~ ramdisk 1  content  (PCR0 PCR2)"],
  },
  { title: "a signature", changes: { signer }, says: ["+ signature  (PCR8)"] },
  {
    title: "the metadata",
    changes: { metadata: utf8("{}") },
    says: ["~ metadata  content  (in no register)"],
  },
])("[RT-1] diff names $title", async ({ changes, says }) => {
  const { exit, stdout } = await image("diff", plain, await folder.image("other.eif", changes));
  expect(exit).toBe(1);
  expect(stdout.trimEnd().split("\n").slice(0, -1)).toEqual(says);
});

test("diff of equal images finds nothing, and says which registers differ otherwise", async () => {
  const again = await folder.image("again.eif");
  expect(await image("diff", plain, again)).toMatchObject({ exit: 0, stdout: "nothing differs\n" });
  const quiet = await folder.image("quiet.eif", { cmdline: "quiet" });
  const { stdout } = await image("diff", plain, quiet, "--json");
  expect(JSON.parse(stdout)).toMatchObject({ registers: ["pcr0", "pcr1"] });
});

/** A policy version that accepts `plain`, or what `value` makes of that. */
function policyFile(value: object = {}): string {
  const policy = simulatedPolicy({ pcr0, pcr1, pcr2 }, NOW);
  const [reference] = policy.attestation.reference_values;
  const changed = { ...policy.attestation, reference_values: [{ ...reference, ...value }] };
  return folder.write("policy.json", JSON.stringify({ ...policy, attestation: changed }));
}

test.for([
  { title: "accepts the image that it names", value: {}, verdict: "accepted", exit: 0 },
  { title: "does not know another PCR0", value: { pcr0: pcr1 }, verdict: "unknown", exit: 1 },
  { title: "does not know another PCR1", value: { pcr1: pcr0 }, verdict: "unknown", exit: 1 },
  { title: "does not know another PCR2", value: { pcr2: pcr0 }, verdict: "unknown", exit: 1 },
  { title: "does not hold yet", value: { valid_from_ms: NOW + 1 }, verdict: "not_yet", exit: 1 },
  { title: "holds no longer", value: { valid_until_ms: NOW }, verdict: "expired", exit: 1 },
])("[RT-1] a policy $title", async ({ value, verdict, exit }) => {
  const ran = await image("verify", plain, "--policy", policyFile(value), "--json");
  expect(ran.exit).toBe(exit);
  expect(JSON.parse(ran.stdout)).toMatchObject({ verdict, pcr0, pcr8: null });
});

test("verify judges at the time it is given, and shows a signer only after verifying", async () => {
  const policy = policyFile({ valid_until_ms: NOW + 1 });
  const late = await image("verify", plain, "--policy", policy, "--at", "2030-01-01");
  expect(late).toMatchObject({ exit: 1, stdout: expect.stringContaining("holds no longer") });
  const { exit, stdout } = await image("verify", signed, "--policy", policy);
  expect(exit).toBe(0);
  expect(stdout).toMatch(/PCR8 {2}[0-9a-f]{96} {2}\(signature verified\)/);
});

test("verify refuses an image whose signature is over another image", async () => {
  const one = await readImage(signed);
  const section = (await readSection(one, "signature", 32_768)) ?? utf8("");
  const sections = [...SECTIONS, { type: 4, data: section }];
  const forged = folder.write("forged.eif", writeEif({ sections }));
  const ran = await image("verify", forged, "--policy", policyFile());
  expect(ran).toMatchObject({ exit: 1, stdout: "" });
  expect(ran.stderr).toContain("TEE_SIGNATURE_INVALID");
});

test.for([
  { title: "nothing", words: [], exit: 2, says: "symphony image COMMAND" },
  { title: "another word", words: ["sign"], exit: 2, says: "expected one of" },
  { title: "no file", words: ["measure"], exit: 2, says: "expected FILE" },
  { title: "one file to compare", words: ["diff", plain], exit: 2, says: "expected A and B" },
  { title: "no policy", words: ["verify", plain], exit: 2, says: "--policy: expected a file" },
  { title: "a file that is not there", words: ["measure", "/nowhere"], exit: 2, says: "ENOENT" },
  { title: "a folder", words: ["measure", folder.path], exit: 1, says: "got a folder" },
  { title: "an unknown option", words: ["measure", plain, "--fast"], exit: 2, says: "--fast" },
  {
    title: "a time that is none",
    words: ["verify", plain, "--policy", plain, "--at", "soon"],
    exit: 2,
    says: "--at: expected a time",
  },
  {
    title: "a policy that is no JSON",
    words: ["verify", plain, "--policy", plain],
    exit: 1,
    says: "SCHEMA_JSON_MALFORMED",
  },
  {
    title: "a policy of another shape",
    words: ["verify", plain, "--policy", folder.write("empty.json", "{}")],
    exit: 1,
    says: "SCHEMA_CONFIG_MALFORMED",
  },
  {
    title: "a policy of 5 MiB",
    words: ["verify", plain, "--policy", folder.write("large.json", " ".repeat(5 << 20))],
    exit: 1,
    says: "SCHEMA_TOO_LARGE",
  },
])("exits $exit for $title", async ({ words, exit, says }) => {
  const ran = await image(...words);
  expect([ran.exit, ran.stdout]).toEqual([exit, ""]);
  expect(ran.stderr).toContain(says);
});

test("an error is one JSON object with --json; --help is for every command", async () => {
  const bad = await image("measure", folder.write("bad.eif", "no image"), "--json");
  expect(JSON.parse(bad.stderr)).toMatchObject({ error: "TEE_IMAGE_MALFORMED" });
  for (const name of ["measure", "inspect", "diff", "verify"]) {
    const { exit, stdout } = await image(name, "--help");
    expect(exit).toBe(0);
    expect(stdout).toMatch(new RegExp(`^symphony image ${name} .*\n\n[^]*Exits 0`));
  }
});
