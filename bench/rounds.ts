const SLICE_MS = 4;
const ROUNDS = 101;

interface Timed {
  readonly name: string;
  readonly work: () => unknown;
  readonly repeats: number;
  readonly times: number[];
}

/**
 * Seconds that each of `works` takes once: the lower quartile over rounds in which every one runs for a moment in turn.
 * What else the machine does falls on all of them alike, and only ever adds.
 */
export function quartileSeconds(
  works: Readonly<Record<string, () => unknown>>,
): (name: string) => number {
  const timed = Object.entries(works).map(([name, work]): Timed => {
    work();
    return { name, work, repeats: Math.ceil(SLICE_MS / millisecondsOf(work, 2)), times: [] };
  });
  for (let round = 0; round < ROUNDS; round += 1) {
    for (const { work, repeats, times } of timed) times.push(millisecondsOf(work, repeats));
  }
  return (name) => quartile(timed.find((each) => each.name === name)?.times ?? []) / 1000;
}

function millisecondsOf(work: () => unknown, repeats: number): number {
  const started = performance.now();
  for (let i = 0; i < repeats; i += 1) work();
  return (performance.now() - started) / repeats;
}

function quartile(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 4)] ?? Number.NaN;
}
