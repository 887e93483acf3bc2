import { randomBytes } from "node:crypto";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";

import { identifyCaller, type Credentials } from "./caller.ts";
import { KmsFault } from "./fault.ts";
import {
  createKmsOperations,
  type KmsOperations,
  type KmsOperationsOptions,
} from "./operations.ts";

/** How a simulated KMS is started. */
export interface SimKmsOptions extends Omit<KmsOperationsOptions, "random"> {
  /** Port on 127.0.0.1; 0 picks a free one. */
  readonly port: number;
  readonly random?: (bytes: number) => Uint8Array;
  /** Access keys whose signatures are verified. Absent: every access key id is believed. */
  readonly credentials?: Credentials;
}

/** A running simulated KMS. */
export interface InsecureKms {
  /** `http://127.0.0.1:<port>`: what a KMS client takes as its endpoint. */
  readonly endpoint: string;
  /** Stops listening, and waits for answers under way. */
  close(): Promise<void>;
}

/** A recipient's document has at most 262 144 bytes, as base64 (KMS API Reference, RecipientInfo). */
const BODY_BYTES_MAX = 512 * 1024;
const REQUEST_MS_MAX = 10_000;
/** Time for answers under way when it is closed. */
const CLOSING_MS_MAX = 2_000;
const TARGET_PREFIX = "TrentService.";

/**
 * Starts a make-believe AWS KMS on this machine: the JSON protocol, key policies with recipient attestation,
 * and CMS for recipients.
 *
 * Key policies are judged for the principal that the access key id names. Signatures are verified only when
 * `credentials` are given: without them, whoever reaches the port is whoever they say.
 *
 * @throws the server's error when the port cannot be used.
 * @throws {@link MalformedError} SCHEMA_CONFIG_MALFORMED when the folder holds something that is no key.
 * @deprecated For development and tests only.
 * @see AWS KMS API Reference
 */
export async function startInsecureKms(options: SimKmsOptions): Promise<InsecureKms> {
  const { nowMs, credentials = null } = options;
  const operations = createKmsOperations({ random: randomBytes, ...options });
  const server = createServer((request, response) => {
    void answer({ operations, credentials, nowMs }, request, response);
  });
  server.requestTimeout = REQUEST_MS_MAX;
  server.headersTimeout = REQUEST_MS_MAX;
  server.maxConnections = 256;
  const port = await listen(server, options.port);
  return { endpoint: `http://127.0.0.1:${port}`, close: () => closeGently(server) };
}

interface Context {
  readonly operations: KmsOperations;
  readonly nowMs: () => number;
  readonly credentials: Credentials | null;
}

async function answer(
  context: Context,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  try {
    send(response, 200, await perform(context, request));
  } catch (error) {
    if (error instanceof KmsFault) {
      send(response, 400, { __type: error.type, message: error.message });
    } else {
      send(response, 500, { __type: "KMSInternalException", message: "internal error" });
    }
  }
}

async function perform(
  { operations, credentials, nowMs }: Context,
  request: IncomingMessage,
): Promise<object> {
  const body = await readBody(request);
  const target = request.headers["x-amz-target"];
  if (request.method !== "POST" || typeof target !== "string") {
    throw new KmsFault("UnknownOperationException", "expected POST with X-Amz-Target");
  }
  if (!target.startsWith(TARGET_PREFIX)) {
    throw new KmsFault("UnknownOperationException", "expected a target of TrentService");
  }
  const { method, url: path = "/", headers } = request;
  const principalArn = identifyCaller({ method, path, headers, body }, credentials, nowMs());
  return await operations(target.slice(TARGET_PREFIX.length), parseJson(body), principalArn);
}

async function readBody(request: IncomingMessage): Promise<Uint8Array> {
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
  return Buffer.concat(chunks);
}

function parseJson(body: Uint8Array): unknown {
  try {
    return JSON.parse(Buffer.from(body).toString("utf8"));
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

async function closeGently(server: Server): Promise<void> {
  const late = setTimeout(() => server.closeAllConnections(), CLOSING_MS_MAX);
  await new Promise<void>((resolve) => {
    server.close(() => resolve());
    server.closeIdleConnections();
  });
  clearTimeout(late);
}
