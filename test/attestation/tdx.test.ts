import fc from "fast-check";
import { expect, test } from "vitest";

import {
  appraisalFailures,
  appraiseEvidence,
  parseTdxQuote,
  verifyCollateral,
  verifyReportReplay,
  verifyTdxQuote,
  type Collateral,
  type JudgedAt,
  type VerifiedCollateral,
} from "../../attestation/index.ts";
import { CRL_BYTES_MAX, parseCrl } from "../../attestation/crl.ts";
import { INTEL_PROFILE } from "../../attestation/profile.ts";
import { parsePckChain } from "../../attestation/tdx/pck.ts";
import {
  STATEMENT_BYTES_MAX,
  parseBody,
  parseStatement,
  tcbInfoSchema,
} from "../../attestation/tdx/statement.ts";
import { SymphonyError, hex, utf8 } from "../../protocol/index.ts";
import {
  TCB_INFO,
  TDX_COLLATERAL,
  forgeCrl,
  forgeStatement,
  forgeTcbInfo,
  tcbLevel,
} from "./tdx-collateral.ts";
import {
  BINDING,
  FMSPC,
  PPID,
  TDX_ANCHOR,
  TDX_CHAIN,
  TDX_KEYS,
  TDX_NOW,
  TDX_ROOT,
  TD_MEASUREMENT,
  forgeIntel,
  forgeQuote,
  pemOf,
  tdxPolicyOf,
} from "./tdx-forge.ts";

const LIVE: JudgedAt = { mode: "live", nowMs: TDX_NOW };
const DAY = 24 * 3_600_000;

const judge = (
  document: Uint8Array = forgeQuote(),
  collateral: Collateral | VerifiedCollateral = TDX_COLLATERAL,
  at: JudgedAt = LIVE,
) => verifyTdxQuote({ document, collateral, binding: BINDING }, [TDX_ANCHOR], at);

const codeOf = (run: () => unknown): string => {
  try {
    run();
  } catch (error) {
    if (error instanceof SymphonyError) return error.code;
    throw error;
  }
  return "accepted";
};

test.for([4, 5] as const)(
  "[TT-1] a version %s quote is accepted and says what it is",
  (version) => {
    const evidence = judge(forgeQuote({ version }));
    expect(evidence).toMatchObject({
      platform: "intel-tdx",
      identity: PPID,
      timestampMs: null,
      judgedAtMs: TDX_NOW,
      measurement: TD_MEASUREMENT,
      isBound: true,
      ...BINDING,
    });
    expect(evidence.claims).toMatchObject({
      quoteVersion: version,
      reportVersion: version === 4 ? "1.0" : "1.5",
      isDebug: false,
      attributes: { septVeDisable: true, pks: false },
      mrServiceTd: version === 4 ? null : "00".repeat(48),
      platform: { fmspc: FMSPC, ppid: PPID, pceId: "0000", pceSvn: 13 },
      tcb: { status: "UpToDate", advisoryIds: [], evaluationDataNumber: 18 },
    });
    expect(evidence.expiries.map(({ subject }) => subject)).toEqual([
      "certificate 0",
      "certificate 1",
      "certificate 2",
      "tcb signing certificate",
      "tcb_info",
      "qe_identity",
      "root_crl",
      "pck_crl",
    ]);
    expect(appraisalFailures(evidence, tdxPolicyOf())).toEqual([]);
  },
);

test("[TT-2] an archived report verifies again at the time it was recorded, and at no other", () => {
  const policy = tdxPolicyOf();
  const report = appraiseEvidence(judge(), policy);
  expect(verifyReportReplay(report, [TDX_ANCHOR], policy)).toEqual(report);
  const later = { ...report, time_ms: TDX_NOW + 40 * DAY };
  expect(codeOf(() => verifyReportReplay(later, [TDX_ANCHOR], policy))).toBe(
    "TEE_COLLATERAL_EXPIRED",
  );
  const unbound = { ...report, nonce: utf8("another nonce") };
  expect(codeOf(() => verifyReportReplay(unbound, [TDX_ANCHOR], policy))).toBe(
    "TEE_REPORT_DATA_MISMATCH",
  );
});

