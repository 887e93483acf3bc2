/** How far a Laplace variable of `scale` goes at most, but for a chance of e^-18 (2 in 100 million). */
export function laplaceReach(scale: number): number {
  return Math.ceil(18 * scale);
}

/** Rows of CSV text without quoted cells, by column name. */
export function rowsOf(csv: string): ReadonlyMap<string, string>[] {
  const [heading = "", ...lines] = csv.trimEnd().split("\n");
  const names = heading.split(",");
  return lines.map((line) => {
    const cells = line.split(",");
    return new Map(names.map((name, at) => [name, cells[at] ?? ""]));
  });
}

/** How many distinct values of `column` the rows have. */
export function distinct(rows: readonly ReadonlyMap<string, string>[], column: string): number {
  return new Set(rows.map((row) => row.get(column))).size;
}

/** The exact histogram over bins [edge, next edge) in millionths; the last bin takes everything above. */
export function exactHistogram(scores: readonly number[], edgesMicro: readonly number[]): number[] {
  const counts = Array.from({ length: edgesMicro.length - 1 }, () => 0);
  for (const score of scores) {
    const above = edgesMicro.slice(1, -1).findIndex((edge) => score < edge / 1e6);
    const bin = above === -1 ? counts.length - 1 : above;
    counts[bin] = (counts[bin] ?? 0) + 1;
  }
  return counts;
}

/** The probability that a logistic model gives: slopes, then the bias; inputs as they are. */
export function logistic(
  weights: readonly number[],
  inputs: readonly { readonly value: number; readonly mean: number; readonly scale: number }[],
): number {
  const logit = inputs.reduce(
    (sum, { value, mean, scale }, at) => sum + ((value - mean) / scale) * (weights[at] ?? 0),
    weights[inputs.length] ?? 0,
  );
  return 1 / (1 + Math.exp(-logit));
}
