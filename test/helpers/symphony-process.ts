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
 * @param interruptAt - Once the output has this, the whole process group gets SIGINT, as by Ctrl-C.
 */
export async function runSymphony(
  words: readonly string[],
  {
    cwd,
    prefix = [],
    interruptAt,
  }: {
    readonly cwd: string;
    readonly prefix?: readonly string[];
    readonly interruptAt?: string;
  },
): Promise<Ended> {
  const [file = "", ...args] = [
    ...prefix,
    process.execPath,
    join(ROOT, "bin", "symphony.js"),
    ...words,
  ];
  const child = spawn(file, args, { cwd, stdio: ["ignore", "pipe", "pipe"], detached: true });
  const stdout: Buffer[] = [];
  const stderr: Buffer[] = [];
  let interrupted = interruptAt === undefined;
  child.stdout.on("data", (bytes: Buffer) => {
    stdout.push(bytes);
    if (interrupted || !Buffer.concat(stdout).includes(interruptAt ?? "")) return;
    interrupted = true;
    process.kill(-(child.pid ?? 0), "SIGINT");
  });
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
