import { spawn } from "node:child_process";
import { once } from "node:events";
import * as fs from "node:fs";
import path from "node:path";

import { imageOf } from "./fatal-steps.ts";

const ROOT = path.resolve(import.meta.dirname, "../..");

/** A folder as it was before some work, and as kill -9 would have left it at steps of that work. */
export interface CrashImages {
  /** Steps with an image, ascending. */
  readonly steps: readonly number[];
  /** Lines that the process wrote; `image 12` stands where it took that step. */
  readonly lines: readonly string[];
  /** Puts an image where the folder was; step 0 is before the work. */
  putBack(step: number): void;
}

/**
 * Has one process do all of some work, and copies `home` at its steps: the files as the system has them are what a kill
 * there leaves. Far cheaper than a process for each; who uses it kills one for good too.
 *
 * @param script - Takes `words` and, last, what {@link FatalSteps} is made of.
 */
export async function crashImages(args: {
  readonly script: string;
  readonly words: readonly string[];
  readonly home: string;
  readonly steps: readonly number[] | "all";
}): Promise<CrashImages> {
  const { script, words, home, steps } = args;
  fs.cpSync(home, imageOf(home, 0), { recursive: true });
  const at = steps === "all" ? steps : steps.join();
  const { lines } = await runUntilKilled(script, [...words, `${at} ${home}`]);
  const taken = lines.flatMap((line) => (line.startsWith("image ") ? [Number(line.slice(6))] : []));
  return {
    steps: taken,
    lines,
    putBack: (step) => {
      fs.rmSync(home, { recursive: true, force: true });
      fs.cpSync(imageOf(home, step), home, { recursive: true });
    },
  };
}

/** Runs a script to its end, or to the step where it kills itself. @throws Error when it ends in another way */
export async function runUntilKilled(
  script: string,
  words: readonly string[],
): Promise<{ readonly killed: boolean; readonly lines: readonly string[] }> {
  const child = spawn(process.execPath, [script, ...words], {
    ...{ cwd: ROOT, stdio: ["ignore", "pipe", "pipe"] },
  });
  const [out, errors]: [string[], string[]] = [[], []];
  child.stdout.on("data", (text) => out.push(String(text)));
  child.stderr.on("data", (text) => errors.push(String(text)));
  const [code, signal] = await once(child, "close");
  const killed = signal === "SIGKILL";
  if (!killed && code !== 0) {
    throw new Error(`expected an end or SIGKILL, got: ${errors.join("")}`);
  }
  return { killed, lines: out.join("").split("\n").slice(0, -1) };
}
