import { runCommand } from "./cli/commands.ts";
import { reportError } from "./cli/io.ts";

const argv = process.argv.slice(2);
const io = {
  stdout: (text: string) => void process.stdout.write(text),
  stderr: (text: string) => void process.stderr.write(text),
};

try {
  process.exitCode = await runCommand(argv, io);
} catch (error) {
  process.exitCode = reportError(error, io, argv.includes("--json"));
}
