import { afterAll, expect, test } from "vitest";

import { attest, createAttestFolder } from "./rig.ts";

const folder = createAttestFolder();
afterAll(() => folder.remove());

const ROLE = "arn:aws:iam::111122223333:role/parent";
const ADMIN = "arn:aws:iam::111122223333:role/admin";

function keyPolicy(condition: object, extra: readonly object[] = []): string {
  const decrypt = {
    Sid: "enclave",
    Effect: "Allow",
    Principal: { AWS: ROLE },
    Action: "kms:Decrypt",
    Resource: "*",
    ...condition,
  };
  return JSON.stringify({ Version: "2012-10-17", Statement: [decrypt, ...extra] });
}

const attested = {
  Condition: {
    StringEqualsIgnoreCase: { "kms:RecipientAttestation:ImageSha384": "ab".repeat(48) },
  },
};

test("a key for attested enclaves only exits 0", async () => {
  const file = folder.write("key.json", keyPolicy(attested));
  const { exit, stdout } = await attest(["lint-key-policy", file]);
  expect(stdout).toContain("only attested enclaves decrypt");
  expect(exit).toBe(0);
});

test("a key that anybody may use, or change, exits 1 and says why", async () => {
  const open = folder.write("open.json", keyPolicy({}));
  const { exit, stdout } = await attest(["lint-key-policy", open]);
  expect(exit).toBe(1);
  for (const words of ["critical: statement 0 (enclave)", ROLE, "remedy: ", "NOT safe"]) {
    expect(stdout).toContain(words);
  }
  const admin = { Effect: "Allow", Principal: { AWS: ADMIN }, Action: "kms:*", Resource: "*" };
  const changed = folder.write("admin.json", keyPolicy(attested, [admin]));
  const { exit: refused, stdout: json } = await attest(["lint-key-policy", changed, "--json"]);
  expect(refused).toBe(1);
  expect(JSON.parse(json)).toMatchObject({ ok: false, verdict: "decryptable-without-attestation" });
});

test.for([
  { title: "no JSON", text: "{", exit: 1 },
  { title: "other JSON", text: "[]", exit: 1 },
  { title: "bytes that are no text", text: Uint8Array.of(0xff, 0xfe), exit: 1 },
  { title: "too much", text: " ".repeat(200_000), exit: 1 },
])("refuses a file with $title", async ({ text, exit }) => {
  const file = folder.write("bad.json", text);
  const ran = await attest(["lint-key-policy", file]);
  expect([ran.exit, ran.stdout]).toEqual([exit, ""]);
  expect(ran.stderr).toContain("SCHEMA_");
});
