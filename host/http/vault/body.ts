import { Readable } from "node:stream";

import type { FastifyInstance } from "fastify";
import { LimitError, MalformedError } from "#protocol";

/** Content type of a source of records, with or without a mapping before it. */
export const SOURCE_TYPE = "application/vnd.symphony.source";

/** Most bytes of one streamed body: 64 GiB, about 500 million short rows. */
const STREAM_BYTES_MAX = 64 * 1024 * 1024 * 1024;

/** Hands bodies of CSV and of {@link SOURCE_TYPE} on instead of gathering them; see {@link streamedBody}. */
export function acceptStreams(server: FastifyInstance): void {
  server.removeContentTypeParser("text/csv");
  server.addContentTypeParser(["text/csv", SOURCE_TYPE], (_request, payload, done) =>
    done(null, payload),
  );
}

/**
 * The body of a request that is read as it comes. A caller who goes away in the middle gives an error like any other
 * bad body: nobody is left to answer, and nothing went wrong here.
 *
 * @param what - What the body should be, for messages.
 * @throws MalformedError SCHEMA_MALFORMED for a body that is not streamed; while reading, for one that ends early.
 * LimitError SCHEMA_TOO_LARGE, while reading, above 64 GiB.
 */
export function streamedBody(body: unknown, what: string): AsyncGenerator<Uint8Array> {
  if (!(body instanceof Readable)) throw expectedBody(what);
  return untilAborted(body);
}

async function* untilAborted(body: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  let bytes = 0;
  try {
    for await (const chunk of body) {
      bytes += chunk.length;
      if (bytes > STREAM_BYTES_MAX) {
        throw new LimitError(
          { code: "SCHEMA_TOO_LARGE", max: STREAM_BYTES_MAX },
          `body: expected at most ${STREAM_BYTES_MAX} bytes`,
        );
      }
      yield chunk;
    }
  } catch (cause) {
    const aborted = cause instanceof Error && "code" in cause && cause.code === "ECONNRESET";
    if (!aborted) throw cause;
    throw new MalformedError(
      { code: "SCHEMA_MALFORMED", field: "body" },
      "body: expected all of it, got a connection that ended",
      { cause },
    );
  }
}

/** Refuses a body of another kind. */
export function expectedBody(what: string): MalformedError {
  return new MalformedError({ code: "SCHEMA_MALFORMED", field: "body" }, `body: expected ${what}`);
}

/**
 * Takes the first `count` bytes off a stream.
 *
 * @throws {@link MalformedError} SCHEMA_MALFORMED when it is shorter.
 */
export async function takeBytes(
  source: AsyncGenerator<Uint8Array>,
  count: number,
): Promise<{ readonly head: Uint8Array; readonly rest: AsyncGenerator<Uint8Array> }> {
  const head: Uint8Array[] = [];
  let missing = count;
  while (missing > 0) {
    const next = await source.next();
    if (next.done === true) throw expectedBody(`at least ${count} bytes, got ${count - missing}`);
    const taken = next.value.subarray(0, missing);
    head.push(taken);
    missing -= taken.length;
    if (missing === 0) {
      const left = next.value.subarray(taken.length);
      return { head: new Uint8Array(Buffer.concat(head)), rest: following(left, source) };
    }
  }
  return { head: new Uint8Array(0), rest: source };
}

async function* following(
  first: Uint8Array,
  rest: AsyncGenerator<Uint8Array>,
): AsyncGenerator<Uint8Array> {
  if (first.length > 0) yield first;
  yield* rest;
}
