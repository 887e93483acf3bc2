// Started by ingest.ts: one ingest of `rows` generated rows in a process of its own, and what it took.
import { randomBytes } from "node:crypto";
import * as fs from "node:fs";
import os from "node:os";
import path from "node:path";

import { INGEST_BATCH_ROWS_MAX } from "../host/sovereignty/index.ts";
import { openFixture, targetOf } from "../test/host/sovereignty/vault-world.ts";
import { generatedCsv } from "./ingest-data.ts";

const rows = Number(process.argv[2]);
const directory = fs.mkdtempSync(path.join(os.tmpdir(), "symphony-bench-"));
try {
  const fixture = await openFixture({
    directory,
    nowMs: Date.now,
    random: (bytes) => new Uint8Array(randomBytes(bytes)),
  });
  const floorMiB = process.memoryUsage.rss() / 1024 / 1024;
  const started = performance.now();
  const cpuStarted = process.cpuUsage();
  const { records } = await fixture.vault.ingest({
    ...targetOf(fixture, "customers"),
    format: "csv",
    source: generatedCsv(rows),
    onError: "abort",
    batchRows: INGEST_BATCH_ROWS_MAX,
  });
  const seconds = (performance.now() - started) / 1000;
  const cpu = process.cpuUsage(cpuStarted);
  const { maxRSS } = process.resourceUsage();
  await fixture.vault.close();
  const cpuSeconds = (cpu.user + cpu.system) / 1e6;
  const peakMiB = maxRSS / 1024;
  process.stdout.write(JSON.stringify({ records, seconds, cpuSeconds, floorMiB, peakMiB }));
} finally {
  fs.rmSync(directory, { recursive: true, force: true });
}
