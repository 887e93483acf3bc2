import { X509Certificate } from "node:crypto";
import { mkdtempSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";

import {
  appraiseEvidence,
  decodeHardwareCbor,
  parseNitroDocument,
  verifyNitroDocument,
  type HardwareValue,
} from "../../attestation/index.ts";
import { encodeCbor, fromHex, hex, sha384, utf8, type CborValue } from "../../protocol/index.ts";
import { InsecureSimNsm } from "../../sim/nsm.ts";
import { LEAF_LIFE_MS, createInsecureSimPlatform } from "../../sim/platform.ts";

const NOW = 1_790_000_000_000;
const HOUR = 3_600_000;
let directory = "";
let nowMs = NOW;

beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), "symphony-sim-"));
});
beforeEach(() => {
  nowMs = NOW;
});
afterAll(() => rmSync(directory, { recursive: true, force: true }));

const platformOf = (name = "platform") => createInsecureSimPlatform(join(directory, name));

function nsmOf(): InsecureSimNsm {
  const platform = platformOf();
  return new InsecureSimNsm({
    platform,
    moduleId: platform.moduleId(fromHex("0123456789abcdef")),
    nowMs: () => nowMs,
    random: (bytes) => new Uint8Array(bytes).fill(7),
    pcrs: new Map([0, 1, 2].map((at) => [at, new Uint8Array(48).fill(at + 1)])),
  });
}

function ask(nsm: InsecureSimNsm, request: CborValue | Uint8Array): HardwareValue {
  const bytes = request instanceof Uint8Array ? request : encodeCbor(request);
  return decodeHardwareCbor(nsm.handle(bytes), 0x3000);
}

function attest(nsm: InsecureSimNsm, fields: CborValue = {}): Uint8Array {
  const answer = ask(nsm, { Attestation: fields });
  const inner: unknown = answer instanceof Map ? answer.get("Attestation") : null;
  const document: unknown = inner instanceof Map ? inner.get("document") : null;
  if (!(document instanceof Uint8Array)) throw new Error("no document");
  return document;
}

const failed = (error: string) => new Map([["Error", error]]);
const ok = (name: string, fields: Record<string, unknown>) =>
  new Map([[name, new Map(Object.entries(fields))]]);

test("[RT-3] answers the requests of the real interface, byte for byte as its clients write them", () => {
  const nsm = nsmOf();
  const zero = new Uint8Array(48);
  const extended = sha384(zero, fromHex("010203"));
  expect(ask(nsm, fromHex("6947657452616e646f6d"))).toEqual(
    ok("GetRandom", { random: new Uint8Array(256).fill(7) }),
  );
  expect(ask(nsm, fromHex("6b44657363726962654e534d"))).toEqual(
    ok("DescribeNSM", {
      version_major: 1,
      version_minor: 0,
      version_patch: 0,
      module_id: `${platformOf().instanceId}-enc0123456789abcdef`,
      max_pcrs: 32,
      locked_pcrs: Array.from({ length: 16 }, (_, index) => index),
      digest: "SHA384",
    }),
  );
  const describe16 = fromHex("a16b4465736372696265504352a165696e64657810");
  expect(ask(nsm, describe16)).toEqual(ok("DescribePCR", { lock: false, data: zero }));
  const extend16 = fromHex("a169457874656e64504352a265696e64657810646461746143010203");
  expect(ask(nsm, extend16)).toEqual(ok("ExtendPCR", { data: extended }));
  expect(ask(nsm, fromHex("a1674c6f636b504352a165696e64657810"))).toBe("LockPCR");
  expect(ask(nsm, extend16)).toEqual(failed("ReadOnlyIndex"));
  expect(ask(nsm, describe16)).toEqual(ok("DescribePCR", { lock: true, data: extended }));
  expect(ask(nsm, fromHex("a1684c6f636b50435273a16572616e676512"))).toBe("LockPCRs");
  const document = ask(
    nsm,
    fromHex(
      "a16b4174746573746174696f6ea369757365725f64617461f6656e6f6e6365f66a7075626c69635f6b6579f6",
    ),
  );
  expect(document).toBeInstanceOf(Map);
  const { pcrs } = parseNitroDocument(attest(nsm));
  expect([...pcrs.keys()]).toEqual(Array.from({ length: 18 }, (_, index) => index));
  expect(hex(pcrs.get(16) ?? zero)).toBe(hex(extended));
});

