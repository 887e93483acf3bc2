import { createJudge } from "./judge.ts";
import { Random } from "./random.ts";
import type { StepCounter } from "./steps.ts";
import type { LinearBound, Opened, Target } from "./target.ts";

/** The greatest of one measure of a target. */
export interface Peak {
  /** The measure nearest to its bound, what part of the bound it is, and what it was of. */
  readonly value: number;
  readonly share: number;
  readonly bytes: number;
  readonly input: string;
  /** The greatest per byte of inputs that are not short, and the greatest of short ones. */
  readonly perByte: number;
  readonly short: number;
}

/** What sampled and grown inputs took. */
export interface MeasureFigures {
  readonly samples: number;
  readonly steps: Peak;
  readonly allocation: Peak;
  /** What exceeded its bound, in the order of inputs. */
  readonly faults: readonly string[];
}

/** Inputs shorter than this say little about a measure per byte. */
const SHORT_BYTES = 1024;
const GROWN_BYTES_MIN = 64;
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
  let [samples, steps, allocation] = [0, NONE, NONE];
  for (const { name, input } of inputsOf(target, opened, args)) {
    args.at[0] = samples;
    samples += 1;
    const run = (): Promise<unknown> => judge(input);
    await run();
    const taken = { value: await counter.count(run), input, name };
    steps = higher(steps, taken, target.steps);
    if (taken.value > boundOf(target.steps, input)) {
      faults.push(`took ${taken.value} steps for ${name}`);
    }
    const most = boundOf(target.allocation, input);
    if (most > MEASURABLE_BYTES) continue;
    const allocated = { value: await allocationOf(run, most), input, name };
    allocation = higher(allocation, allocated, target.allocation);
    if (allocated.value > most) faults.push(`allocated ${allocated.value} bytes for ${name}`);
  }
  opened.close?.();
  return { samples, steps, allocation, faults };
}

const NONE: Peak = { value: 0, share: 0, bytes: 0, input: "", perByte: 0, short: 0 };

function boundOf({ perByte, fixed }: LinearBound, input: Uint8Array): number {
  return perByte * input.length + fixed;
}

function higher(
  peak: Peak,
  { value, input, name }: { value: number; input: Uint8Array; name: string },
  bound: LinearBound,
): Peak {
  const share = value / boundOf(bound, input);
  const isShort = input.length < SHORT_BYTES;
  return {
    ...(share > peak.share ? { value, share, bytes: input.length, input: name } : peak),
    perByte: isShort ? peak.perByte : Math.max(peak.perByte, value / input.length),
    short: isShort ? Math.max(peak.short, value) : peak.short,
  };
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
