import { createPublicKey, type KeyObject } from "node:crypto";

import { base64, concat } from "#protocol";

import { DER } from "./der.ts";

/**
 * Imports a SubjectPublicKeyInfo, DER.
 *
 * As PEM, because node:crypto tries any other form by way of caught exceptions, which cost as much as the import.
 *
 * @throws what node:crypto throws when it is none; callers translate.
 */
export function importPublicKey(spki: Uint8Array): KeyObject {
  return createPublicKey(`-----BEGIN PUBLIC KEY-----\n${base64(spki)}\n-----END PUBLIC KEY-----\n`);
}

/**
 * The ECDSA signature `signature`, r then s of one length each and big endian, in DER.
 *
 * node:crypto would take it as it is, with options beside the key, at the price of two caught exceptions more.
 *
 * @see RFC 3279 § 2.2.3
 */
export function derSignature(signature: Uint8Array): Uint8Array {
  const half = signature.length / 2;
  const r = integerOf(signature.subarray(0, half));
  return encode(DER.sequence, r, integerOf(signature.subarray(half)));
}

/** SubjectPublicKeyInfo of `key` under the AlgorithmIdentifier `identifier`, DER. */
export function encodeSpki(identifier: Uint8Array, key: Uint8Array): Uint8Array {
  return encode(DER.sequence, identifier, encode(DER.bitString, Uint8Array.of(0), key));
}

/** One element of less than 65 536 bytes. */
function encode(tag: number, ...parts: readonly Uint8Array[]): Uint8Array {
  const content = concat(...parts);
  const { length } = content;
  const long = length < 0x100 ? [0x81, length] : [0x82, length >> 8, length & 0xff];
  const head = length < 0x80 ? [length] : long;
  return concat(Uint8Array.of(tag, ...head), content);
}

/** INTEGER of a number from 0 on: no leading zeros but the one that keeps it positive (X.690 § 8.3). */
function integerOf(bytes: Uint8Array): Uint8Array {
  const start = bytes.findIndex((octet) => octet !== 0);
  const digits = start < 0 ? Uint8Array.of(0) : bytes.subarray(start);
  const padding = (digits[0] ?? 0) >= 0x80 ? Uint8Array.of(0) : new Uint8Array(0);
  return encode(DER.integer, padding, digits);
}
