import * as fs from "node:fs";
import path from "node:path";

import { afterAll, expect, test } from "vitest";

import type { AppraisalPolicy } from "../../../../attestation/index.ts";
import { formatTrust } from "../../../../host/evidence/index.ts";
import { base64, decodeCbor, encodeCbor, hex, utf8 } from "../../../../protocol/index.ts";
import { encodePcrs } from "../../../../sim/cose.ts";
import {
  ANCHOR,
  CHAIN,
  IMAGE,
  NONCE,
  NOW,
  forgeDocument,
  forgePcrs,
} from "../../../attestation/forge.ts";
import { attest, createAttestFolder } from "./rig.ts";

const folder = createAttestFolder();
afterAll(() => folder.remove());

const { document, policy, root } = folder;
const good = ["verify", document, "--policy", policy, "--anchor", root];

test("[RT-3] accepts, exits 0, and says SIMULATED first and last of a simulator's evidence", async () => {
  const { exit, stdout, stderr } = await attest(good);
  expect([exit, stderr]).toEqual([0, ""]);
  const lines = stdout.trimEnd().split("\n");
  expect(lines[0]).toMatch(/^SIMULATED/);
  expect(lines.at(-1)).toMatch(/^SIMULATED/);
  expect(lines.at(-2)).toBe("accepted");
  expect(stdout).toContain("✓ nonce");
  expect(stdout).toContain("it is 0 ms");
});

test("[RT-3] --json says simulated, and has every check", async () => {
  const { exit, stdout } = await attest([...good, "--json"]);
  expect(exit).toBe(0);
  expect(JSON.parse(stdout)).toMatchObject({
    ok: true,
    simulated: true,
    stage: null,
    format: "nitro",
    platform: "sim",
    signed_at: new Date(NOW).toISOString(),
    error: null,
    checks: expect.arrayContaining([
      { check: "nonce", ok: true, code: null, expected: hex(NONCE), actual: null },
      expect.objectContaining({ check: "nitro.pcr3", ok: null }),
    ]),
  });
});

test("[RT-3] trusts no simulator's root unless it is named", async () => {
  const { exit, stdout } = await attest(["verify", document, "--policy", policy]);
  expect(exit).toBe(1);
  expect(stdout).toContain("TEE_CHAIN_UNTRUSTED");
  expect(stdout).toContain("--anchor");
  expect(stdout).not.toMatch(/^accepted$/m);
});

test.for([
  { title: "hex", text: hex(forgeDocument()) },
  { title: "hex with a prefix and a line end", text: `0x${hex(forgeDocument())}\n` },
  { title: "base64", text: base64(forgeDocument()) },
  {
    title: "base64 in lines",
    text: base64(forgeDocument()).replaceAll(/.{64}/g, (line) => `${line}\n`),
  },
  {
    title: "base64url without padding",
    text: base64(forgeDocument()).replaceAll("+", "-").replaceAll("/", "_").replace(/=+$/, ""),
  },
])("reads a document as $title", async ({ text }) => {
  const file = folder.write("document.txt", text);
  expect((await attest(["verify", file, ...good.slice(2)])).exit).toBe(0);
});

interface Refused {
  readonly title: string;
  readonly code: string;
  readonly changes: Partial<AppraisalPolicy>;
  readonly says: readonly string[];
  readonly nowMs?: number;
}

const OTHER = "dd".repeat(48);

