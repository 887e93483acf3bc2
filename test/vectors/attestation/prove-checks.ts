import { readFileSync } from "node:fs";
import { join } from "node:path";

import type { Judge } from "../../mutation/judges.ts";
import type { Check, Vector } from "./schema.ts";

/** One vector and what became of it without its check. */
export interface Proof {
  readonly number: string;
  readonly check: string;
  /** Null when it was accepted, as it must be; else what came instead. */
  readonly fault: string | null;
}

/**
 * Proves that each of `vectors` is accepted once its check is removed, one check at a time.
 *
 * @param root - The tree that `judge` judges.
 */
export async function proveChecks(
  vectors: readonly Vector[],
  checks: ReadonlyMap<string, Check>,
  { judge, root }: { readonly judge: Judge; readonly root: string },
): Promise<readonly Proof[]> {
  const proofs: Proof[] = [];
  for (const name of new Set(vectors.map(({ check }) => check))) {
    if (name === null) continue;
    const numbers = vectors.filter(({ check }) => check === name).map(({ number }) => number);
    const faults = await faultsOf(numbers, checks.get(name), { judge, root });
    proofs.push(...faults.map(([number, fault]) => ({ number, check: name, fault })));
  }
  return proofs;
}

async function faultsOf(
  numbers: readonly string[],
  check: Check | undefined,
  { judge, root }: { readonly judge: Judge; readonly root: string },
): Promise<readonly (readonly [string, string | null])[]> {
  const all = (fault: string) => numbers.map((number) => [number, fault] as const);
  if (check === undefined) return all("no such check");
  const before = readFileSync(join(root, check.file), "utf8");
  const count = before.split(check.search).length - 1;
  if (count !== 1) return all(`search text: expected once in ${check.file}, got ${count} times`);
  const source = before.replace(check.search, () => check.replace);
  const reply = await judge.judge({ file: check.file, source, numbers: [...numbers] });
  if ("hangs" in reply) return all("does not end");
  if ("broken" in reply) return all(reply.broken);
  if ("differs" in reply) return all("no outcomes");
  return numbers.map((number) => {
    const outcome = reply.outcomes[number];
    if (outcome === undefined) return [number, "no such vector"];
    if ("accepted" in outcome) return [number, null];
    return [number, `still refused: ${outcome.stage} ${outcome.code}`];
  });
}
