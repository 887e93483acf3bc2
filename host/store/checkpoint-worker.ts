// A thread of checkpoints.ts: moves what a SQLite file's write-ahead log holds into the main file whenever it is asked.
import { DatabaseSync } from "node:sqlite";
import { parentPort, workerData } from "node:worker_threads";

if (parentPort === null) throw new Error("expected to be started as a thread");
const port = parentPort;
const file: string = workerData;
const database = new DatabaseSync(file);
database.exec("PRAGMA synchronous = FULL");

port.on("message", (asked: "checkpoint" | "close") => {
  if (asked === "close") {
    database.close();
    port.close();
    return;
  }
  try {
    database.exec("PRAGMA wal_checkpoint(PASSIVE)");
  } catch {
    // A disk that is full says so to the next write.
  }
  port.postMessage("done");
});
