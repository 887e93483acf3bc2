import * as fs from "node:fs";
import path from "node:path";

import { Ajv2020 } from "ajv/dist/2020.js";
import { afterEach, expect } from "vitest";

import {
  VaultClient,
  addVaultRoutes,
  createServer,
  describedRoutes,
  listen,
  type RunningServer,
  type VaultRoutesContext,
} from "../../../../host/http/index.ts";
import { RefusedError } from "../../../../protocol/index.ts";
import { inlineSchema, type JsonSchema } from "../../../docs/json-schema.ts";
import { symphony, type Spoken } from "../../../helpers/spoken.ts";
import { targetOf, type Fixture } from "../../sovereignty/vault-fixture.ts";

export const TOKEN = "5".repeat(64);

/** A Vault whose operator's listener answers, and the ways to it: HTTP, the client and the command line. */
export interface Operated {
  readonly url: string;
  /** `METHOD path` of every route of the listener. */
  readonly routes: readonly string[];
  readonly client: VaultClient;
  call(
    path: string,
    init?: RequestInit & { readonly token?: string | null },
  ): Promise<{ readonly status: number; readonly body: unknown }>;
  post(path: string, body: unknown): Promise<{ readonly status: number; readonly body: unknown }>;
  /** `symphony vault WORDS --vault DIR`, as `host/main.ts` runs it. */
  vault(...words: string[]): Promise<Spoken>;
  /** `symphony ingest WORDS --vault DIR`. */
  ingest(...words: string[]): Promise<Spoken>;
  close(): Promise<void>;
}

const running: RunningServer[] = [];
const reports: unknown[] = [];

afterEach(async () => {
  for (const server of running.splice(0)) await server.close();
  expect(reports.splice(0)).toEqual([]);
});

/**
 * Serves the operator of `fixture` until the test ends; an error nobody expected fails the test.
 *
 * @param scope - The registered record scopes; those of the fixture's governance when absent.
 */
export async function operate(
  fixture: Fixture,
  scope: VaultRoutesContext["scope"] = scopesOf(fixture),
): Promise<Operated> {
  const server = createServer({ report: (_id, error) => reports.push(error) });
  holdToDescriptions(server);
  const routes: string[] = [];
  server.addHook("onRoute", ({ method, url }) => void routes.push(`${String(method)} ${url}`));
  addVaultRoutes(server, {
    vault: fixture.vault,
    token: TOKEN,
    governance: () => fixture.governance,
    scope,
  });
  const listening = await listen(server, { address: "127.0.0.1", port: 0 });
  running.push(listening);
  const { url } = listening;
  const file = path.join(fixture.directory, "operator.json");
  fs.writeFileSync(file, JSON.stringify({ url, token: TOKEN }), { mode: 0o600 });
  const call: Operated["call"] = async (at, init = {}) => {
    const { token = TOKEN, ...rest } = init;
    const headers = new Headers(rest.headers);
    if (token !== null) headers.set("authorization", `Bearer ${token}`);
    const response = await fetch(`${url}${at}`, { ...rest, headers });
    return { status: response.status, body: await response.json() };
  };
  return {
    ...{ url, routes, call },
    client: new VaultClient({ url, token: TOKEN }),
    post: (at, body) =>
      call(at, {
        method: "POST",
        headers: { "content-type": "application/json" },
        body: JSON.stringify(body),
      }),
    vault: (...words) => symphony("vault", ...words, "--vault", fixture.directory),
    ingest: (...words) => symphony("ingest", ...words, "--vault", fixture.directory),
    close: () => listening.close(),
  };
}

function scopesOf(fixture: Fixture) {
  const known = new Set(fixture.governance.semantics.record_scopes.map((s) => s.record_scope_id));
  return (scopeId: string) => {
    if (known.has(scopeId)) return targetOf(fixture, scopeId);
    throw new RefusedError(
      { code: "DERIVATION_UNRESOLVED", field: "scope" },
      "scope: expected one",
    );
  };
}

const ajv = new Ajv2020({ strict: false, validateFormats: false });

/** Reports every answer of `server` that is not what its route is described to give. */
function holdToDescriptions(server: ReturnType<typeof createServer>): void {
  const schemas = new Map<string, JsonSchema>();
  server.addHook("onSend", async ({ routeOptions: { method, url } }, { statusCode }, payload) => {
    const route = describedRoutes(server).find(
      (each) => each.method === method && each.path === url,
    );
    const { schema = null, type } = route?.gives ?? {};
    if (statusCode >= 300 || schema === null || type !== "application/json") return payload;
    const published =
      schemas.get(`${String(method)} ${String(url)}`) ?? inlineSchema(schema, "output");
    schemas.set(`${String(method)} ${String(url)}`, published);
    const isDescribed = ajv.validate(published, JSON.parse(String(payload)));
    if (!isDescribed) reports.push({ url, errors: ajv.errorsText() });
    return payload;
  });
}
