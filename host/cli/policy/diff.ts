/** One place at which two documents differ; null for what is not there. */
export interface PolicyDifference {
  /** Dotted; positions of lists as numbers. */
  readonly path: string;
  readonly from: unknown;
  readonly to: unknown;
}

/** Where two documents differ, leaf by leaf, in the order of the first and then of the second. */
export function differences(from: unknown, to: unknown, path = ""): PolicyDifference[] {
  const [before, after] = [entriesOf(from), entriesOf(to)];
  if (before === undefined || after === undefined) {
    return JSON.stringify(from) === JSON.stringify(to)
      ? []
      : [{ path, from: from ?? null, to: to ?? null }];
  }
  const names = new Set([...before.keys(), ...after.keys()]);
  return [...names].flatMap((name) =>
    differences(before.get(name), after.get(name), path === "" ? name : `${path}.${name}`),
  );
}

function entriesOf(value: unknown): ReadonlyMap<string, unknown> | undefined {
  return typeof value === "object" && value !== null ? new Map(Object.entries(value)) : undefined;
}
