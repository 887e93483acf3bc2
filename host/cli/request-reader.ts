import { z } from "zod";

import { parametersFileSchema, requestFileSchema, type RequestFile } from "../http/request-file.ts";
import { readAuthoredText } from "./authored-file.ts";
import { parseStrict } from "./json-file.ts";

const REQUEST_BYTES_MAX = 64 * 1024;
const parametersOnly = z.looseObject({ parameters: parametersFileSchema });

/**
 * A task as a person writes it, in YAML or JSON. Faults are named with their place, those of parameters too.
 *
 * @throws MalformedError SCHEMA_JSON_MALFORMED, SCHEMA_CONFIG_MALFORMED; LimitError SCHEMA_TOO_LARGE
 */
export async function readRequestFile(path: string): Promise<RequestFile> {
  const text = await readAuthoredText(path, { subject: "request", bytesMax: REQUEST_BYTES_MAX });
  const file = parseStrict(requestFileSchema, text.value, text);
  parseStrict(parametersOnly, text.value, text);
  return file;
}
