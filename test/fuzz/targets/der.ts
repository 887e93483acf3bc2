import { parseDerElements } from "../../../attestation/der.ts";
import { parseDerTime } from "../../../attestation/der-time.ts";
import { concat, utf8 } from "../../../protocol/index.ts";
import { CHAIN } from "../../attestation/forge.ts";
import { anyDer, changeDer, derHead, readDer, writeDer } from "../der-tree.ts";
import { edgeOctet, mutate } from "../mutate.ts";
import type { Random } from "../random.ts";
import { accepting, type Target } from "../target.ts";

const CODES = ["TEE_CHAIN_MALFORMED"] as const;

/** `attestation/der.ts`: elements one after another. */
export const derElements: Target = {
  name: "der-elements",
  bytesMax: 128 * 1024,
  codes: CODES,
  stages: [
    { name: "tag", functions: ["parseDerElements"] },
    { name: "length", functions: ["readLength"] },
    { name: "content", functions: ["readElement"] },
  ],
  steps: { perByte: 6, fixed: 500 },
  allocation: { perByte: 220, fixed: 16 * 1024 },
  shortInputs: 20_000,
  open: () => ({
    generate: (random) => {
      const count = random.once(32) ? random.length(200) : random.between(0, 4);
      switch (random.below(6)) {
        case 0:
          return random.bytes(random.length(8192));
        case 1:
          return mutate(random, random.pick(CHAIN), CHAIN);
        case 2:
          return concat(
            ...readDer(random.pick(CHAIN)).map((tree) => writeDer(changeDer(random, tree))),
          );
        default:
          return concat(...Array.from({ length: count }, () => writeDer(anyDer(random, 2))));
      }
    },
    run: accepting(parseDerElements),
    grown: DER_GROWN,
  }),
};

/** Worst shapes of DER in general. */
export const DER_GROWN: Readonly<Record<string, (bytes: number) => Uint8Array>> = {
  "empty elements": (bytes) => new Uint8Array(bytes).map((_, at) => (at % 2 === 0 ? 0x05 : 0)),
  "one long element": (bytes) =>
    writeDer({ tag: 0x04, content: new Uint8Array(bytes), form: "shortest" }),
  "elements in elements": (bytes) => {
    const heads: Uint8Array[] = [];
    for (let inside = 0; inside < bytes;) {
      const head = derHead(0x30, inside);
      heads.push(head);
      inside += head.length;
    }
    return concat(...heads.reverse());
  },
  "an announced length beyond the end": (bytes) =>
    concat(Uint8Array.of(0x30, 0x83, 0xff, 0xff, 0xff), new Uint8Array(bytes)),
};

/** `attestation/der-time.ts`: the first octet is the tag, the rest the content. */
export const derTime: Target = {
  name: "der-time",
  bytesMax: 1024,
  codes: CODES,
  stages: [
    { name: "form", functions: ["parseDerTime"] },
    { name: "calendar", functions: ["timeOf"] },
  ],
  steps: { perByte: 1, fixed: 100 },
  allocation: { perByte: 4, fixed: 8 * 1024 },
  shortInputs: 20_000,
  open: () => ({
    generate: timeElement,
    run: accepting((input) => {
      const content = input.subarray(1);
      return parseDerTime({ tag: input[0] ?? 0, content });
    }),
    grown: {
      digits: (bytes) => new Uint8Array(bytes).fill(0x30).with(0, 0x18),
      letters: (bytes) => new Uint8Array(bytes).fill(0x5a).with(0, 0x17),
    },
  }),
};

function timeElement(random: Random): Uint8Array {
  const two = (bound: number): string => String(random.below(bound)).padStart(2, "0");
  const isLong = random.once(2);
  const year = isLong ? String(random.between(1900, 9999)) : two(100);
  const bound = random.once(4) ? 100 : 0;
  const rest = [13, 33, 25, 62, 62].map((usual) => two(Math.max(usual, bound))).join("");
  const time = concat(Uint8Array.of(isLong ? 0x18 : 0x17), utf8(`${year}${rest}Z`));
  switch (random.below(8)) {
    case 0:
      return random.bytes(random.length(64));
    case 1:
      return mutate(random, time);
    case 2:
      return time.with(random.below(time.length), edgeOctet(random));
    default:
      return time;
  }
}
