import type { z } from "zod";

import { parseYaml, type PlacedValue } from "../adapters/yaml.ts";
import { readBoundedText, type FileBound } from "./bounded-file.ts";
import { parseStrict } from "./json-file.ts";

/** What a person wrote in YAML or JSON, and where each value of it stands. */
export interface AuthoredText extends PlacedValue {
  /** What it is, and the file's name. */
  readonly subject: string;
}

/**
 * Reads a file that a person wrote in YAML or JSON; see `parseYaml` for what of YAML is refused.
 *
 * @throws MalformedError SCHEMA_JSON_MALFORMED with line and column; and as `readBoundedText`
 */
export async function readAuthoredText(path: string, bound: FileBound): Promise<AuthoredText> {
  const subject = `${bound.subject} ${path}`;
  return { subject, ...parseYaml(await readBoundedText(path, bound), subject) };
}

/**
 * As {@link readAuthoredText}, of a strict shape. The message names line, column and path of the first field at fault,
 * what was expected there and what came.
 *
 * @throws MalformedError SCHEMA_JSON_MALFORMED, SCHEMA_CONFIG_MALFORMED; and as `readBoundedText`
 */
export async function readAuthored<T>(
  path: string,
  schema: z.ZodType<T>,
  bound: FileBound,
): Promise<T> {
  const text = await readAuthoredText(path, bound);
  return parseStrict(schema, text.value, text);
}
