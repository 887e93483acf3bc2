import { fromHex } from "../../../../protocol/index.ts";

import { IMAGE, NONCE, NOW, forgeDocument } from "../../../attestation/forge.ts";
import { SIM_BASE, json, type Case } from "./case.ts";
import { withPcrs } from "./e-policy.ts";

const ZERO = "00".repeat(48);
const OTHER = "dd".repeat(48);
const reference = { ...IMAGE, validFromMs: 0, validUntilMs: NOW + 1 };
const empty = { stage: "appraise", code: "TEE_POLICY_EMPTY" } as const;
const malformed = { stage: "appraise", code: "SCHEMA_CONFIG_MALFORMED" } as const;
/** Category E: policies that cannot be used, whatever the evidence. */
export function eExpectations(): readonly Case[] {
  return [...emptyPolicies(), ...malformedPolicies(), ...sections(), ...forms()];
}

/** Policies that would accept by saying nothing; where refusing evidence would follow anyway, it is not counted. */
function emptyPolicies(): readonly Case[] {
  const nothing = { equals: json(new Uint8Array(0)) };
  const noBytes = (field: string): Uint8Array =>
    forgeDocument({ fields: { [field]: fromHex("40") } });
  const reasons = ["nonce", "userData", "publicKey"].map((field) => ({
    title: `${field} unchecked without a reason`,
    policy: { [field]: { unchecked: "" } },
    ...empty,
    check: "reason",
  }));
  return [
    ...reasons,
    {
      title: "an age unchecked without a reason",
      policy: { maxAgeMs: { unchecked: "" } },
      ...empty,
      check: "age-reason",
    },
    {
      title: "PCR3 unchecked without a reason",
      policy: { nitro: { pcr3: { unchecked: "" } } },
      ...empty,
      check: "reason",
    },
    {
      title: "an empty nonce expected, and there",
      document: noBytes("nonce"),
      policy: { nonce: nothing },
      ...empty,
      check: "expected-bytes",
    },
    {
      title: "empty user_data expected, and there",
      document: noBytes("user_data"),
      policy: { userData: nothing },
      ...empty,
      check: "expected-bytes",
    },
    {
      title: "an empty public_key expected, and there",
      document: noBytes("public_key"),
      policy: { publicKey: nothing },
      ...empty,
      check: "expected-bytes",
    },
    {
      title: "an empty nonce among those expected",
      policy: { nonce: { anyOf: [json(NONCE), json(new Uint8Array(0))] } },
      ...empty,
      check: "expected-bytes",
    },
    {
      title: "PCR8 of zeros expected, and there",
      policy: { nitro: { pcr8: { equals: ZERO } } },
      ...empty,
      check: "register-not-zero",
    },
    {
      title: "PCR3 of zeros among the roles",
      document: withPcrs({ 3: ZERO }),
      policy: { nitro: { pcr3: { anyOf: [OTHER, ZERO] } } },
      ...empty,
      check: "register-not-zero",
    },
    { title: "no platforms", policy: { platforms: [] }, ...empty, check: null },
    { title: "no measurements", policy: { measurements: [] }, ...empty, check: null },
    { title: "no nonces", policy: { nonce: { anyOf: [] } }, ...empty, check: null },
    { title: "no signers", policy: { nitro: { pcr8: { anyOf: [] } } }, ...empty, check: null },
    {
      title: "a measurement without registers",
      policy: { measurements: [{ validFromMs: 0, validUntilMs: NOW + 1 }] },
      ...empty,
      check: null,
    },
    {
      title: "a measurement without registers beside a good one",
      policy: { measurements: [reference, { validFromMs: 0, validUntilMs: NOW + 1 }] },
      ...empty,
      check: "measurement-registers",
    },
  ];
}

