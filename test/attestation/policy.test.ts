import { describe, expect, test } from "vitest";

import {
  appraiseEvidence,
  verifyNitroDocument,
  type AppraisalPolicy,
  type Expected,
  type JudgedAt,
} from "../../attestation/index.ts";
import { utf8 } from "../../protocol/index.ts";
import { ANCHOR, IMAGE, NONCE, NOW, PUBLIC_KEY, forgeDocument, policyOf } from "./forge.ts";

const ZERO = "00".repeat(48);
const EVIDENCE = verifyNitroDocument(forgeDocument(), [ANCHOR], { mode: "replay" });
const appraise = (policy: AppraisalPolicy) => appraiseEvidence(EVIDENCE, policy);

/** An expectation of the image's signer alone. */
const signer = (pcr8: Expected<string>): Partial<AppraisalPolicy> => ({
  nitro: { pcr3: { unchecked: "any role" }, pcr8 },
});

interface Case {
  readonly title: string;
  readonly code: string;
  readonly policy: Partial<AppraisalPolicy>;
}

describe("[TT-1] a policy without one of its fields is refused", () => {
  test.for(Object.keys(policyOf()))("%s", (field) => {
    const policy = policyOf({ [field]: undefined });
    expect(() => appraise(policy)).toThrow(expect.objectContaining({ code: "TEE_POLICY_EMPTY" }));
  });
});

describe("[TT-1] a policy that would accept anything by omission is refused", () => {
  const reference = { ...IMAGE, validFromMs: 0, validUntilMs: NOW + 1 };
  test.for<Case>([
    { title: "no platforms", code: "TEE_POLICY_EMPTY", policy: { platforms: [] } },
    { title: "no measurements", code: "TEE_POLICY_EMPTY", policy: { measurements: [] } },
    { title: "no nonces", code: "TEE_POLICY_EMPTY", policy: { nonce: { anyOf: [] } } },
    { title: "an empty nonce", code: "TEE_POLICY_EMPTY", policy: { nonce: { equals: utf8("") } } },
    { title: "no reason", code: "TEE_POLICY_EMPTY", policy: { userData: { unchecked: "" } } },
    {
      title: "no reason for age",
      code: "TEE_POLICY_EMPTY",
      policy: { maxAgeMs: { unchecked: "" } },
    },
    {
      title: "an empty PCR",
      code: "SCHEMA_CONFIG_MALFORMED",
      policy: { measurements: [{ ...reference, pcr0: "" }] },
    },
    {
      title: "a shorter PCR",
      code: "SCHEMA_CONFIG_MALFORMED",
      policy: { measurements: [{ ...reference, pcr0: "aa".repeat(32) }] },
    },
    {
      title: "an upper-case PCR",
      code: "SCHEMA_CONFIG_MALFORMED",
      policy: { measurements: [{ ...reference, pcr0: "AA".repeat(48) }] },
    },
    {
      title: "an upper-case PCR1",
      code: "SCHEMA_CONFIG_MALFORMED",
      policy: { measurements: [{ ...reference, pcr1: "BB".repeat(48) }] },
    },
    {
      title: "a longer PCR2",
      code: "SCHEMA_CONFIG_MALFORMED",
      policy: { measurements: [{ ...reference, pcr2: "cc".repeat(49) }] },
    },
    {
      title: "a revoked PCR that is a prefix",
      code: "SCHEMA_CONFIG_MALFORMED",
      policy: { revokedMeasurements: [IMAGE.pcr0.slice(0, 64)] },
    },
    {
      title: "a revoked identity of no text",
      code: "SCHEMA_CONFIG_MALFORMED",
      policy: { revokedIdentities: [""] },
    },
    {
      title: "a window that has no number",
      code: "SCHEMA_CONFIG_MALFORMED",
      policy: { measurements: [{ ...reference, validUntilMs: Number.NaN }] },
    },
    {
      title: "a public key of zero bytes among others",
      code: "TEE_POLICY_EMPTY",
      policy: { publicKey: { anyOf: [PUBLIC_KEY, utf8("")] } },
    },
    {
      title: "a value and a reason not to look",
      code: "SCHEMA_CONFIG_MALFORMED",
      policy: { nonce: Object.assign({ equals: NONCE }, { unchecked: "?" }) },
    },
    {
      title: "a maximum age and a reason not to look",
      code: "SCHEMA_CONFIG_MALFORMED",
      policy: { maxAgeMs: Object.assign({ atMost: 1 }, { unchecked: "?" }) },
    },
    { title: "no nitro section", code: "TEE_POLICY_EMPTY", policy: { nitro: null } },
    { title: "no PCR8", code: "TEE_POLICY_EMPTY", policy: signer({ anyOf: [] }) },
    { title: "a PCR8 without reason", code: "TEE_POLICY_EMPTY", policy: signer({ unchecked: "" }) },
    { title: "a zero PCR8", code: "TEE_POLICY_EMPTY", policy: signer({ equals: ZERO }) },
    {
      title: "an empty PCR8",
      code: "SCHEMA_CONFIG_MALFORMED",
      policy: signer({ equals: "" }),
    },
    {
      title: "an upper-case PCR8",
      code: "SCHEMA_CONFIG_MALFORMED",
      policy: signer({ equals: "AB".repeat(48) }),
    },
    {
      title: "a platform that does not exist",
      code: "SCHEMA_CONFIG_MALFORMED",
      policy: JSON.parse('{"platforms":["nitro"]}'),
    },
    {
      title: "an expectation of nothing",
      code: "SCHEMA_CONFIG_MALFORMED",
      policy: JSON.parse('{"nonce":{}}'),
    },
    {
      title: "an age that is no number",
      code: "SCHEMA_CONFIG_MALFORMED",
      policy: { maxAgeMs: { atMost: Number.NaN } },
    },
    {
      title: "a reason that is no text",
      code: "TEE_POLICY_EMPTY",
      policy: JSON.parse('{"nonce":{"unchecked":null}}'),
    },
    { title: "a blank reason", code: "TEE_POLICY_EMPTY", policy: { nonce: { unchecked: " " } } },
    ...[
      ["in upper case", "I-0123456789ABCDEF"],
      ["with a space", "i-0123456789abcdef "],
      ["as a certificate names it", "i-0123456789abcdef-enc0123456789abcdef.eu-west-1.aws"],
    ].map(([title, identity = ""]) => ({
      title: `a revoked identity ${title}`,
      code: "SCHEMA_CONFIG_MALFORMED",
      policy: { revokedIdentities: [identity] },
    })),
    {
      title: "a time that is no number",
      code: "SCHEMA_CONFIG_MALFORMED",
      policy: { judgedAtMs: Number.POSITIVE_INFINITY },
    },
  ])("with $title", ({ code, policy }) => {
    expect(() => appraise(policyOf(policy))).toThrow(expect.objectContaining({ code }));
  });
});

test.for([{ nowMs: NOW }, { mode: "Live", nowMs: NOW }, { mode: "recorded" }])(
  "[TT-2] a time of judgement without a mode that exists is none: %j",
  (at) => {
    const judged: JudgedAt = JSON.parse(JSON.stringify(at));
    expect(() => verifyNitroDocument(forgeDocument(), [ANCHOR], judged)).toThrow(
      expect.objectContaining({ code: "TEE_POLICY_EMPTY" }),
    );
  },
);
