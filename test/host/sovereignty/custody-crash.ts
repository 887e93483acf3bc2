import { spawn } from "node:child_process";
import { once } from "node:events";
import path from "node:path";

const ROOT = path.resolve(import.meta.dirname, "../../..");

/** Runs a piece of custody work in a process that kills itself at step `at`. True when it came to its end before. */
export async function workUntilKilled(args: {
  readonly directory: string;
  readonly keyFile: string;
  readonly job: "rotate" | "reencrypt" | "erase" | "backup";
  readonly at: number;
}): Promise<boolean> {
  const script = path.join(import.meta.dirname, "custody-child.ts");
  const words = [script, args.directory, args.keyFile, args.job, String(args.at)];
  const child = spawn(process.execPath, words, { cwd: ROOT, stdio: ["ignore", "ignore", "pipe"] });
  const errors: string[] = [];
  child.stderr.on("data", (text) => errors.push(String(text)));
  const [code, signal] = await once(child, "exit");
  if (signal === "SIGKILL") return false;
  if (code === 0) return true;
  throw new Error(`expected an end or SIGKILL, got: ${errors.join("")}`);
}
