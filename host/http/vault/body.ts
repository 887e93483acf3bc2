import { Readable } from "node:stream";

import type { FastifyInstance } from "fastify";
import { LimitError, MalformedError, UnavailableError } from "#protocol";

/** Content type of a source of records, with or without a mapping before it. */
export const SOURCE_TYPE = "application/vnd.symphony.source";

/** Most bytes of one streamed body: 64 GiB, about 500 million short rows. */
export const STREAM_BYTES_MAX = 64 * 1024 * 1024 * 1024;

/** Hands bodies of CSV and of {@link SOURCE_TYPE} on instead of gathering them; see {@link streamedBody}. */
export function acceptStreams(server: FastifyInstance): void {
  server.removeContentTypeParser("text/csv");
  server.addContentTypeParser(["text/csv", SOURCE_TYPE], (_request, payload, done) =>
    done(null, payload),
  );
}

/** How long a sender may say nothing: a connection that nobody closed is given up then. */
const SILENT_MS_MAX = 5 * 60_000;

/**
 * The body of a request that is read as it comes. A caller who goes away in the middle gives an error of its own:
 * nobody is left to answer, and nothing went wrong here.
 *
 * @param what - What the body should be, for messages.
 * @throws MalformedError SCHEMA_MALFORMED for a body that is not streamed. While reading: UnavailableError
 * COORDINATION_UNAVAILABLE for one that ends early or says nothing for `silentMsMax`, five minutes when absent;
 * LimitError SCHEMA_TOO_LARGE above 64 GiB.
 */
export function streamedBody(
  body: unknown,
  what: string,
  silentMsMax: number = SILENT_MS_MAX,
): AsyncGenerator<Uint8Array> {
  if (!(body instanceof Readable)) throw expectedBody(what);
  return untilGone(body, silentMsMax);
}

async function* untilGone(body: Readable, silentMsMax: number): AsyncGenerator<Uint8Array> {
  const chunks: AsyncIterable<Uint8Array> = body;
  const timer = setTimeout(() => body.destroy(gone("silence")), silentMsMax);
  let bytes = 0;
  try {
    for await (const chunk of chunks) {
      bytes += chunk.length;
      if (bytes > STREAM_BYTES_MAX) {
        throw new LimitError(
          { code: "SCHEMA_TOO_LARGE", max: STREAM_BYTES_MAX },
          `body: expected at most ${STREAM_BYTES_MAX} bytes`,
        );
      }
      yield chunk;
      timer.refresh();
    }
  } catch (cause) {
    const aborted = cause instanceof Error && "code" in cause && cause.code === "ECONNRESET";
    throw aborted ? gone("a connection that ended", cause) : cause;
  } finally {
    clearTimeout(timer);
  }
}

function gone(got: string, cause?: unknown): UnavailableError {
  return new UnavailableError(
    { code: "COORDINATION_UNAVAILABLE", field: "body" },
    `body: expected all of it, got ${got}`,
    cause === undefined ? undefined : { cause },
  );
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
