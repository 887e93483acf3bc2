import { fromHex, hex } from "../../../../protocol/index.ts";
import { der } from "../../../../host/sovereignty/custody/cms.ts";
import { basicConstraints, keyUsage, type ExtensionSpec } from "../../../../sim/x509.ts";
import {
  LEAF_EXTENSIONS,
  authority,
  forgeChain,
  forgeDocument,
} from "../../../attestation/forge.ts";
import { withParts, type Case } from "./case.ts";
import { part } from "./d-certificate.ts";

const malformed = { stage: "verify", code: "TEE_CHAIN_MALFORMED" } as const;
const [LEAF, INSTANCE] = [4, 3];

/** Category D: the extensions of one certificate. */
export function dExtensions(): readonly Case[] {
  return [...extensions(), ...constraints(), ...usages()];
}

function withExtensions(extensions: readonly ExtensionSpec[], position = LEAF): Uint8Array {
  return forgeDocument({ chain: forgeChain({ [position]: { extensions } }) });
}

function extensions(): readonly Case[] {
  const nameConstraints = { oid: "551d1e", critical: true, value: fromHex("3000") };
  const unknown = { oid: "2a0304", critical: true, value: fromHex("0500") };
  const once = { ...malformed, check: "extension-once" };
  const bits = keyUsage(0x84, { critical: false });
  return [
    ...[LEAF, INSTANCE, 1].map((position) => ({
      title: `an unknown critical extension in certificate ${position}`,
      document: withExtensions([...own(position), unknown], position),
      ...malformed,
      check: "extension-critical",
    })),
    {
      title: "critical name constraints in an authority",
      document: withExtensions([...own(INSTANCE), nameConstraints], INSTANCE),
      ...malformed,
      check: "extension-critical",
    },
    {
      title: "keyUsage twice, the second one a leaf's",
      document: withExtensions([basicConstraints(null), bits, keyUsage(0xc0, { critical: false })]),
      ...once,
    },
    {
      title: "basicConstraints twice, the second one a leaf's",
      document: withExtensions([basicConstraints({ pathLength: 0 }), ...LEAF_EXTENSIONS]),
      ...once,
    },
    {
      title: "an extension of four parts",
      document: surgicalExtension((parts) => [
        ...parts.slice(0, 2),
        fromHex("0500"),
        ...parts.slice(2),
      ]),
      ...malformed,
      check: "extension-three-parts",
    },
    {
      title: "a critical flag of 01",
      document: surgicalExtension((parts) => parts.with(1, fromHex("010101"))),
      ...malformed,
      check: "der-true",
    },
    {
      title: "a critical flag of two octets",
      document: surgicalExtension((parts) => parts.with(1, fromHex("0102ffff"))),
      ...malformed,
      check: "der-true-one-octet",
    },
    {
      title: "a critical flag that is written and false",
      document: surgicalExtension((parts) => parts.with(1, fromHex("010100"))),
      ...malformed,
      check: "der-true",
    },
    {
      title: "an extension that is a set",
      document: replacedInLeaf("300c0603551d13", "310c0603551d13"),
      ...malformed,
      check: null,
    },
  ];
}

function own(position: number): readonly ExtensionSpec[] {
  return position === LEAF ? LEAF_EXTENSIONS : authority(3 - position);
}

/** basicConstraints of the leaf, `oid, critical, value`, with other parts. */
function surgicalExtension(
  change: (parts: readonly Uint8Array[]) => readonly Uint8Array[],
): Uint8Array {
  const before = der(0x30, fromHex("0603551d13"), fromHex("0101ff"), fromHex("04023000"));
  const after = der(
    0x30,
    ...change([fromHex("0603551d13"), fromHex("0101ff"), fromHex("04023000")]),
  );
  return replacedInLeaf(hex(before), hex(after));
}

/** Bytes of the leaf's extensions exchanged, and the lengths around them made right. */
function replacedInLeaf(before: string, after: string): Uint8Array {
  return part(7, (wrapper) => [
    withParts(wrapper, ([list = wrapper]) => [
      withParts(list, (each) => [...each].map((one) => exchanged(one, before, after))),
    ]),
  ]);
}

function exchanged(bytes: Uint8Array, before: string, after: string): Uint8Array {
  return hex(bytes) === before ? fromHex(after) : fromHex(hex(bytes).replace(before, after));
}

function constraints(): readonly Case[] {
  const value = (text: string): ExtensionSpec => ({
    oid: "551d13",
    critical: true,
    value: fromHex(text),
  });
  const inAuthority = (text: string): Uint8Array =>
    withExtensions([value(text), keyUsage(0x86, { critical: true })], INSTANCE);
  const length = { ...malformed, check: "path-length-below-128" };
  return [
    {
      title: "no basicConstraints in a leaf",
      document: withExtensions(LEAF_EXTENSIONS.slice(1)),
      ...malformed,
      check: "basic-constraints-required",
    },
    { title: "a path length of 128", document: inAuthority("30070101ff02020080"), ...length },
    { title: "a path length of -1", document: inAuthority("30060101ff0201ff"), ...length },
    {
      title: "a path length of 256",
      document: inAuthority("30070101ff02020100"),
      ...malformed,
      check: "path-length-one-octet",
    },
    {
      title: "a path length of 2^64",
      document: inAuthority("300e0101ff0209010000000000000000"),
      ...malformed,
      check: "path-length-one-octet",
    },
    {
      title: "a path length with a zero too many",
      document: inAuthority("30070101ff02020000"),
      ...malformed,
      check: null,
    },
    {
      title: "three parts in basicConstraints",
      document: inAuthority("30090101ff0201000201ff".replace("0201ff", "020100")),
      ...malformed,
      check: "basic-constraints-two-parts",
    },
    {
      title: "an authority flag of 01",
      document: inAuthority("3006010101020100"),
      ...malformed,
      check: "der-true",
    },
    {
      title: "something after basicConstraints",
      document: withExtensions([value("30000500"), ...LEAF_EXTENSIONS.slice(1)]),
      ...malformed,
      check: "der-one-element",
    },
    {
      title: "a path length without an authority flag",
      document: inAuthority("3003020100"),
      ...malformed,
      check: null,
    },
  ];
}

function usages(): readonly Case[] {
  const leaf = (text: string): Uint8Array =>
    withExtensions([
      basicConstraints(null),
      { oid: "551d0f", critical: false, value: fromHex(text) },
    ]);
  const cases: readonly (readonly [string, Uint8Array, string | null])[] = [
    ["no keyUsage in a leaf", withExtensions(LEAF_EXTENSIONS.slice(0, 1)), "key-usage-required"],
    ["a keyUsage of three octets", leaf("030400c00000"), "key-usage-nine-bits"],
    ["a keyUsage with 8 unused bits", leaf("030308c000"), "key-usage-seven-unused"],
    ["a keyUsage with a bit among the unused", leaf("030206c1"), "key-usage-unused-zero"],
    ["a keyUsage with such a bit in its second octet", leaf("030307c001"), "key-usage-unused-zero"],
    ["a keyUsage of no octets", leaf("030100"), null],
    ["a keyUsage that is a number", leaf("020100"), null],
  ];
  return cases.map(([title, document, check]) => ({ title, document, ...malformed, check }));
}
