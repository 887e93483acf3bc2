/** One measured figure. A ratio compares two runs of this process, so it says something on any machine. */
export interface Figure {
  readonly name: string;
  readonly value: number;
  readonly unit: string;
}

/** What was asked for on the command line. */
export interface BenchOptions {
  /** A run of seconds, to see that it works; its figures say little. */
  readonly short: boolean;
}

/** The smallest of `times` that a share `at` of them does not exceed; NaN of none. */
export function quantile(times: readonly number[], at: number): number {
  const sorted = times.toSorted((a, b) => a - b);
  return sorted[Math.max(0, Math.ceil(sorted.length * at) - 1)] ?? Number.NaN;
}

/** Best of several runs of `work`, in seconds: noise of a shared machine only ever adds. */
export async function bestSeconds(work: () => unknown, runs = 5): Promise<number> {
  let best = Infinity;
  for (let run = 0; run < runs; run += 1) {
    const started = performance.now();
    await work();
    best = Math.min(best, (performance.now() - started) / 1000);
  }
  return best;
}
