import { createHash } from "node:crypto";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";

import { expect, test } from "vitest";
import { z } from "zod";

import {
  INTEL_SGX_ROOT_CA,
  appraiseEvidence,
  parseAnchor,
  parseTdxQuote,
  verifyReportReplay,
  verifyTdxQuote,
  type Collateral,
  type JudgedAt,
} from "../../attestation/index.ts";
import { parseBody, parseStatement, tcbInfoSchema } from "../../attestation/tdx/statement.ts";
import { SymphonyError, fromHex, hex, utf8 } from "../../protocol/index.ts";
import { TDX_EXPECTATIONS, tdxPolicyOf } from "./tdx-forge.ts";

const SHARED = join(
  process.env["SYMPHONY_SHARED"] ?? join(import.meta.dirname, "../../../shared"),
  "vectors",
);
const absent = !existsSync(join(SHARED, "tdx/index.json"));
const ANCHORS = [INTEL_SGX_ROOT_CA];
const SPR = "tdx/google/quote-v4-spr.bin";
const V5 = "tdx/google/quote-v5.bin";
const OUTDATED = "tdx/phala/tdx_quote_outdated";
const NEAR = "tdx/phala/near_quote_hex.txt";

/** Quotes whose collateral is there, and a time within all its windows, judged by hand from its dates. */
const PAIRS = [
  ["tdx/phala/tdx_quote", "tdx/phala/tdx_quote_collateral.json", "2025-06-25", "UpToDate"],
  ["tdx/phala/tdx-quote.hex", "tdx/phala/tdx_quote_collateral.json", "2025-06-25", "NotSupported"],
  [NEAR, "tdx/phala/near_quote_collateral.json", "2025-09-15", "UpToDate"],
  [OUTDATED, `${OUTDATED}_collateral.json`, "2026-02-25", "NotSupported"],
  [V5, `${OUTDATED}_collateral.json`, "2026-02-25", "UpToDate"],
] as const;
const pairs = absent ? [] : PAIRS;

const claimsSchema = z.object({
  tee_tcb_svn: z.string(),
  mrseam: z.string(),
  tdattributes: z.string(),
  xfam: z.string(),
  mrtd: z.string(),
  mrconfigid: z.string(),
  rtmr0: z.string(),
  rtmr1: z.string(),
  rtmr2: z.string(),
  rtmr3: z.string(),
  report_data: z.string(),
});
const entrySchema = z.object({
  file: z.string(),
  kind: z.string(),
  claims: z.record(z.string(), z.unknown()).optional(),
});
const entries = absent
  ? []
  : z
      .object({ vectors: z.array(entrySchema) })
      .parse(JSON.parse(readFileSync(join(SHARED, "tdx/index.json"), "utf8")))
      .vectors.filter(({ claims }) => claims !== undefined);
const quotes = entries.filter(({ kind }) => kind.startsWith("TDX"));

function quoteOf(file: string): Uint8Array {
  const bytes = readFileSync(join(SHARED, file));
  const text = bytes.toString("latin1").trim();
  return /\.(hex|txt)$/.test(file) ? fromHex(text.replace(/^0x/, "")) : new Uint8Array(bytes);
}

/** A project's file of collateral: the inner objects and their signatures apart. */
const collateralSchema = z.record(z.string(), z.string());

function collateralOf(file: string): Collateral {
  const parts = collateralSchema.parse(JSON.parse(readFileSync(join(SHARED, file), "utf8")));
  const part = (name: string): string => parts[name] ?? "";
  const pem = /-----BEGIN CERTIFICATE-----([A-Za-z0-9+/=\s]+)-----END/g;
  const chain = [...part("tcb_info_issuer_chain").matchAll(pem)].map(
    ([, base64 = ""]) => new Uint8Array(Buffer.from(base64, "base64")),
  );
  const statement = (member: string, name: string): Uint8Array =>
    utf8(`{"${member}":${part(name)},"signature":"${part(`${name}_signature`)}"}`);
  return {
    tcbInfo: statement("tcbInfo", "tcb_info"),
    qeIdentity: statement("enclaveIdentity", "qe_identity"),
    tcbSigningChain: chain.toReversed(),
    pckCrl: fromHex(part("pck_crl")),
    rootCrl: fromHex(part("root_ca_crl")),
  };
}

