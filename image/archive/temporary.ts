import { createHash } from "node:crypto";
import { readFileSync, readlinkSync, rmSync } from "node:fs";
import { lstat, mkdtemp, readdir, rename, rm } from "node:fs/promises";
import path from "node:path";

/** Where the number of this process means something; null when that cannot be told. */
const SPACE = processSpace();
/** This process among all that may use the same folders, from other machines too. */
const OWNER = `${SPACE ?? "unknown"}-${process.pid}`;
/** Who made a file or folder that is named below. */
const MADE_BY = /[.-](?<space>[0-9a-f]{16})-(?<pid>\d+)(?:\.partial|-\w{6})$/;

/** A name space of processes of a machine that has not been started again: the first one has one name on all of them. */
function processSpace(): string | null {
  try {
    const boot = readFileSync("/proc/sys/kernel/random/boot_id", "latin1");
    const words = [boot, readlinkSync("/proc/self/ns/pid")];
    return createHash("sha256").update(words.join()).digest("hex").slice(0, 16);
  } catch {
    return null;
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
 * process of this user that was killed. What cannot be judged, because its process would be out of sight here, is left
 * alone.
 */
export async function removeAbandoned(folder: string, name: string): Promise<void> {
  const entries = await readdir(folder).catch(() => []);
  for (const entry of entries.filter((each) => each.startsWith(name))) {
    const { space, pid } = MADE_BY.exec(entry)?.groups ?? {};
    const file = path.join(folder, entry);
    if (space === undefined || space !== SPACE || isAlive(Number(pid))) continue;
    if (!(await isOwn(file))) continue;
    // What cannot be removed is in nobody's way.
    await rm(file, { recursive: true, force: true }).catch(() => undefined);
  }
}

/** Another user's could become a link to something else while it is walked through. */
async function isOwn(file: string): Promise<boolean> {
  const found = await lstat(file).catch(() => null);
  return found !== null && found.uid === process.geteuid?.();
}

function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch (error) {
    return !(error instanceof Error && "code" in error && error.code === "ESRCH");
  }
}
