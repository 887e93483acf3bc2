import { createHash } from "node:crypto";
import * as fs from "node:fs";
import path from "node:path";

import { z } from "zod";

/** A one-line defect: in `file`, `search` (which occurs exactly once) becomes `replace`. */
export interface Mutant {
  readonly id: string;
  readonly file: string;
  readonly search: string;
  readonly replace: string;
  /** The test file in which a test named with `[id]` has to fail. */
  readonly test: string;
}

/** `killed`: a test naming the id failed. `survived`: none did. */
export type Verdict = "killed" | "survived";

const RelativePath = z
  .string()
  .regex(/^[^/\\][^\\]*$/)
  .refine((file) => !file.split("/").includes(".."), "expected a path inside the tree");

const MutantFile = z.array(
  z.strictObject({
    id: z.string(),
    file: RelativePath,
    search: z.string().min(1),
    replace: z.string(),
    test: RelativePath,
  }),
);

/**
 * Reads every `*.json` of the folder `mutants`.
 *
 * @throws Error naming file and field when one has another shape.
 */
export function readMutants(folder: string): Mutant[] {
  const names = fs.readdirSync(folder).filter((name) => name.endsWith(".json"));
  return names.sort().flatMap((name) => {
    const parsed = MutantFile.safeParse(
      JSON.parse(fs.readFileSync(path.join(folder, name), "utf8")),
    );
    if (parsed.success) return parsed.data;
    const [issue] = parsed.error.issues;
    throw new Error(`mutants/${name} ${issue?.path.join(".")}: ${issue?.message}`);
  });
}

/** What is wrong with a mutant before it is run; `undefined` when it can be. */
export function faultOf(
  mutant: Mutant,
  root: string,
  known: ReadonlySet<string>,
): string | undefined {
  if (!known.has(mutant.id)) return `expected an id of the catalogue, got ${mutant.id}`;
  for (const file of [mutant.file, mutant.test]) {
    if (!fs.existsSync(path.join(root, file))) return `${file}: expected the file, got none`;
  }
  const source = fs.readFileSync(path.join(root, mutant.file), "utf8");
  const count = source.split(mutant.search).length - 1;
  if (count !== 1) {
    return `search text: expected exactly once in ${mutant.file}, got ${count} times`;
  }
  if (mutant.search === mutant.replace) return "replace: expected other text than search";
  return undefined;
}

/** The source of `mutant.file` below `root` with the defect in it. */
export function mutate(mutant: Mutant, source: string): string {
  const at = source.indexOf(mutant.search);
  return source.slice(0, at) + mutant.replace + source.slice(at + mutant.search.length);
}

/** Name of a verdict in the cache: changes with the mutant, its source file and its test file. */
export function cacheKey(mutant: Mutant, root: string): string {
  const { id, file, search, replace, test } = mutant;
  const hash = createHash("sha256").update(JSON.stringify([id, file, search, replace, test]));
  for (const name of [file, test]) hash.update("\0").update(fs.readFileSync(path.join(root, name)));
  return hash.digest("hex");
}

/** Verdicts on disk, one small file for each key; a mutant not run yet has none. */
export class VerdictCache {
  readonly #folder: string;

  constructor(folder: string) {
    this.#folder = folder;
    fs.mkdirSync(folder, { recursive: true });
  }

  get(key: string): Verdict | undefined {
    const file = path.join(this.#folder, key);
    if (!fs.existsSync(file)) return undefined;
    const text = fs.readFileSync(file, "utf8");
    return text === "killed" || text === "survived" ? text : undefined;
  }

  set(key: string, verdict: Verdict): void {
    fs.writeFileSync(path.join(this.#folder, key), verdict);
  }
}
