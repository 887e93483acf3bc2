import path from "node:path";

import { afterAll, expect, test } from "vitest";

import { printable } from "../../../../host/cli/attest/view.ts";
import { encodeCbor, hex, utf8 } from "../../../../protocol/index.ts";
import { encodePcrs } from "../../../../sim/cose.ts";
import {
  IMAGE,
  MODULE_ID,
  NONCE,
  NOW,
  PUBLIC_KEY,
  forgeDocument,
  forgePcrs,
} from "../../../attestation/forge.ts";
import { VECTORS, attest, createAttestFolder, vectorsAbsent } from "./rig.ts";

const folder = createAttestFolder();
afterAll(() => folder.remove());

const { document, policy, root } = folder;

test("tells every field of a document, certificates and registers with their meaning", async () => {
  const { exit, stdout } = await attest(["explain", document, "--anchor", root], 0);
  expect(exit).toBe(0);
  for (const words of [
    `module_id   ${MODULE_ID}`,
    "enclave i-0123456789abcdef-enc0123456789abcdef of instance i-0123456789abcdef",
    "timestamp   2026-09-21T14:13:20.000Z",
    `${PUBLIC_KEY.length} bytes: ${hex(PUBLIC_KEY)} "a public key"`,
    "no SubjectPublicKeyInfo",
    hex(NONCE),
    "mode        production",
    `PCR0  ${IMAGE.pcr0}`,
    "the whole image: kernel, command line and all ramdisks",
    "the parent instance's id; agrees with module_id",
    "PCR5 PCR6 PCR7 PCR9",
    "0  root: CN=SIMULATED root",
    "4  leaf: CN=leaf",
    "EC P-384, may not issue certificates",
    "✓ authentic: sim",
    "no policy given",
  ]) {
    expect(stdout).toContain(words);
  }
});

test("with a policy, tells what it would say, and exits 1 when it would refuse", async () => {
  const words = ["explain", document, "--anchor", root, "--policy"];
  const accepted = await attest([...words, policy], 0);
  expect([accepted.exit, accepted.stdout.includes("the policy accepts it")]).toEqual([0, true]);
  const other = folder.writePolicy("other.json", { nonce: { equals: utf8("another") } });
  const refused = await attest([...words, other], 0);
  expect(refused.exit).toBe(1);
  expect(refused.stdout).toContain("the policy does NOT accept it: TEE_NONCE_MISMATCH");
});

test("[RT-3] says SIMULATED first and last of a document under a simulator's trusted root", async () => {
  const lines = (await attest(["explain", document, "--anchor", root])).stdout
    .trimEnd()
    .split("\n");
  expect(lines[0]).toMatch(/^SIMULATED/);
  expect(lines.at(-1)).toMatch(/^SIMULATED/);
});

test("[RT-3] says SIMULATED of a simulator's document, even where its root is not trusted", async () => {
  const { exit, stdout } = await attest(["explain", document]);
  expect(exit).toBe(0);
  expect(stdout).toContain("NOT authentic: TEE_CHAIN_UNTRUSTED");
  expect(stdout).toMatch(/^SIMULATED/);
  expect(stdout.trimEnd().split("\n").at(-1)).toMatch(/^SIMULATED/);
  const { simulated } = JSON.parse((await attest(["explain", document, "--json"])).stdout);
  expect(simulated).toBe(true);
});

test("says DEBUG of a debug enclave, and when PCR4 is of another instance", async () => {
  const pcrs = forgePcrs().set(0, new Uint8Array(48)).set(4, new Uint8Array(48).fill(7));
  const file = folder.write("debug.cose", forgeDocument({ fields: { pcrs: encodePcrs(pcrs) } }));
  const { stdout } = await attest(["explain", file, "--anchor", root]);
  expect(stdout).toMatch(/mode +DEBUG/);
  expect(stdout).toContain("zero: debug mode");
  expect(stdout).toContain("does NOT agree with module_id");
});

