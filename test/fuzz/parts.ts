import { concat } from "../../protocol/index.ts";

/** Several byte strings as one input, each after its length in three octets. */
export function packParts(parts: readonly Uint8Array[]): Uint8Array {
  return concat(
    ...parts.flatMap((part) => [
      Uint8Array.of(part.length >> 16, part.length >> 8, part.length),
      part,
    ]),
  );
}

const PARTS_MAX = 100_000;

/** The byte strings of any input: what is missing at its end is missing from the last of them. */
export function unpackParts(input: Uint8Array): readonly Uint8Array[] {
  const parts: Uint8Array[] = [];
  for (let at = 0; at < input.length && parts.length < PARTS_MAX;) {
    const [high = 0, middle = 0, low = 0] = input.subarray(at, at + 3);
    const end = at + 3 + high * 65_536 + middle * 256 + low;
    parts.push(input.subarray(at + 3, end));
    at = end;
  }
  return parts;
}
