import { fromHex, hex, utf8 } from "../../../../protocol/index.ts";
import { generateKeyPairSync } from "node:crypto";

import { SNP_NOW, forgeReport, level, type LeafValues } from "../../../attestation/snp-forge.ts";
import type { SnpBase } from "./f-bases.ts";
import {
  GENOA,
  MILAN,
  TURIN,
  flip,
  leafWith,
  resigned,
  withBytes,
  type SnpCase,
} from "./f-case.ts";

const ANY = { unchecked: "to show what refuses it" };
const FORGED = { stage: "verify", code: "TEE_SIGNATURE_INVALID", check: "snp-signature" } as const;

/** Reports that are refused as not authentic, under certificates that are good. */
export function reportCases(): readonly SnpCase[] {
  return [...signatureCases(), ...leafCases(), ...bindingCases()];
}

function signatureCases(): readonly SnpCase[] {
  const { document } = MILAN;
  const [r, s] = [document.slice(0x2a0, 0x2d0), document.slice(0x2e8, 0x318)];
  const other = generateKeyPairSync("ec", { namedCurve: "P-384" });
  const damaged = (title: string, changed: Uint8Array): SnpCase => ({
    title,
    base: MILAN.name,
    document: changed,
    ...FORGED,
  });
  const measurement = flip(fromHex(MILAN.report[0x90] ?? ""), 0);
  return [
    damaged("a bit of R flipped", flip(document, 0x2a0)),
    damaged("a bit of S flipped", flip(document, 0x2e8)),
    damaged(
      "R and S big endian",
      withBytes(withBytes(document, 0x2a0, r.toReversed()), 0x2e8, s.toReversed()),
    ),
    damaged("R and S exchanged", withBytes(withBytes(document, 0x2a0, s), 0x2e8, r)),
    damaged("R of zero", withBytes(document, 0x2a0, new Uint8Array(48))),
    damaged(
      "a signature of zeros, as of a masked chip key",
      withBytes(withBytes(document, 0x2a0, new Uint8Array(48)), 0x2e8, new Uint8Array(48)),
    ),
    damaged("another key's signature", forgeReport([MILAN.report], other.privateKey)),
    damaged("a bit of REPORT_ID flipped", flip(document, 0x140)),
    damaged("a bit of the guest's SVN flipped upwards", withBytes(document, 4, fromHex("08"))),
    {
      ...damaged(
        "a bit of the measurement flipped, and a policy that wants it so",
        flip(document, 0x90),
      ),
      policy: {
        measurements: [
          { measurement: hex(measurement), validFromMs: 0, validUntilMs: SNP_NOW + 1 },
        ],
      },
    },
    damaged(
      "the debug bit cleared after signing",
      withBytes(resigned(MILAN, { 0x0a: "5b" }), 0x0a, fromHex("53")),
    ),
  ];
}

