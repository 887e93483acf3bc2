import { fromHex, governedDecisionSchema, type GovernedDecision } from "#protocol";

import { readAuthoredText } from "../authored-file.ts";
import { parseStrict } from "../json-file.ts";

const DOCUMENT_BYTES_MAX = 256 * 1024;
const HEX = /^(?:[0-9a-f]{2})+$/;

/**
 * Reads what a person proposes: a decision in YAML or JSON, with byte strings in lower-case hex.
 *
 * @throws MalformedError SCHEMA_JSON_MALFORMED, SCHEMA_CONFIG_MALFORMED with line and column; LimitError SCHEMA_TOO_LARGE
 */
export async function readDecision(path: string): Promise<GovernedDecision> {
  const text = await readAuthoredText(path, {
    subject: "decision",
    bytesMax: DOCUMENT_BYTES_MAX,
  });
  return parseStrict(governedDecisionSchema, withBytes(text.value), text);
}

/** The value with its hex as bytes wherever the schema expects bytes and nowhere else. */
function withBytes(value: unknown): unknown {
  const parsed = governedDecisionSchema.safeParse(value);
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
