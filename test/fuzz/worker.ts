import { parentPort, workerData } from "node:worker_threads";

import { z } from "zod";

import { createStepCounter, measure } from "./measure.ts";

/** What a worker is to do, and where it says how far it is. */
export const workSchema = z.strictObject({
  phase: z.enum(["loop", "measure"]),
  targets: z
    .array(z.strictObject({ name: z.string(), inputs: z.int().min(1), samples: z.int().min(1) }))
    .min(1),
  seed: z.int(),
  grown: z.int().min(1),
  /** The index of the input being run, changed with every input. */
  at: z.instanceof(Int32Array),
});

/** See {@link workSchema}. */
export type Work = z.infer<typeof workSchema>;

if (parentPort !== null) {
  const { phase, targets, seed, grown, at } = workSchema.parse(workerData);
  // Only what is loaded after the counter has block counts.
  const counter = phase === "measure" ? createStepCounter() : null;
  const { targetOf } = await import("./targets/index.ts");
  const { fuzz } = await import("./loop.ts");
  for (const { name, ...sizes } of targets) {
    const target = targetOf(name);
    const args = { ...sizes, seed, grown, at };
    parentPort.postMessage(
      counter === null ? await fuzz(target, args) : await measure(target, counter, args),
    );
  }
}
