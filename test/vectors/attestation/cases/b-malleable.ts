import { concat, fromHex } from "../../../../protocol/index.ts";
import { DOCUMENT, GENUINE_BASE, SIM_BASE, withBytes, AT, type Case } from "./case.ts";

const malformed = { stage: "parse", code: "TEE_DOCUMENT_MALFORMED" } as const;

/** Other bytes under a signature that still verifies: second forms of one document. High-s alone is accepted. */
export function bMalleable(genuine: Uint8Array | null): readonly Case[] {
  return [
    ...malleableCases(DOCUMENT, SIM_BASE),
    ...(genuine === null ? [] : malleableCases(genuine, GENUINE_BASE)),
  ];
}

function malleableCases(document: Uint8Array, base: string): readonly Case[] {
  const unprotected = (item: string): Uint8Array =>
    concat(document.subarray(0, AT.unprotected), fromHex(item), document.subarray(AT.payload - 3));
  const oneByte: readonly (readonly [string, string])[] = [
    ["null", "f6"],
    ["an empty array", "80"],
    ["no bytes", "40"],
    ["empty text", "60"],
    ["false", "f4"],
    ["the number 0", "00"],
  ];
  const cases: readonly Case[] = [
    ...oneByte.map(([what, item]) => ({
      title: `${what} for the unprotected header`,
      document: unprotected(item),
      ...malformed,
      check: "envelope-head",
    })),
    {
      title: "an unprotected header with a key identifier",
      document: unprotected("a10440"),
      ...malformed,
      check: null,
    },
    {
      title: "an unprotected header of indefinite length",
      document: unprotected("bfff"),
      ...malformed,
      check: null,
    },
    {
      title: "an array head of two bytes",
      document: concat(fromHex("9804"), document.subarray(1)),
      ...malformed,
      check: null,
    },
    {
      title: "an array of indefinite length",
      document: concat(fromHex("9f"), document.subarray(1), fromHex("ff")),
      ...malformed,
      check: null,
    },
    {
      title: "a signature with a length of two bytes",
      document: concat(document.subarray(0, -98), fromHex("590060"), document.subarray(-96)),
      ...malformed,
      check: null,
    },
    {
      title: "a head of an array with another count of the same length",
      document: withBytes(document, 0, fromHex("86")),
      ...malformed,
      check: "envelope-head",
    },
    {
      title: "zero bytes after the document",
      document: concat(document, new Uint8Array(64)),
      ...malformed,
      check: "envelope-end",
    },
  ];
  return cases.map((each) => ({ ...each, base }));
}
