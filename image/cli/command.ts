import { EXIT, UsageError } from "#cli";

import { BUILD_HELP, runBuild } from "./build.ts";
import { DIFF_HELP, runDiff } from "./diff.ts";
import { INSPECT_HELP, runInspect } from "./inspect.ts";
import type { ImageIo } from "./io.ts";
import { MEASURE_HELP, runMeasure } from "./measure.ts";
import { VERIFY_HELP, runVerify } from "./verify.ts";

interface Command {
  readonly run: (argv: readonly string[], io: ImageIo) => Promise<number>;
  readonly help: string;
  readonly summary: string;
}

const COMMANDS: ReadonlyMap<string, Command> = new Map([
  ["build", { run: runBuild, help: BUILD_HELP, summary: "make the enclave image of this source" }],
  ["measure", { run: runMeasure, help: MEASURE_HELP, summary: "the registers of an image" }],
  ["inspect", { run: runInspect, help: INSPECT_HELP, summary: "what an image is made of" }],
  ["diff", { run: runDiff, help: DIFF_HELP, summary: "which file of two images differs" }],
  ["verify", { run: runVerify, help: VERIFY_HELP, summary: "whether a policy accepts an image" }],
]);

/** What `symphony image --help` prints. */
export function imageHelp(): string {
  const lines = [...COMMANDS].map(([name, { summary }]) => `  ${name.padEnd(8)} ${summary}`);
  return [
    "symphony image COMMAND [...]",
    "",
    ...lines,
    "",
    "symphony image COMMAND --help says more.",
    "",
  ].join("\n");
}

/** `symphony image ...`. @returns the exit code @throws UsageError and the commands' own errors */
export async function runImage(argv: readonly string[], io: ImageIo): Promise<number> {
  const [name, ...rest] = argv;
  const command = COMMANDS.get(name ?? "");
  if (name === undefined || name === "--help") {
    (name === undefined ? io.stderr : io.stdout)(imageHelp());
    return name === undefined ? EXIT.usage : EXIT.ok;
  }
  if (command === undefined) {
    throw new UsageError(`image: expected one of ${[...COMMANDS.keys()].join(", ")}, got ${name}`);
  }
  if (rest.includes("--help")) {
    io.stdout(command.help);
    return EXIT.ok;
  }
  return command.run(rest, io);
}
