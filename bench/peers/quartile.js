const SLICES = 200;
const SLICE_MS = 4;

/** Seconds that `work` takes once: the lower quartile of slices, as bench/rounds.ts takes it. Prints them, for the parent. */
export function printQuartile(work) {
  const times = [];
  for (let slice = 0; slice < SLICES; slice += 1) {
    const started = performance.now();
    let repeats = 0;
    do {
      work();
      repeats += 1;
    } while (performance.now() - started < SLICE_MS);
    times.push((performance.now() - started) / repeats / 1000);
  }
  const sorted = times.toSorted((a, b) => a - b);
  process.stdout.write(`${sorted[Math.floor(SLICES / 4)]}`);
}
