import { sign } from "node:crypto";

import { expect, test } from "vitest";

import { verifyNitroDocument } from "../../attestation/index.ts";
import { DER, parseDer, parseDerElements } from "../../attestation/der.ts";
import { isoTime, parseDerTime } from "../../attestation/der-time.ts";
import { concat, fromHex, utf8 } from "../../protocol/index.ts";
import { der } from "../../host/sovereignty/custody/cms.ts";
import { ANCHOR, CHAIN, NOW, forgeDocument, keyAt } from "./forge.ts";

const LEAF = CHAIN.at(-1) ?? new Uint8Array(0);
/** Of a TBSCertificate, in order (RFC 5280 § 4.1). */
const FIELD = { version: 0, serial: 1, algorithm: 2, validity: 4, key: 6, extensions: 7 } as const;
const ALGORITHM = fromHex("300a06082a8648ce3d040303");

type Fields = readonly Uint8Array[];

/** The good leaf with other fields, signed again by its issuer. */
function issueLeaf(change: (fields: Fields) => Fields): Uint8Array {
  const [tbs] = parseDerElements(parseDer(LEAF, DER.sequence).content);
  const fields = parseDerElements(tbs?.content ?? LEAF).map(({ whole }) => whole);
  const changed = der(DER.sequence, ...change(fields));
  const signature = sign("sha384", changed, keyAt(3));
  const signed = der(DER.bitString, Uint8Array.of(0), signature);
  return der(DER.sequence, changed, ALGORITHM, signed);
}

const replace =
  (field: number, value: Uint8Array) =>
  (fields: Fields): Fields =>
    fields.with(field, value);

function verify(leaf: Uint8Array) {
  const document = forgeDocument({ chain: [...CHAIN.slice(0, -1), leaf] });
  return verifyNitroDocument(document, [ANCHOR], { mode: "live", nowMs: NOW });
}

/** SubjectPublicKeyInfo with the leaf's point in another form. */
function keyOf(form: (point: Uint8Array) => Uint8Array): Uint8Array {
  const spki = new Uint8Array(keyAt(4).export({ format: "der", type: "pkcs8" }));
  const point = spki.subarray(-97);
  const algorithm = fromHex("301006072a8648ce3d020106052b81040022");
  return der(DER.sequence, algorithm, der(DER.bitString, Uint8Array.of(0), form(point)));
}

const even = (point: Uint8Array): number => (point.at(-1) ?? 0) & 1;
const times = (...all: readonly Uint8Array[]) => der(DER.sequence, ...all);
const utc = (text: string) => der(DER.utcTime, utf8(text));
const BEFORE = utc("200101000000Z");
const extensionsOf = (...all: readonly Uint8Array[]) => der(0xa3, der(DER.sequence, ...all));
const extension = (oid: string, ...rest: readonly Uint8Array[]) =>
  der(DER.sequence, der(DER.oid, fromHex(oid)), ...rest);
const TRUE = fromHex("0101ff");
const NO_AUTHORITY = extension("551d13", TRUE, der(DER.octetString, fromHex("3000")));
const SIGNS_DATA = extension("551d0f", der(DER.octetString, fromHex("030206c0")));

test("[TT-1] accepts the leaf that the others are damages of", () => {
  expect(verify(issueLeaf((fields) => fields)).platform).toBe("sim");
  expect(
    verify(
      issueLeaf(
        replace(
          FIELD.key,
          keyOf((point) => point),
        ),
      ),
    ).platform,
  ).toBe("sim");
  const extensions = extensionsOf(NO_AUTHORITY, SIGNS_DATA);
  expect(verify(issueLeaf(replace(FIELD.extensions, extensions))).platform).toBe("sim");
  expect(
    verify(issueLeaf(replace(FIELD.validity, times(BEFORE, utc("491231235959Z"))))).platform,
  ).toBe("sim");
});

