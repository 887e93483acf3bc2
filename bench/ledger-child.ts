// Started by ledger.ts: fills a ledger and reserves until it is killed, or opens what is left and says how long it took.
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";

import {
  SHORT,
  WHOLE,
  fillLedger,
  openLedger,
  randomSet,
  reserveDurably,
  type LedgerSize,
} from "./ledger-work.ts";

setFlagsFromString("--expose-gc");
const collect: unknown = runInNewContext("gc");

function heldBytes(): number {
  if (typeof collect === "function") collect();
  const { heapUsed, arrayBuffers } = process.memoryUsage();
  return heapUsed + arrayBuffers;
}

async function fillUntilKilled(directory: string, size: LedgerSize): Promise<void> {
  const ledger = await openLedger(directory);
  await fillLedger(ledger, size);
  const set = randomSet(size, 1);
  for (let count = 1; ; count += 1) {
    await reserveDurably(ledger, `until-killed-${count}`, set);
    process.stdout.write(`${count}\n`);
  }
}

async function recover(directory: string): Promise<void> {
  const before = heldBytes();
  const started = performance.now();
  const { books, store } = await openLedger(directory);
  const seconds = (performance.now() - started) / 1000;
  const bytes = heldBytes() - before;
  process.stdout.write(JSON.stringify({ seconds, bytes, open: books.ledger.open().length }));
  await store.close();
}

const [work = "", directory = "", size = ""] = process.argv.slice(2);
if (work === "fill") await fillUntilKilled(directory, size === "short" ? SHORT : WHOLE);
else await recover(directory);
