import { generateKeyPairSync } from "node:crypto";

import { expect, test } from "vitest";

import { AWS_NITRO_ROOT_G1, parseAnchor, verifyNitroDocument } from "../../attestation/index.ts";
import { concat, fromHex } from "../../protocol/index.ts";
import { basicConstraints, issueCertificate, keyUsage } from "../../sim/x509.ts";
import {
  ANCHOR,
  CHAIN,
  LEAF_EXTENSIONS,
  NOW,
  authority,
  forgeChain,
  forgeDocument,
  keyAt,
  type ChainChanges,
} from "./forge.ts";

const HOUR = 3_600_000;
const other = generateKeyPairSync("ec", { namedCurve: "P-384" });
const p256 = generateKeyPairSync("ec", { namedCurve: "P-256" });
const rsa = generateKeyPairSync("rsa", { modulusLength: 2048 });

function verify(chain: readonly Uint8Array[], anchors = [ANCHOR], nowMs = NOW) {
  return verifyNitroDocument(forgeDocument({ chain }), anchors, { mode: "live", nowMs });
}

test.for<{ title: string; code: string; changes: ChainChanges }>([
  {
    title: "an authority without keyCertSign",
    code: "TEE_CHAIN_UNTRUSTED",
    changes: {
      2: { extensions: [basicConstraints({ pathLength: 1 }), keyUsage(0x80, { critical: true })] },
    },
  },
  {
    title: "an intermediate that is no authority",
    code: "TEE_CHAIN_UNTRUSTED",
    changes: { 2: { extensions: [basicConstraints(null), keyUsage(0x86, { critical: true })] } },
  },
  {
    title: "a path length exceeded",
    code: "TEE_CHAIN_UNTRUSTED",
    changes: { 2: { extensions: authority(0) } },
  },
  {
    title: "a path length exceeded at the regional certificate",
    code: "TEE_CHAIN_UNTRUSTED",
    changes: { 1: { extensions: authority(1) } },
  },
  {
    title: "an authority as leaf",
    code: "TEE_CHAIN_UNTRUSTED",
    changes: { 4: { extensions: authority(0) } },
  },
  {
    title: "a leaf without digitalSignature",
    code: "TEE_CHAIN_UNTRUSTED",
    changes: { 4: { extensions: [basicConstraints(null), keyUsage(0x40, { critical: false })] } },
  },
  {
    title: "a leaf with keyCertSign",
    code: "TEE_CHAIN_UNTRUSTED",
    changes: { 4: { extensions: [basicConstraints(null), keyUsage(0x84, { critical: false })] } },
  },
  {
    title: "an issuer of another name",
    code: "TEE_CHAIN_UNTRUSTED",
    changes: { 3: { issuer: "someone else" } },
  },
  {
    title: "an intermediate signed by another key",
    code: "TEE_CHAIN_UNTRUSTED",
    changes: { 1: { issuerKey: other.privateKey } },
  },
  {
    title: "a leaf signed by another key",
    code: "TEE_CHAIN_UNTRUSTED",
    changes: { 4: { issuerKey: other.privateKey } },
  },
  {
    title: "an unknown critical extension",
    code: "TEE_CHAIN_MALFORMED",
    changes: {
      4: {
        extensions: [...LEAF_EXTENSIONS, { oid: "551d1e", critical: true, value: fromHex("3000") }],
      },
    },
  },
  {
    title: "an extension twice",
    code: "TEE_CHAIN_MALFORMED",
    changes: { 4: { extensions: [...LEAF_EXTENSIONS, basicConstraints(null)] } },
  },
  {
    title: "no basicConstraints",
    code: "TEE_CHAIN_MALFORMED",
    changes: { 4: { extensions: [keyUsage(0xc0, { critical: false })] } },
  },
  {
    title: "no keyUsage",
    code: "TEE_CHAIN_MALFORMED",
    changes: { 4: { extensions: [basicConstraints(null)] } },
  },
  {
    title: "a path length that wraps",
    code: "TEE_CHAIN_MALFORMED",
    changes: {
      2: {
        extensions: [
          { oid: "551d13", critical: true, value: fromHex("30080101ff0203010001") },
          keyUsage(0x86, { critical: true }),
        ],
      },
    },
  },
  {
    title: "TRUE written as 1",
    code: "TEE_CHAIN_MALFORMED",
    changes: {
      2: {
        extensions: [
          { oid: "551d13", critical: true, value: fromHex("3006010101020101") },
          keyUsage(0x86, { critical: true }),
        ],
      },
    },
  },
  {
    title: "a P-256 leaf",
    code: "TEE_CHAIN_MALFORMED",
    changes: { 4: { publicKey: p256.publicKey } },
  },
  {
    title: "an RSA leaf",
    code: "TEE_CHAIN_MALFORMED",
    changes: { 4: { publicKey: rsa.publicKey } },
  },
  { title: "ECDSA with SHA-256", code: "TEE_CHAIN_MALFORMED", changes: { 3: { hash: "sha256" } } },
  ...[1, 2, 3, 4].flatMap((position) => [
    {
      title: `certificate ${position} a second too early`,
      code: "TEE_CERTIFICATE_NOT_YET_VALID",
      changes: { [position]: { notBeforeMs: NOW + 1000 } },
    },
    {
      title: `certificate ${position} a second too late`,
      code: "TEE_CERTIFICATE_EXPIRED",
      changes: { [position]: { notAfterMs: NOW - 1000 } },
    },
  ]),
])("[TT-1] refuses a chain with $title", ({ code, changes }) => {
  expect(() => verify(forgeChain(changes))).toThrow(expect.objectContaining({ code }));
});

