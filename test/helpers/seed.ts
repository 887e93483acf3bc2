import fc from "fast-check";

/** What every drawn test input follows from: the same with each run, another with `SYMPHONY_SEED=N`. */
export const SEED = Number(process.env["SYMPHONY_SEED"] ?? 1);

// A value drawn from the clock would let a run fail for what no change of the sources did.
fc.configureGlobal({ ...fc.readConfigureGlobal(), seed: SEED });
