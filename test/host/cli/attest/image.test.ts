import { afterAll, expect, test } from "vitest";

import { runPolicyFromImage } from "../../../../host/cli/attest/image.ts";
import { readPolicy } from "../../../../host/cli/attest/policy-file.ts";
import { reportError } from "../../../../cli/index.ts";
import { referenceValueSchema } from "../../../../protocol/governance/policy.ts";
import { utf8 } from "../../../../protocol/index.ts";
import { SECTIONS, signatureSection, writeEif } from "../../../attestation/eif-file.ts";
import { CHAIN, NOW } from "../../../attestation/forge.ts";
import { createAttestFolder } from "./rig.ts";

const folder = createAttestFolder();
afterAll(() => folder.remove());

async function policyFromImage(...words: string[]) {
  const ran = { stdout: "", stderr: "" };
  const io = {
    stdout: (text: string): void => void (ran.stdout += text),
    stderr: (text: string): void => void (ran.stderr += text),
  };
  const exit = await runPolicyFromImage(words, io, NOW).catch((error: unknown) =>
    reportError(error, io, false),
  );
  return { exit, ...ran };
}

const image = folder.write("image.eif", writeEif());
const signed = folder.write(
  "signed.eif",
  writeEif({ sections: [...SECTIONS, signatureSection(CHAIN[0] ?? utf8(""))] }),
);
const nitroCli = {
  Measurements: {
    HashAlgorithm: "Sha384 { ... }",
    PCR0: "aa".repeat(48),
    PCR1: "bb".repeat(48),
    PCR2: "cc".repeat(48),
  },
};
const printed = folder.write("build.json", JSON.stringify(nitroCli));

test("prints a policy that can be used as it stands, and the governance fragment beside it", async () => {
  const { exit, stdout, stderr } = await policyFromImage(image);
  expect(exit).toBe(0);
  const policy = await readPolicy(folder.write("made.json", stdout), null);
  expect(policy.measurements).toMatchObject([
    { pcr0: expect.stringMatching(/^c238fded/), validFromMs: NOW },
  ]);
  const [, fragment = ""] = stderr.split("governance:\n");
  expect(referenceValueSchema.parse(JSON.parse(fragment))).toMatchObject({
    pcr0: expect.stringMatching(/^c238fded/),
    valid_from_ms: NOW,
    valid_until_ms: NOW + 365 * 86_400_000,
  });
  expect(stderr).toContain("the image is not signed");
});

test("reads what nitro-cli printed; --json has all in one object", async () => {
  const { stdout } = await policyFromImage(
    printed,
    ...["--from", "2026-01-01T00:00:00Z", "--until", "2026-02-01T00:00:00Z", "--json"],
  );
  const { PCR0: pcr0, PCR1: pcr1, PCR2: pcr2 } = nitroCli.Measurements;
  expect(JSON.parse(stdout)).toMatchObject({
    measurements: { pcr0, pcr1, pcr2, pcr8_unverified: null },
    policy: { measurements: [{ pcr0, validFromMs: Date.UTC(2026, 0, 1) }] },
    reference_value: { pcr0, valid_until_ms: Date.UTC(2026, 1, 1) },
  });
});

test("expects a signer only when asked, and says that nothing verified it", async () => {
  const ignored = await policyFromImage(signed);
  expect(JSON.parse(ignored.stdout)).toMatchObject({
    nitro: { pcr8: { unchecked: expect.stringContaining("any signer") } },
  });
  expect(ignored.stderr).toContain("the image is signed; --signer");
  const asked = await policyFromImage(signed, "--signer");
  expect(JSON.parse(asked.stdout).nitro.pcr8.equals).toMatch(/^[0-9a-f]{96}$/);
  expect(asked.stderr).toContain("not verified here");
  const missing = await policyFromImage(image, "--signer");
  expect(missing.exit).toBe(2);
  expect(missing.stderr).toContain("--signer: expected a signed image");
});

const debug = { Measurements: { ...nitroCli.Measurements, PCR0: "00".repeat(48) } };
const short = { Measurements: { ...nitroCli.Measurements, PCR1: "bb" } };

test.for([
  {
    title: "a truncated image",
    file: writeEif().subarray(0, 600),
    exit: 1,
    says: "whole sections",
  },
  { title: "an altered image", file: writeEif().with(562, 0x62), exit: 1, says: "CRC-32" },
  { title: "other bytes", file: utf8("hello"), exit: 1, says: "548 bytes, got 5" },
  { title: "an empty file", file: utf8(""), exit: 1, says: "548 bytes, got 0" },
  { title: "broken JSON", file: utf8("{"), exit: 1, says: "SCHEMA_JSON_MALFORMED" },
  { title: "other JSON", file: utf8("{}"), exit: 1, says: "Measurements" },
  { title: "zero registers", file: utf8(JSON.stringify(debug)), exit: 1, says: "debug mode" },
  { title: "half a register", file: utf8(JSON.stringify(short)), exit: 1, says: 'got "bb"' },
  { title: "endless JSON", file: utf8(`{${" ".repeat(2 ** 20)}`), exit: 1, says: "TOO_LARGE" },
])("refuses $title", async ({ file, exit, says }) => {
  const ran = await policyFromImage(folder.write("bad", file));
  expect([ran.exit, ran.stdout]).toEqual([exit, ""]);
  expect(ran.stderr).toContain(says);
});

test.for([
  { words: [], says: "FILE: expected one image file" },
  { words: [image, "--until", "2020-01-01T00:00:00Z"], says: "--until: expected a time after" },
  { words: [image, "--from", "soon"], says: "--from: expected a time such as" },
  { words: [folder.path], says: "got a folder" },
])("exits 2 for $words", async ({ words, says }) => {
  const { exit, stderr } = await policyFromImage(...words);
  expect(exit).toBe(2);
  expect(stderr).toContain(says);
});
