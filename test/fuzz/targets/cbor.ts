import { decodeHardwareCbor } from "../../../attestation/index.ts";
import { concat } from "../../../protocol/index.ts";
import { anyCbor, changeCbor, readCbor, writeCbor } from "../cbor-tree.ts";
import { mutate } from "../mutate.ts";
import type { Random } from "../random.ts";
import { accepting, type Target } from "../target.ts";
import { signedDocument } from "./nitro-seeds.ts";

const BYTES_MAX = 0x3000;

/** `attestation/cbor.ts`: what hardware writes, before anything is known of it. */
export const hardwareCbor: Target = {
  name: "hardware-cbor",
  bytesMax: BYTES_MAX,
  codes: ["TEE_DOCUMENT_MALFORMED", "TEE_DOCUMENT_TOO_LARGE"],
  stages: [
    { name: "size", functions: ["decodeHardwareCbor"] },
    { name: "head", functions: ["readHead", "walk"] },
    { name: "content", functions: ["take", "expectText", "definite", "repeat"] },
    { name: "map keys", functions: ["walkMap"] },
  ],
  steps: { perByte: 16, fixed: 1000 },
  allocation: { perByte: 320, fixed: 32 * 1024 },
  shortInputs: 20_000,
  open: () => {
    const seed = signedDocument().payload;
    const tree = readCbor(seed);
    return {
      generate: (random) => {
        switch (random.below(8)) {
          case 0:
            return random.bytes(random.length(BYTES_MAX + 64));
          case 1:
            return mutate(random, seed);
          case 2:
            return writeCbor(changeCbor(random, tree), random, random.pick([0, 0, 64]));
          case 3:
            return mutate(random, writeCbor(anyCbor(random, 4), random));
          default:
            return writeCbor(
              anyCbor(random, random.pick([2, 4, 9])),
              random,
              random.pick([0, 0, 32]),
            );
        }
      },
      run: accepting((input) => decodeHardwareCbor(input, BYTES_MAX)),
      grown: CBOR_GROWN,
    };
  },
};

function head(major: number, count: number): Uint8Array {
  return Uint8Array.of((major << 5) | 26, count >>> 24, count >> 16, count >> 8, count);
}

/** Worst shapes of CBOR in general. */
export const CBOR_GROWN: Readonly<Record<string, (bytes: number) => Uint8Array>> = {
  "integers of one byte in one array": (bytes) =>
    bytes < 300
      ? concat(
          Uint8Array.of(0x98, Math.max(24, bytes - 45)),
          new Uint8Array(Math.max(24, bytes - 45)),
        )
      : concat(
          Uint8Array.of(0x99, (bytes - 3) >> 8, (bytes - 3) & 0xff),
          new Uint8Array(bytes - 3),
        ),
  "integers of one byte, endless": (bytes) => new Uint8Array(bytes).fill(1).with(0, 0x9f),
  "arrays in arrays": (bytes) => new Uint8Array(bytes).fill(0x81),
  "endless arrays in arrays": (bytes) => new Uint8Array(bytes).fill(0x9f),
  "maps in maps": (bytes) => new Uint8Array(bytes).map((_, at) => (at % 2 === 0 ? 0xa1 : 0)),
  "empty strings, endless": (bytes) => new Uint8Array(bytes).fill(0x60).with(0, 0x9f),
  "keys of one map": (bytes) => {
    const pairs: Uint8Array[] = [Uint8Array.of(0xbf)];
    for (let key = 0; pairs.length * 4 < bytes; key++) {
      pairs.push(
        key < 24
          ? Uint8Array.of(key, 0)
          : key < 256
            ? Uint8Array.of(0x18, key, 0)
            : Uint8Array.of(0x19, key >> 8, key & 0xff, 0),
      );
    }
    return concat(...pairs, Uint8Array.of(0xff));
  },
  "one long text": (bytes) => concat(head(3, bytes), new Uint8Array(bytes).fill(0x61)),
  "an announced length beyond the end": (bytes) =>
    concat(head(4, 0xffffffff), new Uint8Array(bytes)),
};

/** One of `seeds` changed as bytes or as a tree, in `least` places or a few more. */
export function changedCbor(random: Random, seeds: readonly Uint8Array[], least = 1): Uint8Array {
  const seed = random.pick(seeds);
  if (random.once(4)) return mutate(random, seed, seeds);
  const changes = least + (random.once(3) ? random.below(4) : 0);
  let tree = readCbor(seed);
  for (let change = 0; change < changes; change++) tree = changeCbor(random, tree);
  return writeCbor(tree, random, random.once(16) ? 16 : 0);
}
