import { spawn, spawnSync, type ChildProcess } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readFileSync, renameSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";

const SOURCES = ["backend.c", "streams.c", "sockets.c", "queue.c"];
const HEADERS = ["packet.h", "streams.h", "sockets.h", "queue.h"];
const STRICT = ["-std=c11", "-O2", "-Wall", "-Wextra", "-Werror"];

/** Where the backend listens for QEMU, and PREFIX_PORT for each port of the guest that the host may reach. */
export interface BackendPlace {
  socket: string;
  prefix: string;
  ports: readonly number[];
}

/** Starts the vsock backend; it ends with QEMU, or with this process. `flags` go to the compiler, as in a sanitizer. */
export function startBackend(place: BackendPlace, flags: readonly string[] = []): ChildProcess {
  const { socket, prefix, ports } = place;
  return spawn(compileBackend(flags), [socket, prefix, ...ports.map(String)], {
    stdio: ["ignore", "ignore", "pipe"],
  });
}

/** The program, compiled now or earlier from the same sources with the same flags. Takes a second the first time. */
function compileBackend(flags: readonly string[]): string {
  const hash = createHash("sha256").update(JSON.stringify(flags));
  for (const name of [...SOURCES, ...HEADERS]) hash.update(readFileSync(source(name)));
  const folder = join(homedir(), ".cache/symphony/vsock");
  const program = join(folder, hash.digest("hex").slice(0, 32));
  if (existsSync(program)) return program;
  mkdirSync(folder, { recursive: true });
  const unfinished = `${program}.${process.pid}`;
  const args = [...STRICT, ...flags, "-o", unfinished, ...SOURCES.map(source)];
  const { status, stderr } = spawnSync("gcc", args, { encoding: "utf8" });
  if (status !== 0) throw new Error(stderr);
  renameSync(unfinished, program);
  return program;
}

function source(name: string): string {
  return join(import.meta.dirname, name);
}
