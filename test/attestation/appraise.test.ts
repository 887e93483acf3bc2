import { describe, expect, test } from "vitest";

import {
  appraiseEvidence,
  attestationReportSchema,
  verifyNitroDocument,
  verifyReportReplay,
  type AppraisalPolicy,
  type AttestationReport,
  type Expected,
} from "../../attestation/index.ts";
import {
  AppraisalError,
  concat,
  decodeCbor,
  encodeCbor,
  fromHex,
  sha384,
  utf8,
} from "../../protocol/index.ts";
import { encodePcrs } from "../../sim/cose.ts";
import {
  ANCHOR,
  IMAGE,
  MODULE_ID,
  NONCE,
  NOW,
  PUBLIC_KEY,
  USER_DATA,
  forgeDocument,
  forgePcrs,
  policyOf,
  type DocumentChanges,
} from "./forge.ts";

const ZERO = "00".repeat(48);

function appraise(policy: AppraisalPolicy, changes: DocumentChanges = {}): AttestationReport {
  const document = forgeDocument(changes);
  return appraiseEvidence(verifyNitroDocument(document, [ANCHOR], { mode: "replay" }), policy);
}

function withPcrs(values: Record<number, string | null>): DocumentChanges {
  const pcrs = forgePcrs();
  for (const [at, value] of Object.entries(values)) {
    if (value === null) pcrs.delete(Number(at));
    else pcrs.set(Number(at), fromHex(value));
  }
  return { fields: { pcrs: encodePcrs(pcrs) } };
}

/** Expectations of the image's signer alone, or the parent's role alone. */
const signer = (pcr8: Expected<string>): Partial<AppraisalPolicy> => ({
  nitro: { pcr3: { unchecked: "any role" }, pcr8 },
});
const role = (pcr3: Expected<string>): Partial<AppraisalPolicy> => ({
  nitro: { pcr3, pcr8: { unchecked: "unsigned image" } },
});

test("[TT-1] reports identity, measurement, platform and nonce of what it accepts", () => {
  expect(appraise(policyOf())).toEqual({
    platform: "sim",
    enclave_identity: MODULE_ID,
    measurement: IMAGE,
    nonce: NONCE,
    user_data: USER_DATA,
    public_key: PUBLIC_KEY,
    bound: false,
    time_ms: NOW,
    evidence: expect.any(Uint8Array),
    endorsements: expect.toSatisfy((list: readonly unknown[]) => list.length === 5),
    collateral: null,
    expiries: expect.toSatisfy((list: readonly unknown[]) => list.length === 5),
  });
});

interface Case {
  readonly title: string;
  readonly code: string;
  readonly policy?: Partial<AppraisalPolicy>;
  readonly changes?: DocumentChanges;
}