function malformedPolicies(): readonly Case[] {
  const beside = (change: object): Case["policy"] => ({
    measurements: [reference, { ...reference, ...change }],
  });
  const register = { ...malformed, check: "register-form" };
  const whole = { ...malformed, check: "whole-number" };
  const forms: readonly (readonly [string, string])[] = [
    ["empty", ""],
    ["shorter", "aa".repeat(32)],
    ["one digit shorter", "a".repeat(95)],
    ["longer", "aa".repeat(64)],
    ["in upper case", "AA".repeat(48)],
    ["with a prefix", `0x${"aa".repeat(47)}`],
    ["with a line after it", `${"aa".repeat(48)}\n`],
  ];
  const numbers: readonly (readonly [string, string | number])[] = [
    ["not a number", "NaN"],
    ["infinite", "Infinity"],
    ["negative", -1],
    ["a fraction", 0.5],
  ];
  const json = (value: string | number) => (typeof value === "string" ? { $number: value } : value);
  return [
    ...forms.map(([form, value]) => ({
      title: `a PCR0 ${form} beside a good measurement`,
      policy: beside({ pcr0: value }),
      ...register,
    })),
    {
      title: "a PCR2 that is missing beside a good measurement",
      policy: {
        measurements: [
          reference,
          { pcr0: IMAGE.pcr0, pcr1: IMAGE.pcr1, validFromMs: 0, validUntilMs: 1 },
        ],
      },
      ...register,
    },
    ...forms.slice(1).map(([form, value]) => ({
      title: `a revoked measurement ${form}, which revokes nothing`,
      policy: { revokedMeasurements: [value] },
      ...register,
    })),
    {
      title: "an empty revoked measurement",
      policy: { revokedMeasurements: [""] },
      ...register,
    },
    {
      title: "an empty revoked identity",
      policy: { revokedIdentities: [""] },
      ...malformed,
      check: "revoked-identity-form",
    },
    ...forms.map(([form, value]) => ({
      title: `a PCR8 ${form} among the signers`,
      document: withPcrs({ 8: OTHER }),
      policy: { nitro: { pcr8: { anyOf: [OTHER, value] } } },
      ...malformed,
      check: "nitro-register-form",
    })),
    {
      title: "an unknown platform among those accepted",
      policy: { platforms: ["sim", "arm-cca"] },
      ...malformed,
      check: "platform-known",
    },
    ...numbers.map(([what, value]) => ({
      title: `a validity from a time that is ${what} beside a good measurement`,
      policy: beside({ validFromMs: json(value) }),
      ...whole,
    })),
    ...numbers.map(([what, value]) => ({
      title: `a validity up to a time that is ${what} beside a good measurement`,
      policy: beside({ validUntilMs: json(value) }),
      ...whole,
    })),
    {
      title: "an age limit that is infinite",
      policy: { maxAgeMs: { atMost: { $number: "Infinity" } } },
      ...whole,
    },
    {
      title: "an age limit that is a fraction",
      policy: { maxAgeMs: { atMost: 60_000.5 } },
      ...whole,
    },
    {
      title: "an age limit that is not a number",
      policy: { maxAgeMs: { atMost: { $number: "NaN" } } },
      ...malformed,
      check: null,
    },
    {
      title: "a time that is not a number",
      policy: { judgedAtMs: { $number: "NaN" } },
      ...malformed,
      check: null,
    },
    { title: "a time that is a fraction", policy: { judgedAtMs: NOW + 0.5 }, ...whole },
  ];
}

/** Forms that compile and that the type does not have. */
function forms(): readonly Case[] {
  const both = { ...malformed, check: "one-form" };
  const fields = ["platforms", "measurements", "revokedMeasurements", "revokedIdentities", "nonce"];
  const others = ["userData", "publicKey", "maxAgeMs", "judgedAtMs", "nitro", "snp", "tdx"];
  return [
    ...["nonce", "userData", "publicKey"].map((field) => ({
      title: `${field} in two forms`,
      policy: { [field]: { equals: { $hex: "00" }, unchecked: "not what this vector is about" } },
      ...both,
    })),
    {
      title: "PCR8 in two forms",
      policy: { nitro: { pcr8: { equals: OTHER, unchecked: "not what this vector is about" } } },
      ...both,
    },
    {
      title: "an age in two forms",
      policy: { maxAgeMs: { atMost: 60_000, unchecked: "not what this vector is about" } },
      ...malformed,
      check: "age-one-form",
    },
    ...["nonce", "maxAgeMs"].map((field) => ({
      title: `${field} in no form`,
      policy: { [field]: {} },
      ...malformed,
      check: null,
    })),
    ...[...fields, ...others].map((field) => ({
      title: `${field} absent`,
      policy: { [field]: { $absent: true } },
      ...empty,
      check: null,
    })),
  ];
}

/** Expectations for each platform accepted, and for no other. */
function sections(): readonly Case[] {
  return [
    {
      title: "no expectations of the platform accepted",
      policy: { nitro: null },
      ...empty,
      check: "section-wanted",
    },
    {
      title: "expectations of a platform that is not accepted",
      policy: { platforms: ["sim"], snp: {} },
      base: SIM_BASE,
      ...malformed,
      check: null,
    },
    {
      title: "another platform accepted, and nothing expected of it",
      policy: { platforms: ["sim", "amd-sev-snp"] },
      ...empty,
      check: "section-wanted",
    },
    {
      title: "a third platform accepted, and nothing expected of it",
      policy: { platforms: ["sim", "intel-tdx"] },
      ...empty,
      check: "section-wanted",
    },
  ];
}
