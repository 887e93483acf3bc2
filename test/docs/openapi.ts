import * as fs from "node:fs";
import path from "node:path";

import { z } from "zod";

import {
  addNodeRoutes,
  addGovernanceRoutes,
  addTaskRoutes,
  addVaultRoutes,
  createServer,
  describedRoutes,
  type NodeRoutesContext,
  type RouteDescription,
  type GovernanceRoutesContext,
  type TaskRoutesContext,
  type VaultRoutesContext,
} from "../../host/http/index.ts";
import { ERROR_CODES } from "../../protocol/error-codes.ts";
import { ERROR_FAMILIES } from "../../protocol/errors.ts";
import { BODY_BYTES_MAX } from "../../host/http/server.ts";
import { inlineSchema, type JsonSchema } from "./json-schema.ts";

/** Has every field, and each of them is the same: registering routes reads contexts and calls nothing. */
const ANYTHING: unknown = new Proxy({}, { get: () => ANYTHING });

type Server = ReturnType<typeof createServer>;

interface Listener {
  readonly title: string;
  readonly about: string;
  readonly add: (server: Server) => void;
  /** How a caller says who it is; null where signed contents say it. */
  readonly security: "operator" | null;
}

/** Every listener of a network, by the name of its document. */
export const LISTENERS: Readonly<Record<string, Listener>> = {
  coordinator: {
    title: "Symphony coordinator: submitters, auditors and governance",
    about:
      "Whoever asks for a change signs it (COSE_Sign1, Ed25519); what is read is signed, sealed or public.",
    add: (server) => {
      addTaskRoutes(server, z.custom<TaskRoutesContext>().parse(ANYTHING));
      addGovernanceRoutes(server, z.custom<GovernanceRoutesContext>().parse(ANYTHING));
    },
    security: null,
  },
  nodes: {
    title: "Symphony coordinator: Vault nodes and aggregators",
    about: "One route; every call is signed, recent and used once.",
    add: (server) => addNodeRoutes(server, z.custom<NodeRoutesContext>().parse(ANYTHING)),
    security: null,
  },
  vault: {
    title: "Symphony Vault: its operator",
    about: "On a listener of its own; nothing here leaves the organisation.",
    add: (server) => addVaultRoutes(server, z.custom<VaultRoutesContext>().parse(ANYTHING)),
    security: "operator",
  },
};

/** A server with the routes of one listener, and none of its parts. */
export function emptyServer({ add }: Listener): Server {
  const server = createServer({ report: () => undefined });
  add(server);
  return server;
}

/** The OpenAPI 3.1 document of one listener, from the routes that it registers. */
export function openApiOf(listener: Listener): JsonSchema {
  const { title, about, security } = listener;
  const paths: Record<string, Record<string, unknown>> = {};
  for (const route of describedRoutes(emptyServer(listener))) {
    const name = route.path.replaceAll(/:(\w+)/g, "{$1}");
    const open = security === null || route.path === "/healthz";
    paths[name] = {
      ...paths[name],
      [route.method.toLowerCase()]: operationOf(route, open ? [] : [{ [security]: [] }]),
    };
  }
  return {
    openapi: "3.1.0",
    info: { title, version: "1", description: about },
    paths,
    components: {
      schemas: { Problem: PROBLEM },
      responses: {
        Refused: problemResponse("Refused: 400 malformed, 401 identity, 403, 404, 409, 413, 429."),
        Failed: problemResponse("500 with an opaque identifier, or 503: try again later."),
      },
      ...(security === null
        ? {}
        : { securitySchemes: { [security]: { type: "http", scheme: "bearer" } } }),
    },
  };
}

/** Problem details (RFC 9457) with the code of docs/errors.md; `detail` is for people. */
const PROBLEM: JsonSchema = {
  type: "object",
  properties: {
    type: { type: "string", pattern: "^(urn:symphony:error:[A-Z_]+|about:blank)$" },
    title: { type: "string" },
    status: { type: "integer", minimum: 400, maximum: 599 },
    code: { type: "string", enum: [...ERROR_CODES] },
    detail: { type: "string" },
  },
  required: ["type", "title", "status", "detail"],
  description: `A code begins with its family: ${ERROR_FAMILIES.join(", ")}.`,
};

function problemResponse(description: string) {
  const schema = { $ref: "#/components/schemas/Problem" };
  return { description, content: { "application/problem+json": { schema } } };
}

function operationOf(route: RouteDescription, security: readonly object[]) {
  const { summary, parts, gives, bodyBytesMax } = route;
  const body = parts.find((part) => part.in === "body");
  return {
    summary,
    ...(security.length === 0 ? {} : { security }),
    parameters: parts.flatMap((part) => (part.in === "body" ? [] : parametersOf(part))),
    ...(body === undefined
      ? {}
      : {
          requestBody: {
            required: true,
            content: { [body.type ?? ""]: { schema: inlineSchema(body.schema, "input") } },
          },
          "x-body-bytes-max": bodyBytesMax ?? BODY_BYTES_MAX,
        }),
    responses: {
      [gives.status]: {
        description: "Done.",
        content: {
          [gives.type]:
            gives.schema === null ? {} : { schema: inlineSchema(gives.schema, "output") },
        },
      },
      "4XX": { $ref: "#/components/responses/Refused" },
      "5XX": { $ref: "#/components/responses/Failed" },
    },
  };
}

function parametersOf(part: RouteDescription["parts"][number]) {
  const { properties = {}, required = [] } = inlineSchema(part.schema, "input");
  return Object.entries(properties).map(([name, schema]) => ({
    name,
    in: part.in,
    required: part.in === "path" || required.includes(name),
    schema,
  }));
}

/** Where the document of a listener is kept. */
export function openApiFile(name: string): string {
  return path.resolve(import.meta.dirname, `../../docs/openapi/${name}.json`);
}

/** Writes every document anew. */
export function writeOpenApi(): void {
  for (const [name, listener] of Object.entries(LISTENERS)) {
    fs.writeFileSync(openApiFile(name), `${JSON.stringify(openApiOf(listener), null, 1)}\n`);
  }
}
