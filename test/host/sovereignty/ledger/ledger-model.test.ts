import { expect, test } from "vitest";

import { runSequence } from "./ledger-model.ts";

/** Less than a minute of one core; `npm run ledger-model -- --sequences 1000000` runs more. */
const SEQUENCES = 40_000;

test("[PB-2] interleavings of all operations, failures and crashes agree with a naive ledger", async () => {
  for (let seed = 0; seed < SEQUENCES; seed += 1) await runSequence(seed);
  expect(SEQUENCES).toBeGreaterThan(0);
}, 600_000);
