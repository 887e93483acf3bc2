import { verify } from "node:crypto";

import { expect, test, vi } from "vitest";

import {
  CHAIN_CACHE_ENTRIES_MAX,
  createChainCache,
  verifyNitroDocument,
  type ChainCache,
} from "../../attestation/index.ts";
import { verifyPath, type PathClaim } from "../../attestation/path.ts";
import { INTEL_PROFILE, NITRO_PROFILE } from "../../attestation/profile.ts";
import { concat } from "../../protocol/index.ts";
import { ANCHOR, CHAIN, NOW, forgeChain, forgeDocument, keyAt } from "./forge.ts";

vi.mock("node:crypto", { spy: true });

const HOUR = 3_600_000;

function claim(changes: Partial<PathClaim> = {}): PathClaim {
  return {
    chain: CHAIN,
    profile: NITRO_PROFILE,
    anchors: [ANCHOR],
    platforms: ["sim"],
    instantsMs: [NOW],
    ...changes,
  };
}

/** A cache that has seen `chain`. */
function warm(chain: readonly Uint8Array[] = CHAIN): ChainCache {
  const chainCache = createChainCache({ entriesMax: 8 });
  verifyPath(claim({ chain, chainCache }));
  expect(chainCache.size).toBe(1);
  return chainCache;
}

function signaturesOf(work: () => unknown): number {
  vi.mocked(verify).mockClear();
  work();
  return vi.mocked(verify).mock.calls.length;
}

/** Chains with leaves of their own. */
const chains = (count: number): readonly (readonly Uint8Array[])[] =>
  Array.from({ length: count }, (_, at) => forgeChain({ 4: { serial: Uint8Array.of(at + 10) } }));

test("[TT-1] a document takes five signatures, and one more of the same enclave takes one", () => {
  const chainCache = createChainCache({ entriesMax: 1 });
  const document = forgeDocument();
  const at = { mode: "live", nowMs: NOW, chainCache } as const;
  expect(signaturesOf(() => verifyNitroDocument(document, [ANCHOR], at))).toBe(5);
  expect(signaturesOf(() => verifyNitroDocument(document, [ANCHOR], at))).toBe(1);
  const replay = { mode: "replay", chainCache } as const;
  expect(signaturesOf(() => verifyNitroDocument(forgeDocument(), [ANCHOR], replay))).toBe(1);
});

test("[TT-1] a warm cache gives what a cold one gives", () => {
  const chainCache = warm();
  const cold = verifyPath(claim());
  const hit = verifyPath(claim({ chainCache }));
  expect(hit.anchor).toEqual(cold.anchor);
  expect(hit.certificates.map(({ der }) => der)).toEqual(CHAIN);
  expect(hit.leaf.der).toEqual(CHAIN.at(-1));
});

test.for([0, 1, 2, 3, 4])(
  "[TT-1] judges the validity of certificate %d from a warm cache too",
  (position) => {
    const late = forgeChain({ [position]: { notAfterMs: NOW + HOUR } });
    const root = late[0] ?? ANCHOR.certificate;
    const anchors = [{ ...ANCHOR, certificate: root }];
    const chainCache = createChainCache({ entriesMax: 8 });
    verifyPath(claim({ chain: late, anchors, chainCache }));
    const after = (instantsMs: readonly number[]) => () =>
      verifyPath(claim({ chain: late, anchors, chainCache, instantsMs }));
    const expired = expect.objectContaining({
      code: "TEE_CERTIFICATE_EXPIRED",
      details: expect.objectContaining({ position }),
    });
    expect(after([NOW + HOUR + 999])).not.toThrow();
    expect(after([NOW + HOUR + 1000])).toThrow(expired);
    expect(after([NOW, NOW + HOUR + 1000])).toThrow(expired);
    expect(after([NOW + HOUR + 1000, NOW])).toThrow(expired);
    expect(after([NOW])).not.toThrow();
  },
);

test("[TT-1] judges the beginning of validity from a warm cache too", () => {
  const chainCache = warm();
  expect(() => verifyPath(claim({ chainCache, instantsMs: [NOW - 4000] }))).toThrow(
    expect.objectContaining({ code: "TEE_CERTIFICATE_NOT_YET_VALID" }),
  );
});

test("[TT-1] refuses a chain whose anchor was removed after warming up", () => {
  const chainCache = warm();
  const other = forgeChain({ 0: { serial: Uint8Array.of(99) } })[0] ?? new Uint8Array(0);
  const untrusted = expect.objectContaining({ code: "TEE_CHAIN_UNTRUSTED" });
  const anchors = [{ ...ANCHOR, certificate: other }];
  expect(() => verifyPath(claim({ chainCache, anchors }))).toThrow(untrusted);
  expect(() => verifyPath(claim({ chainCache, anchors: [] }))).toThrow(
    expect.objectContaining({ code: "TEE_POLICY_EMPTY" }),
  );
  expect(() => verifyPath(claim({ chainCache, platforms: ["aws-nitro"] }))).toThrow(
    expect.objectContaining({ code: "TEE_PLATFORM_REFUSED" }),
  );
});

