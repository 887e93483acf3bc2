// Started by ingest-kill.test.ts: opens the Vaults of a folder side by side and has each ingest one generated source after
// the other, until it has published as many as it is to, or the test kills the process. Writes a dot whenever a Vault
// asks for the time, for randomness or for its key custody.
import { randomBytes } from "node:crypto";
import * as fs from "node:fs";
import path from "node:path";

import {
  OPEN_CUSTODY,
  bytesIn,
  customerCsv,
  openFixture,
  targetOf,
} from "../host/sovereignty/vault-world.ts";

const [folder = "", ...words] = process.argv.slice(2);
const [vaults = 0, more = 0, rows = 0, batchRows = 0] = words.map(Number);

/** A pipe that nobody empties in time takes no dot: then the kill comes a little later. */
function dotted<T>(value: T): T {
  try {
    fs.writeSync(1, ".");
  } catch (fault) {
    if (!(fault instanceof Error && "code" in fault && fault.code === "EAGAIN")) throw fault;
  }
  return value;
}

async function work(directory: string): Promise<void> {
  const fixture = await openFixture({
    directory,
    nowMs: () => dotted(Date.now()),
    random: (bytes) => dotted(new Uint8Array(randomBytes(bytes))),
    custody: { ...OPEN_CUSTODY, protect: (wrapped) => dotted(OPEN_CUSTODY.protect(wrapped)) },
  });
  const { vault } = fixture;
  const { published } = await vault.records.runs();
  // The last one may have been killed before it was told of its publication, so it comes again.
  const first = Math.max(0, published.length - 1);
  for (let source = first; source < published.length + more; source += 1) {
    await vault.ingest({
      ...targetOf(fixture, "customers"),
      format: "csv",
      source: bytesIn(customerCsv(rows, source * rows), 300),
      onError: "abort",
      batchRows,
    });
  }
  await vault.close();
}

await Promise.all(
  Array.from({ length: vaults }, (_, index) => work(path.join(folder, `vault-${index}`))),
);
