/** One measured figure. A ratio compares two runs of this process, so it says something on any machine. */
export interface Figure {
  readonly name: string;
  readonly value: number;
  readonly unit: string;
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
