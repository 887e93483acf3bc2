// npm run ledger-model -- --sequences 1000000 [--seed 0]
import { parseArgs } from "node:util";

import { runSequence } from "./ledger-model.ts";

const { values } = parseArgs({
  options: {
    sequences: { type: "string", default: "100000" },
    seed: { type: "string", default: "0" },
  },
});
const sequences = Number(values.sequences);
const first = Number(values.seed);
if (!Number.isSafeInteger(sequences) || sequences < 1 || !Number.isSafeInteger(first)) {
  throw new Error("usage: ledger-model [--sequences COUNT] [--seed FIRST]");
}
for (let seed = first; seed < first + sequences; seed += 1) {
  await runSequence(seed);
  if ((seed - first + 1) % 10_000 === 0) process.stdout.write(`${seed - first + 1} sequences\n`);
}
process.stdout.write(`ledger-model: ${sequences} sequences agree with the naive ledger\n`);
