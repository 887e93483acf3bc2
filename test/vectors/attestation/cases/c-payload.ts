import { concat, encodeCbor, fromHex, utf8 } from "../../../../protocol/index.ts";
import { NITRO_DOCUMENT_BYTES_MAX } from "../../../../attestation/index.ts";
import { encodePcrs } from "../../../../sim/cose.ts";
import {
  NONCE,
  LEAF_EXTENSIONS,
  NOW,
  authority,
  forgeChain,
  forgeDocument,
  forgePcrs,
  keyAt,
  type ChainChanges,
} from "../../../attestation/forge.ts";
import { anchorOf, signedWith, signedWithMore, type Case } from "./case.ts";

const malformed = { stage: "parse", code: "TEE_DOCUMENT_MALFORMED" } as const;
const none = fromHex("f6");
const unchecked = { unchecked: "not what this vector is about" };
const anyAge = { maxAgeMs: unchecked };

/** Category C: payloads that the platform's key signed but that the platform does not write. */
export function cPayload(): readonly Case[] {
  return [...digests(), ...timestamps(), ...registers(), ...bundles(), ...optionals()];
}

/** A document with these fields, encoded; null leaves one out. */
export function withFields(fields: Readonly<Record<string, Uint8Array | null>>): Uint8Array {
  return forgeDocument({ fields });
}

function digests(): readonly Case[] {
  const values: readonly (readonly [string, Uint8Array | null])[] = [
    ["no digest", null],
    ["a null digest", none],
    ["digest SHA256", encodeCbor("SHA256")],
    ["digest SHA512", encodeCbor("SHA512")],
    ["digest sha384 in lower case", encodeCbor("sha384")],
    ["the digest as a number", encodeCbor(384)],
    ["the digest as bytes", encodeCbor(utf8("SHA384"))],
  ];
  return values.map(([title, digest]) => ({
    title,
    document: withFields({ digest }),
    ...malformed,
    check: "payload-digest",
  }));
}

/** A chain whose every certificate is valid from `notBeforeMs` on, and the document of that time under it. */
function ofTime(timestamp: Uint8Array, notBeforeMs: number): Pick<Case, "document" | "anchors"> {
  const changes: ChainChanges = { 0: { notBeforeMs }, 1: { notBeforeMs }, 2: { notBeforeMs } };
  const chain = forgeChain({ ...changes, 3: { notBeforeMs }, 4: { notBeforeMs } });
  return {
    document: forgeDocument({ chain, fields: { timestamp } }),
    anchors: [anchorOf(chain[0])],
  };
}

function timestamps(): readonly Case[] {
  return [
    {
      title: "timestamp 0",
      ...ofTime(encodeCbor(0), 0),
      policy: anyAge,
      ...malformed,
      check: "payload-timestamp-positive",
    },
    {
      title: "a timestamp before 1970",
      ...ofTime(encodeCbor(-1), Date.UTC(1960, 0)),
      policy: anyAge,
      ...malformed,
      check: "payload-timestamp-positive",
    },
    {
      title: "a timestamp in seconds",
      document: withFields({ timestamp: encodeCbor(NOW / 1000) }),
      policy: anyAge,
      stage: "verify",
      code: "TEE_CERTIFICATE_NOT_YET_VALID",
      check: "certificate-not-before",
    },
    {
      title: "timestamp 1",
      document: withFields({ timestamp: encodeCbor(1) }),
      policy: anyAge,
      stage: "verify",
      code: "TEE_CERTIFICATE_NOT_YET_VALID",
      check: "certificate-not-before",
    },
    {
      title: "a timestamp a second before the leaf's first",
      document: withFields({ timestamp: encodeCbor(NOW - 4000) }),
      stage: "verify",
      code: "TEE_CERTIFICATE_NOT_YET_VALID",
      check: "certificate-not-before",
    },
    {
      title: "a timestamp a second after the leaf's last",
      document: withFields({ timestamp: encodeCbor(NOW + 10_801_000) }),
      at: { mode: "replay" },
      policy: { judgedAtMs: NOW + 10_801_000, measurements: [MEASUREMENT] },
      stage: "verify",
      code: "TEE_CERTIFICATE_EXPIRED",
      check: "certificate-not-after",
    },
    {
      title: "a timestamp 30 001 ms ahead of the one who judges",
      document: withFields({ timestamp: encodeCbor(NOW + 30_001) }),
      policy: anyAge,
      stage: "appraise",
      code: "TEE_DOCUMENT_STALE",
      check: "age-ahead",
    },
  ];
}

