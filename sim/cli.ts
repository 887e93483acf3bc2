import { parseArgs } from "node:util";

import { EXIT, UsageError } from "#cli";
import { NODE_ROLES, runNode, type RunEnvironment } from "#host";
import { MalformedError } from "#protocol";

import { ATTEST_HELP, runAttestCommand } from "./attest.ts";
import { runDemo } from "./demo/run.ts";
import { runUp } from "./demo/up.ts";
import { KMS_HELP, runKmsCommand } from "./kms/command.ts";
import { createInsecureLauncher } from "./launcher.ts";
import { measureSimImage } from "./measure.ts";
import { createInsecureSimPlatform } from "./platform.ts";
import type { SimProcess } from "./process.ts";

export const SIM_HELP = `symphony demo [--dir DIR] [--data FOLDER] [--keep] [--insecure-no-isolation] [--json]
symphony up   [--dir DIR] [--insecure-no-isolation]
symphony sim kms --dir DIR --platform DIR [--port PORT] [--credentials FILE]
symphony sim attest --platform DIR [--image-sha384 HEX] [--public-key FILE] [--out FILE]

demo   creates a simulated network in DIR (default symphony-demo), runs one task of each class on generated data,
       verifies the evidence and leaves it in DIR/evidence. --data FOLDER uses the genuine sets in FOLDER instead.
       --keep leaves the network running when the demo is done.
up     starts the network that the demo left in DIR, for tasks of your own; Ctrl-C stops it.
sim kms     a simulated AWS KMS that releases keys to simulated enclaves, on its own; --help says how to use it.
sim attest  the attestation document of a simulated enclave, to try it with; --help lists what it can say.

Everything these commands start is SIMULATED: no hardware protects it.
`;

/** `symphony demo`, `symphony up`, `symphony sim ...`. */
export async function runSimCommand(argv: readonly string[], sim: SimProcess): Promise<number> {
  const [command, ...rest] = argv;
  if (command === "sim" && (rest[0] === "kms" || rest[0] === "attest")) return runTool(rest, sim);
  if (command === undefined || argv.includes("--help")) {
    sim.io.stdout(SIM_HELP);
    return command === undefined ? EXIT.usage : EXIT.ok;
  }
  switch (command) {
    case "demo":
      return runDemo(rest, sim);
    case "up":
      return runUp(rest, sim);
    case "sim":
      return runInner(rest, sim);
    default:
      throw new UsageError(`expected demo, up or sim, got ${command}`);
  }
}

/** The parts of the simulator that are of use by themselves. */
async function runTool(argv: readonly string[], sim: SimProcess): Promise<number> {
  const [tool, ...rest] = argv;
  if (rest.includes("--help")) {
    sim.io.stdout(tool === "kms" ? KMS_HELP : ATTEST_HELP);
    return EXIT.ok;
  }
  return tool === "kms" ? runKmsCommand(rest, sim) : runAttestCommand(rest, sim);
}

const INNER_OPTIONS = {
  config: { type: "string" },
  platform: { type: "string" },
  "insecure-no-isolation": { type: "boolean", default: false },
} as const;

async function runInner(argv: readonly string[], sim: SimProcess): Promise<number> {
  const { values, positionals } = parseArgs({
    args: [...argv],
    allowPositionals: true,
    options: INNER_OPTIONS,
  });
  const platform = createInsecureSimPlatform(required(values.platform, "platform"));
  const [what, role] = positionals;
  if (what !== "node") throw new UsageError("sim: expected kms, attest or node");
  const node = NODE_ROLES.find((each) => each === role);
  if (node === undefined) {
    throw new UsageError(`sim node: expected ${NODE_ROLES.join(", ")}, got ${role ?? "none"}`);
  }
  const launcher = createInsecureLauncher({
    repositoryRoot: sim.repositoryRoot,
    platform,
    measurement: measureSimImage(sim.repositoryRoot, platform.anchor),
    isolation: values["insecure-no-isolation"] ? "none" : "bubblewrap",
    onStderr: (text) => sim.io.stderr(text),
  });
  const launcherFor = (enclave: object | undefined) => {
    if (enclave === undefined) return launcher;
    throw new MalformedError(
      { code: "SCHEMA_CONFIG_MALFORMED", field: "enclave" },
      "enclave: expected nothing for simulated enclaves, got a socket",
    );
  };
  const configFile = required(values.config, "config");
  await runNode({ role: node, configFile, launcherFor }, environmentOf(sim));
  return EXIT.ok;
}

function environmentOf(sim: SimProcess): RunEnvironment {
  return {
    nowMs: sim.nowMs,
    random: sim.random,
    report: (event) => sim.io.stdout(`${JSON.stringify(event)}\n`),
    signal: sim.signal,
  };
}

function required(value: string | undefined, name: string): string {
  if (value === undefined || value === "") throw new UsageError(`--${name}: expected a value`);
  return value;
}
