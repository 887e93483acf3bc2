import { timingSafeEqual } from "node:crypto";

import { MalformedError } from "./errors.ts";

const encoder = new TextEncoder();
const strictDecoder = new TextDecoder("utf-8", { fatal: true });

/** UTF-8 bytes of `text`. */
export function utf8(text: string): Uint8Array {
  return encoder.encode(text);
}

/** Text of UTF-8 `bytes`; throws `TypeError` on bytes that are not UTF-8. */
export function utf8Text(bytes: Uint8Array): string {
  return strictDecoder.decode(bytes);
}

/** Lower-case hex of `bytes`. */
export function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("hex");
}

/**
 * Bytes of hex `text`.
 *
 * @throws {@link MalformedError} SCHEMA_MALFORMED when `text` is not an even number of hex digits.
 */
export function fromHex(text: string): Uint8Array {
  if (text.length % 2 !== 0 || !/^[0-9a-fA-F]*$/.test(text)) {
    throw new MalformedError(
      { code: "SCHEMA_MALFORMED", length: text.length },
      `hex: expected an even number of hexadecimal digits, got ${text.length} characters`,
    );
  }
  return new Uint8Array(Buffer.from(text, "hex"));
}

/** Standard base64 of `bytes`. */
export function base64(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("base64");
}

/**
 * Bytes of standard, padded base64 `text`.
 *
 * @throws {@link MalformedError} SCHEMA_MALFORMED when re-encoding does not give `text` back.
 */
export function fromBase64(text: string): Uint8Array {
  const bytes = new Uint8Array(Buffer.from(text, "base64"));
  if (base64(bytes) !== text) {
    throw new MalformedError(
      { code: "SCHEMA_MALFORMED", length: text.length },
      `base64: expected standard padded base64, got ${text.length} other characters`,
    );
  }
  return bytes;
}

/** Writes text of one unit for each byte to `target` at `at`: what node:crypto gives faster than a new array. */
export function putLatin1(target: Uint8Array, at: number, text: string): void {
  for (let index = 0; index < text.length; index += 1) target[at + index] = text.charCodeAt(index);
}

/** One new array holding all `parts` in order. */
export function concat(...parts: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  const whole = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

/** Whether two byte strings are equal, in time that depends only on their lengths. */
export function equalBytes(left: Uint8Array, right: Uint8Array): boolean {
  return left.length === right.length && timingSafeEqual(left, right);
}

/** Order of two byte strings: bytewise, then by length. */
export function compareBytes(left: Uint8Array, right: Uint8Array): number {
  return Buffer.compare(left, right);
}
