import { Session, type Profiler } from "node:inspector";

import { createJudge } from "./judge.ts";
import { Random } from "./random.ts";
import type { LinearBound, Opened, Target } from "./target.ts";

/** The greatest measure of a target, and what it was of. */
export interface Peak {
  readonly value: number;
  readonly bytes: number;
  readonly input: string;
  /** Value divided by its bound. */
  readonly share: number;
}

/** What sampled and grown inputs took. */
export interface MeasureFigures {
  readonly samples: number;
  readonly steps: Peak;
  readonly stepsPerByte: number;
  readonly allocation: Peak;
  /** What exceeded its bound, worst first. */
  readonly faults: readonly string[];
}

const GROWN_BYTES_MIN = 64;
/** Inputs shorter than this say little about steps per byte. */
const PER_BYTE_FROM = 256;
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

/** Half of the young generation (`package.json`): less than this is allocated without a collection. */
const MEASURABLE_BYTES = 32 << 20;

/**
 * The bytes that `run` allocates, freed ones included. Compiling and collecting add to a run and never repeat, so the
 * least of three counts, or of ten where those are above `bound`.
 */
async function allocationOf(run: () => Promise<unknown>, bound: number): Promise<number> {
  const collect = globalThis.gc;
  if (collect === undefined) throw new Error("node: expected --expose-gc, got none");
  let least = Infinity;
  for (let attempt = 0; attempt < 3 || (attempt < 10 && least > bound); attempt++) {
    collect({ type: "minor" });
    const before = process.memoryUsage();
    await run();
    const after = process.memoryUsage();
    const delta = after.heapUsed + after.arrayBuffers - before.heapUsed - before.arrayBuffers;
    if (delta >= 0) least = Math.min(least, delta);
  }
  return least;
}

/** Measures `samples` of `inputs` generated inputs, and every grown one, against the bounds of `target`. */
export async function measure(
  target: Target,
  counter: StepCounter,
  args: {
    readonly inputs: number;
    readonly seed: number;
    readonly samples: number;
    /** Worst shapes grow to twice the limit of their parser, or to this. */
    readonly grown: number;
    readonly at: Int32Array;
  },
): Promise<MeasureFigures> {
  const opened = await target.open();
  const judge = createJudge(target, opened);
  const faults: string[] = [];
  const best = { steps: NONE, allocation: NONE, stepsPerByte: 0, samples: 0 };
  for (const { name, input } of inputsOf(target, opened, args)) {
    args.at[0] = best.samples;
    const run = (): Promise<unknown> => judge(input);
    await run();
    const steps = peak(target.steps, { value: await counter.count(run), input, name });
    const most = boundOf(target.allocation, input);
    const allocated = most <= MEASURABLE_BYTES ? await allocationOf(run, most) : 0;
    const allocation = peak(target.allocation, { value: allocated, input, name });
    best.samples += 1;
    if (steps.share > best.steps.share) best.steps = steps;
    if (allocation.share > best.allocation.share) best.allocation = allocation;
    if (input.length >= PER_BYTE_FROM) {
      best.stepsPerByte = Math.max(best.stepsPerByte, steps.value / input.length);
    }
    if (steps.share > 1) faults.push(`took ${steps.value} steps for ${name}`);
    if (allocation.share > 1) faults.push(`allocated ${allocation.value} bytes for ${name}`);
  }
  return { ...best, faults };
}

const NONE: Peak = { value: 0, bytes: 0, input: "", share: 0 };

function boundOf({ perByte, fixed }: LinearBound, input: Uint8Array): number {
  return perByte * input.length + fixed;
}

function peak(
  bound: LinearBound,
  { value, input, name }: { value: number; input: Uint8Array; name: string },
): Peak {
  return { value, bytes: input.length, input: name, share: value / boundOf(bound, input) };
}

function* inputsOf(
  target: Target,
  { generate, grown }: Opened,
  {
    inputs,
    seed,
    samples,
    grown: grownMax,
  }: { inputs: number; seed: number; samples: number; grown: number },
): Generator<{ name: string; input: Uint8Array }> {
  const every = Math.max(1, Math.floor(inputs / samples));
  for (let index = 0; index < inputs; index += every) {
    const input = generate(new Random(seed, target.name, index));
    yield { name: `input ${index} of seed ${seed} (${input.length} bytes)`, input };
  }
  const most = Math.min(grownMax, 2 * target.bytesMax);
  for (const [shape, make] of Object.entries(grown)) {
    for (let size = GROWN_BYTES_MIN; size <= most; size *= 2) {
      const input = make(size);
      yield { name: `${shape}, grown to ${input.length} bytes`, input };
    }
  }
}