test.for<Refused>([
  {
    title: "another PCR1, naming it alone",
    code: "TEE_MEASUREMENT_MISMATCH",
    changes: { measurements: [{ ...IMAGE, pcr1: OTHER, validFromMs: 0, validUntilMs: NOW + 1 }] },
    says: [
      "✗ measurements PCR1",
      `expected  ${OTHER}`,
      `actual    ${IMAGE.pcr1}`,
      "policy-from-image",
    ],
  },
  {
    title: "the nearest of several reference values",
    code: "TEE_MEASUREMENT_MISMATCH",
    changes: {
      measurements: [
        { pcr0: OTHER, pcr1: OTHER, pcr2: OTHER, validFromMs: 0, validUntilMs: NOW + 1 },
        { ...IMAGE, pcr2: OTHER, validFromMs: 0, validUntilMs: NOW + 1 },
      ],
    },
    says: ["✗ measurements PCR2", `actual    ${IMAGE.pcr2}`],
  },
  {
    title: "a reference value of another time, with its dates",
    code: "TEE_MEASUREMENT_MISMATCH",
    changes: { measurements: [{ ...IMAGE, validFromMs: 0, validUntilMs: NOW }] },
    says: [
      "✗ measurements  ",
      "until 2026-09-21T14:13:20.000Z",
      "1970-01-01T00:00:00.000Z",
      "actual    2026-09-21T14:13:20.000Z",
    ],
  },
  {
    title: "a revoked measurement",
    code: "TEE_MEASUREMENT_REVOKED",
    changes: { revokedMeasurements: [IMAGE.pcr0] },
    says: ["✗ revokedMeasurements", IMAGE.pcr0],
  },
  {
    title: "a revoked instance",
    code: "TEE_PLATFORM_REVOKED",
    changes: { revokedIdentities: ["i-0123456789abcdef"] },
    says: ["✗ revokedIdentities", "i-0123456789abcdef-enc0123456789abcdef"],
  },
  {
    title: "another nonce, both in hex",
    code: "TEE_NONCE_MISMATCH",
    changes: { nonce: { equals: utf8("of another session") } },
    says: [
      "✗ nonce",
      `expected  ${hex(utf8("of another session"))}`,
      `actual    ${hex(NONCE)}`,
      "replayed",
    ],
  },
  {
    title: "another platform",
    code: "TEE_PLATFORM_REFUSED",
    changes: { platforms: ["aws-nitro"] },
    says: ["✗ platforms", "expected  platform aws-nitro", "actual    sim"],
  },
  {
    title: "a signer where none signed",
    code: "TEE_CONFIGURATION_REFUSED",
    changes: { nitro: { pcr3: { unchecked: "any" }, pcr8: { equals: OTHER } } },
    says: ["✗ nitro.pcr8", `expected  ${OTHER}`, `actual    ${"00".repeat(48)}`],
  },
  {
    title: "an old document, with its age",
    code: "TEE_DOCUMENT_STALE",
    changes: { measurements: [{ ...IMAGE, validFromMs: 0, validUntilMs: 2 * NOW }] },
    nowMs: NOW + 252_000,
    says: [
      "✗ maxAgeMs",
      "expected  at most 1 min",
      "actual    4 min 12 s, signed 2026-09-21T14:13:20.000Z",
    ],
  },
])("refuses $title", async ({ code, changes, says, nowMs = NOW }) => {
  const file = folder.writePolicy("changed.json", changes);
  const { exit, stdout } = await attest([...good, "--policy", file], nowMs);
  expect(exit).toBe(1);
  for (const words of [...says, `NOT accepted: ${code}`]) expect(stdout).toContain(words);
});

test("refuses a debug enclave and says how it came to be one", async () => {
  const pcrs = forgePcrs().set(0, new Uint8Array(48)).set(1, new Uint8Array(48));
  const file = folder.write("debug.cose", forgeDocument({ fields: { pcrs: encodePcrs(pcrs) } }));
  const { exit, stdout } = await attest(["verify", file, ...good.slice(2)]);
  expect(exit).toBe(1);
  for (const words of ["✗ debug", "TEE_DEBUG_REFUSED", "--debug-mode"]) {
    expect(stdout).toContain(words);
  }
});

test("every failure is told, not the first alone", async () => {
  const changes = { nonce: { equals: utf8("x") }, userData: { equals: utf8("y") } };
  const file = folder.writePolicy("two.json", changes);
  const { stdout } = await attest([...good, "--policy", file, "--json"]);
  const { checks } = JSON.parse(stdout);
  const failed = checks.filter(({ ok }: { ok: boolean | null }) => ok === false);
  expect(failed.map(({ check }: { check: string }) => check)).toEqual(["nonce", "userData"]);
});

test.for([
  { title: "after the leaf", days: 1, code: "TEE_CERTIFICATE_EXPIRED", says: "--at signed" },
  { title: "before it", days: -400, code: "TEE_CERTIFICATE_NOT_YET_VALID", says: "clock" },
])("names certificate, issuer and dates when judged $title", async ({ days, code, says }) => {
  const { exit, stdout } = await attest(good, NOW + days * 86_400_000);
  expect(exit).toBe(1);
  for (const words of [code, says, "CN=", "issued by CN=", "valid from 20"]) {
    expect(stdout).toContain(words);
  }
  expect(stdout).toMatch(/^SIMULATED/);
});