test("[TT-1] accepts the chain that the others are damages of", () => {
  expect(verify(CHAIN).endorsements).toHaveLength(5);
});

test.for([
  { title: "an intermediate missing", order: [0, 1, 3, 4] },
  { title: "an intermediate doubled", order: [0, 1, 2, 2, 3, 4] },
  { title: "the bundle reversed", order: [3, 2, 1, 0, 4] },
  { title: "the root twice", order: [0, 0, 1, 2, 3, 4] },
  { title: "the leaf as an authority", order: [0, 1, 2, 3, 4, 4] },
])("[TT-1] refuses a chain with $title", ({ order }) => {
  const chain = order.map((position) => CHAIN[position] ?? new Uint8Array(0));
  expect(() => verify(chain)).toThrow(expect.objectContaining({ code: "TEE_CHAIN_UNTRUSTED" }));
});

test("[TT-1] refuses a leaf signed by the root, which no platform issues", () => {
  const leaf = forgeChain({ 4: { issuer: "SIMULATED root", issuerKey: keyAt(0) } }).at(-1);
  const chain = [CHAIN[0], leaf].map((certificate) => certificate ?? new Uint8Array(0));
  expect(() => verify(chain)).toThrow("2 to 8 certificates");
});

test("[TT-1] refuses another root of the same name, alone or above a pinned one", () => {
  const root = issueCertificate({
    subject: "SIMULATED root",
    issuer: "SIMULATED root",
    serial: Uint8Array.of(1),
    notBeforeMs: NOW - HOUR,
    notAfterMs: NOW + HOUR,
    publicKey: other.publicKey,
    issuerKey: other.privateKey,
    extensions: authority(null),
  });
  const untrusted = expect.objectContaining({ code: "TEE_CHAIN_UNTRUSTED" });
  expect(() => verify([root, ...CHAIN.slice(1)])).toThrow(untrusted);
  expect(() => verify([root, ...CHAIN])).toThrow(untrusted);
});

test("[RT-3] a production verifier refuses the simulator's root", () => {
  expect(() => verify(CHAIN, [AWS_NITRO_ROOT_G1])).toThrow(
    expect.objectContaining({ code: "TEE_CHAIN_UNTRUSTED" }),
  );
});

test("[RT-3] a simulator's root cannot be labelled as hardware", () => {
  expect(() => verify(CHAIN, [{ ...ANCHOR, platform: "aws-nitro" }])).toThrow(
    expect.objectContaining({ code: "TEE_PLATFORM_REFUSED" }),
  );
});

test("refuses to verify without anchors", () => {
  expect(() => verify(CHAIN, [])).toThrow(expect.objectContaining({ code: "TEE_POLICY_EMPTY" }));
});

test("refuses a certificate with a byte after it or an indefinite length", () => {
  const leaf = CHAIN.at(-1) ?? new Uint8Array(0);
  for (const damaged of [concat(leaf, fromHex("00")), leaf.with(1, 0x80)]) {
    expect(() => verify([...CHAIN.slice(0, -1), damaged])).toThrow(
      expect.objectContaining({ code: "TEE_CHAIN_MALFORMED" }),
    );
  }
});

test("[TT-2] live, the leaf must be valid now; in replay, at the document's time", () => {
  const document = forgeDocument();
  const late = NOW + 3 * HOUR + 1000;
  expect(() => verifyNitroDocument(document, [ANCHOR], { mode: "live", nowMs: late })).toThrow(
    expect.objectContaining({ code: "TEE_CERTIFICATE_EXPIRED" }),
  );
  expect(verifyNitroDocument(document, [ANCHOR], { mode: "replay" }).timestampMs).toBe(NOW);
});

test("[TT-2] live, a document signed outside its leaf's life is refused too", () => {
  const early = forgeChain({ 4: { notBeforeMs: NOW + 1000 } });
  const document = forgeDocument({ chain: early });
  const at = { mode: "live", nowMs: NOW + 2000 } as const;
  expect(() => verifyNitroDocument(document, [ANCHOR], at)).toThrow(
    expect.objectContaining({ code: "TEE_CERTIFICATE_NOT_YET_VALID" }),
  );
});

test("[TT-1] refuses a document signed by another key than its leaf's", () => {
  const document = forgeDocument({ key: other.privateKey });
  expect(() => verifyNitroDocument(document, [ANCHOR], { mode: "replay" })).toThrow(
    expect.objectContaining({ code: "TEE_SIGNATURE_INVALID" }),
  );
});

test("[TT-1] an intermediate, a leaf or an altered root is no anchor", () => {
  const [root = new Uint8Array(0), ...below] = CHAIN;
  expect(parseAnchor(root)).toEqual(ANCHOR);
  const altered = root.with(-1, (root.at(-1) ?? 0) ^ 1);
  for (const certificate of [...below, altered]) {
    expect(() => parseAnchor(certificate)).toThrow(
      expect.objectContaining({ code: "TEE_CHAIN_UNTRUSTED" }),
    );
  }
});
