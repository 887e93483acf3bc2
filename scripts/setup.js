// Installs the dependencies when they are missing or out of date; otherwise says nothing and ends.
//
// Plain JavaScript for Node 20 or newer: it runs before the pinned Node is there. A stamp inside
// node_modules holds the hash of what was installed, and is written only after `npm ci` succeeded.
// Two at once are safe: the second waits for the first. Exit codes: 0 ok, 2 usage, 3 unavailable.
import { spawn, spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import * as fs from "node:fs";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";

const NODE_MAJOR_MIN = 20;
const LOCK_WAIT_MS_MAX = 15 * 60 * 1000;
const LOCK_POLL_MS = 200;
const STDERR_CHARS_KEPT = 64 * 1024;
const OFFLINE =
  /ENOTFOUND|EAI_AGAIN|ECONNREFUSED|ECONNRESET|ENETUNREACH|ETIMEDOUT|ERR_SOCKET_TIMEOUT/;
const FORWARDED = ["SIGINT", "SIGTERM", "SIGHUP"];

const root = path.dirname(path.dirname(fs.realpathSync(fileURLToPath(import.meta.url))));
const stampFile = path.join(root, "node_modules", ".symphony-setup");
const lockFile = path.join(root, ".setup.lock");
const pinnedNode = path.join(root, "node_modules", ".bin", "node");

class SetupError extends Error {}

function readManifest() {
  try {
    return JSON.parse(fs.readFileSync(path.join(root, "package.json"), "utf8"));
  } catch (cause) {
    throw new SetupError(`package.json: expected readable JSON, got ${cause.message}`);
  }
}

// What decides the content of node_modules. The manifest's scripts do not, so editing one reinstalls nothing.
function wantedStamp(manifest) {
  const hash = createHash("sha256");
  const fields = [
    "dependencies",
    "devDependencies",
    "optionalDependencies",
    "overrides",
    "allowScripts",
  ];
  for (const field of fields) hash.update(`${field} ${JSON.stringify(manifest[field] ?? null)}\n`);
  for (const name of ["package-lock.json", ".npmrc"]) {
    const file = path.join(root, name);
    const bytes = fs.existsSync(file) ? fs.readFileSync(file) : Buffer.alloc(0);
    hash.update(`${name} ${bytes.length}\n`).update(bytes);
  }
  return `${hash.digest("hex")} ${process.platform}-${process.arch}\n`;
}

function isInstalled(manifest) {
  if (manifest.devDependencies?.node !== undefined && !fs.existsSync(pinnedNode)) return false;
  return readOrEmpty(stampFile) === wantedStamp(manifest);
}

function readOrEmpty(file) {
  try {
    return fs.readFileSync(file, "utf8");
  } catch {
    return "";
  }
}

// Field 22 of /proc/PID/stat tells a process from a later one with the same number; empty elsewhere.
function startTicks(pid) {
  return readOrEmpty(`/proc/${pid}/stat`).split(") ").at(-1)?.split(" ")[19] ?? "";
}

function ownerIsAlive(owner) {
  const [pidText, ticks] = owner.split(" ");
  const pid = Number(pidText);
  if (!Number.isSafeInteger(pid) || pid <= 0) return false;
  try {
    process.kill(pid, 0);
  } catch (error) {
    if (error.code !== "EPERM") return false;
  }
  return startTicks(pid) === ticks;
}

// The name appears with its content in one step (link), so that no one reads a half-written owner.
function tryLock() {
  const mine = `${lockFile}.${process.pid}`;
  fs.writeFileSync(mine, `${process.pid} ${startTicks(process.pid)}`);
  try {
    fs.linkSync(mine, lockFile);
    return true;
  } catch (error) {
    if (error.code !== "EEXIST") throw error;
    return false;
  } finally {
    fs.rmSync(mine, { force: true });
  }
}

// Moves a dead owner's lock aside. If another process was faster and the lock is live again, puts it back.
function clearStaleLock(owner) {
  const aside = `${lockFile}.stale.${process.pid}`;
  try {
    fs.renameSync(lockFile, aside);
    if (readOrEmpty(aside) !== owner) fs.linkSync(aside, lockFile);
  } catch (error) {
    if (error.code !== "ENOENT" && error.code !== "EEXIST") throw error;
  }
  fs.rmSync(aside, { force: true });
}

async function lock() {
  const until = performance.now() + LOCK_WAIT_MS_MAX;
  let told = false;
  while (!tryLock()) {
    const owner = readOrEmpty(lockFile);
    if (owner === "" || !ownerIsAlive(owner)) {
      if (owner !== "") clearStaleLock(owner);
      await sleep(1);
      continue;
    }
    if (!told)
      console.error(`setup: another installation runs (process ${owner.split(" ")[0]}), waiting`);
    told = true;
    if (performance.now() > until) {
      throw new SetupError(
        `${lockFile}: expected it to be released, got no end; remove it and try again`,
      );
    }
    await sleep(LOCK_POLL_MS);
  }
}

function npmCi() {
  const args = ["ci", "--include=dev", "--no-audit", "--no-fund", "--loglevel=error"];
  return new Promise((resolve, reject) => {
    const child = spawn("npm", args, { cwd: root, stdio: ["ignore", "inherit", "pipe"] });
    let stderr = "";
    let signalled;
    const forward = (signal) => {
      signalled = signal;
      child.kill(signal);
    };
    for (const signal of FORWARDED) process.on(signal, forward);
    child.stderr.on("data", (chunk) => {
      process.stderr.write(chunk);
      stderr = (stderr + chunk).slice(-STDERR_CHARS_KEPT);
    });
    child.on("error", (error) => {
      const missing = "npm: expected it on PATH, got none; install npm 10 or newer";
      reject(error.code === "ENOENT" ? new SetupError(missing) : error);
    });
    const finish = (code, signal) => {
      for (const name of FORWARDED) process.off(name, forward);
      child.stderr.destroy();
      resolve({ code, signal: signal ?? signalled, stderr });
    };
    // After a signal, grandchildren may hold the pipe for long: only an undisturbed end waits for the last words.
    child.on("exit", (code, signal) => (signal ?? signalled) && finish(code, signal));
    child.on("close", finish);
  });
}

function explain(stderr, code) {
  if (OFFLINE.test(stderr)) {
    return "npm ci: expected to reach the package registry, got no connection; go online once and try again";
  }
  if (/ENOSPC/.test(stderr)) return "npm ci: expected about 1 GB of free disk, got a full one";
  if (/EACCES|EPERM/.test(stderr)) return `npm ci: expected to write in ${root}, got no permission`;
  return `npm ci: expected exit code 0, got ${code}; its messages are above`;
}

// npm 12 blocks install scripts without an error, which would leave the system's Node in charge.
function requirePinnedNode(manifest) {
  const wanted = manifest.devDependencies?.node;
  if (wanted === undefined) return;
  const got = spawnSync(pinnedNode, ["--version"], { encoding: "utf8" }).stdout?.trim() || "none";
  if (got !== `v${wanted}`) {
    throw new SetupError(
      `node_modules/.bin/node: expected v${wanted}, got ${got}; allow its install script`,
    );
  }
}

async function install(manifest) {
  console.error("setup: installing dependencies (npm ci), half a minute on a good line");
  fs.rmSync(stampFile, { force: true });
  const { code, signal, stderr } = await npmCi();
  if (signal) return signal;
  if (code !== 0) throw new SetupError(explain(stderr, code));
  requirePinnedNode(manifest);
  fs.mkdirSync(path.dirname(stampFile), { recursive: true });
  fs.writeFileSync(`${stampFile}.tmp`, wantedStamp(manifest));
  fs.renameSync(`${stampFile}.tmp`, stampFile);
  console.error("setup: done");
  return undefined;
}

async function setup() {
  const major = Number(process.versions.node.split(".")[0]);
  if (major < NODE_MAJOR_MIN) {
    throw new SetupError(
      `node: expected version ${NODE_MAJOR_MIN} or newer, got ${process.version}`,
    );
  }
  const manifest = readManifest();
  if (isInstalled(manifest)) return undefined;
  await lock();
  try {
    return isInstalled(manifest) ? undefined : await install(manifest);
  } finally {
    fs.rmSync(lockFile, { force: true });
  }
}

if (process.argv.length > 2) {
  console.error(`setup: expected no arguments, got ${process.argv.slice(2).join(" ")}`);
  process.exit(2);
}
try {
  const signal = await setup();
  if (signal) process.kill(process.pid, signal);
} catch (error) {
  if (!(error instanceof SetupError)) throw error;
  console.error(`setup: ${error.message}`);
  process.exitCode = 3;
}
