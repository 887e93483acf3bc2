import { createJudge, type Verdict } from "./judge.ts";
import { minimise } from "./minimise.ts";
import { Random } from "./random.ts";
import type { Target } from "./target.ts";

/** An input that broke a promise. */
export interface Failure {
  readonly fault: string;
  readonly inputHex: string;
}

/** What a run of generated inputs came to. */
export interface LoopFigures {
  readonly inputs: number;
  readonly perSecond: number;
  /** How many inputs were asked for their stage, and how many of them reached each, {@link ACCEPTED} last. */
  readonly staged: number;
  readonly reached: readonly number[];
  /** Reported, not asserted. */
  readonly slowestMs: number;
  readonly bytesMean: number;
  readonly failure: Failure | null;
}

/** One input in so many is asked for its stage: a stack costs more than most parsers. */
const STAGED = 4;

/** Runs `inputs` inputs, or up to the first that breaks a promise. `at` holds the index of the one being run. */
export async function fuzz(
  target: Target,
  args: {
    readonly inputs: number;
    readonly seed: number;
    readonly at: Int32Array;
  },
): Promise<LoopFigures> {
  const opened = await target.open();
  const judge = createJudge(target, opened);
  const stopped = target.stages.map(() => 0).concat(0, 0);
  const started = performance.now();
  let [slowestMs, bytes, index] = [0, 0, 0];
  let failure: Failure | null = null;
  for (; index < args.inputs && failure === null; index++) {
    args.at[0] = index;
    const input = opened.generate(new Random(args.seed, target.name, index));
    bytes += input.length;
    const before = performance.now();
    const isStaged = index % STAGED === 0;
    const { stage, fault } = await judge(input, isStaged ? "stack" : undefined);
    slowestMs = Math.max(slowestMs, performance.now() - before);
    if (isStaged) stopped[stage] = (stopped[stage] ?? 0) + 1;
    if (fault !== null) failure = await failureOf(input, fault, judge);
  }
  opened.close?.();
  const seconds = (performance.now() - started) / 1000;
  return {
    inputs: index,
    perSecond: index / seconds,
    staged: Math.ceil(index / STAGED),
    reached: stopped
      .map((_, at) => stopped.slice(at).reduce((sum, count) => sum + count, 0))
      .slice(1),
    slowestMs,
    bytesMean: bytes / Math.max(1, index),
    failure,
  };
}

async function failureOf(
  input: Uint8Array,
  fault: string,
  judge: (input: Uint8Array) => Promise<Verdict>,
): Promise<Failure> {
  const least = await minimise(input, async (bytes) => (await judge(bytes)).fault === fault);
  return { fault, inputHex: Buffer.from(least).toString("hex") };
}
