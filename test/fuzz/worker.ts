import { parentPort, workerData } from "node:worker_threads";

import { createStepCounter } from "./steps.ts";

/** What a worker is to do, and where it says how far it is. */
export interface Work {
  readonly phase: "loop" | "measure";
  readonly targets: readonly {
    readonly name: string;
    readonly inputs: number;
    readonly samples: number;
  }[];
  readonly seed: number;
  readonly grown: number;
  /** The index of the input being run. */
  readonly at: Int32Array;
}

if (parentPort !== null) {
  const { phase, targets, ...args }: Work = workerData;
  // Only code that is loaded after the counter has counts of blocks.
  const counter = phase === "measure" ? createStepCounter() : null;
  const { loadTargets } = await import("./targets/load.ts");
  const { fuzz } = await import("./loop.ts");
  const { measure } = await import("./measure.ts");
  const loaded = await loadTargets(targets.map(({ name }) => name));
  for (const [index, target] of loaded.entries()) {
    const sizes = { ...args, inputs: 1, samples: 1, ...targets[index] };
    parentPort.postMessage(
      counter === null ? await fuzz(target, sizes) : await measure(target, counter, sizes),
    );
  }
}
