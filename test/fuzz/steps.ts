import { Session, type Profiler } from "node:inspector";

const TESTS = new URL("..", import.meta.url).href;
/** Counted although they are tests: parsers that are bad on purpose. */
const BAD_PARSERS = new URL("bad-parsers/", import.meta.url).href;

/** Counts the steps of code that was loaded after it was made. */
export interface StepCounter {
  count(run: () => Promise<unknown>): Promise<number>;
}

/**
 * Counts steps by V8's precise block coverage: the sum, over all code outside `test/` and Node itself, of how often
 * each block with a count of its own was entered. Blocks that run together count once, so the sum is the number of
 * executed blocks but for a factor that the source text bounds. Built-in functions count as part of their caller.
 */
export function createStepCounter(): StepCounter {
  const session = new Session();
  session.connect();
  session.post("Profiler.enable");
  session.post("Profiler.startPreciseCoverage", { callCount: true, detailed: true });
  const take = (): number => {
    let steps = 0;
    session.post("Profiler.takePreciseCoverage", (error, { result }) => {
      if (error !== null) throw error;
      steps = stepsOf(result);
    });
    return steps;
  };
  return {
    count: async (run) => {
      take();
      await run();
      return take();
    },
  };
}

function stepsOf(scripts: readonly Profiler.ScriptCoverage[]): number {
  let steps = 0;
  for (const { url, functions } of scripts) {
    const isTest = url.startsWith(TESTS) && !url.startsWith(BAD_PARSERS);
    if (isTest || url.startsWith("node:")) continue;
    for (const { ranges } of functions) for (const { count } of ranges) steps += count;
  }
  return steps;
}
