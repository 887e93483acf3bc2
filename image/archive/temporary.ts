import { readlinkSync, rmSync } from "node:fs";
import { mkdtemp, readdir, rename, rm } from "node:fs/promises";
import path from "node:path";

/** This process among all that may use the same folders: process numbers mean something in their own name space only. */
const OWNER = `${processNamespace()}-${process.pid}`;
/** Who made a file or folder that is named below. */
const MADE_BY = /[.-](?<space>\d+)-(?<pid>\d+)(?:\.partial|-\w{6})$/;

function processNamespace(): string {
  try {
    return readlinkSync("/proc/self/ns/pid").replaceAll(/\D/g, "");
  } catch {
    return "0";
  }
}

/**
 * Runs `work` and removes the file or folder at `path` when it has ended, failed, or the process exits before.
 *
 * A process that is killed leaves it; see {@link removeAbandoned}.
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

/** As {@link withTemporary}, with a new folder in `parent` whose name begins with `name`. */
export async function withFolder<T>(
  parent: string,
  name: string,
  work: (folder: string) => Promise<T>,
): Promise<T> {
  const folder = await mkdtemp(path.join(parent, `${name}-${OWNER}-`));
  return withTemporary(folder, () => work(folder));
}

/** Makes `file` of what `work` writes to the path it is given, which has to be new: whole or not at all. */
export async function withPartial<T>(
  file: string,
  work: (partial: string) => Promise<T>,
): Promise<T> {
  const partial = `${file}.${OWNER}.partial`;
  await rm(partial, { recursive: true, force: true });
  return withTemporary(partial, async () => {
    const result = await work(partial);
    await rename(partial, file);
    return result;
  });
}

/**
 * Removes what {@link withFolder} and {@link withPartial} made in `folder`, with a name that begins with `name`, for a
 * process that was killed. What cannot be judged, because its process would be out of sight here, is left alone.
 */
export async function removeAbandoned(folder: string, name: string): Promise<void> {
  const entries = await readdir(folder).catch(() => []);
  for (const entry of entries.filter((each) => each.startsWith(name))) {
    const { space, pid } = MADE_BY.exec(entry)?.groups ?? {};
    if (space !== processNamespace() || isAlive(Number(pid))) continue;
    // Another user's, maybe: it is in nobody's way.
    await rm(path.join(folder, entry), { recursive: true, force: true }).catch(() => undefined);
  }
}

function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch (error) {
    return !(error instanceof Error && "code" in error && error.code === "ESRCH");
  }
}
