import { randomBytes } from "node:crypto";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";

import type { TrustAnchor } from "#attestation";

import { KmsFault, createKmsOperations } from "./operations.ts";

/** How a simulated KMS is started. */
export interface SimKmsOptions {
  /** Where the keys are kept. */
  readonly directory: string;
  /** Roots of the enclaves it releases to: simulator roots only. */
  readonly anchors: readonly TrustAnchor[];
  /** Port on 127.0.0.1; 0 picks a free one. */
  readonly port: number;
  readonly nowMs: () => number;
  readonly random?: (bytes: number) => Uint8Array;
}

/** A running simulated KMS. */
export interface InsecureKms {
  /** `http://127.0.0.1:<port>`: what a KMS client takes as its endpoint. */
  readonly endpoint: string;
  close(): Promise<void>;
}

/** A recipient's document has at most 262 144 bytes, as base64 (KMS API Reference, RecipientInfo). */
const BODY_BYTES_MAX = 512 * 1024;
const REQUEST_MS_MAX = 10_000;
const TARGET_PREFIX = "TrentService.";

/**
 * Starts a make-believe AWS KMS on this machine: the JSON protocol, key policies with recipient attestation,
 * and CMS for recipients. Request signatures are not judged: whoever reaches the port is the account.
 *
 * @throws the server's error when the port cannot be used.
 * @deprecated For development and tests only.
 * @see AWS KMS API Reference
 */
export async function startInsecureKms(options: SimKmsOptions): Promise<InsecureKms> {
  const operations = createKmsOperations({ random: randomBytes, ...options });
  const server = createServer((request, response) => {
    void answer(operations, request, response);
  });
  server.requestTimeout = REQUEST_MS_MAX;
  server.headersTimeout = REQUEST_MS_MAX;
  server.maxConnections = 256;
  const port = await listen(server, options.port);
  return {
    endpoint: `http://127.0.0.1:${port}`,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

type Operations = ReturnType<typeof createKmsOperations>;

async function answer(
  operations: Operations,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  try {
    const target = request.headers["x-amz-target"];
    const body = await readBody(request);
    if (request.method !== "POST" || typeof target !== "string") {
      throw new KmsFault("UnknownOperationException", "expected POST with X-Amz-Target");
    }
    if (!target.startsWith(TARGET_PREFIX)) {
      throw new KmsFault("UnknownOperationException", "expected a target of TrentService");
    }
    send(response, 200, operations(target.slice(TARGET_PREFIX.length), parseJson(body)));
  } catch (error) {
    if (error instanceof KmsFault) {
      send(response, 400, { __type: error.type, message: error.message });
    } else {
      send(response, 500, { __type: "KMSInternalException", message: "internal error" });
    }
  }
}

async function readBody(request: IncomingMessage): Promise<string> {
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  for await (const chunk of request) {
    if (!(chunk instanceof Uint8Array)) continue;
    bytes += chunk.length;
    if (bytes > BODY_BYTES_MAX) {
      throw new KmsFault("ValidationException", `expected at most ${BODY_BYTES_MAX} bytes`);
    }
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString("utf8");
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    throw new KmsFault("SerializationException", "expected JSON");
  }
}

function send(response: ServerResponse, status: number, body: object): void {
  if (response.headersSent || response.destroyed) return;
  const text = JSON.stringify(body);
  response.writeHead(status, {
    "content-type": "application/x-amz-json-1.1",
    "content-length": Buffer.byteLength(text),
    ...(status === 200 ? {} : { connection: "close" }),
  });
  response.end(text);
}

async function listen(server: Server, port: number): Promise<number> {
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(port, "127.0.0.1", resolve);
  });
  const address = server.address();
  return address !== null && typeof address === "object" ? address.port : port;
}
