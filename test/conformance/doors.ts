import * as fs from "node:fs";
import path from "node:path";

/** Folders of tests that go in where users do: through a running listener, the command line or the client. */
const FOLDERS = ["test/e2e/", "test/host/cli/", "test/host/client/", "test/host/http/"];

/** What other tests import to go in there. */
const RIGS = /\/(live-coordinator|live-network|operated|spoken|symphony-process)\.ts"/;

/** Whether the tests of a file, relative to `root`, go in by a door that users have. */
export function isAtDoor(file: string, root: string): boolean {
  if (FOLDERS.some((folder) => file.startsWith(folder))) return true;
  const at = path.join(root, file);
  return fs.existsSync(at) && RIGS.test(fs.readFileSync(at, "utf8"));
}
