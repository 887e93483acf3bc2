// Started by ledger-crash.test.ts: writes to a ledger, and says what was acknowledged, until it is killed.
import * as fs from "node:fs";

import { drawFrom } from "./ledger-model.ts";
import { openStoredLedger, writeSome } from "./stored-ledger.ts";

const [folder = "", seed = "0"] = process.argv.slice(2);
const draw = drawFrom(Number(seed));
const ledger = await openStoredLedger(folder);
for (;;) {
  const entered = await writeSome(ledger, draw);
  if (entered.length > 0) fs.writeSync(1, `${entered.join("\n")}\n`);
}