describe("[TT-1] evidence is refused", () => {
  test.for<Case>([
    {
      title: "from another platform",
      code: "TEE_PLATFORM_REFUSED",
      policy: { platforms: ["aws-nitro"] },
    },
    {
      title: "with a nonce of another session",
      code: "TEE_NONCE_MISMATCH",
      policy: { nonce: { equals: utf8("another") } },
    },
    {
      title: "with a nonce that only begins right",
      code: "TEE_NONCE_MISMATCH",
      policy: { nonce: { equals: concat(NONCE, utf8("!")) } },
    },
    {
      title: "with a shorter nonce",
      code: "TEE_NONCE_MISMATCH",
      changes: { fields: { nonce: encodeCbor(NONCE.subarray(1)) } },
    },
    {
      title: "without a nonce",
      code: "TEE_NONCE_MISMATCH",
      changes: { fields: { nonce: null } },
    },
    {
      title: "with an empty nonce",
      code: "TEE_NONCE_MISMATCH",
      changes: { fields: { nonce: fromHex("40") } },
    },
    {
      title: "with the user data of another channel",
      code: "TEE_USER_DATA_MISMATCH",
      policy: { userData: { anyOf: [utf8("a"), utf8("b")] } },
    },
    {
      title: "with another public key",
      code: "TEE_PUBLIC_KEY_MISMATCH",
      policy: { publicKey: { equals: utf8("a public kez") } },
    },
    {
      title: "without a public key",
      code: "TEE_PUBLIC_KEY_MISMATCH",
      changes: { fields: { public_key: null } },
    },
    {
      title: "with another PCR0",
      code: "TEE_MEASUREMENT_MISMATCH",
      changes: withPcrs({ 0: "ab".repeat(48) }),
    },
    {
      title: "with another PCR1",
      code: "TEE_MEASUREMENT_MISMATCH",
      changes: withPcrs({ 1: "ab".repeat(48) }),
    },
    {
      title: "with another PCR2",
      code: "TEE_MEASUREMENT_MISMATCH",
      changes: withPcrs({ 2: "ab".repeat(48) }),
    },
    {
      title: "without PCR2",
      code: "TEE_MEASUREMENT_MISMATCH",
      changes: withPcrs({ 2: null }),
    },
    {
      title: "with PCRs of two reference values",
      code: "TEE_MEASUREMENT_MISMATCH",
      policy: {
        measurements: [
          { ...IMAGE, pcr0: "dd".repeat(48), validFromMs: 0, validUntilMs: NOW + 1 },
          { ...IMAGE, pcr1: "dd".repeat(48), validFromMs: 0, validUntilMs: NOW + 1 },
        ],
      },
    },
    {
      title: "of an image not valid yet",
      code: "TEE_MEASUREMENT_MISMATCH",
      policy: { measurements: [{ ...IMAGE, validFromMs: NOW + 1, validUntilMs: NOW + 2 }] },
    },
    {
      title: "of an image no longer valid",
      code: "TEE_MEASUREMENT_MISMATCH",
      policy: { measurements: [{ ...IMAGE, validFromMs: 0, validUntilMs: NOW }] },
    },
    {
      title: "with a PCR4 of another instance",
      code: "TEE_IDENTITY_MISMATCH",
      changes: withPcrs({ 4: "44".repeat(48) }),
    },
    { title: "without PCR4", code: "TEE_IDENTITY_MISMATCH", changes: withPcrs({ 4: null }) },
    {
      title: "of a NitroTPM",
      code: "TEE_IDENTITY_MISMATCH",
      changes: {
        fields: { module_id: encodeCbor("i-0123456789abcdef-tpm0000000000000000") },
      },
    },
    {
      title: "that is older than the policy allows",
      code: "TEE_DOCUMENT_STALE",
      policy: { maxAgeMs: { atMost: 60_000 }, judgedAtMs: NOW + 60_001 },
    },
    {
      title: "from the future, whatever its age may be",
      code: "TEE_DOCUMENT_STALE",
      policy: {
        maxAgeMs: { unchecked: "archived" },
        judgedAtMs: NOW - 30_001,
      },
    },
  ])("$title", ({ code, policy = {}, changes = {} }) => {
    const until = (policy.judgedAtMs ?? 0) + NOW;
    const measurements = [{ ...IMAGE, validFromMs: 0, validUntilMs: until + 1 }];
    expect(() => appraise(policyOf({ measurements, ...policy }), changes)).toThrow(
      expect.objectContaining({ code }),
    );
  });
});

describe("[TT-5] what was revoked is refused", () => {
  test.for<Case>([
    {
      title: "a measurement",
      code: "TEE_MEASUREMENT_REVOKED",
      policy: { revokedMeasurements: [IMAGE.pcr0] },
    },
    {
      title: "an enclave",
      code: "TEE_PLATFORM_REVOKED",
      policy: { revokedIdentities: [MODULE_ID] },
    },
    {
      title: "an instance with all its enclaves",
      code: "TEE_PLATFORM_REVOKED",
      policy: { revokedIdentities: ["i-0123456789abcdef"] },
    },
  ])("$title", ({ code, policy = {} }) => {
    expect(() => appraise(policyOf(policy))).toThrow(expect.objectContaining({ code }));
  });
});

describe("[TT-1] debug enclaves are refused whatever the policy says", () => {
  test.for([{ 0: ZERO, 1: ZERO, 2: ZERO }, { 0: ZERO }, { 1: ZERO }, { 2: ZERO }])(
    "with zeros in %j",
    (zeros) => {
      const pcr = (at: 0 | 1 | 2, value: string): string => (at in zeros ? ZERO : value);
      const measurement = {
        pcr0: pcr(0, IMAGE.pcr0),
        pcr1: pcr(1, IMAGE.pcr1),
        pcr2: pcr(2, IMAGE.pcr2),
      };
      const measurements = [{ ...measurement, validFromMs: 0, validUntilMs: NOW + 1 }];
      expect(() => appraise(policyOf({ measurements }), withPcrs(zeros))).toThrow(
        expect.objectContaining({ code: "TEE_DEBUG_REFUSED" }),
      );
    },
  );
});

test("reports every failure, the first one's code on the error", () => {
  const policy = policyOf({ platforms: ["aws-nitro"], nonce: { equals: utf8("x") } });
  try {
    appraise(policy, withPcrs({ 0: ZERO, 1: ZERO, 2: ZERO, 4: ZERO }));
    expect.unreachable();
  } catch (error) {
    if (!(error instanceof AppraisalError)) throw error;
    expect(error.code).toBe("TEE_PLATFORM_REFUSED");
    expect(error.details).toMatchObject({
      failures: [
        { code: "TEE_PLATFORM_REFUSED", expected: "platform aws-nitro", actual: "sim" },
        { code: "TEE_DEBUG_REFUSED" },
        { code: "TEE_IDENTITY_MISMATCH" },
        { code: "TEE_MEASUREMENT_MISMATCH", field: "PCR0", expected: IMAGE.pcr0, actual: ZERO },
        { code: "TEE_MEASUREMENT_MISMATCH", field: "PCR1", expected: IMAGE.pcr1, actual: ZERO },
        { code: "TEE_MEASUREMENT_MISMATCH", field: "PCR2", expected: IMAGE.pcr2, actual: ZERO },
        { code: "TEE_NONCE_MISMATCH" },
      ],
    });
  }
});

