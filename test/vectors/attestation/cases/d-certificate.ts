import { concat, fromHex, utf8 } from "../../../../protocol/index.ts";
import { der } from "../../../../host/sovereignty/custody/cms.ts";
import { LEAF_EXTENSIONS, forgeChain, forgeDocument } from "../../../attestation/forge.ts";
import { operated, replaced, withParts, type Case } from "./case.ts";

const malformed = { stage: "verify", code: "TEE_CHAIN_MALFORMED" } as const;
const [LEAF, INSTANCE] = [4, 3];

/** Category D: the form of one certificate, signed as it stands. */
export function dCertificate(): readonly Case[] {
  return [...whole(), ...fields(), ...times()];
}

/** What is outside the signature of the certificate. */
function whole(): readonly Case[] {
  const sha256 = fromHex("300a06082a8648ce3d040302");
  return [
    ...[LEAF, INSTANCE].map((position) => ({
      title: `an element after certificate ${position}`,
      document: operated(position, { whole: (each) => concat(each, fromHex("0500")) }),
      ...malformed,
      check: "der-one-element",
    })),
    {
      title: "a fourth part in a certificate",
      document: operated(LEAF, {
        whole: (each) => withParts(each, (parts) => [...parts, fromHex("0500")]),
      }),
      ...malformed,
      check: "certificate-three-parts",
    },
    {
      title: "a certificate with a length of three octets",
      document: operated(LEAF, { whole: longLength }),
      ...malformed,
      check: "der-shortest-length",
    },
    {
      title: "a signature algorithm outside that is not the one inside",
      document: operated(LEAF, {
        whole: (each) => withParts(each, ([tbs = each, , ...rest]) => [tbs, sha256, ...rest]),
      }),
      ...malformed,
      check: "signature-algorithm",
    },
    {
      title: "a signature with unused bits",
      document: operated(LEAF, {
        whole: (each) =>
          withParts(each, (parts) => [
            ...parts.slice(0, 2),
            replaced(parts[2] ?? each, fromHex("00"), fromHex("04")),
          ]),
      }),
      ...malformed,
      check: "signature-whole-octets",
    },
    {
      title: "a certificate of 1025 bytes",
      document: longLeaf(1025),
      stage: "parse",
      code: "TEE_DOCUMENT_MALFORMED",
      check: "certificate-size",
    },
    ...structural(),
  ];
}

function longLength(certificate: Uint8Array): Uint8Array {
  return concat(fromHex("308300"), certificate.subarray(2));
}

/** A good document with a leaf of so many bytes. */
export function longLeaf(bytes: number): Uint8Array {
  return forgeDocument({ chain: longLeafChain(bytes) });
}

/** A chain with a leaf of so many bytes. */
export function longLeafChain(bytes: number): readonly Uint8Array[] {
  const make = (spare: number): readonly Uint8Array[] => {
    const pad = { oid: "2b0601", critical: false, value: new Uint8Array(spare) };
    return forgeChain({ [LEAF]: { extensions: [...LEAF_EXTENSIONS, pad] } });
  };
  // The signature is 102 to 104 bytes, differently each time.
  let spare = bytes - 500;
  for (let attempt = 0; attempt < 100; attempt++) {
    const chain = make(spare);
    const length = chain[LEAF]?.length ?? bytes;
    if (length === bytes) return chain;
    spare += bytes - length;
  }
  throw new Error("certificate: expected a size that can be made");
}

function structural(): readonly Case[] {
  const cases: readonly (readonly [string, (each: Uint8Array) => Uint8Array])[] = [
    ["a zero byte after the leaf", (each) => concat(each, fromHex("00"))],
    ["a leaf without its last byte", (each) => each.slice(0, -1)],
    [
      "a leaf of indefinite length",
      (each) => concat(fromHex("3080"), each.subarray(4), fromHex("0000")),
    ],
    [
      "a leaf with a length of four octets",
      (each) => concat(fromHex("30840000"), each.subarray(2)),
    ],
    ["a leaf with a set for its sequence", (each) => each.with(0, 0x31)],
    ["a leaf with a tag of two octets", (each) => each.with(0, 0x3f)],
    ["a leaf of one byte", (each) => each.slice(0, 1)],
    ["a leaf that is a number", () => fromHex("020101")],
    ["a leaf in PEM", (each) => utf8(Buffer.from(each).toString("base64"))],
  ];
  return cases.map(([title, change]) => ({
    title,
    document: operated(LEAF, { whole: change }),
    ...malformed,
    check: null,
  }));
}

/** A document whose certificate has one part of its signed part changed: `version, serial, algorithm, issuer, validity, subject, key, extensions`. */
export function part(
  at: number,
  change: (each: Uint8Array) => readonly Uint8Array[],
  position = LEAF,
): Uint8Array {
  return operated(position, {
    body: (tbs) =>
      withParts(tbs, (parts) =>
        parts.flatMap((each, index) => (index === at ? change(each) : [each])),
      ),
  });
}

