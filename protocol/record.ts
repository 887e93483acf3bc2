import { z } from "zod";

import { encodeCbor } from "./cbor.ts";
import { bytesOf, bytesUpTo } from "./fields.ts";
import { sha256 } from "./hash.ts";
import { parseWith } from "./object.ts";

/** Most attributes of a record; a batch has as many columns. */
export const RECORD_ATTRIBUTES_MAX = 256;

/** The largest byte attribute (a document image): 16 MiB; and the longest text, in UTF-16 units. */
export const ATTRIBUTE_BYTES_MAX = 16 * 1024 * 1024;
export const ATTRIBUTE_TEXT_MAX = 1024 * 1024;

/** Bytes of a pseudonymous subject id and of a record's salt. */
export const SUBJECT_ID_BYTES = 32;
export const SALT_BYTES = 16;

/** A name of an attribute or a column. */
export const attributeNameSchema = z.string().regex(/^[A-Za-z][A-Za-z0-9_.-]{0,63}$/);

/** The name of a record schema. */
export const recordSchemaNameSchema = z.string().regex(/^[a-z][a-z0-9_.@/-]{0,127}$/);

/** What an attribute may hold. Decimals are integers with a scale that the schema knows. */
export const attributeValueSchema = z.union([
  z.null(),
  z.int(),
  z.string().max(ATTRIBUTE_TEXT_MAX),
  bytesUpTo(ATTRIBUTE_BYTES_MAX),
]);

/** See {@link attributeValueSchema}. */
export type AttributeValue = z.infer<typeof attributeValueSchema>;

/**
 * The canonical record `CR` of SCP.
 *
 * `subject_id` is a pseudonym of 32 bytes. `salt` is 16 random bytes, drawn once per record, so that the commitment
 * hides records that could be guessed.
 */
export const recordSchema = z.strictObject({
  schema: recordSchemaNameSchema,
  subject_id: bytesOf(SUBJECT_ID_BYTES),
  attributes: z
    .record(attributeNameSchema, attributeValueSchema)
    .refine((attributes) => Object.keys(attributes).length <= RECORD_ATTRIBUTES_MAX),
  salt: bytesOf(SALT_BYTES),
});

/** See {@link recordSchema}. */
export type CanonicalRecord = z.infer<typeof recordSchema>;

/**
 * Parses a record that came from elsewhere. A message never repeats a value.
 *
 * @throws {@link MalformedError} SCHEMA_MALFORMED
 */
export function parseRecord(value: unknown): CanonicalRecord {
  return parseWith(recordSchema, value, "record");
}

/**
 * `Serialize(CR)`: deterministic CBOR of the record.
 *
 * @throws {@link MalformedError} SCHEMA_CBOR_MALFORMED for text that is not NFC and for numbers that are no integers.
 */
export function serializeRecord(record: CanonicalRecord): Uint8Array {
  const { schema, subject_id, attributes, salt } = record;
  return encodeCbor({ schema, subject_id, attributes, salt });
}

/**
 * `Commitment = SHA256(Serialize(CR))`, 32 bytes. Without a domain on purpose: SCP gives the formula.
 *
 * @see SCP core spec, Data Sovereignty Service
 */
export function commitRecord(record: CanonicalRecord): Uint8Array {
  return sha256(serializeRecord(record));
}
