import * as fs from "node:fs";
import path from "node:path";

import { afterAll, expect, test } from "vitest";

import { readPolicy } from "../../../../host/cli/attest/policy-file.ts";
import { utf8 } from "../../../../protocol/index.ts";
import { policyOf } from "../../../attestation/forge.ts";
import { createAttestFolder, policyText } from "./rig.ts";

const folder = createAttestFolder();
afterAll(() => folder.remove());

const EXAMPLES = path.join(import.meta.dirname, "../../../../examples/attestation");
const good = JSON.parse(policyText(policyOf()));
const REGISTER = "ab".repeat(48);

test("a policy file says what AppraisalPolicy says, but for the time", async () => {
  const { judgedAtMs: _, ...policy } = policyOf();
  expect(await readPolicy(folder.policy, null)).toEqual(policy);
  const nonce = utf8("given");
  expect(await readPolicy(folder.policy, nonce)).toEqual({ ...policy, nonce: { equals: nonce } });
});

test.for(fs.readdirSync(EXAMPLES).filter((name) => name.endsWith("-policy.json")))(
  "the example %s is a policy",
  async (name) => {
    const policy = await readPolicy(path.join(EXAMPLES, name), null);
    expect(policy.measurements).toHaveLength(1);
  },
);

const window = { validFromMs: 0, validUntilMs: 1 };

test.for([
  { title: "no platforms", changes: { platforms: [] }, says: "platforms: expected at least one" },
  {
    title: "a platform unknown",
    changes: { platforms: ["sgx"] },
    says: "platforms.0: expected one of",
  },
  { title: "no measurements", changes: { measurements: [] }, says: "measurements: expected at" },
  {
    title: "half a register",
    changes: { measurements: [{ pcr0: "ab", pcr1: REGISTER, pcr2: REGISTER, ...window }] },
    says: 'measurements.0.pcr0: expected 96 lower-case hex digits, got "ab"',
  },
  {
    title: "a register in upper case",
    changes: { measurements: [{ measurement: REGISTER.toUpperCase(), ...window }] },
    says: "measurements.0.measurement: expected 96 lower-case hex digits",
  },
  {
    title: "a measurement without PCR2",
    changes: { measurements: [{ pcr0: REGISTER, pcr1: REGISTER, ...window }] },
    says: "measurements.0.pcr2: expected 96 lower-case hex digits, got nothing",
  },
  {
    title: "no validity",
    changes: { measurements: [{ measurement: REGISTER, validFromMs: 0 }] },
    says: "measurements.0.validUntilMs: expected a whole number, got nothing",
  },
  { title: "no nonce", changes: { nonce: undefined }, says: 'nonce: expected {"equals": ...}' },
  {
    title: "a bare nonce",
    changes: { nonce: "ab" },
    says: 'or {"unchecked": "a reason"}, got "ab"',
  },
  { title: "an empty nonce", changes: { nonce: { equals: "" } }, says: "nonce.equals: expected" },
  { title: "odd hex", changes: { nonce: { equals: "abc" } }, says: 'got "abc"' },
  { title: "no values", changes: { nonce: { anyOf: [] } }, says: "nonce.anyOf: expected at least" },
  { title: "one bad value", changes: { nonce: { anyOf: ["ab", 1] } }, says: "nonce.anyOf.1:" },
  { title: "no reason", changes: { userData: { unchecked: "" } }, says: "userData.unchecked: " },
  {
    title: "both values and a reason",
    changes: { publicKey: { equals: "ab", unchecked: "why" } },
    says: "publicKey: expected",
  },
  { title: "no age", changes: { maxAgeMs: 5 }, says: 'maxAgeMs: expected {"atMost": ...}' },
  { title: "a negative age", changes: { maxAgeMs: { atMost: -1 } }, says: "maxAgeMs.atMost: " },
  {
    title: "an unknown field",
    changes: { trust: 1 },
    says: "trust: expected no such field, got 1",
  },
  { title: "a time of its own", changes: { judgedAtMs: 1 }, says: "judgedAtMs: expected no such" },
  { title: "no section", changes: { nitro: null }, says: "TEE_POLICY_EMPTY" },
  { title: "a section too many", changes: { snp: {} }, says: "snp.productLines" },
  {
    title: "a signer of zeros",
    changes: { nitro: { pcr3: { unchecked: "x" }, pcr8: { equals: "00".repeat(48) } } },
    says: "TEE_POLICY_EMPTY",
  },
])("refuses a policy with $title, naming the place", async ({ changes, says }) => {
  const file = folder.write("bad.json", JSON.stringify({ ...good, ...changes }));
  const refused: unknown = await readPolicy(file, null).catch((error: unknown) => error);
  if (!(refused instanceof Error) || !("code" in refused)) throw new Error("it was accepted");
  expect(`${String(refused.code)}: ${refused.message}`).toContain(says);
});

test.for([
  { title: "no JSON", text: "{", code: "SCHEMA_JSON_MALFORMED" },
  { title: "a list", text: "[]", code: "SCHEMA_CONFIG_MALFORMED" },
  { title: "nothing", text: "", code: "SCHEMA_JSON_MALFORMED" },
  { title: "too much", text: " ".repeat(2 ** 20 + 1), code: "SCHEMA_TOO_LARGE" },
])("refuses a policy file with $title", async ({ text, code }) => {
  const file = folder.write("bad.json", text);
  await expect(readPolicy(file, null)).rejects.toMatchObject({ code });
});
