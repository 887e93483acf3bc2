import type { Target } from "../target.ts";

/** The targets of these names, or all; those that are bad on purpose by name only, and without loading the others. */
export async function loadTargets(names: readonly string[]): Promise<readonly Target[]> {
  const { BAD_TARGETS } = await import("./bad.ts");
  const areBad = names.length > 0 && names.every((name) => name.startsWith("bad-"));
  const known = areBad ? BAD_TARGETS : (await import("./index.ts")).TARGETS;
  if (names.length === 0) return known;
  return names.map((name) => {
    const found = known.find((target) => target.name === name);
    if (found === undefined) throw new Error(`parser: expected a known one, got ${name}`);
    return found;
  });
}
