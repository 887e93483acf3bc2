import { fromHex } from "#protocol";
import type { z } from "zod";

import { readAuthoredText } from "../authored-file.ts";
import { parseStrict } from "../json-file.ts";

const DOCUMENT_BYTES_MAX = 256 * 1024;
const HEX = /^(?:[0-9a-f]{2})+$/;

/**
 * Reads an object of governance that a person wrote in YAML or JSON, with byte strings in lower-case hex.
 *
 * @param subject - What it is, for messages.
 * @throws MalformedError SCHEMA_JSON_MALFORMED, SCHEMA_CONFIG_MALFORMED with line and column; LimitError SCHEMA_TOO_LARGE
 */
export async function readGoverned<T>(
  path: string,
  schema: z.ZodType<T>,
  subject: string,
): Promise<T> {
  const text = await readAuthoredText(path, { subject, bytesMax: DOCUMENT_BYTES_MAX });
  return parseStrict(schema, withBytes(schema, text.value), text);
}

/** The value with its hex as bytes wherever the schema expects bytes and nowhere else. */
function withBytes(schema: z.ZodType, value: unknown): unknown {
  const parsed = schema.safeParse(value);
  const paths = parsed.success ? [] : parsed.error.issues.filter(isAboutBytes);
  return paths.reduce((changed, { path }) => bytesAt(changed, path), value);
}

function isAboutBytes({ message }: { readonly message: string }): boolean {
  return /^expected (?:\d+ |at most \d+ )?bytes$/.test(message);
}

function bytesAt(value: unknown, path: readonly PropertyKey[]): unknown {
  const [key, ...rest] = path;
  if (key === undefined)
    return typeof value === "string" && HEX.test(value) ? fromHex(value) : value;
  if (Array.isArray(value)) {
    return value.map((item: unknown, index) => (index === key ? bytesAt(item, rest) : item));
  }
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(
    Object.entries(value).map(([name, item]) => [name, name === key ? bytesAt(item, rest) : item]),
  );
}
