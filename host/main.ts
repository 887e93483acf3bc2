import { runCommand } from "./cli/commands.ts";
import { reportError } from "./cli/io.ts";

const argv = process.argv.slice(2);
const io = {
  stdout: (text: string) => void process.stdout.write(text),
  stderr: (text: string) => void process.stderr.write(text),
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