test.for<{ title: string; change: (fields: Fields) => Fields }>([
  { title: "version 1", change: (fields) => fields.slice(1) },
  { title: "version 2", change: replace(FIELD.version, fromHex("a003020101")) },
  { title: "a serial that is no integer", change: replace(FIELD.serial, fromHex("040101")) },
  { title: "a serial of no octets", change: replace(FIELD.serial, fromHex("0200")) },
  { title: "a serial with a zero before it", change: replace(FIELD.serial, fromHex("02020001")) },
  { title: "a negative serial too long", change: replace(FIELD.serial, fromHex("0202ff80")) },
  {
    title: "another algorithm inside than outside",
    change: replace(FIELD.algorithm, fromHex("300a06082a8648ce3d040302")),
  },
  {
    title: "30 February",
    change: replace(FIELD.validity, times(utc("200230000000Z"), utc("491231235959Z"))),
  },
  {
    title: "29 February of a year that has none",
    change: replace(FIELD.validity, times(utc("210229000000Z"), utc("491231235959Z"))),
  },
  {
    title: "month 13",
    change: replace(FIELD.validity, times(utc("201301000000Z"), utc("491231235959Z"))),
  },
  {
    title: "hour 24",
    change: replace(FIELD.validity, times(BEFORE, utc("491231240000Z"))),
  },
  {
    title: "a time without Z",
    change: replace(FIELD.validity, times(BEFORE, utc("4912312359590"))),
  },
  {
    title: "a time with an offset",
    change: replace(FIELD.validity, times(BEFORE, utc("491231235959+0100"))),
  },
  {
    title: "GeneralizedTime before 2050",
    change: replace(
      FIELD.validity,
      times(BEFORE, der(DER.generalizedTime, utf8("20491231235959Z"))),
    ),
  },
  {
    title: "a time that is no time",
    change: replace(FIELD.validity, times(BEFORE, der(DER.octetString, utf8("491231235959Z")))),
  },
  {
    title: "three times",
    change: replace(FIELD.validity, times(BEFORE, utc("491231235959Z"), BEFORE)),
  },
  {
    title: "a compressed point",
    change: replace(
      FIELD.key,
      keyOf((point) => concat(Uint8Array.of(2 + even(point)), point.subarray(1, 49))),
    ),
  },
  {
    title: "a hybrid point",
    change: replace(
      FIELD.key,
      keyOf((point) => point.with(0, 6 + even(point))),
    ),
  },
  {
    title: "the point at infinity",
    change: replace(
      FIELD.key,
      keyOf(() => Uint8Array.of(0)),
    ),
  },
  {
    title: "a point off the curve",
    change: replace(
      FIELD.key,
      keyOf((point) => point.with(96, (point[96] ?? 0) ^ 1)),
    ),
  },
  {
    title: "unique identifiers",
    change: (fields) => [...fields.slice(0, 7), fromHex("81020001"), ...fields.slice(7)],
  },
  { title: "no extensions", change: (fields) => fields.slice(0, 7) },
  {
    title: "bytes after the extensions",
    change: replace(
      FIELD.extensions,
      der(0xa3, der(DER.sequence, NO_AUTHORITY, SIGNS_DATA), fromHex("0500")),
    ),
  },
  {
    title: "an extension of four parts",
    change: replace(
      FIELD.extensions,
      extensionsOf(
        NO_AUTHORITY,
        extension("551d0f", TRUE, fromHex("0500"), der(DER.octetString, fromHex("030206c0"))),
      ),
    ),
  },
  {
    title: "FALSE written out",
    change: replace(
      FIELD.extensions,
      extensionsOf(
        NO_AUTHORITY,
        extension("551d0f", fromHex("010100"), der(DER.octetString, fromHex("030206c0"))),
      ),
    ),
  },
  {
    title: "basicConstraints with bytes after it",
    change: replace(
      FIELD.extensions,
      extensionsOf(
        extension("551d13", TRUE, der(DER.octetString, fromHex("30000500"))),
        SIGNS_DATA,
      ),
    ),
  },
  {
    title: "keyUsage of no bits",
    change: replace(
      FIELD.extensions,
      extensionsOf(NO_AUTHORITY, extension("551d0f", der(DER.octetString, fromHex("030100")))),
    ),
  },
  {
    title: "keyUsage with an unused bit set",
    change: replace(
      FIELD.extensions,
      extensionsOf(NO_AUTHORITY, extension("551d0f", der(DER.octetString, fromHex("030207c0")))),
    ),
  },
])("[TT-1] refuses a leaf with $title", ({ change }) => {
  expect(() => verify(issueLeaf(change))).toThrow(
    expect.objectContaining({ code: "TEE_CHAIN_MALFORMED" }),
  );
});

test.for([0, 951_782_399_999, NOW, 4_107_542_400_000, 253_402_300_799_000, -1])(
  "writes %d as a date and time",
  (ms) => {
    expect(isoTime(ms)).toBe(new Date(ms).toISOString());
    const text = isoTime(ms).replaceAll(/[-:T]|\.\d+/g, "");
    const later = text >= "2050";
    const element = der(
      later ? DER.generalizedTime : DER.utcTime,
      utf8(later ? text : text.slice(2)),
    );
    expect(parseDerTime(parseDerElements(element)[0])).toBe(Math.floor(ms / 1000) * 1000);
  },
);
