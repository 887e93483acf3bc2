import type { LoopFigures } from "./loop.ts";
import type { MeasureFigures, Peak } from "./measure.ts";
import { ACCEPTED, type LinearBound, type Target } from "./target.ts";

/** All that was found of one target. */
export interface TargetResult {
  readonly name: string;
  readonly seed: number;
  readonly loop: LoopFigures | null;
  readonly measured: MeasureFigures | null;
  readonly faults: readonly string[];
}

const FAULTS_SHOWN = 8;

/** The figures of one target, as text. */
export function printTarget(target: Target, result: TargetResult): string {
  const lines = [result.name];
  if (result.loop !== null) lines.push(...loopLines(target, result.loop));
  if (result.measured !== null) lines.push(...measureLines(target, result.measured));
  for (const fault of result.faults.slice(0, FAULTS_SHOWN)) {
    lines.push(`  FAULT ${result.name}, seed ${result.seed}: ${fault}`);
  }
  const more = result.faults.length - FAULTS_SHOWN;
  if (more > 0) lines.push(`  and ${more} more`);
  return `${lines.join("\n")}\n`;
}

function loopLines(target: Target, loop: LoopFigures): readonly string[] {
  const { inputs, perSecond, slowestMs, bytesMean, staged, reached } = loop;
  const shares = [...target.stages.map(({ name }) => name), ACCEPTED].map((name, at) => {
    const share = (100 * (reached[at] ?? 0)) / Math.max(1, staged);
    return `${name} ${share.toPrecision(3)} %`;
  });
  return [
    `  ${inputs} inputs of ${bytesMean.toFixed(0)} bytes on average, ${perSecond.toFixed(0)}/s, slowest ${slowestMs.toFixed(1)} ms`,
    `  reached: ${shares.join(", ")}`,
  ];
}

function measureLines(target: Target, measured: MeasureFigures): readonly string[] {
  const { samples, steps, allocation } = measured;
  return [
    `  steps of ${samples} measured: ${peakText(steps, target.steps)}`,
    `  bytes allocated: ${peakText(allocation, target.allocation)}`,
  ];
}

function peakText(peak: Peak, { perByte, fixed }: LinearBound): string {
  const { value, bytes, share, input } = peak;
  const per = `at most ${peak.perByte.toFixed(1)} per byte, ${peak.short.toFixed(0)} for a short input`;
  const bound = `${perByte} x length + ${fixed}`;
  return `${per}; ${(100 * share).toFixed(0)} % of ${bound} (${value} for ${bytes} bytes: ${input})`;
}
