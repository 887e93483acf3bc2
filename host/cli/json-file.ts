import { MalformedError, utf8Text } from "#protocol";
import type { z } from "zod";

import type { PlacedValue } from "../adapters/yaml.ts";

const SHOWN_CHARACTERS_MAX = 120;

/** JSON of `bytes`. @throws {@link MalformedError} SCHEMA_JSON_MALFORMED */
export function parseJsonText(bytes: Uint8Array, subject: string): unknown {
  try {
    return JSON.parse(utf8Text(bytes));
  } catch (cause) {
    const got = cause instanceof SyntaxError ? cause.message : "bytes that are not UTF-8";
    throw new MalformedError(
      { code: "SCHEMA_JSON_MALFORMED" },
      `${subject}: expected JSON, got ${got}`,
      { cause },
    );
  }
}

/** What a value was read from: its name, and where its parts stand if the message is to say so. */
export type ValueSource =
  string | { readonly subject: string; readonly placeOf: PlacedValue["placeOf"] };

/**
 * A value that the user wrote, of a strict shape. The message names the path of the first field at fault, what was
 * expected there and what came, so it is for files without secrets only.
 *
 * @throws {@link MalformedError} SCHEMA_CONFIG_MALFORMED
 */
export function parseStrict<T>(schema: z.ZodType<T>, value: unknown, source: ValueSource): T {
  const parsed = schema.safeParse(value);
  if (parsed.success) return parsed.data;
  const { path, message } = faultOf(parsed.error.issues);
  const field = path.join(".");
  const subject = subjectAt(source, path);
  throw new MalformedError(
    { code: "SCHEMA_CONFIG_MALFORMED", field },
    `${subject}${field === "" ? "" : `, ${field}`}: ${message}, got ${shown(value, path)}`,
  );
}

function subjectAt(source: ValueSource, path: readonly PropertyKey[]): string {
  if (typeof source === "string") return source;
  const { line, column } = source.placeOf(path);
  return `${source.subject} line ${line} column ${column}`;
}

interface Fault {
  readonly path: readonly PropertyKey[];
  readonly message: string;
}

/** The first fault; of a choice, that of the form that the value comes nearest to. */
function faultOf(issues: readonly z.core.$ZodIssue[]): Fault {
  const [issue] = issues;
  if (issue === undefined) return { path: [], message: "expected another shape" };
  if (issue.code === "unrecognized_keys") {
    return { path: [...issue.path, ...issue.keys.slice(0, 1)], message: "expected no such field" };
  }
  if (issue.code === "invalid_union") {
    const [nearest, next] = issue.errors.toSorted((a, b) => a.length - b.length);
    if (nearest !== undefined && nearest.length !== next?.length) {
      const { path, message } = faultOf(nearest);
      return { path: [...issue.path, ...path], message };
    }
  }
  const message = issue.message
    .replace(/^[A-Z][a-z ]+: (?=expected)/, "")
    .replace(/, received .*$/, "");
  return { path: issue.path, message: `${message.charAt(0).toLowerCase()}${message.slice(1)}` };
}

function shown(value: unknown, path: readonly PropertyKey[]): string {
  let at: unknown = value;
  for (const key of path) {
    if (typeof at !== "object" || at === null) return "nothing";
    at = Object.getOwnPropertyDescriptor(at, key)?.value;
  }
  if (at === undefined) return "nothing";
  const text = JSON.stringify(at);
  return text.length > SHOWN_CHARACTERS_MAX ? `${text.slice(0, SHOWN_CHARACTERS_MAX)}...` : text;
}