test("[TT-1] refuses the same chain under another profile, and keeps what it had", () => {
  const chainCache = warm();
  expect(() => verifyPath(claim({ chainCache, profile: INTEL_PROFILE }))).toThrow(
    expect.objectContaining({ code: "TEE_CHAIN_MALFORMED" }),
  );
  expect(signaturesOf(() => verifyPath(claim({ chainCache })))).toBe(0);
});

test("[TT-1] verifies a chain anew when any bit of any certificate differs", () => {
  const chainCache = warm();
  for (const [position, der] of CHAIN.entries()) {
    for (const at of [-1, -20, 10]) {
      const damaged = der.with(at, 1 ^ (der.at(at) ?? 0));
      expect(() => verifyPath(claim({ chainCache, chain: CHAIN.with(position, damaged) }))).toThrow(
        expect.objectContaining({ code: expect.stringMatching(/^TEE_CHAIN_/) }),
      );
    }
  }
  expect(chainCache.size).toBe(1);
});

test("[TT-1] is not fooled by the same bytes cut elsewhere, left out or in another order", () => {
  const chainCache = warm();
  const [root = ANCHOR.certificate, first = root, second = root, ...rest] = CHAIN;
  for (const chain of [
    [root, concat(first, second), ...rest],
    [root, first.subarray(0, 9), concat(first.subarray(9), second), ...rest],
    [root, second, first, ...rest],
    [root, first, ...rest],
    CHAIN.slice(0, -1),
    [],
  ]) {
    expect(() => verifyPath(claim({ chainCache, chain }))).toThrow(
      expect.objectContaining({ code: expect.stringMatching(/^TEE_CHAIN_/) }),
    );
  }
});

test("[TT-1] learns nothing from a chain it refuses", () => {
  const chainCache = createChainCache({ entriesMax: 8 });
  const refused: readonly Partial<PathClaim>[] = [
    { anchors: [{ ...ANCHOR, certificate: CHAIN[1] ?? new Uint8Array(0) }] },
    { instantsMs: [NOW + 100 * HOUR] },
    { platforms: ["aws-nitro"] },
    { chain: forgeChain({ 2: { issuerKey: keyAt(4) } }) },
    { chain: forgeChain({ 3: { issuer: "another" } }) },
  ];
  for (const changes of refused) {
    for (const _ of [1, 2]) expect(() => verifyPath(claim({ chainCache, ...changes }))).toThrow();
    expect(chainCache.size).toBe(0);
  }
});

test("[TT-1] keeps copies: bytes changed after warming up change nothing", () => {
  const chain = CHAIN.map((der) => new Uint8Array(der));
  const chainCache = warm(chain);
  const hit = verifyPath(claim({ chainCache }));
  for (const der of chain) der.fill(0);
  expect(() => verifyPath(claim({ chainCache, chain }))).toThrow();
  expect(verifyPath(claim({ chainCache })).leaf.der).toEqual(CHAIN.at(-1));
  expect(hit.certificates.map(({ der }) => der)).toEqual(CHAIN);
});

test("[TT-1] holds at most entriesMax chains and drops the one unused for longest", () => {
  const chainCache = createChainCache({ entriesMax: 3 });
  const [a, b, c, d] = chains(4).map((chain) => () => verifyPath(claim({ chain, chainCache })));
  if (a === undefined || b === undefined || c === undefined || d === undefined) throw new Error();
  for (const each of [a, b, c]) expect(signaturesOf(each)).toBe(4);
  expect(signaturesOf(a)).toBe(0);
  expect(signaturesOf(d)).toBe(4);
  expect(chainCache.size).toBe(3);
  for (const each of [c, a, d]) expect(signaturesOf(each)).toBe(0);
  expect(signaturesOf(b)).toBe(4);
  expect(chainCache.size).toBe(3);
  expect(signaturesOf(c)).toBe(4);
});

test.for([0, -1, 1.5, Number.NaN, Infinity, CHAIN_CACHE_ENTRIES_MAX + 1])(
  "refuses a cache of %d entries",
  (entriesMax) => {
    expect(() => createChainCache({ entriesMax })).toThrow(
      expect.objectContaining({ code: "SCHEMA_CONFIG_MALFORMED" }),
    );
  },
);

test("has nothing to add to from outside", () => {
  const chainCache = createChainCache({ entriesMax: 1 });
  expect(Object.isFrozen(chainCache)).toBe(true);
  expect(Object.keys(chainCache)).toEqual([]);
});
