import { Worker } from "node:worker_threads";

import type { LoopFigures } from "./loop.ts";
import type { MeasureFigures } from "./measure.ts";
import type { Work } from "./worker.ts";

/** What a phase of one target came to: figures, or why there are none. */
export interface PhaseResult<Figures> {
  readonly figures: Figures | null;
  readonly fault: string | null;
}

/** More than any parser's bound for its largest input, and room for the harness. */
const OLD_SPACE_MB = 512;

const NOT_STARTED = -1;

/**
 * Runs one phase of `targets`, one after another, in a thread that may hang or exhaust its memory. After one that
 * does, no more are run.
 *
 * @param patienceMs - How long one input may take before its parser is taken to hang.
 * @returns As many results as targets.
 */
export async function runPhase<Figures extends LoopFigures | MeasureFigures>(
  work: Omit<Work, "at">,
  patienceMs: number,
): Promise<readonly PhaseResult<Figures>[]> {
  const at = new Int32Array(new SharedArrayBuffer(4)).fill(NOT_STARTED);
  const results: PhaseResult<Figures>[] = [];
  const { promise, resolve } = Promise.withResolvers<undefined>();
  const worker = new Worker(new URL("./worker.ts", import.meta.url), {
    workerData: { ...work, at },
    resourceLimits: { maxOldGenerationSizeMb: OLD_SPACE_MB },
  });
  const breakOff = (what: string): void => {
    const where = `in ${work.phase} input ${at[0]} of seed ${work.seed}`;
    const fault = results.length < work.targets.length ? `${what} ${where}` : null;
    while (results.length < work.targets.length) results.push({ figures: null, fault });
    resolve(undefined);
  };
  worker.on("message", (figures: Figures) => results.push({ figures, fault: null }));
  worker.on("error", (error) => breakOff(error.message));
  worker.on("exit", (code) => breakOff(`ended with ${code}`));
  const watch = watchFor(at, patienceMs, () => breakOff(`no end after ${patienceMs} ms`));
  await promise;
  clearInterval(watch);
  await worker.terminate();
  return results;
}

function watchFor(at: Int32Array, patienceMs: number, hangs: () => void): NodeJS.Timeout {
  let [last, since] = [NOT_STARTED, performance.now()];
  return setInterval(() => {
    const now = performance.now();
    if (at[0] !== last || last === NOT_STARTED) [last, since] = [at[0] ?? 0, now];
    else if (now - since > patienceMs) hangs();
  }, 200);
}
