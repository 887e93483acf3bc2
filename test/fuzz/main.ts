import { parseArgs } from "node:util";

import type { LoopFigures } from "./loop.ts";
import type { MeasureFigures } from "./measure.ts";
import { printTarget, type TargetResult } from "./print.ts";
import { runPhase, type PhaseResult } from "./run-phase.ts";
import type { Target } from "./target.ts";
import { loadTargets } from "./targets/load.ts";

const INPUTS = 1_000_000;
const SAMPLES = 1000;
const SHORT_SAMPLES = 20;
const PATIENCE_MS = 60_000;
const GROWN = 1 << 20;
const SHORT_GROWN = 1 << 14;
/** So many inputs must reach every stage at least once. */
const REACHED_FROM = 10_000;

const HELP = (
  names: readonly string[],
): string => `npm run fuzz -- [PARSER...] [--inputs N] [--samples N] [--seed S] [--short] [--json]

Feeds each parser N generated inputs (${INPUTS}; fewer with --short), then measures steps and allocation of a sample of
them and of inputs grown to worst shapes. Exit code 1 when an input breaks a promise, 2 for usage.

  --samples N    how many generated inputs are measured (${SAMPLES})
  --grown BYTES  how long worst shapes are made at most (${GROWN}; twice what the parser takes)
  --patience MS  how long one input may take (${PATIENCE_MS})
  --json         one object for each parser

Parsers: ${names.join(", ")}
`;

interface Options {
  readonly inputs: number | null;
  readonly samples: number | null;
  readonly seed: number;
  readonly grown: number | null;
  readonly patienceMs: number;
  readonly isShort: boolean;
}

async function main(): Promise<number> {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      inputs: { type: "string" },
      samples: { type: "string" },
      seed: { type: "string", default: "1" },
      grown: { type: "string" },
      patience: { type: "string" },
      short: { type: "boolean", default: false },
      json: { type: "boolean", default: false },
      help: { type: "boolean", default: false },
    },
  });
  const targets = await loadTargets(values.help ? [] : positionals);
  if (values.help) {
    process.stdout.write(HELP(targets.map(({ name }) => name)));
    return 0;
  }
  const options = {
    inputs: countOf(values.inputs),
    samples: countOf(values.samples),
    seed: countOf(values.seed) ?? 1,
    grown: countOf(values.grown),
    patienceMs: countOf(values.patience) ?? PATIENCE_MS,
    isShort: values.short,
  };
  // A short run spends its time on inputs, a long one gives each parser a thread of its own.
  const groups =
    options.inputs === null && !options.isShort ? targets.map((one) => [one]) : [targets];
  let isGood = true;
  for (const group of groups) {
    for (const { target, result } of await runGroup(group, options)) {
      process.stdout.write(
        values.json ? `${JSON.stringify(result)}\n` : printTarget(target, result),
      );
      isGood &&= result.faults.length === 0;
    }
  }
  return isGood ? 0 : 1;
}

function countOf(text: string | undefined): number | null {
  if (text === undefined) return null;
  if (!/^[1-9][0-9_]{0,9}$/.test(text))
    throw new Error(`number: expected one from 1 on, got ${text}`);
  return Number(text.replaceAll("_", ""));
}

async function runGroup(
  group: readonly Target[],
  { inputs, samples, seed, patienceMs, isShort, ...options }: Options,
): Promise<readonly { target: Target; result: TargetResult }[]> {
  const targets = group.map(({ name, shortInputs }) => ({
    name,
    inputs: inputs ?? (isShort ? shortInputs : INPUTS),
    samples: samples ?? (isShort ? SHORT_SAMPLES : SAMPLES),
  }));
  const grown = options.grown ?? (isShort ? SHORT_GROWN : GROWN);
  const loops = await runPhase<LoopFigures>({ phase: "loop", targets, seed, grown }, patienceMs);
  const measures = await runPhase<MeasureFigures>(
    { phase: "measure", targets, seed, grown },
    patienceMs,
  );
  return group.map((target, at) => ({
    target,
    result: resultOf(target, { seed, loop: loops[at], measured: measures[at] }),
  }));
}

function resultOf(
  target: Target,
  phases: {
    readonly seed: number;
    readonly loop: PhaseResult<LoopFigures> | undefined;
    readonly measured: PhaseResult<MeasureFigures> | undefined;
  },
): TargetResult {
  const { seed, loop, measured } = phases;
  const faults = [
    loop?.fault ?? null,
    measured?.fault ?? null,
    ...loopFaults(target, loop?.figures ?? null),
    ...(measured?.figures?.faults ?? []),
  ].filter((fault) => fault !== null);
  return {
    name: target.name,
    seed,
    loop: loop?.figures ?? null,
    measured: measured?.figures ?? null,
    faults,
  };
}

function loopFaults(target: Target, figures: LoopFigures | null): readonly string[] {
  if (figures === null) return [];
  const { failure, reached, inputs } = figures;
  if (failure !== null) return [`${failure.fault}\n    input ${failure.inputHex}`];
  if (inputs < REACHED_FROM) return [];
  const missed = target.stages.filter((_, at) => (reached[at] ?? 0) === 0);
  return missed.map(({ name }) => `no input reached ${name}`);
}

try {
  process.exitCode = await main();
} catch (error) {
  if (!(error instanceof Error)) throw error;
  process.stderr.write(`fuzz: ${error.message}\n`);
  process.exitCode = 2;
}