const MEASUREMENT = {
  pcr0: "aa".repeat(48),
  pcr1: "bb".repeat(48),
  pcr2: "cc".repeat(48),
  validFromMs: 0,
  validUntilMs: 8_000_000_000_000,
};

/** A document with its PCRs changed. */
export function pcrs(change: (pcrs: Map<number, Uint8Array>) => void): Uint8Array {
  const changed = forgePcrs();
  change(changed);
  return withFields({ pcrs: encodePcrs(changed) });
}

/** The PCR map with entries of any form after its own. */
function pcrsAnd(...entries: readonly Uint8Array[]): Uint8Array {
  const own = encodePcrs(forgePcrs());
  const count = 16 + entries.length / 2;
  const head = count < 24 ? Uint8Array.of(0xa0 | count) : Uint8Array.of(0xb8, count);
  return withFields({ pcrs: concat(head, own.subarray(1), ...entries) });
}

function registers(): readonly Case[] {
  const pcr = encodeCbor(new Uint8Array(48));
  const good = encodeCbor(fromHex(MEASUREMENT.pcr0));
  const lengths = [0, 1, 20, 32, 47, 49, 64].map((length) => ({
    title: `PCR5 of ${length} bytes`,
    document: pcrs((each) => each.set(5, new Uint8Array(length))),
    ...malformed,
    check: "pcr-length",
  }));
  const bad = encodePcrs(forgePcrs().set(0, new Uint8Array(48).fill(0xdd)));
  return [
    ...lengths,
    {
      title: "PCR4 alone",
      document: withFields({ pcrs: encodePcrs(new Map([[4, forgePcrs().get(4) ?? none]])) }),
      stage: "appraise",
      code: "TEE_MEASUREMENT_MISMATCH",
      check: "measurement",
    },
    {
      title: "PCR32",
      document: pcrs((each) => each.set(32, new Uint8Array(48))),
      ...malformed,
      check: "pcr-index-below-32",
    },
    {
      title: "PCR255",
      document: pcrs((each) => each.set(255, new Uint8Array(48))),
      ...malformed,
      check: "pcr-index-below-32",
    },
    {
      title: "PCR-1",
      document: pcrs((each) => each.set(-1, new Uint8Array(48))),
      ...malformed,
      check: "pcr-index-not-negative",
    },
    {
      title: 'PCR "0" as text beside PCR0',
      document: pcrsAnd(encodeCbor("0"), pcr),
      ...malformed,
      check: "pcr-index-number",
    },
    {
      title: "PCR5 as text of 48 characters",
      document: pcrs5(encodeCbor("0".repeat(48))),
      ...malformed,
      check: "pcr-bytes",
    },
    {
      title: "PCR0 twice, the second one as expected",
      document: withFields({
        pcrs: concat(Uint8Array.of(0xb1), bad.subarray(1), encodeCbor(0), good),
      }),
      ...malformed,
      check: "cbor-key-once",
    },
    {
      title: "pcrs twice, the second ones as expected",
      document: signedWithMore(["pcrs", encodePcrs(forgePcrs())]),
      ...malformed,
      check: "cbor-key-once",
    },
    {
      title: "the nonce twice, the second one as expected",
      document: signedWithMore(["nonce", encodeCbor(NONCE)]),
      ...malformed,
      check: "cbor-key-once",
    },
  ];
}

function pcrs5(value: Uint8Array): Uint8Array {
  const without = forgePcrs();
  without.delete(5);
  const own = encodePcrs(without);
  return withFields({ pcrs: concat(Uint8Array.of(0xb0), own.subarray(1), encodeCbor(5), value) });
}

function bundles(): readonly Case[] {
  const direct = forgeChain({ 4: { issuer: "SIMULATED root", issuerKey: keyAt(0) } });
  const leafAndRoot = [direct[0], direct[4]].map((each) => each ?? utf8(""));
  return [
    {
      title: "a leaf that the root itself issued",
      document: forgeDocument({ chain: leafAndRoot }),
      ...malformed,
      check: "cabundle-at-least-two",
    },
    {
      title: "a cabundle of nine certificates",
      document: forgeDocument({ chain: longChain(10) }),
      ...malformed,
      check: "cabundle-at-most-eight",
    },
    {
      title: "a document of more than 12 288 bytes",
      document: largeDocument(NITRO_DOCUMENT_BYTES_MAX + 1),
      policy: { nonce: unchecked, userData: unchecked, publicKey: unchecked },
      stage: "parse",
      code: "TEE_DOCUMENT_TOO_LARGE",
      check: "document-size",
    },
  ];
}

