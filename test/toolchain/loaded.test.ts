// What a process loads before it does anything: a client no server, a command no other command's code.
import { spawnSync } from "node:child_process";
import path from "node:path";

import { expect, test } from "vitest";

const ROOT = path.resolve(import.meta.dirname, "../..");
const TELL = `
  import { registerHooks } from "node:module";
  const loaded = [];
  registerHooks({ load: (url, context, next) => (loaded.push(url), next(url, context)) });
  process.on("exit", () => console.error(JSON.stringify(loaded)));
`;
const SERVERS = ["/fastify/", "/kysely/", "/host/store/", "/host/sovereignty/", "-routes.ts"];

function loadedBy(...words: readonly string[]): readonly string[] {
  const tell = `data:text/javascript,${encodeURIComponent(TELL)}`;
  const args = ["--no-warnings", "--import", tell, ...words];
  const run = spawnSync(process.execPath, args, { cwd: ROOT, encoding: "utf8" });
  expect(run.status).toBe(0);
  const urls: unknown = JSON.parse(run.stderr);
  if (!Array.isArray(urls)) throw new Error("expected a list of what was loaded");
  return urls.map(String);
}

test.for([
  { what: "the published client", words: ["host/client/index.ts"] },
  { what: "symphony submit", words: ["host/main.ts", "submit", "--help"] },
  { what: "symphony status", words: ["host/main.ts", "status", "--help"] },
  { what: "symphony verify", words: ["host/main.ts", "verify", "--help"] },
])("$what loads no server", ({ words }) => {
  const urls = loadedBy(...words);
  expect(urls.some((url) => url.includes("/protocol/"))).toBe(true);
  for (const server of SERVERS) expect(urls.filter((url) => url.includes(server))).toEqual([]);
});
