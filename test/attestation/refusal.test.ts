import { describe, expect, test } from "vitest";

import {
  appraisalFailures,
  appraiseEvidence,
  verifyNitroDocument,
  type AppraisalPolicy,
} from "../../attestation/index.ts";
import { utf8 } from "../../protocol/index.ts";
import { encodePcrs } from "../../sim/cose.ts";
import {
  ANCHOR,
  IMAGE,
  NOW,
  forgeChain,
  forgeDocument,
  forgePcrs,
  policyOf,
  type ChainChanges,
} from "./forge.ts";

function failuresOf(policy: AppraisalPolicy, document: Uint8Array = forgeDocument()) {
  const evidence = verifyNitroDocument(document, [ANCHOR], { mode: "replay" });
  return appraisalFailures(evidence, policy);
}

describe("[TT-1] a refusal says what differs", () => {
  const dates = { validFromMs: 0, validUntilMs: NOW + 1 };
  const other = "dd".repeat(48);

  test("which registers, against the reference value that comes nearest", () => {
    const measurements = [
      { pcr0: other, pcr1: other, pcr2: other, ...dates },
      { ...IMAGE, pcr1: other, ...dates },
    ];
    expect(failuresOf(policyOf({ measurements }))).toEqual([
      { code: "TEE_MEASUREMENT_MISMATCH", field: "PCR1", expected: other, actual: IMAGE.pcr1 },
    ]);
    const evidence = verifyNitroDocument(forgeDocument(), [ANCHOR], { mode: "replay" });
    expect(() => appraiseEvidence(evidence, policyOf({ measurements }))).toThrow(
      `evidence PCR1: expected ${other}, got ${IMAGE.pcr1}`,
    );
  });

  test("a register that is absent", () => {
    const pcrs = forgePcrs();
    pcrs.delete(2);
    expect(failuresOf(policyOf(), forgeDocument({ fields: { pcrs: encodePcrs(pcrs) } }))).toEqual([
      {
        code: "TEE_MEASUREMENT_MISMATCH",
        field: "PCR2",
        expected: IMAGE.pcr2,
        actual: "nothing",
      },
    ]);
  });

  test("when a listed measurement would be accepted", () => {
    const measurements = [{ ...IMAGE, validFromMs: NOW + 1000, validUntilMs: NOW + 2000 }];
    expect(failuresOf(policyOf({ measurements }))).toEqual([
      {
        code: "TEE_MEASUREMENT_MISMATCH",
        field: "measurement",
        expected:
          "a time from 2026-09-21T14:13:21.000Z until 2026-09-21T14:13:22.000Z, when this measurement is accepted",
        actual: "2026-09-21T14:13:20.000Z",
      },
    ]);
  });

  test("that a reference value is another platform's", () => {
    const measurements = [{ measurement: IMAGE.pcr0, ...dates }];
    expect(failuresOf(policyOf({ measurements }))[0]).toMatchObject({
      field: "PCR0",
      expected: "a platform without PCR0",
      actual: IMAGE.pcr0,
    });
  });

  test("how old the document is, in milliseconds", () => {
    const judgedAtMs = NOW + 61_000;
    const measurements = [{ ...IMAGE, validFromMs: 0, validUntilMs: NOW + 100_000 }];
    expect(failuresOf(policyOf({ judgedAtMs, measurements }))).toEqual([
      {
        code: "TEE_DOCUMENT_STALE",
        field: "timestamp",
        expected: "an age of at most 60000 ms at 2026-09-21T14:14:21.000Z",
        actual: "61000 ms, signed at 2026-09-21T14:13:20.000Z",
      },
    ]);
  });

  test("an age at its limit, and a clock ahead by its limit, are accepted", () => {
    const measurements = [{ ...IMAGE, validFromMs: 0, validUntilMs: NOW + 100_000 }];
    for (const judgedAtMs of [NOW + 60_000, NOW - 30_000]) {
      expect(failuresOf(policyOf({ judgedAtMs, measurements }))).toEqual([]);
    }
  });

  test("which nonce, by its digest and never itself", () => {
    const [failure] = failuresOf(policyOf({ nonce: { equals: utf8("another") } }));
    expect(failure).toMatchObject({ field: "nonce" });
    expect(failure?.actual).toMatch(/^23 bytes with SHA-256 [0-9a-f]{64}$/);
    expect(JSON.stringify(failure)).not.toContain("a nonce");
  });
});

test.for<{ title: string; changes: ChainChanges; nowMs?: number; message: string }>([
  {
    title: "expired",
    changes: {},
    nowMs: NOW + 10_801_000,
    message:
      "certificate 4 (CN leaf): expected a time up to 2026-09-21T17:13:20.999Z, got 2026-09-21T17:13:21.000Z",
  },
  {
    title: "not valid yet",
    changes: { 3: { notBeforeMs: NOW + 1000 } },
    message:
      "certificate 3 (CN instance): expected a time from 2026-09-21T14:13:21.000Z on, got 2026-09-21T14:13:20.000Z",
  },
  {
    title: "of another issuer",
    changes: { 2: { issuer: "someone" } },
    message:
      "certificate 2 (CN zonal): expected the name of the certificate before it as issuer, got another name",
  },
  {
    title: "of a name that is no plain text",
    changes: { 2: { subject: "zon\u0000al" } },
    message:
      "certificate 3 (CN instance): expected the name of the certificate before it as issuer, got another name",
  },
  {
    title: "without plain text in its own name",
    changes: { 4: { subject: "le\naf", notBeforeMs: NOW + 1000 } },
    message:
      "certificate 4 (CN unreadable): expected a time from 2026-09-21T14:13:21.000Z on, got 2026-09-21T14:13:20.000Z",
  },
])("[TT-1] names the certificate that is $title, and the date", ({ changes, nowMs, message }) => {
  const document = forgeDocument({ chain: forgeChain(changes) });
  const at = { mode: "live", nowMs: nowMs ?? NOW } as const;
  expect(() => verifyNitroDocument(document, [ANCHOR], at)).toThrow(message);
});