test("[TT-2] what it hands out and what it was given cannot change what was verified", () => {
  const document = forgeQuote();
  const tcbInfo = TDX_COLLATERAL.tcbInfo.slice();
  const verified = verifyCollateral({ ...TDX_COLLATERAL, tcbInfo }, [TDX_ANCHOR], LIVE);
  const evidence = judge(document, verified);
  document.fill(0);
  tcbInfo.fill(0);
  evidence.claims.reportData.fill(0);
  evidence.collateral?.tcbInfo.fill(0);
  expect(
    codeOf(() =>
      verifyReportReplay(appraiseEvidence(evidence, tdxPolicyOf()), [TDX_ANCHOR], tdxPolicyOf()),
    ),
  ).toBe("accepted");
});

test("[TT-2] verified collateral serves many quotes, and none outside of its windows", () => {
  const verified = verifyCollateral(TDX_COLLATERAL, [TDX_ANCHOR], LIVE);
  const run = (nowMs: number) =>
    codeOf(() => judge(forgeQuote(), verified, { mode: "live", nowMs }));
  expect(run(TDX_NOW)).toBe("accepted");
  expect(run(TDX_NOW + 25 * DAY)).toBe("accepted");
  expect(run(TDX_NOW + 25 * DAY + 1)).toBe("TEE_COLLATERAL_EXPIRED");
  expect(run(TDX_NOW - 3 * DAY)).toBe("accepted");
  expect(run(TDX_NOW - 3 * DAY - 1)).toBe("TEE_COLLATERAL_EXPIRED");
  expect(run(Number.NaN)).toMatch(/^TEE_/);
});

test("[TT-2] verified collateral does not outlive its signing certificate", () => {
  const signer = forgeIntel("signer", {
    notBeforeMs: TDX_NOW - DAY,
    notAfterMs: TDX_NOW + DAY,
  });
  const collateral = { ...TDX_COLLATERAL, tcbSigningChain: [TDX_ROOT, signer] };
  const verified = verifyCollateral(collateral, [TDX_ANCHOR], LIVE);
  const run = (nowMs: number) =>
    codeOf(() => judge(forgeQuote(), verified, { mode: "live", nowMs }));
  expect(run(TDX_NOW + DAY)).toBe("accepted");
  expect(run(TDX_NOW + DAY + 1000)).toBe("TEE_COLLATERAL_EXPIRED");
  expect(run(TDX_NOW - DAY)).toBe("accepted");
  expect(run(TDX_NOW - DAY - 1)).toBe("TEE_COLLATERAL_EXPIRED");
});

test("[TT-5] verified collateral refuses a revoked PCK after a good one", () => {
  const revoked = Uint8Array.of(0x7a, 1);
  const pckCrl = forgeCrl({ serials: [revoked] });
  const verified = verifyCollateral({ ...TDX_COLLATERAL, pckCrl }, [TDX_ANCHOR], LIVE);
  const pck = forgeIntel("pck", { serial: revoked });
  const bad = forgeQuote({ chain: [...TDX_CHAIN.slice(0, 2), pck] });
  expect(codeOf(() => judge(forgeQuote(), verified))).toBe("accepted");
  expect(codeOf(() => judge(bad, verified))).toBe("TEE_CERTIFICATE_REVOKED");
});

test("[TT-1] the PCK list's signature is judged for each issuer, after a good one too", () => {
  const verified = verifyCollateral(TDX_COLLATERAL, [TDX_ANCHOR], LIVE);
  const issuer = forgeIntel("ca", { publicKey: TDX_KEYS.stranger.publicKey });
  const pck = forgeIntel("pck", { issuerKey: TDX_KEYS.stranger.privateKey });
  const other = forgeQuote({ chain: [TDX_ROOT, issuer, pck] });
  expect(codeOf(() => judge(forgeQuote(), verified))).toBe("accepted");
  expect(codeOf(() => judge(other, verified))).toBe("TEE_COLLATERAL_MALFORMED");
});

