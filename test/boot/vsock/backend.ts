import { spawn, spawnSync, type ChildProcessByStdio } from "node:child_process";
import { createHash } from "node:crypto";
import { once } from "node:events";
import { existsSync, mkdirSync, readFileSync, renameSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";
import type { Readable } from "node:stream";

const PROGRAMS = {
  backend: {
    sources: ["backend.c", "streams.c", "sockets.c", "queue.c"],
    headers: ["packet.h", "streams.h", "sockets.h", "queue.h"],
  },
  front: { sources: ["front.c"], headers: [] },
};
const STRICT = ["-std=c11", "-O2", "-Wall", "-Wextra", "-Werror"];

/** Where the backend listens for QEMU, and PREFIX_PORT for each port of the guest that the host may reach. */
export interface BackendPlace {
  socket: string;
  prefix: string;
  ports: readonly number[];
}

/**
 * Starts the vsock backend; it waits for QEMU when this returns, and ends with it, or with this process. What it has
 * to complain of comes on its standard error. `flags` go to the compiler, as in a sanitizer.
 *
 * @throws Error when it does not compile or cannot listen
 */
export async function startBackend(
  at: BackendPlace,
  flags: readonly string[] = [],
): Promise<ChildProcessByStdio<null, Readable, Readable>> {
  const words = [at.socket, at.prefix, ...at.ports.map(String)];
  const backend = spawn(compile("backend", flags), words, {
    stdio: ["ignore", "pipe", "pipe"],
    // A sanitizer looks for leaks as a debugger, which a container may forbid.
    env: { ...process.env, ASAN_OPTIONS: "detect_leaks=0" },
  });
  const [first] = await Promise.race([once(backend.stdout, "data"), once(backend, "exit")]);
  if (String(first) === "ready\n") return backend;
  throw new Error(`vsock backend: expected it to listen at ${at.socket}, got ${first}`);
}

/** A program, compiled now or earlier from the same sources with the same flags. Takes a second the first time. */
export function compile(name: keyof typeof PROGRAMS, flags: readonly string[] = []): string {
  const { sources, headers } = PROGRAMS[name];
  const hash = createHash("sha256").update(JSON.stringify(flags));
  for (const file of [...sources, ...headers]) hash.update(readFileSync(place(file)));
  const folder = join(homedir(), ".cache/symphony/vsock");
  const program = join(folder, hash.digest("hex").slice(0, 32));
  if (existsSync(program)) return program;
  mkdirSync(folder, { recursive: true });
  const unfinished = `${program}.${process.pid}`;
  const args = [...STRICT, ...flags, "-o", unfinished, ...sources.map(place)];
  const { status, stderr } = spawnSync("gcc", args, { encoding: "utf8" });
  if (status !== 0) throw new Error(stderr);
  renameSync(unfinished, program);
  return program;
}

function place(file: string): string {
  return join(import.meta.dirname, file);
}
