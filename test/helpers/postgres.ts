import { execFileSync, spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import * as fs from "node:fs";
import os from "node:os";
import path from "node:path";

import pg from "pg";

const PACKAGE = "/usr/lib/postgresql";
const START_MS_MAX = 60_000;

/** A PostgreSQL server of its own: in a temporary folder, on a unix socket, flushing to disk as a real one. */
export interface TestPostgres {
  readonly url: string;
  /** Ends the server at once, as a crash does. */
  crash(): Promise<void>;
  /** Starts it again after {@link TestPostgres.crash}. */
  restart(): Promise<void>;
  /** Stops it and removes its folder. */
  stop(): Promise<void>;
  /** Runs one statement in a session of its own. */
  query(statement: string, schema?: string): Promise<Record<string, unknown>[]>;
}

/** Why there is no server to be had, or null. */
export function postgresAbsent(): string | null {
  if (binaries() === undefined) return `no PostgreSQL in ${PACKAGE} (Debian package postgresql)`;
  if (process.getuid?.() === 0 && account() === undefined) return "no user postgres to run it as";
  return null;
}

/** Starts a server whose default order of text is not that of bytes, so that a test sees who relies on the default. */
export async function startPostgres(): Promise<TestPostgres> {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), "symphony-pg-"));
  const bin = binaries() ?? "";
  const as = process.getuid?.() === 0 ? (account() ?? {}) : {};
  if (as.uid !== undefined && as.gid !== undefined) fs.chownSync(folder, as.uid, as.gid);
  const data = path.join(folder, "data");
  const locale = ["--locale=C", "--locale-provider=icu", "--icu-locale=en-US"];
  const make = ["-A", "trust", "-U", "postgres", "-E", "UTF8", ...locale, "--no-sync", "-D", data];
  execFileSync(path.join(bin, "initdb"), make, { ...as, cwd: folder, stdio: "ignore" });
  const url = `postgresql:///postgres?host=${folder}&user=postgres`;
  const start = (): Promise<ChildProcess> => startServer({ bin, data, folder, as });
  let server = await start();
  const end = async (signal: NodeJS.Signals): Promise<void> => {
    if (server.exitCode !== null || server.signalCode !== null) return;
    const exited = once(server, "exit");
    server.kill(signal);
    await exited;
  };
  return {
    url,
    crash: () => end("SIGQUIT"),
    restart: async () => {
      server = await start();
    },
    stop: async () => {
      await end("SIGINT");
      fs.rmSync(folder, { recursive: true });
    },
    query: (statement, schema) => queryOnce(folder, statement, schema),
  };
}

interface Account {
  readonly uid?: number;
  readonly gid?: number;
}

async function startServer(args: {
  readonly bin: string;
  readonly data: string;
  readonly folder: string;
  readonly as: Account;
}): Promise<ChildProcess> {
  const { bin, data, folder, as } = args;
  const options = ["-D", data, "-k", folder, "-c", "listen_addresses="];
  const server = spawn(path.join(bin, "postgres"), options, {
    ...as,
    cwd: folder,
    stdio: ["ignore", "ignore", "pipe"],
  });
  const late = AbortSignal.timeout(START_MS_MAX);
  for (;;) {
    const [line] = await once(server.stderr ?? server, "data", { signal: late });
    if (String(line).includes("ready to accept connections")) break;
  }
  server.stderr?.resume();
  return server;
}

async function queryOnce(
  folder: string,
  statement: string,
  schema = "public",
): Promise<Record<string, unknown>[]> {
  const client = new pg.Client({
    ...{ host: folder, user: "postgres", database: "postgres" },
    options: `-c search_path=${schema}`,
  });
  await client.connect();
  try {
    return (await client.query(statement)).rows;
  } finally {
    await client.end();
  }
}

function binaries(): string | undefined {
  if (!fs.existsSync(PACKAGE)) return undefined;
  const versions = fs.readdirSync(PACKAGE).filter((name) => Number(name) >= 15);
  return versions
    .map((version) => path.join(PACKAGE, version, "bin"))
    .find((bin) => fs.existsSync(path.join(bin, "postgres")));
}

function account(): Account | undefined {
  const lines = fs.readFileSync("/etc/passwd", "utf8").split("\n");
  const fields = lines.find((line) => line.startsWith("postgres:"))?.split(":");
  return fields === undefined ? undefined : { uid: Number(fields[2]), gid: Number(fields[3]) };
}
