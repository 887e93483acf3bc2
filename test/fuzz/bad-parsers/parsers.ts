import { LimitError, MalformedError } from "../../../protocol/index.ts";

/** Throws what no one listed. */
export function throwsRangeError(input: Uint8Array): void {
  if (input.length > 40) Buffer.from(input).readUInt8(input.length);
}

/** Throws a code of another parser. */
export function throwsOtherCode(input: Uint8Array): void {
  if (input.length <= 40) return;
  throw new MalformedError({ code: "SCHEMA_MALFORMED" }, "bad: expected another code, got this");
}

/** Throws a listed code in a class that docs/errors.md does not give it. */
export function throwsOtherClass(input: Uint8Array): void {
  if (input.length <= 40) return;
  throw new LimitError({ code: "TEE_DOCUMENT_MALFORMED" }, "bad: expected a class, got another");
}

/** Compares every octet with every other. */
export function comparesAllPairs(input: Uint8Array): number {
  let same = 0;
  for (const left of input) {
    for (const right of input) if (left === right) same += 1;
  }
  return same;
}

/** Copies what is left at every octet. */
export function copiesEachTime(input: Uint8Array): number {
  let [rest, sum] = [input, 0];
  while (rest.length > 0) {
    sum += rest[0] ?? 0;
    rest = rest.slice(1);
  }
  return sum;
}

/** Does not come back. */
export function hangs(input: Uint8Array): void {
  while (input.length > 40);
}
