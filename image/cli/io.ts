import { UsageError, type CliIo } from "#cli";

/** Where a command writes, and what it may ask of its surroundings. */
export interface ImageIo extends Pick<CliIo, "stdout" | "stderr"> {
  /** The checkout. */
  readonly repositoryRoot: string;
  /** The user's home folder. */
  readonly home: string;
  /** Unix milliseconds. */
  readonly nowMs: () => number;
}

/** The files that a command takes. @throws UsageError for more, or fewer */
export function expectFiles<const Names extends readonly string[]>(
  positionals: readonly string[],
  names: Names,
): { readonly [Index in keyof Names]: string } {
  if (!hasAll(positionals, names)) {
    throw new UsageError(`expected ${names.join(" and ")}, got ${positionals.length} words`);
  }
  return positionals;
}

function hasAll<const Names extends readonly string[]>(
  words: readonly string[],
  names: Names,
): words is { readonly [Index in keyof Names]: string } {
  return words.length === names.length;
}
