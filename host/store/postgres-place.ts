import * as fs from "node:fs";

import { MalformedError } from "#protocol";
import type { ClientConfig } from "pg";

/** Where a PostgreSQL server is, and which of its schemas is the store. */
export interface PostgresPlace {
  readonly kind: "postgres";
  /**
   * `postgresql://user:password@host:port/database?sslmode=verify-full&sslrootcert=file`, or
   * `postgresql:///database?host=/folder/of/its/socket&user=name`. Another machine takes `sslmode=verify-full`.
   */
  readonly url: string;
  /** Made when absent, and used by this store alone. */
  readonly schema: string;
}

const URL_CHARACTERS_MAX = 2_048;
/** A name that needs no quotes. postgresql.org/docs/current/sql-syntax-lexical.html 4.1.1 */
const SCHEMA = /^[a-z_][a-z0-9_]{0,40}$/;
const PARAMETERS: readonly string[] = ["host", "user", "sslmode", "sslrootcert"];
const LOOPBACK: readonly string[] = ["localhost", "127.0.0.1", "[::1]"];

/**
 * Reads a place. Messages name what is wrong with it and never show the URL, which may hold a password.
 *
 * @throws {@link MalformedError} SCHEMA_CONFIG_MALFORMED
 */
export function parsePostgresPlace(place: PostgresPlace): ClientConfig {
  if (!SCHEMA.test(place.schema)) {
    throw malformed("schema", "1 to 41 lower-case letters, digits and _, with no digit first");
  }
  const url = parseUrl(place.url);
  const host = url.searchParams.get("host") ?? decodeURIComponent(url.hostname);
  const user = url.searchParams.get("user") ?? decodeURIComponent(url.username);
  const database = decodeURIComponent(url.pathname.slice(1));
  if (host === "") throw malformed("url", "a host, or the folder of a socket as host=");
  if (user === "") throw malformed("url", "a user");
  if (database === "") throw malformed("url", "a database");
  const password = decodeURIComponent(url.password);
  return {
    ...{ host: host.replace(/^\[(.+)\]$/, "$1"), user, database },
    ...(url.port === "" ? {} : { port: Number(url.port) }),
    ...(password === "" ? {} : { password }),
    ssl: tlsOf(url, host),
  };
}

function parseUrl(text: string): URL {
  const url = text.length <= URL_CHARACTERS_MAX && URL.canParse(text) ? new URL(text) : undefined;
  if (url === undefined || !["postgresql:", "postgres:"].includes(url.protocol)) {
    throw malformed("url", "postgresql://user@host/database");
  }
  const unknown = [...url.searchParams.keys()].find((name) => !PARAMETERS.includes(name));
  if (unknown !== undefined) throw malformed("url", `no parameters but ${PARAMETERS.join(", ")}`);
  return url;
}

/** What a Vault keeps is not sent over a network in the clear, nor to a server that nobody has verified. */
function tlsOf(url: URL, host: string): ClientConfig["ssl"] {
  const mode = url.searchParams.get("sslmode");
  if (mode === null && (host.startsWith("/") || LOOPBACK.includes(host))) return false;
  if (mode !== "verify-full") throw malformed("url", "sslmode=verify-full for another machine");
  const root = url.searchParams.get("sslrootcert");
  return root === null ? true : { ca: readRoot(root), rejectUnauthorized: true };
}

function readRoot(file: string): string {
  try {
    return fs.readFileSync(file, "utf8");
  } catch (cause) {
    throw malformed("url", `a readable sslrootcert, which is ${file}`, cause);
  }
}

function malformed(field: string, expected: string, cause?: unknown): MalformedError {
  return new MalformedError(
    { code: "SCHEMA_CONFIG_MALFORMED", field: `store.${field}` },
    `store.${field}: expected ${expected}, got something else`,
    { cause },
  );
}
