import type { z } from "zod";

import { decodeCbor, encodeCbor, type CborValue } from "./cbor.ts";
import { MalformedError, type ErrorCode } from "./errors.ts";
import { digestOfBytes } from "./hash.ts";
import { signCose, verifyCose, type SigningKey } from "./signing.ts";

/** One kind of protocol object: its canonical bytes, its digest and its signature, from one schema. */
export interface ProtocolObject<T extends CborValue> {
  /** The word that separates its digests and signatures from every other kind's. */
  readonly name: string;
  /** Canonical bytes of a value the schema accepts. @throws MalformedError SCHEMA_MALFORMED */
  encode(value: T): Uint8Array;
  /** Shape of untrusted bytes. @throws MalformedError, LimitError */
  decode(bytes: Uint8Array): T;
  /** Domain-separated SHA-256 of the canonical bytes; 32 bytes. */
  digest(value: T): Uint8Array;
  /** COSE_Sign1 over the canonical bytes. */
  sign(value: T, key: SigningKey): Uint8Array;
  /** The value that `publicKey` signed. @throws VerificationError PROOF_SIGNATURE_INVALID, and as `decode` */
  verify(cose: Uint8Array, publicKey: Uint8Array): T;
}

/**
 * Defines a kind of protocol object.
 *
 * @param name - Lower-case words joined by hyphens; part of every digest, so never changed.
 * @param schema - Strict zod schema; unknown fields are refused.
 * @param bytesMax - Size limit of the canonical bytes.
 */
export function defineObject<T extends CborValue>(
  name: string,
  schema: z.ZodType<T>,
  bytesMax: number,
): ProtocolObject<T> {
  const encode = (value: T): Uint8Array => encodeCbor(parseWith(schema, value, name));
  const decode = (bytes: Uint8Array): T => parseWith(schema, decodeCbor(bytes, bytesMax), name);
  return {
    name,
    encode,
    decode,
    digest: (value) => digestOfBytes(name, encode(value)),
    sign: (value, key) => signCose({ contentType: name, payload: encode(value), key }),
    verify: (cose, publicKey) => decode(verifyCose(cose, { contentType: name, publicKey })),
  };
}

/**
 * Parses `value` with a strict schema.
 *
 * The message names the first field at fault and what was expected; never the value that came.
 *
 * @throws {@link MalformedError} with `code`, SCHEMA_MALFORMED unless given.
 */
export function parseWith<T>(
  schema: z.ZodType<T>,
  value: unknown,
  subject: string,
  code: ErrorCode = "SCHEMA_MALFORMED",
): T {
  const parsed = schema.safeParse(value);
  if (parsed.success) return parsed.data;
  const issue = parsed.error.issues[0];
  const path = [subject, ...(issue?.path ?? [])].join(".");
  const expectation = issue?.message ?? "expected another shape";
  throw new MalformedError(
    { code, field: path, issue: issue?.code },
    `${path}: ${expectation.charAt(0).toLowerCase()}${expectation.slice(1)}`,
  );
}
