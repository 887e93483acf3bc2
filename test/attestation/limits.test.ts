import { describe, expect, test } from "vitest";

import { parseCertificate } from "../../attestation/certificate.ts";
import { parseDerElements } from "../../attestation/der.ts";
import { NITRO_PROFILE } from "../../attestation/profile.ts";
import {
  appraiseEvidence,
  attestationReportSchema,
  verifyNitroDocument,
  type AttestationReport,
} from "../../attestation/index.ts";
import { concat, fromHex } from "../../protocol/index.ts";
import { longLeafChain } from "../vectors/attestation/cases/d-certificate.ts";
import { ANCHOR, forgeDocument, policyOf } from "./forge.ts";

const chainMalformed = expect.objectContaining({ code: "TEE_CHAIN_MALFORMED" });

test("a certificate of 1024 bytes is read, one of 1025 is not", () => {
  const leaf = (bytes: number): Uint8Array => longLeafChain(bytes).at(-1) ?? new Uint8Array(0);
  expect(parseCertificate(leaf(1024), NITRO_PROFILE).isAuthority).toBe(false);
  expect(() => parseCertificate(leaf(1025), NITRO_PROFILE)).toThrow(chainMalformed);
});

describe("lengths in DER take as few octets as they can", () => {
  const element = (head: string, length: number): Uint8Array =>
    concat(fromHex(head), new Uint8Array(length));

  test.for([
    ["0400", 0],
    ["047f", 127],
    ["048180", 128],
    ["0481ff", 255],
    ["04820100", 256],
    ["0482ffff", 65_535],
    ["0483010000", 65_536],
  ] as const)("%s is read", ([head, length]) => {
    const [read] = parseDerElements(element(head, length));
    expect(read?.content).toHaveLength(length);
  });

  test.for([
    ["048100", 0],
    ["04817f", 127],
    ["048200ff", 255],
    ["048300ffff", 65_535],
    ["048400010000", 65_536],
    ["0480", 0],
    ["1f00", 0],
    ["047f", 126],
    ["0482", 0],
    ["04", 0],
  ] as const)("%s before %i bytes is refused", ([head, length]) => {
    expect(() => parseDerElements(element(head, length))).toThrow(chainMalformed);
  });
});

describe("the fields of an archived report have limits", () => {
  const verified = verifyNitroDocument(forgeDocument(), [ANCHOR], { mode: "replay" });
  const report = appraiseEvidence(verified, policyOf());
  const bytes = (length: number): Uint8Array => new Uint8Array(length);
  const list = <T>(length: number, item: T): T[] => Array.from({ length }, () => item);
  const collateral = {
    tcb_info: bytes(1),
    qe_identity: bytes(1),
    tcb_signing_chain: list(2, bytes(1)),
    pck_crl: bytes(1),
    root_crl: bytes(1),
  };
  const expiry = { subject: "certificate 0", not_after_ms: 1 };
  const isReport = (change: Partial<AttestationReport>): boolean =>
    attestationReportSchema.safeParse({ ...report, ...change }).success;

  test.for<{
    name: string;
    within: Partial<AttestationReport>;
    beyond: Partial<AttestationReport>;
  }>([
    {
      name: "16 384 bytes of evidence",
      within: { evidence: bytes(16_384) },
      beyond: { evidence: bytes(16_385) },
    },
    { name: "1024 bytes of nonce", within: { nonce: bytes(1024) }, beyond: { nonce: bytes(1025) } },
    {
      name: "nine endorsements",
      within: { endorsements: list(9, bytes(1)) },
      beyond: { endorsements: list(10, bytes(1)) },
    },
    {
      name: "two endorsements at least",
      within: { endorsements: list(2, bytes(1)) },
      beyond: { endorsements: list(1, bytes(1)) },
    },
    {
      name: "4096 bytes of a certificate",
      within: { endorsements: list(2, bytes(4096)) },
      beyond: { endorsements: list(2, bytes(4097)) },
    },
    {
      name: "262 144 bytes of a statement",
      within: { collateral: { ...collateral, tcb_info: bytes(262_144) } },
      beyond: { collateral: { ...collateral, tcb_info: bytes(262_145) } },
    },
    {
      name: "18 dates of expiry",
      within: { expiries: list(18, expiry) },
      beyond: { expiries: list(19, expiry) },
    },
    { name: "one date of expiry", within: { expiries: [expiry] }, beyond: { expiries: [] } },
    {
      name: "64 characters of a subject",
      within: { expiries: [{ ...expiry, subject: "s".repeat(64) }] },
      beyond: { expiries: [{ ...expiry, subject: "s".repeat(65) }] },
    },
    {
      name: "one character of a subject",
      within: { expiries: [{ ...expiry, subject: "s" }] },
      beyond: { expiries: [{ ...expiry, subject: "" }] },
    },
    {
      name: "128 characters of an identity",
      within: { enclave_identity: "i".repeat(128) },
      beyond: { enclave_identity: "i".repeat(129) },
    },
    {
      name: "one character of an identity",
      within: { enclave_identity: "i" },
      beyond: { enclave_identity: "" },
    },
  ])("$name", ({ within, beyond }) => {
    expect(isReport(within)).toBe(true);
    expect(isReport(beyond)).toBe(false);
  });
});
