// Started by ingest-kill.test.ts: ingests a generated source until it is done, or the test kills it. Writes a dot
// whenever the ingest asks for the time, for randomness or for its key custody.
import { randomBytes } from "node:crypto";
import * as fs from "node:fs";

import {
  OPEN_CUSTODY,
  bytesIn,
  customerCsv,
  openFixture,
  targetOf,
} from "../host/sovereignty/vault-world.ts";

const [directory = "", rows = "0", first = "0", batchRows = "0"] = process.argv.slice(2);

function dotted<T>(value: T): T {
  fs.writeSync(1, ".");
  return value;
}

const fixture = await openFixture({
  directory,
  nowMs: () => dotted(Date.now()),
  random: (bytes) => dotted(new Uint8Array(randomBytes(bytes))),
  custody: { ...OPEN_CUSTODY, protect: (wrapped) => dotted(OPEN_CUSTODY.protect(wrapped)) },
});
await fixture.vault.ingest({
  ...targetOf(fixture, "customers"),
  format: "csv",
  source: bytesIn(customerCsv(Number(rows), Number(first)), 300),
  onError: "abort",
  batchRows: Number(batchRows),
});
await fixture.vault.close();
