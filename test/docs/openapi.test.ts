import * as fs from "node:fs";

import { Ajv2020 } from "ajv/dist/2020.js";
import { afterAll, beforeAll, expect, test } from "vitest";
import { z } from "zod";

import { createServer } from "../../host/http/index.ts";
import { startCoordinator, type LiveCoordinator } from "../helpers/live-coordinator.ts";
import { createNetwork, openedNow } from "../helpers/network.ts";
import { LISTENERS, openApiFile, openApiOf } from "./openapi.ts";

const record = z.record(z.string(), z.unknown());
const operation = z.looseObject({
  parameters: z.array(z.looseObject({ required: z.boolean() })),
  responses: z.record(
    z.string(),
    z
      .looseObject({ content: z.record(z.string(), z.looseObject({ schema: record.optional() })) })
      .or(z.strictObject({ $ref: z.string() })),
  ),
});
const documentShape = z.looseObject({
  paths: z.record(z.string(), z.record(z.string(), operation)),
});

function published(name: string) {
  return documentShape.parse(JSON.parse(fs.readFileSync(openApiFile(name), "utf8")));
}

test.for(Object.entries(LISTENERS))(
  "[CB-1] docs/openapi/%s is what the routes give: node test/docs/update-wire.ts",
  ([name, listener]) => {
    const fresh: unknown = JSON.parse(JSON.stringify(openApiOf(listener)));
    expect(published(name)).toEqual(fresh);
  },
);

test.for(Object.entries(LISTENERS))(
  "[CB-1] no route of %s is without its description",
  ([name, listener]) => {
    const routes: string[] = [];
    const server = createServer({ report: () => undefined });
    server.addHook("onRoute", ({ method, url }) => void routes.push(`${String(method)} ${url}`));
    listener.add(server);
    const told = Object.entries(published(name).paths).flatMap(([path, operations]) =>
      Object.keys(operations).map(
        (method) => `${method.toUpperCase()} ${path.replaceAll(/\{(\w+)\}/g, ":$1")}`,
      ),
    );
    const registered = routes.filter((route) => !route.startsWith("HEAD "));
    expect(told.toSorted()).toEqual([...registered, "GET /healthz"].toSorted());
  },
);

test("[CB-1] a route that nobody described ends the process", () => {
  const server = createServer({ report: () => undefined });
  expect(() => server.get("/v1/hidden", async () => "")).toThrow("expected one that addRoute");
});

let live: LiveCoordinator;

beforeAll(async () => {
  live = await startCoordinator(await createNetwork({ genesis: openedNow }));
  await live.cosign();
});

afterAll(async () => {
  await live.stop();
  fs.rmSync(live.folder, { recursive: true, force: true });
});

const ajv = new Ajv2020({ strict: false, validateFormats: false });

test("[CB-1] a live coordinator answers as the document says", async () => {
  const { paths } = published("coordinator");
  const plain = Object.entries(paths).flatMap(([path, { get }]) => {
    const asks = get?.parameters.some(({ required }) => required) ?? true;
    return asks || path === "/metrics" ? [] : [path];
  });
  expect(plain.length).toBeGreaterThan(8);
  for (const path of plain) {
    const response = await fetch(`${live.publicUrl}${path}`);
    const answer = paths[path]?.["get"]?.responses[String(response.status)];
    const type = response.headers.get("content-type")?.split(";")[0] ?? "";
    const schema =
      answer !== undefined && "content" in answer ? answer.content[type]?.schema : undefined;
    expect({ path, told: schema !== undefined }).toEqual({ path, told: true });
    expect({ path, ok: ajv.validate(schema ?? {}, await response.json()) }).toEqual({
      ...{ path, ok: true },
    });
  }
});

test.for([
  { path: "/v1/tasks/t-unknown", init: {}, status: 404 },
  { path: "/v1/tasks/t-unknown/events", init: {}, status: 404 },
  { path: "/v1/evidence/t-unknown", init: {}, status: 404 },
  { path: "/v1/nowhere", init: {}, status: 404 },
  { path: "/v1/tasks", init: { method: "POST", body: "{}" }, status: 400 },
  { path: "/v1/tasks", init: { method: "POST", body: '{"signed":"AAAA"}' }, status: 400 },
])("[CB-2] $path refused with $status is a problem as the document says", async (each) => {
  const { components } = z
    .looseObject({ components: z.looseObject({ schemas: z.record(z.string(), record) }) })
    .parse(published("coordinator"));
  const headers = { "content-type": "application/json" };
  const response = await fetch(`${live.publicUrl}${each.path}`, { ...each.init, headers });
  expect(response.status).toBe(each.status);
  expect(response.headers.get("content-type")).toMatch(/^application\/problem\+json/);
  const problem: unknown = await response.json();
  expect(ajv.validate(components.schemas["Problem"] ?? {}, problem)).toBe(true);
});
