#!/usr/bin/env node
// Runs the pinned Node on the entry that the first word chooses; forwards signals and the exit code.
//
// Plain JavaScript for Node 20 or newer, because npm may start it with any Node.
import { spawn } from "node:child_process";
import { existsSync, realpathSync } from "node:fs";
import { constants } from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";

const EXIT_UNAVAILABLE = 3;
const ENTRIES = { demo: "sim", up: "sim", sim: "sim", image: "image" };

const root = path.dirname(path.dirname(realpathSync(fileURLToPath(import.meta.url))));
const node = path.join(root, "node_modules", ".bin", "node");
const words = process.argv.slice(2);
const first = words[0] ?? "";
const folder = Object.hasOwn(ENTRIES, first) ? ENTRIES[first] : "host";

if (!existsSync(node)) {
  console.error("symphony: expected the pinned Node, got none: run npm start first");
  process.exit(EXIT_UNAVAILABLE);
}

const entry = path.join(root, folder, "main.ts");
// The HPKE package announces that Node calls its algorithms experimental; that is known (docs/dependencies.md).
const child = spawn(node, ["--disable-warning=ExperimentalWarning", entry, ...words], {
  stdio: "inherit",
  // Node keeps what it has compiled there, and starts in half the time from then on. No enclave is given it.
  env: {
    NODE_COMPILE_CACHE: path.join(root, "node_modules", ".cache", "symphony"),
    ...process.env,
  },
});
// A terminal sends its Ctrl-C to the whole group: the child has it already.
process.on("SIGINT", () => process.stdin.isTTY || child.kill("SIGINT"));
for (const signal of ["SIGTERM", "SIGHUP"]) process.on(signal, () => child.kill(signal));

child.on("error", (error) => {
  console.error(`symphony: expected to start the pinned Node, got ${error.code}`);
  process.exitCode = EXIT_UNAVAILABLE;
});
child.on("exit", (code, signal) => {
  process.exitCode = code ?? 128 + constants.signals[signal];
});
