import { Readable } from "node:stream";

import { MalformedError } from "#protocol";

/**
 * The body of a request that is read as it comes. A caller who goes away in the middle gives an error like any other
 * bad body: nobody is left to answer, and nothing went wrong here.
 *
 * @param what - What the body should be, for messages.
 * @throws MalformedError SCHEMA_MALFORMED for a body that is not streamed; while reading, for one that ends early.
 */
export function streamedBody(body: unknown, what: string): AsyncIterable<Uint8Array> {
  if (!(body instanceof Readable)) throw expectedBody(what);
  return untilAborted(body);
}

async function* untilAborted(body: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  try {
    yield* body;
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