test("--at judges archived evidence at its own time, or at one that is given", async () => {
  const years = NOW + 3 * 365 * 86_400_000;
  expect((await attest(good, years)).exit).toBe(1);
  const signed = await attest([...good, "--at", "signed"], years);
  expect(signed.exit).toBe(0);
  expect(signed.stdout).toContain("judged at its own time and has no age");
  const at = ["--at", "2026-09-21T14:13:20Z"];
  expect((await attest([...good, ...at], years)).exit).toBe(0);
  const late = ["--at", "2026-09-21T23:13:20+02:00"];
  expect((await attest([...good, ...late], years)).stdout).toContain("TEE_CERTIFICATE_EXPIRED");
});

test("--nonce replaces the policy's expectation", async () => {
  const unchecked = folder.writePolicy("any-nonce.json", { nonce: { unchecked: "see --nonce" } });
  const words = [...good, "--policy", unchecked, "--nonce"];
  expect((await attest([...words, hex(NONCE)])).exit).toBe(0);
  const { exit, stdout } = await attest([...words, "aabb"]);
  expect(exit).toBe(1);
  expect(stdout).toContain("TEE_NONCE_MISMATCH");
});

test("a changed byte is no authentic document", async () => {
  const bytes = forgeDocument();
  bytes[60] = (bytes[60] ?? 0) ^ 1;
  const file = folder.write("changed.cose", bytes);
  const { exit, stdout } = await attest(["verify", file, ...good.slice(2), "--json"]);
  expect(exit).toBe(1);
  expect(JSON.parse(stdout)).toMatchObject({ ok: false, stage: "verify", platform: null });
});

test("[TT-2] an archive is verified again from itself alone, years later, and not when altered", async () => {
  const archive = path.join(folder.path, "archive.cbor");
  expect((await attest([...good, "--archive", archive])).exit).toBe(0);
  const again = ["verify", archive, ...good.slice(2), "--at", "recorded"];
  const years = NOW + 10 * 365 * 86_400_000;
  const { exit, stdout } = await attest(again, years);
  expect(exit).toBe(0);
  expect(stdout).toContain("archived Nitro document");
  const report = decodeCbor(new Uint8Array(fs.readFileSync(archive)), 1 << 20);
  if (typeof report !== "object" || report === null) throw new Error("no report");
  const altered = folder.write(
    "altered.cbor",
    encodeCbor({ ...report, enclave_identity: "i-0-enc1" }),
  );
  const refused = await attest(["verify", altered, ...good.slice(2), "--at", "recorded"], years);
  expect(refused.exit).toBe(1);
  expect(refused.stdout).toContain("PROOF_COMMITMENT_MISMATCH");
});

test("[TT-2] old evidence passes for new in no form: an archive is judged only when asked for one", async () => {
  const archive = path.join(folder.path, "asked.cbor");
  expect((await attest([...good, "--archive", archive])).exit).toBe(0);
  const years = NOW + 10 * 365 * 86_400_000;
  const unasked = await attest(["verify", archive, ...good.slice(2)], years);
  expect(unasked.exit).toBe(2);
  expect(unasked.stderr).toContain("an archive takes --at recorded");
  const document = await attest([...good, "--at", "recorded"], years);
  expect(document.exit).toBe(2);
  expect(document.stderr).toContain("expected recorded with an archive only");
});

test("an archive is never replaced, and not made of what is refused", async () => {
  const there = folder.write("there.cbor", "mine");
  const { exit, stderr } = await attest([...good, "--archive", there]);
  expect([exit, fs.readFileSync(there, "utf8")]).toEqual([2, "mine"]);
  expect(stderr).toContain("expected no file there yet");
  const none = path.join(folder.path, "none.cbor");
  expect((await attest([...good, "--nonce", "aa", "--archive", none])).exit).toBe(1);
  expect(fs.existsSync(none)).toBe(false);
});

const word = (name: string): string => path.join(folder.path, name);

