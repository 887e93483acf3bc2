import { spawn, type ChildProcess } from "node:child_process";
import { createWriteStream, mkdirSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";

import { UnavailableError } from "#protocol";

/** A process of the network: one actor, or the simulated key service. */
export interface NodeProcess {
  readonly name: string;
  readonly pid: number;
  /** What it said when it was ready. */
  readonly ready: Readonly<Record<string, unknown>>;
  readonly exited: Promise<number | null>;
  /** Asks it to stop and waits; kills it after ten seconds. */
  stop(): Promise<void>;
  kill(): void;
}

const READY_MS_MAX = 60_000;
const STOP_MS_MAX = 10_000;

/**
 * Starts `sim/main.ts` with `args` as a process of its own and waits until it says it is ready.
 *
 * Its output goes to `<directory>/logs/<name>.log`.
 *
 * @throws {@link UnavailableError} COORDINATION_UNAVAILABLE when it ends or stays silent instead.
 */
export async function startProcess(args: {
  readonly name: string;
  readonly repositoryRoot: string;
  readonly directory: string;
  readonly words: readonly string[];
}): Promise<NodeProcess> {
  const logs = join(args.directory, "logs");
  mkdirSync(logs, { recursive: true, mode: 0o700 });
  const log = createWriteStream(join(logs, `${args.name}.log`), { flags: "a", mode: 0o600 });
  const child = spawn(
    process.execPath,
    [
      "--disable-warning=ExperimentalWarning",
      join(args.repositoryRoot, "sim", "main.ts"),
      ...args.words,
    ],
    { stdio: ["ignore", "pipe", "pipe"], cwd: args.repositoryRoot },
  );
  child.stderr.pipe(log, { end: false });
  const exited = new Promise<number | null>((resolve) => {
    child.once("close", (code) => resolve(code));
  });
  const ready = await readyLine(child, exited, (line) => log.write(`${line}\n`), args.name);
  return {
    name: args.name,
    pid: child.pid ?? 0,
    ready,
    exited,
    stop: () => stop(child, exited),
    kill: () => void child.kill("SIGKILL"),
  };
}

async function readyLine(
  child: ChildProcess,
  exited: Promise<number | null>,
  keep: (line: string) => void,
  name: string,
): Promise<Readonly<Record<string, unknown>>> {
  const { stdout } = child;
  if (stdout === null) throw notReady(name, "it has no output");
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => {
      child.kill("SIGKILL");
      reject(notReady(name, `it said nothing for ${READY_MS_MAX} ms`));
    }, READY_MS_MAX);
    void exited.then((code) => {
      clearTimeout(timer);
      reject(notReady(name, `it ended with code ${code ?? "none"}; see logs/${name}.log`));
    });
    createInterface({ input: stdout }).on("line", (line) => {
      keep(line);
      const event = parseLine(line);
      if (event?.["event"] !== "ready") return;
      clearTimeout(timer);
      resolve(event);
    });
  });
}

function parseLine(line: string): Readonly<Record<string, unknown>> | undefined {
  try {
    const value: unknown = JSON.parse(line);
    return typeof value === "object" && value !== null ? { ...value } : undefined;
  } catch {
    return undefined;
  }
}

async function stop(child: ChildProcess, exited: Promise<number | null>): Promise<void> {
  child.kill("SIGTERM");
  const timer = setTimeout(() => child.kill("SIGKILL"), STOP_MS_MAX);
  await exited;
  clearTimeout(timer);
}

function notReady(name: string, why: string): UnavailableError {
  return new UnavailableError(
    { code: "COORDINATION_UNAVAILABLE", process: name },
    `${name}: expected it to become ready, but ${why}`,
  );
}
