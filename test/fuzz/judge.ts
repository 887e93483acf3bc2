import { readFileSync } from "node:fs";
import { join } from "node:path";

import { SymphonyError } from "../../protocol/index.ts";
import { ACCEPTED, type Opened, type Target } from "./target.ts";

/** How one input ended: the index of the stage it stopped in where asked for, and what is wrong, if anything. */
export interface Verdict {
  readonly stage: number;
  readonly fault: string | null;
}

/** Frames kept of a stack: more than the deepest parser has. */
const STACK_FRAMES = 64;

/**
 * Judges how inputs end: only by the target's own error, with a code it may have, of a class that docs/errors.md
 * gives for the code.
 */
export function createJudge(
  target: Target,
  { run }: Opened,
): (input: Uint8Array, stack?: "stack") => Promise<Verdict> {
  Error.prepareStackTrace = namesOf;
  const names = target.stages.map(({ name }) => name);
  const stages = new Map(
    target.stages.flatMap(({ functions }, at) => functions.map((name) => [name, at + 1] as const)),
  );
  const byCode = new Map(
    target.stages.flatMap(({ codes = [] }, at) => codes.map((code) => [code, at + 1] as const)),
  );
  const codeOf = target.codeOf ?? documentedCode;
  return async (input, stack) => {
    Error.stackTraceLimit = stack === undefined ? 0 : STACK_FRAMES;
    try {
      const result = run(input);
      const label = typeof result === "string" ? result : await result;
      const stage = label === ACCEPTED ? names.length + 1 : names.indexOf(label) + 1;
      return { stage, fault: stage === 0 ? `ended in ${label}, which is no stage` : null };
    } catch (error) {
      const code = codeOf(error);
      const stage = byCode.get(code ?? "") ?? innermost(error, stages);
      if (code !== null && target.codes.includes(code)) return { stage, fault: null };
      return { stage, fault: `threw ${describe(error)}` };
    }
  };
}

/** The classes that docs/errors.md gives for each code. */
const documented = new Map(
  readFileSync(join(import.meta.dirname, "../../docs/errors.md"), "utf8")
    .split(/^### /m)
    .slice(1)
    .map((entry) => {
      const classes = /^- \*\*Class:\*\* (.+)$/m.exec(entry)?.[1] ?? "";
      return [entry.split("\n")[0] ?? "", classes.split(", ")] as const;
    }),
);

function documentedCode(error: unknown): string | null {
  if (!(error instanceof SymphonyError)) return null;
  return documented.get(error.code)?.includes(error.class) === true ? error.code : null;
}

function describe(error: unknown): string {
  if (error instanceof SymphonyError) return `${error.name} ${error.code} (${error.class})`;
  if (error instanceof Error) return `${error.name}: ${error.message.slice(0, 200)}`;
  return `a ${typeof error}`;
}

/** Makes `stack` a list of function names: all that is asked of it here, and cheaper than text. */
function namesOf(_error: Error, frames: readonly NodeJS.CallSite[]): string {
  return frames.map((frame) => frame.getFunctionName() ?? "").join(" ");
}

function innermost(error: unknown, stages: ReadonlyMap<string, number>): number {
  let inner = error;
  while (inner instanceof SymphonyError && inner.cause instanceof SymphonyError)
    inner = inner.cause;
  if (!(inner instanceof Error)) return 0;
  for (const name of (inner.stack ?? "").split(" ")) {
    const stage = stages.get(name);
    if (stage !== undefined) return stage;
  }
  return 0;
}