const at = (date: string): JudgedAt => ({ mode: "live", nowMs: Date.parse(date) });
const judge = (file: string, collateral: string, when: JudgedAt) =>
  verifyTdxQuote(
    { document: quoteOf(file), collateral: collateralOf(collateral), binding: null },
    ANCHORS,
    when,
  );
const codeOf = (run: () => unknown): string => {
  try {
    run();
  } catch (error) {
    return error instanceof SymphonyError ? error.code : "untyped";
  }
  return "accepted";
};

test("carries Intel's root under its published fingerprint", () => {
  const { certificate } = INTEL_SGX_ROOT_CA;
  expect(createHash("sha256").update(certificate).digest("hex")).toBe(
    "44a0196b2b99f889b8e149e95b807a350e7424964399e885a7cbb8ccfab674d3",
  );
  expect(parseAnchor(certificate)).toEqual(INTEL_SGX_ROOT_CA);
});

test.skipIf(absent)("the genuine quotes are there", () => {
  expect(quotes).toHaveLength(8);
});

test.for(quotes)("[TT-1] reads $file as its index does", ({ file, claims }) => {
  const { report } = parseTdxQuote(quoteOf(file));
  const [rtmr0, rtmr1, rtmr2, rtmr3] = report.rtmrs.map(hex);
  expect({
    tee_tcb_svn: hex(report.teeTcbSvn),
    mrseam: hex(report.mrSeam),
    tdattributes: hex(report.tdAttributes),
    xfam: hex(report.xfam),
    mrtd: hex(report.mrTd),
    mrconfigid: hex(report.mrConfigId),
    rtmr0,
    rtmr1,
    rtmr2,
    rtmr3,
    report_data: hex(report.reportData),
  }).toEqual(claimsSchema.parse(claims));
});

test.for(pairs)("[TT-1] verifies %s with %s: %s, %s", ([file, collateral, date, status]) => {
  const evidence = judge(file, collateral, at(date));
  expect(evidence.platform).toBe("intel-tdx");
  expect(evidence.claims.tcb).toMatchObject({ status, advisoryIds: [] });
  expect(evidence.identity).toMatch(/^[0-9a-f]{32}$/);
});

test.for(pairs)("[TT-2] refuses %s with %s outside of its windows", ([file, collateral, date]) => {
  const { expiries } = judge(file, collateral, at(date));
  const end = Math.min(...expiries.map(({ notAfterMs }) => notAfterMs));
  const live = (nowMs: number): JudgedAt => ({ mode: "live", nowMs });
  expect(codeOf(() => judge(file, collateral, live(end)))).toBe("accepted");
  expect(codeOf(() => judge(file, collateral, live(end + 1)))).toBe("TEE_COLLATERAL_EXPIRED");
  const early = Date.parse(date) - 60 * 24 * 3_600_000;
  expect(codeOf(() => judge(file, collateral, live(early)))).toMatch(/EXPIRED|NOT_YET_VALID/);
  expect(codeOf(() => judge(file, collateral, { mode: "replay" }))).toBe("TEE_POLICY_EMPTY");
});

test.for(quotes)(
  "[TT-1] every signature of $file is good, though collateral may be of other platforms",
  ({ file }) => {
    // PCK certificates began in 2022 to 2026 and live seven years; collateral of another kind of platform.
    const times = ["2025-06-25", "2025-09-15", "2026-02-25"] as const;
    const files = [PAIRS[0][1], PAIRS[2][1], PAIRS[3][1]] as const;
    const codes = times.map((time, index) =>
      codeOf(() => judge(file, files[index] ?? files[0], at(time))),
    );
    const judged = codes.filter((code) => /^(accepted|TEE_COLLATERAL_MALFORMED)$/.test(code));
    expect(judged).not.toEqual([]);
    expect(codes).not.toContain("TEE_SIGNATURE_INVALID");
  },
);

