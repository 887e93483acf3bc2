import assert from "node:assert/strict";
import type { Readable } from "node:stream";

import type { FastifyInstance, FastifyReply, FastifyRequest } from "fastify";
import { parseWith } from "#protocol";
import { z } from "zod";

/** Where a part of what a route takes stands in a request, and its shape. */
export interface InputPart {
  readonly in: "path" | "query" | "body";
  readonly schema: z.ZodType;
  /** Content type of a body; null for parts that have none. */
  readonly type: string | null;
}

/** What a route takes: how it is read, and how it is described. */
export interface Input<T> {
  readonly parts: readonly InputPart[];
  /** @throws MalformedError SCHEMA_MALFORMED naming the field */
  readonly read: (request: FastifyRequest) => T;
}

/** What a route answers with. `send` is left out where the handler writes the answer itself. */
export interface Answer<T> {
  readonly status: 200 | 202;
  readonly type: string;
  /** Null for bytes and text of no described shape. */
  readonly schema: z.ZodType | null;
  readonly send: (reply: FastifyReply, value: T) => unknown;
}

/** One route: what is registered is what is described. */
export interface Route<I, A> {
  readonly method: "GET" | "POST";
  readonly path: string;
  /** One sentence, for whoever calls it. */
  readonly summary: string;
  readonly takes: Input<I>;
  readonly gives: Answer<A>;
  /** Largest body, bytes; the listener's own limit when absent. */
  readonly bodyBytesMax?: number;
  readonly handle: (input: I, reply: FastifyReply) => Promise<NoInfer<A>>;
}

/** A route without its code, for `docs/openapi`. */
export type RouteDescription = Pick<
  Route<unknown, unknown>,
  "method" | "path" | "summary" | "bodyBytesMax"
> & {
  readonly parts: readonly InputPart[];
  readonly gives: Pick<Answer<unknown>, "status" | "type" | "schema">;
};

const DESCRIBED = new WeakMap<FastifyInstance, RouteDescription[]>();
/** Handlers that {@link addRoute} made. */
const HANDLERS = new WeakSet<object>();

/** Has `server` end the process at a route that no description was given for. */
export function requireDescriptions(server: FastifyInstance): void {
  server.addHook("onRoute", ({ handler, url }) => {
    assert(HANDLERS.has(handler), `route ${url}: expected one that addRoute registers`);
  });
}

/** Registers a route and keeps its description. */
export function addRoute<I, A>(server: FastifyInstance, route: Route<I, A>): void {
  const { method, path, summary, takes, gives, bodyBytesMax, handle } = route;
  const limit = bodyBytesMax === undefined ? {} : { bodyBytesMax };
  const { status, type, schema } = gives;
  const described = DESCRIBED.get(server) ?? [];
  described.push({
    ...{ method, path, summary, parts: takes.parts },
    ...{ gives: { status, type, schema }, ...limit },
  });
  DESCRIBED.set(server, described);
  const handler = async (request: FastifyRequest, reply: FastifyReply): Promise<unknown> => {
    const value = await handle(takes.read(request), reply);
    return gives.send(reply, value);
  };
  HANDLERS.add(handler);
  server.route({
    ...{ method, url: path, handler },
    ...(bodyBytesMax === undefined ? {} : { bodyLimit: bodyBytesMax }),
  });
}

/** The routes that {@link addRoute} gave `server`, in order. */
export function describedRoutes(server: FastifyInstance): readonly RouteDescription[] {
  return DESCRIBED.get(server) ?? [];
}

/** Takes nothing. */
export const nothing: Input<undefined> = { parts: [], read: () => undefined };

/** Takes the path's own parameters. */
export function fromPath<T>(schema: z.ZodType<T>): Input<T> {
  return {
    parts: [{ in: "path", schema, type: null }],
    read: ({ params }) => parseWith(schema, params, "path"),
  };
}

/** Takes what follows the question mark. */
export function fromQuery<T>(schema: z.ZodType<T>): Input<T> {
  return {
    parts: [{ in: "query", schema, type: null }],
    read: ({ query }) => parseWith(schema, query, "query"),
  };
}

/** Takes a body of JSON. */
export function fromBody<T>(schema: z.ZodType<T>): Input<T> {
  return {
    parts: [{ in: "body", schema, type: "application/json" }],
    read: ({ body }) => parseWith(schema, body, "body"),
  };
}

/** Takes a body of bytes, whole or streamed as the listener hands it on. */
export function fromBytes(type: string): Input<unknown> {
  return { parts: [{ in: "body", schema: z.unknown(), type }], read: ({ body }) => body };
}

/** Takes both. */
export function both<A, B>(first: Input<A>, second: Input<B>): Input<readonly [A, B]> {
  return {
    parts: [...first.parts, ...second.parts],
    read: (request) => [first.read(request), second.read(request)],
  };
}

/** Answers with JSON of a shape that the compiler compares with what the handler returns. */
export function json<T>(schema: z.ZodType<T>, status: 200 | 202 = 200): Answer<T> {
  const send = (reply: FastifyReply, value: T): unknown => reply.code(status).send(value);
  return { status, type: "application/json", schema, send };
}

/** Answers with text or bytes of a content type. */
export function content(type: string): Answer<string | Buffer | Readable> {
  const send = (reply: FastifyReply, value: string | Buffer | Readable): unknown =>
    reply.header("content-type", type).send(value);
  return { status: 200, type, schema: null, send };
}

/** The handler writes the answer, whose pieces have this shape, itself. */
export function written(type: string, schema: z.ZodType): Answer<void> {
  return { status: 200, type, schema, send: () => undefined };
}
