import { chmodSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

let folder = "";

/**
 * Gives all tests of a run one temporary folder: whatever a killed process or a failed test leaves behind goes with it.
 * Processes that tests start find compiled code of the earlier ones there.
 */
export function setup(): void {
  folder = mkdtempSync(join(tmpdir(), "symphony-tests-"));
  // A PostgreSQL server runs as a user of its own, and has to get at its folder inside.
  chmodSync(folder, 0o711);
  process.env["TMPDIR"] = folder;
  process.env["NODE_COMPILE_CACHE"] = join(folder, "compiled");
  // A run that gives up at the first failure ends without its teardown.
  process.once("exit", teardown);
}

export function teardown(): void {
  rmSync(folder, { recursive: true, force: true, maxRetries: 3 });
}