test.skipIf(absent)(
  "[TT-2] an archived genuine quote verifies again, and appraises the same",
  () => {
    const evidence = judge(V5, `${OUTDATED}_collateral.json`, at("2026-02-25"));
    const { measurement, claims } = evidence;
    const unbound = { unchecked: "bound to something else" };
    const policy = tdxPolicyOf({
      measurements: [{ ...measurement, validFromMs: 0, validUntilMs: Date.parse("2026-03-01") }],
      nonce: unbound,
      userData: unbound,
      publicKey: unbound,
      judgedAtMs: Date.parse("2026-02-25"),
      tdx: {
        ...TDX_EXPECTATIONS,
        mrSeam: { equals: claims.mrSeam },
        mrConfigId: { equals: claims.mrConfigId },
        mrOwner: { equals: claims.mrOwner },
        mrOwnerConfig: { equals: claims.mrOwnerConfig },
        mrServiceTd: { equals: "00".repeat(48) },
        reportData: { equals: claims.reportData },
      },
    });
    const report = appraiseEvidence(evidence, policy);
    expect(verifyReportReplay(report, ANCHORS, policy)).toEqual(report);
  },
);

test.skipIf(absent)("[TT-1] a genuine quote without SEPT_VE_DISABLE says so", () => {
  const { report } = parseTdxQuote(quoteOf(SPR));
  expect(hex(report.tdAttributes)).toBe("0000004000000000");
});

test.skipIf(absent)("[TT-1] refuses the genuine SGX quote as one", () => {
  const run = (): unknown => parseTdxQuote(quoteOf("tdx/phala/sgx_quote"));
  expect(run).toThrow("expected a TDX quote, got an SGX quote (version 3, TEE type 0)");
  expect(codeOf(run)).toBe("TEE_PLATFORM_REFUSED");
});

test.skipIf(absent)("[TT-1] refuses a genuine quote with any part altered", () => {
  const document = quoteOf(V5);
  const collateral = collateralOf(`${OUTDATED}_collateral.json`);
  const run = (altered: Uint8Array): string =>
    codeOf(() =>
      verifyTdxQuote({ document: altered, collateral, binding: null }, ANCHORS, at("2026-02-25")),
    );
  expect(run(document)).toBe("accepted");
  for (let place = 0; place < document.length - 1; place += 97) {
    expect(run(document.with(place, (document[place] ?? 0) ^ 0x10))).toMatch(/^TEE_/);
  }
});

test.skipIf(absent)("[TT-1] the bytes after the signature data change nothing", () => {
  const file = "tdx/phala/tdx_quote";
  const document = quoteOf(file);
  const collateral = collateralOf(PAIRS[0][1]);
  const ended = document.slice(0, -70);
  const run = (quote: Uint8Array) =>
    verifyTdxQuote({ document: quote, collateral, binding: null }, ANCHORS, at("2025-06-25"));
  expect(run(ended).claims).toEqual(run(document).claims);
  expect(run(document.fill(0xff, ended.length)).claims).toEqual(run(ended).claims);
  expect(codeOf(() => run(ended.slice(0, -1)))).toBe("TEE_DOCUMENT_MALFORMED");
});

test.skipIf(absent)("[TT-1] reads TCB info of modules before and after they had versions", () => {
  const read = (file: string) => {
    const text = new Uint8Array(readFileSync(join(SHARED, "tdx/google", file)));
    return parseBody(parseStatement(text, "tcbInfo").body, tcbInfoSchema, "tcbInfo");
  };
  expect(read("tcb_info.json")).toMatchObject({ fmspc: "50806f000000" });
  expect(read("tcb_info.json").tdxModuleIdentities).toBeUndefined();
  expect(read("tcb_info_v5.json").tdxModuleIdentities).toHaveLength(2);
});
