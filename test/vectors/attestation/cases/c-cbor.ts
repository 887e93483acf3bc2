import { concat, encodeCbor, fromHex, utf8 } from "../../../../protocol/index.ts";

import { NONCE, NOW } from "../../../attestation/forge.ts";
import { signedWith, type Case } from "./case.ts";
import { withFields } from "./c-payload.ts";

const malformed = { stage: "parse", code: "TEE_DOCUMENT_MALFORMED" } as const;
const none = fromHex("f6");
const unchecked = { unchecked: "not what this vector is about" };
/** Category C: the same payloads in CBOR that the platform does not write. */
export function cCbor(): readonly Case[] {
  return [...encodings(), ...structural()];
}

function encodings(): readonly Case[] {
  const tagged = { ...malformed, check: "cbor-no-tags" };
  const shortest = { ...malformed, check: "cbor-shortest-head" };
  return [
    {
      title: "a key with a longer head than it needs",
      document: signedWith(
        concat(fromHex("65"), utf8("nonce")),
        concat(fromHex("7805"), utf8("nonce")),
      ),
      ...shortest,
    },
    {
      title: "a cabundle with a longer head than it needs",
      document: signedWith(
        concat(utf8("cabundle"), fromHex("84")),
        concat(utf8("cabundle"), fromHex("9804")),
      ),
      ...shortest,
    },
    {
      title: "PCR0 under a longer 0",
      document: signedWith(fromHex("b0005830"), fromHex("b018005830")),
      ...shortest,
    },
    {
      title: "a nonce with a length of two bytes",
      document: signedWith(encodeCbor(NONCE), concat(fromHex("5817"), NONCE)),
      ...shortest,
    },
    {
      title: "a nonce with a length of four bytes",
      document: signedWith(
        encodeCbor(NONCE),
        concat(fromHex("5a"), fromHex(`000000${NONCE.length.toString(16)}`), NONCE),
      ),
      ...shortest,
    },
    {
      title: "a timestamp in a tag for times",
      document: withFields({ timestamp: concat(fromHex("c1"), encodeCbor(NOW)) }),
      ...tagged,
    },
    {
      title: "a nonce in a tag for encoded CBOR",
      document: withFields({ nonce: concat(fromHex("d818"), encodeCbor(NONCE)) }),
      ...tagged,
    },
    {
      title: "a payload in tag 55799 (CBOR)",
      document: signedWith(fromHex("bf69"), fromHex("d9d9f7bf69")),
      ...tagged,
    },
    {
      title: "a byte after the payload's map",
      document: signedWith(
        concat(encodeCbor(NONCE), fromHex("ff")),
        concat(encodeCbor(NONCE), fromHex("ff00")),
      ),
      ...malformed,
      check: "cbor-end",
    },
    {
      title: "a second map after the payload's",
      document: signedWith(
        concat(encodeCbor(NONCE), fromHex("ff")),
        concat(encodeCbor(NONCE), fromHex("ffbfff")),
      ),
      ...malformed,
      check: "cbor-end",
    },
    {
      title: "undefined for the nonce",
      document: withFields({ nonce: fromHex("f7") }),
      policy: { nonce: unchecked },
      ...malformed,
      check: "cbor-simple-values",
    },
  ];
}

/** What no one removal would make acceptable: kept as cases, not counted. */
function structural(): readonly Case[] {
  const fields = ["module_id", "timestamp", "pcrs", "certificate", "cabundle"];
  const wrong: readonly (readonly [string, Record<string, Uint8Array | null>])[] = [
    ...fields.flatMap((name) => [
      [`no ${name}`, { [name]: null }] as const,
      [`a null ${name}`, { [name]: none }] as const,
      [`a ${name} that is true`, { [name]: fromHex("f5") }] as const,
    ]),
    ["an empty module_id", { module_id: encodeCbor("") }],
    ["a module_id of 129 characters", { module_id: encodeCbor("i".repeat(129)) }],
    ["a module_id with a space", { module_id: encodeCbor("i-0123456789abcdef enc") }],
    ["a float timestamp", { timestamp: fromHex("fb427a0c4a0e400000") }],
    ["a timestamp of 2^63", { timestamp: fromHex("1b8000000000000000") }],
    ["a timestamp of 2^53", { timestamp: fromHex("1b0020000000000000") }],
    ["no PCRs at all", { pcrs: fromHex("a0") }],
    ["PCRs in an array", { pcrs: encodeCbor([new Uint8Array(48)]) }],
    ["an empty cabundle", { cabundle: fromHex("80") }],
    ["a cabundle of texts", { cabundle: encodeCbor(["one", "two"]) }],
    ["an empty certificate in the cabundle", { cabundle: encodeCbor([utf8(""), utf8("")]) }],
    ["an empty certificate", { certificate: fromHex("40") }],
    ["a nonce in parts", { nonce: fromHex("5f4101ff") }],
    ["a digest in parts", { digest: fromHex("7f665348413338") }],
    ["a nonce of nine arrays", { nonce: fromHex(`${"81".repeat(9)}00`) }],
    ["a nonce of 1100 items", { nonce: encodeCbor(Array.from({ length: 1100 }, () => 0)) }],
    ["a nonce of 2^32 - 1 announced items", { nonce: fromHex("9affffffff") }],
    ["a nonce of 2^64 - 1 announced bytes", { nonce: fromHex("5bffffffffffffffff") }],
    ["text that is not UTF-8", { module_id: fromHex("61ff") }],
    ["a reserved head", { nonce: fromHex("1c") }],
    ["a map with a key of bytes", { nonce: fromHex("a14000") }],
    ["a nonce that a break ends early", { nonce: fromHex("9f00") }],
  ];
  return wrong.map(([title, changes]) => ({
    title,
    document: withFields(changes),
    ...malformed,
    check: null,
  }));
}
