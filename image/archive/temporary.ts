import { rmSync } from "node:fs";
import { rm } from "node:fs/promises";

/**
 * Runs `work` and removes the file or folder at `path` when it has ended, failed, or the process exits before.
 *
 * A process that is killed leaves it.
 */
export async function withTemporary<T>(path: string, work: () => Promise<T>): Promise<T> {
  const removeNow = (): void => rmSync(path, { recursive: true, force: true });
  process.once("exit", removeNow);
  try {
    return await work();
  } finally {
    process.off("exit", removeNow);
    await rm(path, { recursive: true, force: true });
  }
}