test("[TT-1] SGX evidence in the shape of a TDX quote is refused as SGX, by its TEE type alone", () => {
  const run = (): unknown => parseTdxQuote(forgeQuote({ header: { 4: "00000000" } }));
  expect(run).toThrow("expected a TDX quote, got an SGX quote (version 4, TEE type 0)");
  expect(codeOf(run)).toBe("TEE_PLATFORM_REFUSED");
});

test("[TT-1] a signature whose r or s begins with a zero verifies", () => {
  let quote = forgeQuote();
  const begins = (at: number): boolean => parseTdxQuote(quote).signature[at] === 0;
  // One signature in 128: after 4000 without, the odds are one in 10^13.
  for (let tries = 0; tries < 4000 && !begins(0) && !begins(32); tries++) quote = forgeQuote();
  expect(begins(0) || begins(32)).toBe(true);
  expect(codeOf(() => judge(quote))).toBe("accepted");
});

test("[TT-1] keys repeated in signed JSON and members in front of it do not matter", () => {
  const body = JSON.stringify(TCB_INFO);
  const twice = body.replace('{"id":"TDX"', '{"id":"SGX","id":"TDX"');
  const accepted = { ...TDX_COLLATERAL, tcbInfo: forgeStatement("tcbInfo", twice) };
  expect(codeOf(() => judge(forgeQuote(), accepted))).toBe("accepted");
  const text = Buffer.from(TDX_COLLATERAL.tcbInfo).toString();
  const before = text.replace("{", `{"tcbInfo":${body.replace("TDX", "SGX")},`);
  const refused = { ...TDX_COLLATERAL, tcbInfo: utf8(before) };
  expect(codeOf(() => judge(forgeQuote(), refused))).toBe("TEE_COLLATERAL_MALFORMED");
  const spaced = { ...TDX_COLLATERAL, tcbInfo: utf8(`${text}\r\n`) };
  expect(codeOf(() => judge(forgeQuote(), spaced))).toBe("accepted");
});

test("limits hold", () => {
  const padded = (bytes: number) =>
    forgeQuote({ trailing: new Uint8Array(bytes - forgeQuote().length) });
  expect(codeOf(() => judge(padded(16_384)))).toBe("accepted");
  expect(codeOf(() => judge(padded(16_385)))).toBe("TEE_DOCUMENT_TOO_LARGE");
  const statementOf = (bytes: number) =>
    utf8(`${Buffer.from(TDX_COLLATERAL.tcbInfo).toString()}${" ".repeat(bytes)}`);
  const room = 262_144 - TDX_COLLATERAL.tcbInfo.length;
  const given = (tcbInfo: Uint8Array) =>
    codeOf(() => judge(forgeQuote(), { ...TDX_COLLATERAL, tcbInfo }));
  expect(given(statementOf(room))).toBe("accepted");
  expect(given(statementOf(room + 1))).toBe("TEE_COLLATERAL_MALFORMED");
  const levels = (count: number) =>
    given(forgeTcbInfo({ tcbLevels: Array.from({ length: count }, () => tcbLevel()) }));
  expect(levels(64)).toBe("accepted");
  expect(levels(65)).toBe("TEE_COLLATERAL_MALFORMED");
  const advisories = (...advisoryIDs: readonly string[]) =>
    given(forgeTcbInfo({ tcbLevels: [tcbLevel({ advisoryIDs })] }));
  expect(advisories(...Array.from({ length: 256 }, () => "x"))).toBe("accepted");
  expect(advisories(...Array.from({ length: 257 }, () => "x"))).toBe("TEE_COLLATERAL_MALFORMED");
  expect(advisories("x".repeat(64))).toBe("accepted");
  expect(advisories("x".repeat(65))).toBe("TEE_COLLATERAL_MALFORMED");
  expect(advisories("")).toBe("TEE_COLLATERAL_MALFORMED");
  expect(CRL_BYTES_MAX).toBe(262_144);
  const long = (bytes: number) => utf8("x".repeat(bytes));
  expect(codeOf(() => parseStatement(long(STATEMENT_BYTES_MAX + 1), "tcbInfo"))).toBe(
    "TEE_COLLATERAL_MALFORMED",
  );
  expect(() => parseStatement(long(STATEMENT_BYTES_MAX + 1), "tcbInfo")).toThrow("at most");
  expect(() => parseCrl(long(CRL_BYTES_MAX + 1), INTEL_PROFILE)).toThrow("at most");
  expect(() => parseCrl(long(CRL_BYTES_MAX), INTEL_PROFILE)).not.toThrow("at most");
});

