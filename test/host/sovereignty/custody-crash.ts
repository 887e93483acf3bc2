import path from "node:path";

import { crashImages, runUntilKilled, type CrashImages } from "../../helpers/crash-images.ts";

const SCRIPT = path.join(import.meta.dirname, "custody-child.ts");

/** A piece of custody work of the Vault in `directory`. */
export interface CustodyWork {
  readonly directory: string;
  readonly keyFile: string;
  readonly job: "rotate" | "reencrypt" | "erase" | "backup";
}

/** Runs a piece of custody work in a process that kills itself at step `at`. True when it came to its end before. */
export async function workUntilKilled(
  work: CustodyWork & { readonly at: number },
): Promise<boolean> {
  return !(await runUntilKilled(SCRIPT, [...wordsOf(work), String(work.at)])).killed;
}

/** Runs it to its end, and keeps `home`, with the Vault's folder in it, as a kill would have left it at each step. */
export function workInImages(
  work: CustodyWork & { readonly home: string; readonly steps: readonly number[] },
): Promise<CrashImages> {
  const { home, steps } = work;
  return crashImages({ script: SCRIPT, words: wordsOf(work), home, steps });
}

function wordsOf({ directory, keyFile, job }: CustodyWork): string[] {
  return [directory, keyFile, job];
}
