// A thread of an ingest, started by build-pool.ts: says that it is ready, then builds the batches that it is sent, one
// after the other.
import { parentPort, workerData } from "node:worker_threads";

import { BatchBuild, type BuildJob, type BuildPlan } from "./batch-build.ts";

if (parentPort === null) throw new Error("expected to be started as a thread");
const port = parentPort;
const plan: BuildPlan = workerData;
const build = new BatchBuild(plan);

port.on("message", (job: BuildJob) => {
  const result = build.build(job);
  const { batch } = result;
  const large = batch === null ? [] : [batch.sealed, batch.subjectIds, batch.commitments];
  port.postMessage(
    result,
    large.map(({ buffer }) => buffer),
  );
});
port.postMessage("ready");
