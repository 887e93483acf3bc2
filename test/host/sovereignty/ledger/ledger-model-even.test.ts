import { expect, test } from "vitest";

import { runSequence } from "./ledger-model.ts";

/** With those of ledger-model-odd, seeds [0, 100,000); `npm run ledger-model -- --sequences 1000000` runs more. */
const SEEDS = 100_000;

test("[PB-2] interleavings of all operations, failures and crashes agree with a naive ledger: even seeds", async () => {
  for (let seed = 0; seed < SEEDS; seed += 2) await runSequence(seed);
  expect(SEEDS).toBe(100_000);
}, 600_000);
