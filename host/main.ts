import { reportError, type CliIo } from "#cli";

import { runCommand } from "./cli/commands.ts";

const argv = process.argv.slice(2);
const INTERRUPTS = ["SIGINT", "SIGTERM"] as const;
const io: CliIo = {
  stdout: (text) => void process.stdout.write(text),
  stderr: (text) => void process.stderr.write(text),
  watcher: {
    isTerminal: process.stderr.isTTY,
    nowMs: Date.now,
    // A second interrupt ends the process.
    onInterrupt: (stop) => {
      for (const signal of INTERRUPTS) process.once(signal, stop);
      return () => {
        for (const signal of INTERRUPTS) process.off(signal, stop);
      };
    },
  },
};

// Whoever reads the output may stop, as `head` does; the command still ends with its own exit code.
for (const stream of [process.stdout, process.stderr]) {
  stream.on("error", (error: NodeJS.ErrnoException) => {
    if (error.code !== "EPIPE") throw error;
  });
}

try {
  process.exitCode = await runCommand(argv, io);
} catch (error) {
  process.exitCode = reportError(error, io, argv.includes("--json"));
}