function fields(): readonly Case[] {
  const [version, serial, algorithm, issuer, validity, subject, key, last] = [
    0, 1, 2, 3, 4, 5, 6, 7,
  ];
  const cases: readonly (readonly [string, Uint8Array, string | null])[] = [
    ["version 1 written out", part(version, () => [fromHex("a003020100")]), "certificate-version"],
    ["version 2", part(version, () => [fromHex("a003020101")]), "certificate-version"],
    ["no version", part(version, () => []), null],
    [
      "a serial number with a zero too many",
      part(serial, () => [fromHex("02020005")]),
      "integer-shortest",
    ],
    ["a serial number of no bytes", part(serial, () => [fromHex("0200")]), "integer-shortest"],
    [
      "a negative serial with an ff too many",
      part(serial, () => [fromHex("0202ff85")]),
      "integer-shortest",
    ],
    ["a serial number that is a string", part(serial, () => [fromHex("040105")]), "serial-integer"],
    [
      "a signature algorithm inside that is not the one outside",
      part(algorithm, () => [fromHex("300a06082a8648ce3d040302")]),
      "signature-algorithm-inside",
    ],
    [
      "a third time in the validity",
      part(validity, (each) => [concat(fromHex("302d"), each.subarray(2), each.subarray(2, 17))]),
      "validity-two-times",
    ],
    ["one time in the validity", part(validity, (each) => [der(0x30, each.subarray(2, 17))]), null],
    [
      "a field after the extensions",
      part(last, (each) => [each, fromHex("0500")]),
      "certificate-no-more-fields",
    ],
    [
      "a unique identifier before the extensions",
      part(last, (each) => [fromHex("81020001"), each]),
      null,
    ],
    ["no extensions", part(last, () => []), null],
    ["an issuer that is a set", part(issuer, (each) => [each.with(0, 0x31)]), null],
    ["a subject that is a set", part(subject, (each) => [each.with(0, 0x31)]), "subject-sequence"],
    ["a key that is a set", part(key, (each) => [each.with(0, 0x31)]), null],
    [
      "a key with a point that is not on the curve",
      part(key, (each) => [each.with(-1, (each.at(-1) ?? 0) ^ 1)]),
      null,
    ],
    ["a key with one coordinate", part(key, (each) => [compressed(each)]), "key-uncompressed"],
    ["a key of 47 bytes", part(key, (each) => [shortKey(each)]), null],
  ];
  return cases.map(([title, document, check]) => ({ title, document, ...malformed, check }));
}

/** The same key, as x and the parity of y (SEC 1 § 2.3.3). */
function compressed(spki: Uint8Array): Uint8Array {
  const sign = 0x02 | ((spki.at(-1) ?? 0) & 1);
  return withParts(spki, ([algorithm = spki]) => [
    algorithm,
    der(0x03, Uint8Array.of(0, sign), spki.subarray(-96, -48)),
  ]);
}

function shortKey(spki: Uint8Array): Uint8Array {
  return withParts(spki, ([algorithm = spki]) => [
    algorithm,
    der(0x03, fromHex(`0004${"01".repeat(47)}`)),
  ]);
}

/** The leaf with these times; the base's are 13 digits and Z as UTCTime. */
function timed(notBefore: string, notAfter: string): Uint8Array {
  const encode = (text: string): Uint8Array => der(text.length > 13 ? 0x18 : 0x17, utf8(text));
  return part(4, () => [der(0x30, encode(notBefore), encode(notAfter))]);
}

function times(): readonly Case[] {
  const [from, to] = ["260101000000Z", "270101000000Z"];
  const impossible: readonly (readonly [string, string])[] = [
    ["30 February", "270230000000Z"],
    ["29 February of a common year", "270229000000Z"],
    ["29 February 2100", "21000229000000Z"],
    ["31 April", "270431000000Z"],
    ["day 0", "270100000000Z"],
    ["day 32", "270132000000Z"],
    ["hour 24", "270101240000Z"],
    ["minute 60", "270101006000Z"],
    ["second 60, as in a leap second", "270101000060Z"],
  ];
  const forms: readonly (readonly [string, string])[] = [
    ["a time without seconds", "2701010000Z"],
    ["a time with a fraction", "20600101000000.5Z"],
    ["month 0", "270001000000Z"],
    ["month 13", "271301000000Z"],
    ["a time of blanks", "27 1 1000000Z"],
  ];
  return [
    ...impossible.map(([title, time]) => ({
      title: `${title} as the end of a leaf`,
      document: timed(from, time),
      ...malformed,
      check: "possible-date",
    })),
    {
      title: "GeneralizedTime before 2050",
      document: timed(from, "20270101000000Z"),
      ...malformed,
      check: "utc-time-before-2050",
    },
    {
      title: "a UTCTime with an offset",
      document: timed(from, "270101000000+0000").slice(),
      ...malformed,
      check: null,
    },
    {
      title: "a UTCTime without Z",
      document: utcTimes(from, "270101000000+0000"),
      ...malformed,
      check: "utc-time-zone",
    },
    {
      title: "a GeneralizedTime in local time",
      document: timed(from, "20600101000000"),
      ...malformed,
      check: "generalized-time-zone",
    },
    {
      title: "a time in a text string",
      document: part(4, () => [der(0x30, der(0x17, utf8(from)), der(0x0c, utf8(to)))]),
      ...malformed,
      check: null,
    },
    ...forms.map(([title, time]) => ({
      title,
      document: timed(from, time),
      ...malformed,
      check: null,
    })),
  ];
}

function utcTimes(...texts: readonly string[]): Uint8Array {
  return part(4, () => [der(0x30, ...texts.map((text) => der(0x17, utf8(text))))]);
}