test.for<{ title: string; request: CborValue; error: string }>([
  { title: "data for a locked PCR", request: extend(3), error: "ReadOnlyIndex" },
  {
    title: "a lock of a locked PCR",
    request: { LockPCR: { index: 0 } },
    error: "ReadOnlyIndex",
  },
  { title: "PCR 32", request: extend(32), error: "InvalidIndex" },
  { title: "a lock of PCR 32", request: { LockPCR: { index: 32 } }, error: "InvalidIndex" },
  { title: "a look at PCR 32", request: { DescribePCR: { index: 32 } }, error: "InvalidIndex" },
  { title: "PCR -1", request: extend(-1), error: "InvalidOperation" },
  { title: "a PCR by name", request: { LockPCR: { index: "0" } }, error: "InvalidOperation" },
  { title: "no PCR", request: { DescribePCR: {} }, error: "InvalidOperation" },
  { title: "no data", request: { ExtendPCR: { index: 16 } }, error: "InvalidOperation" },
  { title: "a range of 33", request: { LockPCRs: { range: 33 } }, error: "InvalidIndex" },
  ...["nonce", "user_data", "public_key"].flatMap((field) => [
    {
      title: `a ${field} of 1025 bytes`,
      request: { Attestation: { [field]: new Uint8Array(1025) } },
      error: "InputTooLarge",
    },
    {
      title: `a text ${field}`,
      request: { Attestation: { [field]: "text" } },
      error: "InvalidOperation",
    },
  ]),
  { title: "another request", request: { Sign: {} }, error: "InvalidOperation" },
  { title: "another text", request: "Reboot", error: "InvalidOperation" },
  { title: "a number", request: 7, error: "InvalidOperation" },
])("answers $title with $error", ({ request, error }) => {
  expect(ask(nsmOf(), request)).toEqual(failed(error));
});

function extend(index: number): CborValue {
  return { ExtendPCR: { index, data: utf8("x") } };
}

test("answers bytes that are no CBOR, and too many, with an error", () => {
  for (const request of [new Uint8Array(0), fromHex("ff")]) {
    expect(ask(nsmOf(), request)).toEqual(failed("InvalidOperation"));
  }
  expect(ask(nsmOf(), new Uint8Array(0x1001))).toEqual(failed("InputTooLarge"));
});

test("[RT-3] locks a range whatever is locked already, and documents list what is locked", () => {
  const nsm = nsmOf();
  const listed = (): number[] => [...parseNitroDocument(attest(nsm)).pcrs.keys()];
  const upTo = (count: number): number[] => Array.from({ length: count }, (_, index) => index);
  expect(ask(nsm, extend(20))).toBeInstanceOf(Map);
  expect(listed()).toEqual(upTo(16));
  expect(ask(nsm, { LockPCR: { index: 20 } })).toBe("LockPCR");
  expect(listed()).toEqual([...upTo(16), 20]);
  expect(ask(nsm, { LockPCRs: { range: 0 } })).toBe("LockPCRs");
  expect(ask(nsm, { LockPCRs: { range: 32 } })).toBe("LockPCRs");
  expect(ask(nsm, { LockPCRs: { range: 32 } })).toBe("LockPCRs");
  expect(listed()).toEqual(upTo(32));
});

test("[RT-3] gives a document with 1024 bytes in each field, and empty ones", () => {
  const full = new Uint8Array(1024).fill(5);
  const fields = { nonce: full, user_data: full, public_key: full };
  expect(parseNitroDocument(attest(nsmOf(), fields))).toMatchObject({ nonce: full });
  expect(nsmOf().handle(encodeCbor({ Attestation: fields })).length).toBeLessThan(0x3000);
  expect(parseNitroDocument(attest(nsmOf(), { nonce: utf8("") })).nonce).toHaveLength(0);
});