test.for([
  { title: "no file", words: ["verify", "--policy", policy], says: "FILE: expected one" },
  { title: "two files", words: [...good, document], says: "FILE: expected one" },
  { title: "no policy", words: ["verify", document], says: "--policy: expected" },
  { title: "an unknown option", words: [...good, "--fast"], says: "--fast" },
  { title: "a missing file", words: ["verify", word("no"), ...good.slice(2)], says: "no" },
  { title: "a folder", words: ["verify", folder.path, ...good.slice(2)], says: "got a folder" },
  { title: "a missing policy", words: [...good, "--policy", word("no")], says: "no" },
  { title: "half a nonce", words: [...good, "--nonce", "abc"], says: "--nonce: expected hex" },
  { title: "an empty nonce", words: [...good, "--nonce", ""], says: "--nonce: expected hex" },
  {
    title: "no time",
    words: [...good, "--at", "yesterday"],
    says: "--at: expected signed, recorded or a",
  },
  { title: "a time without zone", words: [...good, "--at", "2026-01-01T00:00"], says: "--at" },
  {
    title: "--trust and --anchor",
    words: [...good, "--trust", policy],
    says: "expected one of them, got both",
  },
  {
    title: "endorsements of a Nitro document",
    words: [...good, "--endorsements", root],
    says: "--endorsements: expected no such option with a Nitro document",
  },
  { title: "no subcommand", words: [], says: "expected one of verify, explain" },
  { title: "another subcommand", words: ["guess"], says: "got guess" },
])("exits 2 for $title", async ({ words, says }) => {
  const { exit, stdout, stderr } = await attest(words);
  expect([exit, stdout]).toEqual([2, ""]);
  expect(stderr).toContain(says);
});

const truncated = forgeDocument().subarray(0, 2000);

test.for([
  { title: "an empty file", content: "", code: "TEE_DOCUMENT_MALFORMED", says: "an empty file" },
  { title: "an image", content: ".eif....", code: "TEE_DOCUMENT_MALFORMED", says: "an image" },
  { title: "text", content: "what is this?", code: "TEE_DOCUMENT_MALFORMED", says: "13 bytes" },
  { title: "no archive", content: encodeCbor({ a: 1 }), code: "TEE_DOCUMENT_MALFORMED", says: "" },
])("refuses $title by exit code 1", async ({ content, code, says }) => {
  const file = folder.write("bad", content);
  const { exit, stdout, stderr } = await attest(["verify", file, ...good.slice(2)]);
  expect([exit, stdout]).toEqual([1, ""]);
  expect(stderr).toContain(code);
  expect(stderr).toContain(says);
});

test.for([
  { title: "text", trust: "{", code: "SCHEMA_JSON_MALFORMED" },
  { title: "no text", trust: Uint8Array.of(0xff), code: "SCHEMA_MALFORMED" },
])("refuses a trust file that is $title", async ({ trust, code }) => {
  const file = folder.write("trust.json", trust);
  const { exit, stderr } = await attest(["verify", document, "--policy", policy, "--trust", file]);
  expect(exit).toBe(1);
  expect(stderr).toContain(code);
});

test("--trust takes the roots of a trust file", async () => {
  const anchors = [ANCHOR];
  const trust = formatTrust({ network: "test", genesisDigest: new Uint8Array(32), anchors });
  const words = ["verify", document, "--policy", policy];
  const { exit, stdout } = await attest([...words, "--trust", folder.write("roots.json", trust)]);
  expect(exit).toBe(0);
  expect(stdout).toMatch(/^SIMULATED/);
});

test("--anchor takes PEM too, and refuses what is no certificate", async () => {
  const pem = `-----BEGIN CERTIFICATE-----\n${base64(CHAIN[0] ?? NONCE)}\n-----END CERTIFICATE-----\n`;
  const words = ["verify", document, "--policy", policy, "--anchor"];
  expect((await attest([...words, folder.write("root.pem", pem)])).exit).toBe(0);
  const { exit, stderr } = await attest([...words, folder.write("root.txt", "a root")]);
  expect(exit).toBe(1);
  expect(stderr).toContain("expected certificates in PEM or one in DER");
  expect((await attest([...words, folder.write("bad.der", "0bad")])).exit).toBe(1);
});

test("a truncated document is refused with what helps", async () => {
  const file = folder.write("short.cose", truncated);
  const { exit, stdout } = await attest(["verify", file, ...good.slice(2)]);
  expect(exit).toBe(1);
  expect(stdout).toContain("hint: the bytes have to be as the platform returned them");
});

test("never reads more than the limit, of a file or a device", async () => {
  const huge = folder.write("huge", "");
  fs.truncateSync(huge, 1024 ** 3);
  for (const file of [huge, "/dev/zero"]) {
    const { exit, stderr } = await attest(["verify", file, ...good.slice(2)]);
    expect(exit).toBe(1);
    expect(stderr).toContain("SCHEMA_TOO_LARGE");
  }
});
