import { spawnSync } from "node:child_process";
import { accessSync, constants, readFileSync, readdirSync, statSync, statfsSync } from "node:fs";
import path from "node:path";

/** Whether something below the root is there and may be used. */
export type Access = "ok" | "denied" | "absent";

/** What the doctor looks at. Paths are absolute, as the machine has them. */
export interface Machine {
  /** The text of a small file, or null when it cannot be read. */
  readonly read: (file: string) => string | null;
  /** The names in a folder; none when it cannot be read. */
  readonly list: (folder: string) => readonly string[];
  /** Whether the current user may read and write it. */
  readonly access: (file: string) => Access;
  /** Where a program is found by PATH, or null. */
  readonly program: (name: string) => string | null;
  /** Whether a command ends with 0; null when it cannot be started. */
  readonly succeeds: (command: string, args: readonly string[]) => boolean | null;
  /** The environment. Only names and what is no secret are ever shown. */
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly nowMs: number;
  /** When the program was put on this machine: no clock that is right says less. */
  readonly installedMs: number;
  readonly diskFreeBytes: number;
  readonly nodeVersion: string;
  /** Null in a Node without node:sqlite. */
  readonly sqliteVersion: string | null;
}

const READ_BYTES_MAX = 1024 * 1024;
const COMMAND_MS_MAX = 5_000;
const PROGRAM = path.join(import.meta.dirname, "../../../package.json");

/** The machine this runs on, or what it would be with another folder as its root. */
export function thisMachine(root: string = "/"): Machine {
  const at = (file: string): string => path.join(root, file);
  const { env } = process;
  const { bavail, bsize } = statfsSync(".");
  return {
    read: (file) => readSmall(at(file)),
    list: (folder) => listed(at(folder)),
    access: (file) => accessOf(at(file)),
    program: (name) => findProgram(name, { env, at }),
    succeeds: (command, args) => {
      const run = spawnSync(command, [...args], { timeout: COMMAND_MS_MAX, stdio: "ignore" });
      return run.error === undefined ? run.status === 0 : null;
    },
    env,
    nowMs: Date.now(),
    installedMs: statSync(PROGRAM).mtimeMs,
    diskFreeBytes: bavail * bsize,
    nodeVersion: process.versions.node,
    sqliteVersion: process.versions["sqlite"] ?? null,
  };
}

function readSmall(file: string): string | null {
  try {
    return statSync(file).size > READ_BYTES_MAX ? null : readFileSync(file, "utf8");
  } catch {
    return null;
  }
}

function listed(folder: string): readonly string[] {
  try {
    return readdirSync(folder);
  } catch {
    return [];
  }
}

function accessOf(file: string): Access {
  try {
    accessSync(file, constants.R_OK | constants.W_OK);
    return "ok";
  } catch (error) {
    const denied = error instanceof Error && "code" in error && error.code !== "ENOENT";
    return denied ? "denied" : "absent";
  }
}

function findProgram(
  name: string,
  { env, at }: { env: Machine["env"]; at: (file: string) => string },
): string | null {
  const folders = (env["PATH"] ?? "").split(path.delimiter).filter((folder) => folder !== "");
  const found = folders.find((folder) => {
    try {
      accessSync(at(path.join(folder, name)), constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
  return found === undefined ? null : path.join(found, name);
}