test("[RT-3] signs documents that the real verifier accepts under the simulator's root", () => {
  const nonce = utf8("nonce");
  const document = attest(nsmOf(), { nonce, user_data: utf8("manifest"), public_key: null });
  const { anchor, instanceId } = platformOf();
  const evidence = verifyNitroDocument(document, [anchor], { mode: "live", nowMs });
  const pcr = (at: number): string => hex(new Uint8Array(48).fill(at + 1));
  const report = appraiseEvidence(evidence, {
    platforms: ["sim"],
    measurements: [
      { pcr0: pcr(0), pcr1: pcr(1), pcr2: pcr(2), validFromMs: 0, validUntilMs: NOW + 1 },
    ],
    revokedMeasurements: [],
    revokedIdentities: [],
    nitro: { pcr3: { unchecked: "any role" }, pcr8: { unchecked: "unsigned image" } },
    snp: null,
    tdx: null,
    nonce: { equals: nonce },
    userData: { equals: utf8("manifest") },
    publicKey: { unchecked: "none was asked for" },
    maxAgeMs: { atMost: 0 },
    judgedAtMs: NOW,
  });
  expect(report).toMatchObject({
    platform: "sim",
    enclave_identity: `${instanceId}-enc0123456789abcdef`,
  });
});

test("[RT-3] says SIMULATED in every certificate, which have the genuine shape", () => {
  const { cabundle, certificate } = parseNitroDocument(attest(nsmOf()));
  const chain = [...cabundle, certificate].map((item) => new X509Certificate(item));
  expect(chain).toHaveLength(5);
  for (const { subject } of chain) expect(subject).toContain("O=Symphony SIMULATED");
  chain.forEach((item, position) => {
    const issuer = chain[Math.max(0, position - 1)];
    expect(issuer !== undefined && item.verify(issuer.publicKey)).toBe(true);
    expect(item.ca).toBe(position < 4);
  });
  const days = chain.map(
    ({ validFromDate, validToDate }) => (validToDate.getTime() - validFromDate.getTime()) / HOUR,
  );
  expect(days.slice(1)).toEqual([480, 144, 24, LEAF_LIFE_MS / HOUR]);
});

test("keeps certificates while they live and renews them before they end", () => {
  const nsm = nsmOf();
  const chainAt = (time: number): string[] => {
    nowMs = time;
    const document = attest(nsm);
    const { platform } = verifyNitroDocument(document, [platformOf().anchor], {
      mode: "live",
      nowMs,
    });
    expect(platform).toBe("sim");
    const { cabundle, certificate } = parseNitroDocument(document);
    return [...cabundle, certificate].map(hex);
  };
  const first = chainAt(NOW);
  expect(chainAt(NOW + 1000)).toEqual(first);
  const renewed = chainAt(NOW + HOUR);
  expect(renewed.slice(0, 4)).toEqual(first.slice(0, 4));
  expect(renewed[4]).not.toBe(first[4]);
  const later = chainAt(NOW + 15 * HOUR);
  expect(later.slice(0, 3)).toEqual(first.slice(0, 3));
  expect(later[3]).not.toBe(first[3]);
  expect(chainAt(NOW + 400 * HOUR)[1]).not.toBe(first[1]);
  expect(chainAt(NOW)).toHaveLength(5);
});

test("keeps one root per folder, readable by its owner only", () => {
  const first = platformOf("kept");
  expect(hex(platformOf("kept").anchor.certificate)).toBe(hex(first.anchor.certificate));
  expect(hex(platformOf("other").anchor.certificate)).not.toBe(hex(first.anchor.certificate));
  expect(first.anchor.platform).toBe("sim");
  for (const name of ["sim-platform.json", "sim-root.der"]) {
    expect(statSync(join(directory, "kept", name)).mode & 0o777).toBe(0o600);
  }
});

test("refuses a file that is no platform's", () => {
  platformOf("broken");
  writeFileSync(join(directory, "broken/sim-platform.json"), "{}");
  expect(() => platformOf("broken")).toThrow(
    expect.objectContaining({ code: "SCHEMA_CONFIG_MALFORMED" }),
  );
});
