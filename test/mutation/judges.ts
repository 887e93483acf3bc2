import { fork, type ChildProcess } from "node:child_process";
import * as fs from "node:fs";
import os from "node:os";
import { join } from "node:path";

import type { Job, Verdict } from "./judge.ts";

const HERE = import.meta.dirname;
/** Modules stay in memory once loaded, so a process is given up after this many jobs. */
const JOBS_MAX = 150;

/** What came of a job: its verdict, or `hangs` when the process had to be ended. */
export type Reply = Verdict | { readonly id: number; readonly hangs: true };

/** A process that judges mutated source, started again when one hangs. */
export class Judge {
  readonly #root: string;
  readonly #timeoutMs: number;
  #child: ChildProcess | null = null;
  #jobs = 0;

  /** @param root - The tree whose source is mutated; see {@link snapshot}. */
  constructor(root: string, timeoutMs: number) {
    this.#root = root;
    this.#timeoutMs = timeoutMs;
  }

  /** Judges one job; never two at a time. */
  async judge(job: Omit<Job, "id">): Promise<Reply> {
    if (this.#jobs % JOBS_MAX === 0) this.close();
    this.#jobs += 1;
    const child = this.#child ?? this.#start();
    this.#child = child;
    const id = this.#jobs;
    const reply = await answerOf(child, { ...job, id }, this.#timeoutMs);
    if (reply === null) this.close();
    return reply ?? { id, hangs: true };
  }

  close(): void {
    this.#child?.kill("SIGKILL");
    this.#child = null;
  }

  #start(): ChildProcess {
    const { NODE_OPTIONS: _, ...env } = process.env;
    return fork(join(HERE, "judge.ts"), [this.#root], {
      execPath: join(HERE, "../../node_modules/.bin/node"),
      execArgv: ["--disable-warning=ExperimentalWarning", "--max-old-space-size=1024"],
      env,
      stdio: ["ignore", "ignore", "inherit", "ipc"],
    });
  }
}

function answerOf(child: ChildProcess, job: Job, timeoutMs: number): Promise<Reply | null> {
  return new Promise((resolve) => {
    const timer = setTimeout(() => done(null), timeoutMs);
    const done = (reply: Reply | null): void => {
      clearTimeout(timer);
      child.off("message", onMessage);
      child.off("exit", onExit);
      resolve(reply);
    };
    const onMessage = (reply: Reply): void => done(reply);
    const onExit = (): void => done(null);
    child.on("message", onMessage);
    child.on("exit", onExit);
    child.send(job);
  });
}

const COPIED = ["attestation", "protocol", "enclave/adapters", "package.json"];

/** A copy of what judges load, so that nobody's edits meanwhile are judged; `remove` it afterwards. */
export function snapshot(root: string): { readonly folder: string; readonly remove: () => void } {
  const folder = fs.mkdtempSync(join(os.tmpdir(), "symphony-judge-"));
  for (const path of COPIED) {
    fs.cpSync(join(root, path), join(folder, path), { recursive: true });
  }
  fs.symlinkSync(fs.realpathSync(join(root, "node_modules")), join(folder, "node_modules"));
  return { folder, remove: () => fs.rmSync(folder, { recursive: true, force: true }) };
}
