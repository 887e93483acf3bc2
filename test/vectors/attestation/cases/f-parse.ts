import { concat, fromHex } from "../../../../protocol/index.ts";
import { u32 } from "../../../attestation/snp-forge.ts";
import type { SnpBase } from "./f-bases.ts";
import { GENOA, MILAN, TURIN, resigned, withBytes, type SnpCase } from "./f-case.ts";

const ONE = fromHex("01");

/** A report that is signed as it stands, and malformed. */
function malformed(
  title: string,
  base: SnpBase,
  patch: Readonly<Record<number, string>>,
  check: string | null,
): SnpCase {
  const document = resigned(base, patch);
  return {
    title,
    base: base.name,
    document,
    stage: "parse",
    code: "TEE_DOCUMENT_MALFORMED",
    check,
  };
}

/** A report altered where the signature does not cover it. */
function unsigned(title: string, document: Uint8Array, check: string): SnpCase {
  return {
    title,
    base: MILAN.name,
    document,
    stage: "parse",
    code: "TEE_DOCUMENT_MALFORMED",
    check,
  };
}

/** Reports that are refused for their shape. */
export function parseCases(): readonly SnpCase[] {
  return [
    unsigned("a byte after the report", concat(MILAN.document, fromHex("00")), "snp-size"),
    unsigned("the last byte missing", MILAN.document.slice(0, -1), "snp-size"),
    unsigned("two reports in a row", concat(MILAN.document, MILAN.document), "snp-size"),
    { ...unsigned("no bytes", new Uint8Array(0), ""), check: null },
    malformed("version 0", MILAN, { 0: u32(0) }, "snp-version"),
    malformed("version 1", MILAN, { 0: u32(1) }, "snp-version"),
    malformed("version 4, which is not documented", GENOA, { 0: u32(4) }, "snp-version"),
    malformed("version 6", TURIN, { 0: u32(6) }, "snp-version"),
    malformed("version 2 + 2^24", TURIN, { 0: u32(0x01_00_00_02) }, "snp-version"),
    malformed("signature algorithm 0", MILAN, { 0x34: u32(0) }, "snp-signature-algorithm"),
    malformed("signature algorithm 2", GENOA, { 0x34: u32(2) }, "snp-signature-algorithm"),
    ...reservedCases(),
    ...unsignedCases(),
    malformed(
      "guest policy without its reserved one",
      MILAN,
      { 8: u32(0x01_51_1f_01) },
      "snp-policy-one",
    ),
    malformed(
      "an unknown bit 26 in the guest policy",
      MILAN,
      { 8: u32(0x05_53_1f_01) },
      "snp-policy-low",
    ),
    malformed(
      "an unknown bit 31 in the guest policy",
      TURIN,
      { 8: u32(0x80_03_1f_01) },
      "snp-policy-low",
    ),
    malformed("an unknown bit 32 in the guest policy", MILAN, { 12: "01" }, "snp-policy-high"),
    malformed("an unknown bit 63 in the guest policy", GENOA, { 15: "80" }, "snp-policy-high"),
    malformed("an unknown bit 8 in platform_info", MILAN, { 0x41: "01" }, "snp-platform-low"),
    malformed("an unknown bit 31 in platform_info", TURIN, { 0x43: "80" }, "snp-platform-low"),
    malformed("an unknown bit 32 in platform_info", MILAN, { 0x44: "01" }, "snp-platform-high"),
    malformed("an unknown bit 63 in platform_info", GENOA, { 0x47: "80" }, "snp-platform-high"),
    {
      ...malformed("an unknown signing key", GENOA, { 0x48: "0a" }, "snp-signing-key"),
      policy: { snp: { signingKey: ANY, cspId: ANY } },
    },
    {
      ...malformed("a report that says it is not signed", GENOA, { 0x48: "1e" }, "snp-signing-key"),
      policy: { snp: { signingKey: ANY, cspId: ANY } },
    },
    malformed("an unknown bit beside the signing key", MILAN, { 0x48: "21" }, "snp-keys-reserved"),
    malformed(
      "an unknown bit 31 beside the signing key",
      TURIN,
      { 0x4b: "80" },
      "snp-keys-reserved",
    ),
    {
      ...malformed(
        "a report that the host asked for",
        MILAN,
        { 0x30: u32(0xff_ff_ff_ff) },
        "snp-vmpl-range",
      ),
      policy: { snp: { vmpl: ANY } },
    },
    {
      ...malformed("privilege level 4", TURIN, { 0x30: u32(4) }, "snp-vmpl-range"),
      policy: { snp: { vmpl: ANY } },
    },
  ];
}

const ANY = { unchecked: "to show what refuses it" };

function reservedCases(): readonly SnpCase[] {
  return [
    malformed("a byte after the signing key", MILAN, { 0x4c: "01" }, "snp-zero-4c"),
    malformed("the last byte before REPORT_DATA", GENOA, { 0x4f: "01" }, "snp-zero-4c"),
    malformed("a byte after the current version", MILAN, { 0x1eb: "01" }, "snp-zero-1eb"),
    malformed("a byte after the committed version", MILAN, { 0x1ef: "01" }, "snp-zero-1ef"),
    malformed("a byte after the mitigation vectors", TURIN, { 0x208: "01" }, "snp-zero-208"),
    malformed("the last byte before the signature", MILAN, { 0x29f: "80" }, "snp-zero-208"),
    malformed("a processor family in version 2", MILAN, { 0x188: "19" }, "snp-zero-cpuid"),
    malformed("a processor stepping in version 2", MILAN, { 0x18a: "01" }, "snp-zero-cpuid"),
    malformed("a byte after the processor's stepping", GENOA, { 0x18b: "01" }, "snp-zero-18b"),
    malformed("the last byte before CHIP_ID", TURIN, { 0x19f: "01" }, "snp-zero-18b"),
    malformed("a launch mitigation in version 2", MILAN, { 0x1f8: "01" }, "snp-zero-mitigations"),
    malformed("a current mitigation in version 3", GENOA, { 0x207: "01" }, "snp-zero-mitigations"),
  ];
}

/** A second form of the same report: what stands here is not signed. */
function unsignedCases(): readonly SnpCase[] {
  const { document } = MILAN;
  return [
    unsigned("R longer than 48 bytes", withBytes(document, 0x2d0, ONE), "snp-zero-r"),
    unsigned("R of 72 bytes", withBytes(document, 0x2e7, ONE), "snp-zero-r"),
    unsigned("S longer than 48 bytes", withBytes(document, 0x318, ONE), "snp-zero-s"),
    unsigned("S of 72 bytes", withBytes(document, 0x32f, ONE), "snp-zero-s"),
    unsigned("a byte after S", withBytes(document, 0x330, ONE), "snp-zero-end"),
    unsigned("the last byte set", withBytes(document, 0x49f, ONE), "snp-zero-end"),
  ];
}
