const SLICES = 11;
const SLICE_MS = 100;

/** Seconds that `work` takes once: the median of slices. Prints them, for the parent. */
export function printMedian(work) {
  const times = [];
  for (let slice = 0; slice <= SLICES; slice += 1) {
    const started = performance.now();
    let repeats = 0;
    do {
      work();
      repeats += 1;
    } while (performance.now() - started < SLICE_MS);
    times.push((performance.now() - started) / repeats / 1000);
  }
  const sorted = times.slice(1).toSorted((a, b) => a - b);
  process.stdout.write(`${sorted[Math.floor(sorted.length / 2)]}`);
}
