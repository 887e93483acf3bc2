import { existsSync } from "node:fs";
import { join, resolve } from "node:path";
import { parseArgs } from "node:util";

import { EXIT, UsageError } from "#cli";
import type { SimProcess } from "../process.ts";
import { startSimNetwork } from "../network/start.ts";
import { chooseIsolation } from "./isolation.ts";

/** `symphony up`: starts the network in a folder and keeps it running until it is asked to stop. */
export async function runUp(argv: readonly string[], sim: SimProcess): Promise<number> {
  const { values } = parseArgs({
    args: [...argv],
    options: {
      dir: { type: "string", default: "symphony-demo" },
      "insecure-no-isolation": { type: "boolean", default: false },
    },
  });
  const directory = resolve(values.dir);
  if (!existsSync(join(directory, "genesis.cbor"))) {
    throw new UsageError(`${directory}: expected the network of a demo; run symphony demo first`);
  }
  const tell = (line: string): void => sim.io.stdout(`${line}\n`);
  const isolation = await chooseIsolation(values["insecure-no-isolation"], tell);
  const { repositoryRoot } = sim;
  const network = await startSimNetwork({ repositoryRoot, directory, isolation, tell });
  tell(`SIMULATED network ${network.genesis.network} at ${network.publicUrl}; Ctrl-C stops it`);
  await new Promise<void>((stop) => {
    if (sim.signal.aborted) stop();
    sim.signal.addEventListener("abort", () => stop(), { once: true });
  });
  await network.stop();
  return EXIT.ok;
}