test("absent values are told as such", async () => {
  const nothing = encodeCbor(null);
  const file = folder.write(
    "bare.cose",
    forgeDocument({ fields: { nonce: nothing, user_data: encodeCbor(new Uint8Array(0)) } }),
  );
  const { stdout } = await attest(["explain", file, "--anchor", root]);
  expect(stdout).toMatch(/nonce +none\n +nothing proves freshness/);
  expect(stdout).toMatch(/user_data +0 bytes/);
});

test("the JSON form has the same fields", async () => {
  const { stdout } = await attest(["explain", document, "--anchor", root, "--json"], 0);
  expect(JSON.parse(stdout)).toMatchObject({
    simulated: true,
    groups: [
      { group: "Nitro attestation document" },
      {
        group: "platform configuration registers",
        fields: expect.arrayContaining([
          { field: "PCR0", value: IMAGE.pcr0, meaning: expect.stringContaining("whole image") },
        ]),
      },
    ],
    certificates: [{ position: 0, role: "root", is_authority: true }, {}, {}, {}, { role: "leaf" }],
    verdict: { ok: true, signed_at: new Date(NOW).toISOString(), checks: [] },
    missing: null,
  });
});

test("what a file says cannot steer the terminal", () => {
  expect(printable("a\u001b[2Jb\u202ec\u2028d\ne")).toBe("a\\u{1b}[2Jb\\u{202e}c\\u{2028}d\\u{a}e");
});

test("an archive is told with what it says of itself", async () => {
  const archive = path.join(folder.path, "archive.cbor");
  const words = [document, "--policy", policy, "--anchor", root];
  await attest(["verify", ...words, "--archive", archive]);
  const { exit, stdout } = await attest(["explain", archive, "--anchor", root], 0);
  expect(exit).toBe(0);
  expect(stdout).toContain("archived report");
  expect(stdout).toContain("certificate 4 until 2026-09-21T17:13:20.999Z");
});

test("what is no evidence is refused, and a nonce wants a policy", async () => {
  const file = folder.write("text", "hello there");
  expect((await attest(["explain", file])).exit).toBe(1);
  expect((await attest(["explain", document, "--nonce", "aa"])).exit).toBe(2);
  expect((await attest(["explain"])).exit).toBe(2);
});

const vector = (name: string): string => path.join(VECTORS, name);

test.skipIf(vectorsAbsent)(
  "tells an SEV-SNP report, with and without its certificates",
  async () => {
    const words = ["explain", vector("sev-snp/virtee/milan-report.hex")];
    const bare = await attest(words);
    expect(bare.exit).toBe(0);
    expect(bare.stdout).toContain("not verified; --endorsements");
    const whole = await attest([
      ...words,
      ...["--endorsements", vector("sev-snp/virtee/milan-vcek.der")],
      ...["--endorsements", vector("sev-snp/virtee/milan-cert_chain.pem")],
      ...["--at", "2026-01-01T00:00:00Z"],
    ]);
    for (const said of [
      "signs no time",
      "product line        Milan",
      "bootloader 3, tee 0, snp 8, microcode 115",
      "smt allowed",
      "✓ authentic: amd-sev-snp",
    ]) {
      expect(whole.stdout).toContain(said);
    }
  },
);

test.skipIf(vectorsAbsent)("tells a TDX quote, with and without its collateral", async () => {
  const words = ["explain", vector("tdx/phala/tdx_quote")];
  const bare = await attest(words);
  expect(bare.exit).toBe(0);
  expect(bare.stdout).toContain("not verified; --collateral");
  expect(bare.stdout).toContain("CN=Intel SGX PCK Certificate");
  const options = ["--collateral", vector("tdx/phala/tdx_quote_collateral.json")];
  const whole = await attest([...words, ...options, "--at", "2025-06-20T00:00:00Z"]);
  expect(whole.stdout).toMatch(/tcb status +UpToDate/);
  expect(whole.stdout).toContain("✓ authentic: intel-tdx");
  expect((await attest([...words, "--policy", policy])).exit).toBe(2);
});
