import { fileURLToPath } from "node:url";
import { randomBytes } from "node:crypto";

import { EXIT, reportError } from "#cli";
import { runSimCommand } from "./cli.ts";

const argv = process.argv.slice(2);
const stop = new AbortController();
/** A terminal's Ctrl-C can come twice, from the group and from the launcher; a second one later ends at once. */
const IMPATIENT_MS = 1_000;
let askedMs = 0;
for (const signal of ["SIGTERM", "SIGINT"] as const) {
  process.on(signal, () => {
    if (stop.signal.aborted && Date.now() - askedMs > IMPATIENT_MS) process.exit(EXIT.unavailable);
    if (!stop.signal.aborted) askedMs = Date.now();
    stop.abort();
  });
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
