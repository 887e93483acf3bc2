import fastify, { type FastifyInstance } from "fastify";
import { z } from "zod";

import { problemOf } from "./problem.ts";
import { addRoute, json, nothing, requireDescriptions } from "./route.ts";

/** Largest body of a route that does not say another, bytes. */
export const BODY_BYTES_MAX = 1024 * 1024;

/** A request that has not come whole after this long is ended. */
const REQUEST_MS_MAX = 60_000;

/** Where a server listens. Port 0 takes a free one. */
export interface Listen {
  readonly address: string;
  readonly port: number;
}

/** A started server and the URL it answers on. */
export interface RunningServer {
  readonly url: string;
  close(): Promise<void>;
}

/**
 * A server with this project's habits: problem details for every error, raw bytes for `application/cbor`, size and
 * time limits, `/healthz`.
 *
 * @param report - Told of every unexpected error, with the identifier the caller got.
 */
export function createServer(args: {
  /** For servers that take bodies which are long in coming; a minute when absent. */
  readonly requestMsMax?: number;
  readonly report: (id: string, error: unknown) => void;
}): FastifyInstance {
  const server = fastify({
    bodyLimit: BODY_BYTES_MAX,
    requestTimeout: args.requestMsMax ?? REQUEST_MS_MAX,
    keepAliveTimeout: 5_000,
    forceCloseConnections: true,
  });
  requireDescriptions(server);
  server.addContentTypeParser(
    ["application/cbor", "application/octet-stream", "text/csv", "image/png", "image/jpeg"],
    { parseAs: "buffer" },
    (_request, body, done) => done(null, body),
  );
  server.setErrorHandler(async (error, _request, reply) => {
    const problem = problemOf(error, args.report);
    await reply
      .code(problem.status)
      .header("content-type", "application/problem+json")
      .send(JSON.stringify(problem));
  });
  server.setNotFoundHandler(async (_request, reply) => {
    await reply
      .code(404)
      .header("content-type", "application/problem+json")
      .send(
        JSON.stringify({
          type: "about:blank",
          title: "Not Found",
          status: 404,
          detail: "path: expected a known one",
        }),
      );
  });
  addRoute(server, {
    method: "GET",
    path: "/healthz",
    summary: "Says that the listener answers.",
    takes: nothing,
    gives: json(z.object({ status: z.literal("ok") })),
    handle: async () => ({ status: "ok" }) as const,
  });
  return server;
}

/** Starts `server` and says where it answers. */
export async function listen(server: FastifyInstance, at: Listen): Promise<RunningServer> {
  const url = await server.listen({ host: at.address, port: at.port });
  return { url, close: () => server.close() };
}
