import { spawn, spawnSync, type SpawnOptions } from "node:child_process";
import { once } from "node:events";
import * as fs from "node:fs";
import path from "node:path";

import pg from "pg";

const VERSIONS = "/usr/lib/postgresql";
const START_ATTEMPTS = 200;
const START_PAUSE_MS = 50;

/** A PostgreSQL server of this process's own, on a unix socket in its folder. */
export interface PostgresServer {
  /** A new connection; the caller ends it. */
  connect(): Promise<pg.Client>;
  stop(): Promise<void>;
}

/**
 * Initialises and starts a server in `folder`, with `settings` beyond the defaults.
 *
 * @returns Null when the Debian package is not installed.
 */
export async function startPostgres(
  folder: string,
  settings: Readonly<Record<string, string>>,
): Promise<PostgresServer | null> {
  const bin = newestBin();
  if (bin === null) return null;
  fs.mkdirSync(folder, { recursive: true });
  const options: SpawnOptions = { cwd: folder, stdio: ["ignore", "ignore", "pipe"], ...owner() };
  if (options.uid !== undefined) fs.chownSync(folder, options.uid, options.gid ?? 0);
  const data = path.join(folder, "data");
  const init = ["-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync", "-U", "bench", "-D", data];
  await finished(path.join(bin, "initdb"), init, options);
  const flags = Object.entries(settings).flatMap(([name, value]) => ["-c", `${name}=${value}`]);
  const args = ["-D", data, "-k", folder, "-c", "listen_addresses=", ...flags];
  const server = spawn(path.join(bin, "postgres"), args, { ...options, stdio: "ignore" });
  const exited = once(server, "exit");
  const connect = async (): Promise<pg.Client> => {
    const client = new pg.Client({ host: folder, user: "bench", database: "postgres" });
    await client.connect();
    return client;
  };
  await untilReady(connect);
  const stop = async (): Promise<void> => {
    server.kill("SIGINT");
    await exited;
  };
  return { connect, stop };
}

function newestBin(): string | null {
  if (!fs.existsSync(VERSIONS)) return null;
  const versions = fs.readdirSync(VERSIONS).sort((a, b) => Number(b) - Number(a));
  const found = versions.find((version) =>
    fs.existsSync(path.join(VERSIONS, version, "bin", "postgres")),
  );
  return found === undefined ? null : path.join(VERSIONS, found, "bin");
}

/** PostgreSQL refuses to run as root; the package has made a user for it. */
function owner(): { uid?: number; gid?: number } {
  if (process.getuid?.() !== 0) return {};
  const id = (flag: string): number =>
    Number(spawnSync("id", [flag, "postgres"], { encoding: "utf8" }).stdout);
  return { uid: id("-u"), gid: id("-g") };
}

async function finished(
  file: string,
  args: readonly string[],
  options: SpawnOptions,
): Promise<void> {
  const child = spawn(file, args, options);
  const said: string[] = [];
  child.stderr?.on("data", (text) => said.push(String(text)));
  const [status] = await once(child, "exit");
  if (status !== 0) throw new Error(`${file}: expected exit 0, got ${status}: ${said.join("")}`);
}

async function untilReady(connect: () => Promise<pg.Client>): Promise<void> {
  for (let attempt = 1; ; attempt += 1) {
    try {
      await (await connect()).end();
      return;
    } catch (cause) {
      if (attempt === START_ATTEMPTS) throw cause;
      await new Promise((resolve) => setTimeout(resolve, START_PAUSE_MS));
    }
  }
}
