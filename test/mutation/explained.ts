import { readFileSync } from "node:fs";
import { join } from "node:path";

import { z } from "zod";

import type { Mutant } from "./mutants.ts";

const explainedSchema = z.array(
  z.strictObject({
    file: z.string(),
    /** The source line, trimmed. */
    text: z.string(),
    from: z.string(),
    to: z.string(),
    /** Why no input tells the mutant from the original. */
    reason: z.string().min(20),
  }),
);

/** Mutants that behave as the original does, with the reason; anything else is a test that is missing. */
export type Explained = z.infer<typeof explainedSchema>;

/** Reads `explained.json`. */
export function loadExplained(): Explained {
  const file = join(import.meta.dirname, "explained.json");
  return explainedSchema.parse(JSON.parse(readFileSync(file, "utf8")));
}

/** Whether a reason is given for `mutant`. */
export function isExplained(explained: Explained, mutant: Mutant): boolean {
  return explained.some(
    ({ file, text, from, to }) =>
      file === mutant.file && text === mutant.text && from === mutant.from && to === mutant.to,
  );
}
