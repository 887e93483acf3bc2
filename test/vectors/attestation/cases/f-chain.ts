import { generateKeyPairSync } from "node:crypto";

import { fromHex, hex, utf8 } from "../../../../protocol/index.ts";
import { der } from "../../../../host/sovereignty/custody/cms.ts";
import { basicConstraints, keyUsage } from "../../../../sim/x509.ts";
import {
  SNP_KEYS,
  SNP_NOW,
  forgeArk,
  forgeAsk,
  forgeLeaf,
  ia5,
  leafExtensions,
  leafValues,
  type LeafValues,
} from "../../../attestation/snp-forge.ts";
import { GENOA, MILAN, MILAN_LATER, TURIN, leafWith, resigned, type SnpCase } from "./f-case.ts";

const ANY = { unchecked: "to show what refuses it" };
const UNTRUSTED = { stage: "verify", code: "TEE_CHAIN_UNTRUSTED" } as const;
const MALFORMED = { stage: "verify", code: "TEE_CHAIN_MALFORMED" } as const;

/** Certificates that are refused, whatever the report. */
export function chainCases(): readonly SnpCase[] {
  return [...lengthAndRootCases(), ...kindCases(), ...extensionCases(), ...timeCases()];
}

function lengthAndRootCases(): readonly SnpCase[] {
  const unbounded = [basicConstraints({ pathLength: null }), keyUsage(4, { critical: true })];
  const small = generateKeyPairSync("rsa", { modulusLength: 3072 });
  const foreign = forgeArk("ASK-Milan");
  const unknown = forgeArk("ARK-Rome");
  return [
    {
      title: "a VCEK that may sign certificates, and a leaf below it",
      base: MILAN.name,
      endorsements: {
        1: forgeAsk(MILAN.authority, { issuer: "ARK-Milan", extensions: unbounded }),
        2: forgeLeaf(MILAN.leaf, {
          issuer: MILAN.authority,
          publicKey: SNP_KEYS.ask.publicKey,
          extensions: [...leafExtensions(MILAN.leaf), ...unbounded],
        }),
        3: forgeLeaf({ "02": ia5("Milan") }, { issuer: "SEV-VCEK" }),
      },
      ...MALFORMED,
      check: "snp-chain-length",
    },
    {
      title: "no ASK: the VCEK under the ARK",
      base: MILAN.name,
      endorsements: {
        1: forgeLeaf(MILAN.leaf, { issuer: "ARK-Milan", issuerKey: SNP_KEYS.ark.privateKey }),
      },
      swap: { "endorsements/2": null },
      ...MALFORMED,
      check: null,
    },
    {
      title: "the ARK alone",
      base: MILAN.name,
      swap: { "endorsements/1": null, "endorsements/2": null },
      ...MALFORMED,
      check: null,
    },
    {
      title: "a root that is trusted and no ARK by its name",
      base: MILAN.name,
      endorsements: {
        0: foreign,
        1: forgeAsk(MILAN.authority, { issuer: "ASK-Milan" }),
      },
      anchors: [{ platform: "amd-sev-snp", certificate: `hex:${hex(foreign)}` }],
      ...UNTRUSTED,
      check: "snp-root-name",
    },
    {
      title: "the root of a product line that is not known",
      base: MILAN.name,
      endorsements: {
        0: unknown,
        1: forgeAsk("SEV-Rome", { issuer: "ARK-Rome" }),
        2: forgeLeaf({ ...MILAN.leaf, "02": ia5("Rome-B0") }, { issuer: "SEV-Rome" }),
      },
      anchors: [{ platform: "amd-sev-snp", certificate: `hex:${hex(unknown)}` }],
      ...UNTRUSTED,
      check: null,
    },
    {
      title: "an ASK without a common name",
      base: MILAN.name,
      endorsements: {
        1: forgeAsk("", { issuer: "ARK-Milan" }),
        2: forgeLeaf(MILAN.leaf, { issuer: "" }),
      },
      ...MALFORMED,
      check: null,
    },
    {
      title: "a root that is trusted for another platform",
      base: MILAN.name,
      anchors: [{ platform: "aws-nitro", certificate: "snp-milan-ark.der" }],
      policy: { platforms: ["aws-nitro", "amd-sev-snp"], nitro: { pcr3: ANY, pcr8: ANY } },
      stage: "verify",
      code: "TEE_PLATFORM_REFUSED",
      check: "snp-anchor-platform",
    },
    {
      title: "another root of the same name and key",
      base: MILAN.name,
      endorsements: { 0: forgeArk("ARK-Milan") },
      ...UNTRUSTED,
      check: "root-pinned",
    },
    {
      title: "the root of another product line",
      base: MILAN.name,
      swap: { "endorsements/0": "snp-genoa-ark.der" },
      anchors: [{ platform: "amd-sev-snp", certificate: "snp-genoa-ark.der" }],
      ...UNTRUSTED,
      check: null,
    },
    {
      title: "an ASK with a key of 3072 bits",
      base: MILAN.name,
      endorsements: {
        1: forgeAsk(MILAN.authority, { issuer: "ARK-Milan", publicKey: small.publicKey }),
        2: forgeLeaf(MILAN.leaf, { issuer: MILAN.authority, issuerKey: small.privateKey }),
      },
      ...MALFORMED,
      check: "snp-key-size",
    },
  ];
}

