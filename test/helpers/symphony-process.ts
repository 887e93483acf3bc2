import { spawn } from "node:child_process";
import { join } from "node:path";

const ROOT = join(import.meta.dirname, "../..");

/** What a command of the program came to. */
export interface Ended {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/**
 * Runs `bin/symphony.js` with `words` as a process of its own, as a user would.
 *
 * @param prefix - Program and words to run it under, such as `unshare -rn`.
 */
export async function runSymphony(
  words: readonly string[],
  { cwd, prefix = [] }: { readonly cwd: string; readonly prefix?: readonly string[] },
): Promise<Ended> {
  const [file = "", ...args] = [
    ...prefix,
    process.execPath,
    join(ROOT, "bin", "symphony.js"),
    ...words,
  ];
  const child = spawn(file, args, { cwd, stdio: ["ignore", "pipe", "pipe"] });
  const stdout: Buffer[] = [];
  const stderr: Buffer[] = [];
  child.stdout.on("data", (bytes: Buffer) => stdout.push(bytes));
  child.stderr.on("data", (bytes: Buffer) => stderr.push(bytes));
  const code = await new Promise<number | null>((resolve, reject) => {
    child.once("error", reject);
    child.once("close", resolve);
  });
  return {
    code,
    stdout: Buffer.concat(stdout).toString(),
    stderr: Buffer.concat(stderr).toString(),
  };
}
