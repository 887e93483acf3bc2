import { existsSync, readFileSync } from "node:fs";
import { join, resolve } from "node:path";

import { z } from "zod";

const ROOT = join(import.meta.dirname, "../..");
const SHARED = resolve(ROOT, process.env["SYMPHONY_SHARED"] ?? "../shared");
const FILE = join(SHARED, "vectors/dp.json");

/** Whether the known answers can be read; tests skip without them. */
export const vectorsPresent = existsSync(FILE);

const caseSchema = z.looseObject({ id: z.string() });

/** The cases of dp.json with this identifier, read by `schema`; none when the file is absent. */
export function vectorCases<T>(id: string, schema: z.ZodType<T>): T[] {
  if (!vectorsPresent) return [];
  const file = z
    .object({ cases: z.array(caseSchema) })
    .parse(JSON.parse(readFileSync(FILE, "utf8")));
  return file.cases.filter((entry) => entry.id === id).map((entry) => schema.parse(entry));
}