/** VCEK and VLEK, and product lines, in the places of one another. */
function kindCases(): readonly SnpCase[] {
  const chipId = MILAN.report[0x1a0] ?? "";
  const reported = GENOA.report[0x180] ?? "";
  const asVlek = { ...MILAN.leaf, "04": null, "05": ia5("example-cloud") };
  const genoaAsk = "SEV-Genoa";
  return [
    {
      title: "the ASK of another product line under the ARK",
      base: MILAN.name,
      endorsements: {
        1: forgeAsk(genoaAsk, { issuer: "ARK-Milan" }),
        2: forgeLeaf(MILAN.leaf, { issuer: genoaAsk }),
      },
      ...UNTRUSTED,
      check: "snp-authority-name",
    },
    {
      title: "a VLEK under the ASK",
      base: MILAN.name,
      document: resigned(MILAN, { 0x48: "05" }),
      endorsements: { 2: forgeLeaf(asVlek, { issuer: MILAN.authority }) },
      policy: { snp: { signingKey: ANY } },
      ...UNTRUSTED,
      check: "snp-authority-name",
    },
    {
      title: "a VCEK under the ASVK",
      base: GENOA.name,
      document: resigned(GENOA, { 0x48: "02", 0x1a0: chipId }),
      endorsements: {
        2: forgeLeaf(leafValues("Genoa", reported, { hwId: fromHex(chipId) }), {
          issuer: GENOA.authority,
        }),
      },
      policy: { snp: { signingKey: ANY, chipIdMasked: ANY } },
      ...UNTRUSTED,
      check: "snp-authority-name",
    },
    {
      title: "a VCEK that names a cloud provider",
      base: MILAN.name,
      endorsements: { 2: leafWith(MILAN, { "05": ia5("example-cloud") }) },
      ...UNTRUSTED,
      check: "snp-csp-id",
    },
    {
      title: "a VLEK that names no cloud provider",
      base: GENOA.name,
      document: resigned(GENOA, { 0x1a0: chipId }),
      endorsements: { 2: leafWith(GENOA, { "05": null }) },
      policy: { snp: { cspId: ANY, chipIdMasked: ANY } },
      ...UNTRUSTED,
      check: "snp-csp-id",
    },
    {
      title: "a VCEK that names no chip",
      base: MILAN.name,
      endorsements: { 2: leafWith(MILAN, { "04": null }) },
      ...UNTRUSTED,
      check: "snp-hw-id",
    },
    {
      title: "a VLEK that names a chip",
      base: GENOA.name,
      document: resigned(GENOA, { 0x1a0: chipId }),
      endorsements: { 2: leafWith(GENOA, { "04": fromHex(chipId) }) },
      policy: { snp: { chipIdMasked: ANY } },
      ...UNTRUSTED,
      check: "snp-hw-id",
    },
    {
      title: "a VCEK of another product line",
      base: MILAN.name,
      endorsements: { 2: leafWith(MILAN, { "02": ia5("Genoa-B0") }) },
      ...UNTRUSTED,
      check: "snp-leaf-product",
    },
    {
      title: "a VCEK of a product that begins alike",
      base: TURIN.name,
      endorsements: { 2: leafWith(TURIN, { "02": ia5("TurinX") }) },
      ...UNTRUSTED,
      check: "snp-leaf-product",
    },
  ];
}

