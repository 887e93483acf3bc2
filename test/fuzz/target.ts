import type { Random } from "./random.ts";

/** A bound that is linear in the length of the input. */
export interface LinearBound {
  readonly perByte: number;
  readonly fixed: number;
}

/** One step of a parser: an input is in it while one of these functions is the innermost on the stack. */
export interface Stage {
  readonly name: string;
  readonly functions: readonly string[];
  /** Codes of this stage alone, whatever function they come from. */
  readonly codes?: readonly string[];
}

/** What a run ended with when it threw nothing: the last stage, or another one by name. */
export const ACCEPTED = "accepted";

/** A parser of outside bytes, and everything that is promised of it. */
export interface Target {
  readonly name: string;
  /** Most bytes it takes; inputs go beyond. */
  readonly bytesMax: number;
  /** Error codes it may throw, each listed in docs/errors.md. */
  readonly codes: readonly string[];
  /** In order. What stops before the first of them is in none; {@link ACCEPTED} is added at the end. */
  readonly stages: readonly Stage[];
  /** Counted steps (`measure.ts`) of one input. */
  readonly steps: LinearBound;
  /** Bytes allocated for one input, freed ones included. */
  readonly allocation: LinearBound;
  /** How many inputs of a short run; a million otherwise. */
  readonly shortInputs: number;
  /** The code of an error of its own kind, or null. A `SymphonyError`'s code unless given. */
  readonly codeOf?: (error: unknown) => string | null;
  /** Makes keys, seeds and servers. Called once in each process. */
  readonly open: () => Opened | Promise<Opened>;
}

/** A target that is ready to run. */
export interface Opened {
  readonly generate: (random: Random) => Uint8Array;
  /** Throws what the parser throws; returns {@link ACCEPTED} or the name of a stage. */
  readonly run: (input: Uint8Array) => string | Promise<string>;
  /** Removes what `open` made outside of memory. */
  readonly close?: () => void;
  /** Worst shapes by name: about as many bytes as asked for. */
  readonly grown: Readonly<Record<string, (bytes: number) => Uint8Array>>;
}

/** {@link Opened.run} of a parser that throws or returns. */
export function accepting(parse: (input: Uint8Array) => unknown): (input: Uint8Array) => string {
  return (input) => {
    parse(input);
    return ACCEPTED;
  };
}