/** A leaf that is genuine, of the right kind and line, and not this report's. */
function leafCases(): readonly SnpCase[] {
  const tcb = (title: string, base: SnpBase, values: LeafValues): SnpCase => ({
    title,
    base: base.name,
    endorsements: { 2: leafWith(base, values) },
    stage: "verify",
    code: "TEE_TCB_REFUSED",
    check: "snp-leaf-tcb",
  });
  const mismatch = { stage: "verify", code: "TEE_IDENTITY_MISMATCH" } as const;
  const cpu = (title: string, base: SnpBase, bytes: string): SnpCase => ({
    title,
    base: base.name,
    document: resigned(base, { 0x188: bytes }),
    ...mismatch,
    check: "snp-cpuid",
  });
  const chipId = fromHex(MILAN.report[0x1a0] ?? "");
  const shortId = fromHex(TURIN.report[0x1a0] ?? "");
  const chip = (title: string, base: SnpBase, hwId: Uint8Array): SnpCase => ({
    title,
    base: base.name,
    endorsements: { 2: leafWith(base, { "04": hwId }) },
    ...mismatch,
    check: "snp-leaf-chip",
  });
  return [
    tcb("the VCEK of an older boot loader", MILAN, { "03.01": level(6) }),
    tcb("the VCEK of a newer TEE", MILAN, { "03.02": level(2) }),
    tcb("the VCEK of another SNP firmware", MILAN, { "03.03": level(23) }),
    tcb("the VCEK of another microcode", MILAN, { "03.08": level(221) }),
    ...["4", "5", "6", "7"].map((digit) =>
      tcb(`the VCEK of another reserved level ${digit}`, MILAN, { [`03.0${digit}`]: level(1) }),
    ),
    tcb("the VLEK of another SNP firmware", GENOA, { "03.03": level(25) }),
    ...["4", "5", "6", "7"].map((digit) =>
      tcb(`the VLEK of another reserved level ${digit}`, GENOA, { [`03.0${digit}`]: level(1) }),
    ),
    tcb("the VCEK of another FMC", TURIN, { "03.09": level(1) }),
    tcb("the VCEK of another boot loader, Turin", TURIN, { "03.01": level(9) }),
    tcb("the VCEK of another TEE, Turin", TURIN, { "03.02": level(0) }),
    tcb("the VCEK of another SNP firmware, Turin", TURIN, { "03.03": level(4) }),
    ...["5", "6", "7"].map((digit) =>
      tcb(`the VCEK of another reserved level ${digit}, Turin`, TURIN, {
        [`03.0${digit}`]: level(1),
      }),
    ),
    tcb("the VCEK of another microcode, Turin", TURIN, { "03.08": level(0) }),
    tcb("REPORTED_TCB in the order of Milan, Turin", TURIN, {
      "03.09": level(0),
      "03.01": level(2),
      "03.02": level(7),
      "03.03": level(0),
    }),
    chip("the VCEK of a chip one bit other", MILAN, flip(chipId, 63)),
    chip("the VCEK of the first 63 bytes of the chip's id", MILAN, chipId.slice(0, 63)),
    chip("the VCEK of the first 8 bytes of the chip's id, Milan", MILAN, chipId.slice(0, 8)),
    chip("the VCEK of a chip one bit other, Turin", TURIN, flip(shortId, 7)),
    chip(
      "the VCEK of all 64 bytes of the chip's id, Turin",
      TURIN,
      withBytes(new Uint8Array(64), 0, shortId),
    ),
    {
      title: "a VCEK's report with the chip's id hidden",
      base: MILAN.name,
      document: resigned(MILAN, { 0x1a0: "00".repeat(64) }),
      policy: { snp: { chipIdMasked: ANY } },
      ...mismatch,
      check: "snp-leaf-chip",
    },
    cpu("a processor of Milan under Genoa's keys", GENOA, "190101"),
    cpu("a processor of Turin under Genoa's keys", GENOA, "1a1101"),
    cpu("a model between Genoa and its later ones", GENOA, "192001"),
    cpu("a model after Genoa's", GENOA, "19b001"),
    cpu("a processor of Genoa under Turin's keys", TURIN, "190201"),
    cpu("a model after Turin's", TURIN, "1a2001"),
    cpu("family 17h under Turin's keys", TURIN, "170201"),
    cpu("no processor in version 5", TURIN, "000000"),
    {
      ...cpu("a processor of Genoa under Milan's keys", MILAN, "191101"),
      document: resigned(MILAN, { 0: "03", 0x188: "191101" }),
    },
  ];
}

function bindingCases(): readonly SnpCase[] {
  const bound = {
    stage: "verify",
    code: "TEE_REPORT_DATA_MISMATCH",
    check: "snp-binding",
  } as const;
  const other = `hex:${hex(utf8("another value"))}`;
  const binding = (title: string, field: string, value: string | null, policy = {}): SnpCase => ({
    title,
    base: MILAN.name,
    swap: { [`binding/${field}`]: value },
    policy: { [field]: ANY, ...policy },
    ...bound,
  });
  return [
    binding("bound to another nonce", "nonce", other),
    binding("bound to a nonce that is not given", "nonce", null),
    binding("bound to other user data", "userData", other),
    binding("bound to another key", "publicKey", other),
    {
      title: "a binding for a report that has none",
      base: GENOA.name,
      swap: { "binding/nonce": other },
      ...bound,
    },
    {
      title: "nonce and user data exchanged",
      base: MILAN.name,
      swap: {
        "binding/nonce": `hex:${hex(utf8("digest of the manifest"))}`,
        "binding/userData": `hex:${hex(utf8("a nonce of this session"))}`,
      },
      policy: { nonce: ANY, userData: ANY },
      ...bound,
    },
  ];
}
