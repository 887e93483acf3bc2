import { fileURLToPath } from "node:url";
import { randomBytes } from "node:crypto";

import { reportError } from "#host";
import { runSimCommand } from "./cli.ts";

const argv = process.argv.slice(2);
const stop = new AbortController();
for (const signal of ["SIGTERM", "SIGINT"] as const) {
  process.once(signal, () => stop.abort());
}

const io = {
  stdout: (text: string) => void process.stdout.write(text),
  stderr: (text: string) => void process.stderr.write(text),
};

try {
  process.exitCode = await runSimCommand(argv, {
    io,
    repositoryRoot: fileURLToPath(new URL("..", import.meta.url)).replace(/\/$/, ""),
    nowMs: Date.now,
    random: (bytes) => new Uint8Array(randomBytes(bytes)),
    signal: stop.signal,
  });
} catch (error) {
  process.exitCode = reportError(error, io, argv.includes("--json"));
}
