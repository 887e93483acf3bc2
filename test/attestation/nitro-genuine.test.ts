import { createHash } from "node:crypto";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";

import { expect, test } from "vitest";
import { z } from "zod";

import {
  AWS_NITRO_ROOT_G1,
  appraiseEvidence,
  parseAnchor,
  verifyNitroDocument,
  verifyReportReplay,
  type AppraisalPolicy,
} from "../../attestation/index.ts";
import { SymphonyError, fromHex, hex } from "../../protocol/index.ts";
import { ANCHOR } from "./forge.ts";

const FOLDER = join(
  process.env["SYMPHONY_SHARED"] ?? join(import.meta.dirname, "../../../shared"),
  "vectors/nitro",
);
const absent = !existsSync(join(FOLDER, "index.json"));

const claimsSchema = z.object({
  module_id: z.string(),
  timestamp_ms: z.int(),
  pcrs: z.record(z.string(), z.string()),
  public_key_hex: z.string().nullable(),
  user_data_hex: z.string().nullable(),
  nonce_hex: z.string().nullable(),
});
const indexSchema = z.object({
  vectors: z.array(
    z.object({
      file: z.string(),
      expected: z.string(),
      debug_mode: z.boolean().nullish(),
      claims: claimsSchema.nullish(),
    }),
  ),
  time_cases: z.array(
    z.object({
      file: z.string(),
      at_ms: z.int().optional(),
      at: z.string().optional(),
      expected: z.string(),
    }),
  ),
});
const index = absent
  ? { vectors: [], time_cases: [] }
  : indexSchema.parse(JSON.parse(readFileSync(join(FOLDER, "index.json"), "utf8")));
const read = (file: string): Uint8Array => new Uint8Array(readFileSync(join(FOLDER, file)));
const valid = index.vectors.filter(({ expected }) => expected === "valid");
const refused = index.vectors.filter(({ expected }) => expected !== "valid");
const PRODUCTION = "evervault-prod-signed-2022-10-13.cose";

test("carries the AWS root under its published fingerprint", () => {
  const der = readFileSync(
    join(import.meta.dirname, "../../attestation/anchors/aws-nitro-root-g1.der"),
  );
  expect(hex(AWS_NITRO_ROOT_G1.certificate)).toBe(hex(der));
  expect(createHash("sha256").update(der).digest("hex")).toBe(
    "641a0321a3e244efe456463195d606317ed7cdcc3c1756e09893f3c68f79bb5b",
  );
  expect(parseAnchor(Uint8Array.from(der))).toEqual(AWS_NITRO_ROOT_G1);
});

test.skipIf(absent)("has genuine documents to verify", () => {
  expect(valid.length).toBeGreaterThanOrEqual(10);
  expect(refused.length).toBeGreaterThanOrEqual(20);
});

test.skipIf(absent).for(valid)(
  "[TT-1] verifies $file and reads identity, platform, measurement and nonce",
  ({ file, claims }) => {
    const evidence = verifyNitroDocument(read(file), [AWS_NITRO_ROOT_G1], { mode: "replay" });
    expect(evidence.platform).toBe("aws-nitro");
    expect(claims).toEqual({
      module_id: evidence.identity,
      timestamp_ms: evidence.timestampMs,
      pcrs: Object.fromEntries([...evidence.claims.pcrs].map(([at, pcr]) => [`${at}`, hex(pcr)])),
      public_key_hex: evidence.publicKey === null ? null : hex(evidence.publicKey),
      user_data_hex: evidence.userData === null ? null : hex(evidence.userData),
      nonce_hex: evidence.nonce === null ? null : hex(evidence.nonce),
    });
    expect(evidence.endorsements).toHaveLength(5);
  },
);

test.skipIf(absent).for(refused)("[TT-1] refuses $file", ({ file }) => {
  expect(() => verifyNitroDocument(read(file), [AWS_NITRO_ROOT_G1], { mode: "replay" })).toThrow(
    SymphonyError,
  );
});

test.skipIf(absent).for(index.time_cases)("judges $file live at $at_ms$at: $expected", (timed) => {
  const nowMs = timed.at_ms ?? Date.parse(timed.at ?? "");
  const verify = () =>
    verifyNitroDocument(read(timed.file), [AWS_NITRO_ROOT_G1], { mode: "live", nowMs });
  if (timed.expected.startsWith("valid")) {
    expect(verify().timestampMs).toBeGreaterThan(0);
  } else {
    expect(verify).toThrow(
      expect.objectContaining({
        code: timed.expected.includes("not yet")
          ? "TEE_CERTIFICATE_NOT_YET_VALID"
          : "TEE_CERTIFICATE_EXPIRED",
      }),
    );
  }
});

test.skipIf(absent)("trusts no genuine document under a simulator's root alone", () => {
  for (const { file } of valid) {
    expect(() => verifyNitroDocument(read(file), [ANCHOR], { mode: "replay" })).toThrow(
      expect.objectContaining({ code: "TEE_CHAIN_UNTRUSTED" }),
    );
  }
});

function policyFor(file: string): AppraisalPolicy {
  const claims = index.vectors.find((vector) => vector.file === file)?.claims;
  if (claims === null || claims === undefined) throw new Error("no claims");
  const { pcrs, nonce_hex, timestamp_ms } = claims;
  const pcr = (at: number): string => pcrs[`${at}`] ?? "";
  return {
    platforms: ["aws-nitro"],
    measurements: [
      {
        pcr0: pcr(0),
        pcr1: pcr(1),
        pcr2: pcr(2),
        validFromMs: 0,
        validUntilMs: timestamp_ms + 60_000,
      },
    ],
    revokedMeasurements: [],
    revokedIdentities: [],
    nitro: { pcr3: { unchecked: "any role" }, pcr8: { unchecked: "unsigned image" } },
    snp: null,
    tdx: null,
    nonce:
      nonce_hex === null || nonce_hex === ""
        ? { unchecked: "the document has none" }
        : { equals: fromHex(nonce_hex) },
    userData: { unchecked: "another project's format" },
    publicKey: { unchecked: "another project's format" },
    maxAgeMs: { atMost: 60_000 },
    judgedAtMs: timestamp_ms + 1000,
  };
}

test.skipIf(absent)(
  "[TT-2] archives an AttestationReport of a genuine document and replays it",
  () => {
    const evidence = verifyNitroDocument(read(PRODUCTION), [AWS_NITRO_ROOT_G1], {
      mode: "replay",
    });
    const policy = policyFor(PRODUCTION);
    const report = appraiseEvidence(evidence, policy);
    expect(report).toMatchObject({ platform: "aws-nitro", time_ms: 1_665_651_482_136 });
    expect(verifyReportReplay(report, [AWS_NITRO_ROOT_G1], policy)).toEqual(report);
  },
);

test.skipIf(absent).for(valid)(
  "[TT-1] accepts $file only when it is no debug enclave's",
  ({ file, debug_mode }) => {
    const evidence = verifyNitroDocument(read(file), [AWS_NITRO_ROOT_G1], { mode: "replay" });
    const appraise = () => appraiseEvidence(evidence, policyFor(file));
    if (debug_mode === true) {
      expect(appraise).toThrow(expect.objectContaining({ code: "TEE_DEBUG_REFUSED" }));
    } else {
      expect(appraise().enclave_identity).toBe(evidence.identity);
    }
  },
);