/** Extensions of a form that AMD's do not have. */
function extensionCases(): readonly SnpCase[] {
  const leaf = (title: string, values: LeafValues, check: string | null): SnpCase => ({
    title,
    base: MILAN.name,
    endorsements: { 2: leafWith(MILAN, values) },
    ...MALFORMED,
    check,
  });
  return [
    leaf("a product name in UTF-8", { "02": der(0x0c, utf8("Milan-B0")) }, "snp-text-tag"),
    leaf("a product name with a space", { "02": ia5("Milan- B0") }, "snp-text"),
    leaf("a product name of 65 characters", { "02": ia5(`Milan-${"B".repeat(59)}`) }, "snp-text"),
    leaf("no product name", { "02": null }, null),
    leaf("no level for SNP", { "03.03": null }, null),
    leaf("no level for a reserved component", { "03.06": null }, null),
    leaf("a level in a longer form", { "03.03": fromHex("02020018") }, "snp-level"),
    leaf("a level with a tag of its own", { "03.03": fromHex("0a0118") }, "snp-level-tag"),
    leaf("a level that is negative", { "03.08": fromHex("0201dc") }, "snp-level"),
    {
      ...leaf("a level of 127 in two bytes", {}, "snp-level"),
      base: MILAN_LATER.name,
      endorsements: { 2: leafWith(MILAN_LATER, { "03.08": fromHex("0202007f") }) },
    },
    leaf("a level of 128 in one byte", { "03.08": fromHex("020180") }, null),
    leaf("a level of 256 and more", { "03.08": fromHex("020201dc") }, "snp-level"),
    leaf("a level without a value", { "03.04": fromHex("0200") }, "snp-level"),
    {
      title: "a cloud provider's id of zero characters",
      base: GENOA.name,
      endorsements: { 2: leafWith(GENOA, { "05": ia5("") }) },
      policy: { snp: { cspId: ANY } },
      ...MALFORMED,
      check: "snp-text",
    },
    {
      title: "a cloud provider's id with a line break",
      base: GENOA.name,
      endorsements: { 2: leafWith(GENOA, { "05": ia5("example\ncloud") }) },
      policy: { snp: { cspId: ANY } },
      ...MALFORMED,
      check: "snp-text",
    },
  ];
}

function timeCases(): readonly SnpCase[] {
  const year = 365 * 24 * 3_600_000;
  const live = (nowMs: number) => ({ mode: "live", nowMs }) as const;
  return [
    {
      title: "live, a second after the VCEK ended",
      base: MILAN.name,
      at: live(SNP_NOW + 6 * year + 1000),
      stage: "verify",
      code: "TEE_CERTIFICATE_EXPIRED",
      check: "certificate-not-after",
    },
    {
      title: "live, a second before the VCEK began",
      base: MILAN.name,
      at: live(SNP_NOW - year - 1000),
      stage: "verify",
      code: "TEE_CERTIFICATE_NOT_YET_VALID",
      check: "certificate-not-before",
    },
    {
      title: "in a replay, recorded after the VLEK ended",
      base: GENOA.name,
      at: { mode: "replay", recordedMs: SNP_NOW + 6 * year + 1000 },
      stage: "verify",
      code: "TEE_CERTIFICATE_EXPIRED",
      check: "certificate-not-after",
    },
    {
      title: "after the VCEK ended, from a warm cache",
      base: MILAN.name,
      warm: true,
      at: live(SNP_NOW + 6 * year + 1000),
      stage: "verify",
      code: "TEE_CERTIFICATE_EXPIRED",
      check: "certificate-not-after",
    },
    {
      title: "a replay without the time of recording",
      base: MILAN.name,
      at: { mode: "replay" },
      stage: "verify",
      code: "TEE_POLICY_EMPTY",
      check: null,
    },
  ];
}
