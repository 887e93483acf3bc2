import { createReadStream } from "node:fs";

import { imageFault } from "./faults.ts";

/** Bytes of a known number that can be read from their beginning, any number of times. */
export interface Content {
  readonly bytes: number;
  readonly read: () => AsyncIterable<Uint8Array> | Iterable<Uint8Array>;
}

const CHUNK_BYTES = 1024 * 1024;

/** Content that is in memory. */
export function contentOf(bytes: Uint8Array): Content {
  return { bytes: bytes.length, read: () => (bytes.length === 0 ? [] : [bytes]) };
}

/** Content of the file at `path`, or of `bytes` of it from `start` on. */
export function contentOfFile(
  path: string,
  { start = 0, bytes }: { readonly start?: number; readonly bytes: number },
): Content {
  const range = { start, end: start + bytes - 1, highWaterMark: CHUNK_BYTES };
  return { bytes, read: () => (bytes === 0 ? [] : createReadStream(path, range)) };
}

/**
 * The chunks of `content`, whose number of bytes is enforced: a file may have been cut since it was looked at.
 *
 * @throws {@link MalformedError} TEE_IMAGE_MALFORMED when there are fewer, or more
 */
export async function* chunksOf(content: Content, subject: string): AsyncGenerator<Uint8Array> {
  let bytes = 0;
  for await (const chunk of content.read()) {
    bytes += chunk.length;
    if (bytes > content.bytes) break;
    yield chunk;
  }
  if (bytes !== content.bytes) {
    throw imageFault(
      subject,
      `${content.bytes} bytes`,
      bytes > content.bytes ? "more" : `${bytes}`,
    );
  }
}