/** Bytes like `good`, with some others in some places, or cut short. */
const damaged = (good: Uint8Array) =>
  fc
    .tuple(
      fc.array(fc.tuple(fc.nat(good.length - 1), fc.nat(255)), { maxLength: 4 }),
      fc.nat(good.length),
      fc.boolean(),
    )
    .map(([changes, end, cut]) => {
      const copy = good.slice(0, cut ? end : good.length);
      for (const [at, value] of changes) if (at < copy.length) copy[at] = value;
      return copy;
    });

test.for<{ name: string; good: Uint8Array; parse: (bytes: Uint8Array) => unknown }>([
  { name: "parseTdxQuote", good: forgeQuote({ version: 5 }), parse: parseTdxQuote },
  { name: "parsePckChain", good: pemOf(TDX_CHAIN), parse: parsePckChain },
  { name: "parseCrl", good: forgeCrl(), parse: (bytes) => parseCrl(bytes, INTEL_PROFILE) },
  {
    name: "parseStatement",
    good: TDX_COLLATERAL.tcbInfo,
    parse: (bytes) => parseStatement(bytes, "tcbInfo"),
  },
  {
    name: "parseBody",
    good: utf8(JSON.stringify(TCB_INFO)),
    parse: (bytes) => parseBody(bytes, tcbInfoSchema, "tcbInfo"),
  },
])("$name gives a shape or a typed error, whatever the bytes", ({ good, parse }) => {
  expect(codeOf(() => parse(good))).toBe("accepted");
  const property = fc.property(fc.oneof(damaged(good), fc.uint8Array()), (bytes) => {
    expect(codeOf(() => parse(bytes))).toMatch(/^(accepted|TEE_[A-Z_]+)$/);
  });
  fc.assert(property, { seed: 1, numRuns: 400 });
});

test("[TT-1] a quote damaged anywhere before its end is refused", () => {
  const good = forgeQuote();
  const verified = verifyCollateral(TDX_COLLATERAL, [TDX_ANCHOR], LIVE);
  const place = fc.tuple(fc.nat(good.length - 3), fc.integer({ min: 1, max: 255 }));
  const property = fc.property(place, ([at, change]) => {
    const quote = good.with(at, (good[at] ?? 0) ^ change);
    expect(hex(quote)).not.toBe(hex(good));
    expect(codeOf(() => judge(quote, verified))).toMatch(/^TEE_/);
  });
  fc.assert(property, { seed: 2, numRuns: 300 });
});

test.for(["lass", "septVeDisable", "migratable", "pks", "keyLocker", "tpa", "perfmon"])(
  "[TT-1] a policy that leaves out what it asks of %s is refused",
  (name) => {
    const { tdx } = tdxPolicyOf();
    const attributes = { ...tdx?.attributes, [name]: undefined };
    const policy = { ...tdxPolicyOf(), tdx: Object.assign({ ...tdx }, { attributes }) };
    expect(codeOf(() => appraiseEvidence(judge(), Object.assign(tdxPolicyOf(), policy)))).toBe(
      "SCHEMA_CONFIG_MALFORMED",
    );
  },
);
