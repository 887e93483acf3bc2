import path from "node:path";

import { afterAll, expect, test } from "vitest";

import { hex } from "../../../../protocol/index.ts";
import { isAvailable, policyOf } from "../../../vectors/attestation/evaluate.ts";
import { loadBases, readReference } from "../../../vectors/attestation/load.ts";
import { attest, createAttestFolder, policyText } from "./rig.ts";

const folder = createAttestFolder();
afterAll(() => folder.remove());

const BASES = loadBases();
/** Evidence that its policy judges at the time that its certificates are judged at, as the command does. */
const NAMES = [...BASES].flatMap(([name, base]) => {
  if (!/^(nitro|snp|tdx)-/.test(name) || base.at === null) return [];
  const timeMs = base.at.mode === "live" ? base.at.nowMs : base.at.recordedMs;
  const { judgedAtMs } = policyOf(base, { policy: {} });
  return timeMs === undefined || timeMs === judgedAtMs ? [name] : [];
});

/** The words that verify a stored base, its parts written to files as they travel. */
function wordsOf(name: string, changes: Readonly<Record<string, string | null>> = {}) {
  const base = BASES.get(name);
  if (base === undefined || base.at === null) throw new Error(`${name}: expected a base`);
  const { parts, anchors, at } = base;
  const written = (part: string): string =>
    folder.write(part.replaceAll("/", "-"), readReference(parts[part] ?? ""));
  const under = (prefix: string): string[] =>
    Object.keys(parts).filter((part) => part.startsWith(prefix));
  const bound = (part: string): string | null => {
    const reference = parts[`binding/${part}`];
    return reference === undefined ? null : hex(readReference(reference));
  };
  const binding = {
    nonce: bound("nonce"),
    userData: bound("userData"),
    publicKey: bound("publicKey"),
    ...changes,
  };
  const isBound = under("binding/").length > 0;
  const nowMs = at.mode === "live" ? at.nowMs : at.recordedMs;
  const options = [
    ...under("endorsements/").flatMap((part) => ["--endorsements", written(part)]),
    ...collateralOf(parts, written),
    ...(isBound ? ["--binding", folder.write("binding.json", JSON.stringify(binding))] : []),
    ...anchors.flatMap(({ certificate }, index) => [
      "--anchor",
      folder.write(`anchor-${index}`, readReference(certificate)),
    ]),
  ];
  const policy = folder.write("policy.json", policyText(policyOf(base, { policy: {} })));
  const time = nowMs === undefined ? "signed" : new Date(nowMs).toISOString();
  return {
    first: ["verify", written("document"), ...options, "--policy", policy, "--at", time],
    again: ["--policy", policy, ...options.slice(options.indexOf("--anchor"))],
  };
}

/** Statements as they are; the chain as one PEM file, the signer first, as Intel's service sends it. */
function collateralOf(
  parts: Readonly<Record<string, string>>,
  written: (part: string) => string,
): string[] {
  const files = ["tcbInfo", "qeIdentity", "pckCrl", "rootCrl"]
    .map((name) => `collateral/${name}`)
    .filter((part) => part in parts);
  const chain = Object.entries(parts)
    .filter(([part]) => part.startsWith("collateral/tcbSigningChain/"))
    .map(([, reference]) => Buffer.from(readReference(reference)).toString("base64"));
  if (chain.length === 0) return [];
  const pem = chain
    .toReversed()
    .map((body) => `-----BEGIN CERTIFICATE-----\n${body}\n-----END CERTIFICATE-----\n`);
  return [...files.map(written), folder.write("chain.pem", pem.join(""))].flatMap((file) => [
    "--collateral",
    file,
  ]);
}

test.for(NAMES)(
  "[TT-2] %s: the command accepts what the verifier does, and its archive",
  async (name, context) => {
    const base = BASES.get(name);
    context.skip(base === undefined || !isAvailable(base), "the folder SYMPHONY_SHARED is absent");
    const archive = path.join(folder.path, `${name}.archive`);
    const { first, again } = wordsOf(name);
    const verified = await attest([...first, "--archive", archive]);
    expect(verified.stderr).toBe("");
    expect(verified.stdout).toMatch(/^accepted$/m);
    expect(verified.exit).toBe(0);
    expect(
      (await attest(["verify", archive, ...again, "--at", "recorded"], Date.UTC(2040, 0, 1))).exit,
    ).toBe(0);
    const explained = await attest(["explain", ...first.slice(1), "--json"]);
    expect(JSON.parse(explained.stdout)).toMatchObject({ verdict: { ok: true }, missing: null });
  },
);

test.for(["snp-milan", "tdx-v4"])(
  "%s: other values than the bound ones are refused",
  async (name) => {
    const { first } = wordsOf(name, { nonce: "aabb" });
    const { exit, stdout } = await attest(first);
    expect(exit).toBe(1);
    for (const words of ["TEE_REPORT_DATA_MISMATCH", "--binding"]) expect(stdout).toContain(words);
  },
);

test.for(["snp-milan", "tdx-v4"])("%s: a binding file is judged strictly", async (name) => {
  for (const changes of [{ nonce: "AB" }, { nonce: "" }, { more: null }]) {
    const { exit, stderr } = await attest(wordsOf(name, changes).first);
    expect(exit).toBe(1);
    expect(stderr).toContain("SCHEMA_CONFIG_MALFORMED: binding");
  }
});

test.for(["snp-milan", "tdx-v4"])("%s: has no signed time to be judged at", async (name) => {
  for (const command of ["verify", "explain"]) {
    const words = [command, ...wordsOf(name).first.slice(1, -1), "signed"];
    const { exit, stderr } = await attest(words);
    expect(exit).toBe(2);
    expect(stderr).toContain("--at: expected a time with evidence that signs none");
  }
});

test("a report's own fields that differ from the policy are named by the policy's path", async () => {
  const base = BASES.get("snp-milan");
  if (base === undefined) throw new Error("expected a base");
  const { first } = wordsOf("snp-milan");
  const policy = policyOf(base, { policy: {} });
  if (policy.snp === null) throw new Error("expected a section");
  const snp = {
    ...policy.snp,
    vmpl: { equals: 3 },
    guestPolicy: { ...policy.snp.guestPolicy, smtAllowed: { anyOf: [] } },
  };
  const write = (section: object): string =>
    folder.write("changed.json", policyText({ ...policy, ...section }));
  const bad = await attest([...first, "--policy", write({ snp })]);
  expect(bad.stderr).toContain("snp.guestPolicy.smtAllowed.anyOf: expected at least one value");
  const fewer = { ...policy.snp, vmpl: { equals: 3 } };
  const { exit, stdout } = await attest([...first, "--policy", write({ snp: fewer })]);
  expect(exit).toBe(1);
  expect(stdout).toMatch(/✗ snp\.vmpl +TEE_CONFIGURATION_REFUSED\n +expected +3\n/);
});