const SIGNER = "ab".repeat(48);

describe("[TT-1] the signer and the role are judged when the policy asks", () => {
  test("and accepted when they are among those expected", () => {
    const pcrs = withPcrs({ 8: SIGNER });
    expect(appraise(policyOf(signer({ equals: SIGNER })), pcrs).platform).toBe("sim");
    const anyOf = ["cd".repeat(48), SIGNER];
    expect(appraise(policyOf(signer({ anyOf })), pcrs).platform).toBe("sim");
    expect(appraise(policyOf(role({ equals: `03${"00".repeat(47)}` }))).platform).toBe("sim");
  });

  test.for<{ title: string; policy: Partial<AppraisalPolicy>; changes: DocumentChanges }>([
    { title: "an unsigned image", policy: signer({ equals: SIGNER }), changes: {} },
    {
      title: "no PCR8",
      policy: signer({ equals: SIGNER }),
      changes: withPcrs({ 8: null }),
    },
    {
      title: "another signer",
      policy: signer({ equals: SIGNER }),
      changes: withPcrs({ 8: "cd".repeat(48) }),
    },
    { title: "another role", policy: role({ equals: SIGNER }), changes: {} },
    { title: "no PCR3", policy: role({ equals: SIGNER }), changes: withPcrs({ 3: null }) },
  ])("and refused with $title", ({ policy, changes }) => {
    expect(() => appraise(policyOf(policy), changes)).toThrow(
      expect.objectContaining({ code: "TEE_CONFIGURATION_REFUSED" }),
    );
  });
});

describe("[TT-2] an archived report", () => {
  const replay = (report: unknown) => verifyReportReplay(report, [ANCHOR], policyOf());

  test("passes canonical bytes and verifies again from its evidence", () => {
    const report = appraise(policyOf());
    const archived = decodeCbor(encodeCbor(report));
    expect(attestationReportSchema.parse(archived)).toEqual(report);
    expect(replay(archived)).toEqual(report);
  });

  test.for<{ title: string; change: Partial<AttestationReport> }>([
    { title: "platform", change: { platform: "aws-nitro" } },
    { title: "enclave_identity", change: { enclave_identity: "i-0-enc0" } },
    { title: "measurement", change: { measurement: { ...IMAGE, pcr1: "dd".repeat(48) } } },
    { title: "nonce", change: { nonce: null } },
    { title: "user_data", change: { user_data: utf8("other") } },
    { title: "public_key", change: { public_key: utf8("other") } },
    { title: "time_ms", change: { time_ms: NOW + 1 } },
    { title: "endorsements", change: { endorsements: [utf8("a"), utf8("b")] } },
  ])("is refused when its $title is not what the evidence says", ({ title, change }) => {
    expect(() => replay({ ...appraise(policyOf()), ...change })).toThrow(
      expect.objectContaining({ code: "PROOF_COMMITMENT_MISMATCH", details: { field: title } }),
    );
  });

  test("is refused when its evidence is damaged or its policy no longer accepts it", () => {
    const report = appraise(policyOf());
    const damaged = {
      ...report,
      evidence: report.evidence.with(-1, 1 ^ (report.evidence.at(-1) ?? 0)),
    };
    expect(() => replay(damaged)).toThrow(
      expect.objectContaining({ code: "TEE_SIGNATURE_INVALID" }),
    );
    const revoked = policyOf({ revokedMeasurements: [IMAGE.pcr0] });
    expect(() => verifyReportReplay(report, [ANCHOR], revoked)).toThrow(
      expect.objectContaining({ code: "TEE_MEASUREMENT_REVOKED" }),
    );
  });

  test("is refused when a field is missing or unknown", () => {
    const report = appraise(policyOf());
    const { nonce: _, ...without } = report;
    for (const other of [null, [], without, { ...report, debug: false }]) {
      expect(() => replay(other)).toThrow(
        expect.objectContaining({ code: "TEE_DOCUMENT_MALFORMED" }),
      );
    }
  });
});

test("claims given out are copies", () => {
  const evidence = verifyNitroDocument(forgeDocument(), [ANCHOR], { mode: "replay" });
  evidence.claims.pcrs.get(0)?.fill(0);
  evidence.nonce?.fill(0);
  evidence.document.fill(0);
  expect(evidence.claims.pcrs.get(0)).toEqual(fromHex(IMAGE.pcr0));
  expect(evidence.nonce).toEqual(NONCE);
  expect(appraiseEvidence(evidence, policyOf()).time_ms).toBe(NOW);
  expect(sha384(evidence.document)).toHaveLength(48);
});
