import { homedir } from "node:os";
import path from "node:path";

import { EXIT, reportError } from "#cli";

import { runImage } from "./cli/command.ts";
import type { ImageIo } from "./cli/io.ts";

const [, ...argv] = process.argv.slice(2);
const io: ImageIo = {
  repositoryRoot: path.dirname(import.meta.dirname),
  home: homedir(),
  stdout: (text) => void process.stdout.write(text),
  stderr: (text) => void process.stderr.write(text),
  nowMs: Date.now,
};

// What a build has half done goes with the process, which then ends as one that was interrupted does.
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
  process.once(signal, () => process.exit(EXIT.unavailable));
}

// Whoever reads the output may stop, as `head` does; the command still ends with its own exit code.
for (const stream of [process.stdout, process.stderr]) {
  stream.on("error", (error: NodeJS.ErrnoException) => {
    if (error.code !== "EPIPE") throw error;
  });
}

try {
  process.exitCode = await runImage(argv, io);
} catch (error) {
  process.exitCode = reportError(error, io, argv.includes("--json"));
}