/** Root, one authority and a leaf: the fewest that are accepted. */
export function shortChain(): readonly Uint8Array[] {
  const leaf = forgeChain({ 4: { issuer: "regional", issuerKey: keyAt(1) } })[4];
  return [...forgeChain().slice(0, 2), leaf ?? utf8("")];
}

/** Root, unbounded authorities and leaf: `count` certificates in all, each with `padding` bytes more. */
function longChain(count: number, padding = 0): readonly Uint8Array[] {
  const pad = { oid: "2b0601", critical: false, value: new Uint8Array(padding) };
  const padded = (extensions: ReturnType<typeof authority>) =>
    padding === 0 ? extensions : [...extensions, pad];
  const root = forgeChain()[0] ?? utf8("");
  const middle = Array.from({ length: count - 2 }, (_, at) => {
    const issuer = at === 0 ? "SIMULATED root" : `authority ${at - 1}`;
    const change = { subject: `authority ${at}`, issuer, extensions: padded(authority(null)) };
    const key = { issuerKey: keyAt(at === 0 ? 0 : 1) };
    return forgeChain({ 1: { ...change, ...key, serial: Uint8Array.of(at + 2) } })[1] ?? utf8("");
  });
  const extensions = padded(LEAF_EXTENSIONS);
  const last = { issuer: `authority ${count - 3}`, issuerKey: keyAt(1), extensions };
  return [root, ...middle, forgeChain({ 4: last })[4] ?? utf8("")];
}

/** A good document of so many bytes with 32 PCRs; its payload is not larger than any payload may be. */
export function largeDocument(bytes: number): Uint8Array {
  const chain = longChain(9, 400);
  const pcrs = forgePcrs();
  for (let index = 16; index < 32; index++) pcrs.set(index, new Uint8Array(48));
  const make = (spare: number): Uint8Array =>
    forgeDocument({
      chain,
      fields: {
        pcrs: encodePcrs(pcrs),
        nonce: encodeCbor(new Uint8Array(1024)),
        user_data: encodeCbor(new Uint8Array(spare)),
        public_key: encodeCbor(new Uint8Array(1024)),
      },
    });
  return make(512 + bytes - make(512).length);
}

function optionals(): readonly Case[] {
  const long = encodeCbor(new Uint8Array(1025));
  const check = "optional-size";
  return [
    {
      title: "a nonce of 1025 bytes",
      document: withFields({ nonce: long }),
      policy: { nonce: unchecked },
      ...malformed,
      check,
    },
    {
      title: "user_data of 1025 bytes",
      document: withFields({ user_data: long }),
      policy: { userData: unchecked },
      ...malformed,
      check,
    },
    {
      title: "a public_key of 1025 bytes",
      document: withFields({ public_key: long }),
      policy: { publicKey: unchecked },
      ...malformed,
      check,
    },
    ...wrongTypes(),
    {
      title: "a field more than there are",
      document: withFields({ extra: none }),
      ...malformed,
      check: "payload-known-fields",
    },
    {
      title: "the PCRs of a NitroTPM beside those of an enclave",
      document: withFields({ nitrotpm_pcrs: encodePcrs(forgePcrs()) }),
      ...malformed,
      check: "payload-known-fields",
    },
    {
      title: "a field with a number for its name",
      document: signedWith(
        concat(encodeCbor(NONCE), fromHex("ff")),
        concat(encodeCbor(NONCE), fromHex("05f6ff")),
      ),
      ...malformed,
      check: "payload-known-fields",
    },
  ];
}

function wrongTypes(): readonly Case[] {
  const check = "optional-bytes";
  return [
    {
      title: "a nonce that is text",
      document: withFields({ nonce: encodeCbor("a nonce") }),
      policy: { nonce: unchecked },
      ...malformed,
      check,
    },
    {
      title: "a nonce that is an array of numbers",
      document: withFields({ nonce: encodeCbor([1, 2, 3]) }),
      policy: { nonce: unchecked },
      ...malformed,
      check,
    },
    {
      title: "user_data that is text",
      document: withFields({ user_data: encodeCbor("digest of the manifest") }),
      policy: { userData: unchecked },
      ...malformed,
      check,
    },
  ];
}
