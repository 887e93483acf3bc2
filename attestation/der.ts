import { MalformedError } from "#protocol";

/** Where an element stands in the bytes it was read from, ends excluded. */
interface Extent {
  readonly start: number;
  readonly contentAt: number;
  readonly end: number;
}

/**
 * One DER element: its identifier octet, its contents, and all its octets.
 *
 * The octets are views into the input, made when asked for: most elements of a list are never looked into.
 */
export class DerElement {
  readonly tag: number;
  readonly #bytes: Uint8Array;
  readonly #extent: Extent;

  constructor(bytes: Uint8Array, extent: Extent) {
    this.tag = octet(bytes, extent.start);
    this.#bytes = bytes;
    this.#extent = extent;
  }

  /** Octets of the whole element. */
  get length(): number {
    return this.#extent.end - this.#extent.start;
  }

  get content(): Uint8Array {
    return this.#bytes.subarray(this.#extent.contentAt, this.#extent.end);
  }

  get whole(): Uint8Array {
    return this.#bytes.subarray(this.#extent.start, this.#extent.end);
  }
}

/** Identifier octets used by X.509 (X.690 § 8.1.2). */
export const DER = {
  boolean: 0x01,
  integer: 0x02,
  bitString: 0x03,
  octetString: 0x04,
  oid: 0x06,
  utcTime: 0x17,
  generalizedTime: 0x18,
  sequence: 0x30,
} as const;

const LENGTH_OCTETS_MAX = 3;

/**
 * Reads the elements that fill `bytes` exactly.
 *
 * Strict DER: one-octet tags, definite lengths in their shortest form, nothing left over.
 *
 * @throws {@link MalformedError} TEE_CHAIN_MALFORMED
 * @see X.690 § 10.1
 */
export function parseDerElements(bytes: Uint8Array): readonly DerElement[] {
  const elements: DerElement[] = [];
  for (let at = 0; at < bytes.length;) {
    const element = readElement(bytes, at);
    elements.push(element);
    at += element.length;
  }
  return elements;
}

/**
 * Reads one element with identifier `tag` that fills `bytes` exactly, and returns it.
 *
 * @throws {@link MalformedError} TEE_CHAIN_MALFORMED
 */
export function parseDer(bytes: Uint8Array, tag: number): DerElement {
  const elements = parseDerElements(bytes);
  if (elements.length !== 1) throw derFault("one element", `${elements.length}`);
  return expectTag(elements[0], tag);
}

/**
 * `element`, if it is there and has identifier `tag`.
 *
 * @throws {@link MalformedError} TEE_CHAIN_MALFORMED
 */
export function expectTag(element: DerElement | undefined, tag: number): DerElement {
  if (element === undefined) throw derFault(`tag 0x${tag.toString(16)}`, "nothing");
  if (element.tag !== tag) {
    throw derFault(`tag 0x${tag.toString(16)}`, `0x${element.tag.toString(16)}`);
  }
  return element;
}

/**
 * The contents of an INTEGER: two's complement, as short as it can be (X.690 § 8.3.2).
 *
 * @throws {@link MalformedError} TEE_CHAIN_MALFORMED
 */
export function parseInteger(element: DerElement | undefined): Uint8Array {
  const { content } = expectTag(element, DER.integer);
  const [first, second = 0] = content;
  const sign = second >= 0x80 ? 0xff : 0x00;
  if (first === undefined || (content.length > 1 && first === sign)) {
    throw derFault("an integer in its shortest form", "another one");
  }
  return content;
}

/** The error for DER that is not as expected: TEE_CHAIN_MALFORMED. */
export function derFault(expected: string, got: string): MalformedError {
  return new MalformedError(
    { code: "TEE_CHAIN_MALFORMED" },
    `certificate: expected ${expected}, got ${got}`,
  );
}

function readElement(bytes: Uint8Array, start: number): DerElement {
  const tag = octet(bytes, start);
  if ((tag & 0x1f) === 0x1f) throw derFault("a one-octet tag", "a longer one");
  const { length, next } = readLength(bytes, start + 1);
  const end = next + length;
  if (end > bytes.length) throw derFault("a complete element", "a truncated one");
  return new DerElement(bytes, { start, contentAt: next, end });
}

function readLength(bytes: Uint8Array, at: number): { length: number; next: number } {
  const first = octet(bytes, at);
  if (first < 0x80) return { length: first, next: at + 1 };
  const count = first & 0x7f;
  if (count === 0 || count > LENGTH_OCTETS_MAX) {
    throw derFault("a definite length of at most 3 octets", `0x${first.toString(16)}`);
  }
  let length = 0;
  for (let i = 1; i <= count; i++) length = length * 256 + octet(bytes, at + i);
  if (length < 0x80 || length < 256 ** (count - 1)) {
    throw derFault("the shortest length form", "a longer one");
  }
  return { length, next: at + 1 + count };
}

function octet(bytes: Uint8Array, at: number): number {
  const value = bytes[at];
  if (value === undefined) throw derFault("a complete element", "a truncated one");
  return value;
}
