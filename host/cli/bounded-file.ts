import { open, type FileHandle } from "node:fs/promises";

import { UsageError } from "#cli";
import { LimitError, MalformedError, utf8Text } from "#protocol";

/** What is read, for messages, and how much of it at most. */
export interface FileBound {
  readonly subject: string;
  readonly bytesMax: number;
}

const CHUNK_BYTES = 64 * 1024;

/**
 * The bytes of a file that the user named: a file, a pipe or a device, never more than `bytesMax` of it in memory.
 *
 * @throws UsageError for a folder; node's own errors for a file that is not there or may not be read
 * @throws {@link LimitError} SCHEMA_TOO_LARGE
 */
export async function readBoundedFile(path: string, bound: FileBound): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  for await (const chunk of readChunks(path)) {
    bytes += chunk.length;
    if (bytes > bound.bytesMax) {
      throw new LimitError(
        { code: "SCHEMA_TOO_LARGE", maxBytes: bound.bytesMax },
        `${bound.subject} ${path}: expected at most ${bound.bytesMax} bytes, got more`,
      );
    }
    chunks.push(chunk);
  }
  return new Uint8Array(Buffer.concat(chunks));
}

/** As {@link readBoundedFile}, of text. @throws {@link MalformedError} SCHEMA_MALFORMED for other bytes */
export async function readBoundedText(path: string, bound: FileBound): Promise<string> {
  const bytes = await readBoundedFile(path, bound);
  try {
    return utf8Text(bytes);
  } catch (cause) {
    throw new MalformedError(
      { code: "SCHEMA_MALFORMED" },
      `${bound.subject} ${path}: expected text in UTF-8, got ${bytes.length} other bytes`,
      { cause },
    );
  }
}

/** A file in chunks, each a copy. @throws as {@link readBoundedFile}, but for the limit */
export async function* readChunks(path: string): AsyncGenerator<Uint8Array> {
  const file = await open(path, "r");
  try {
    if ((await file.stat()).isDirectory()) {
      throw new UsageError(`${path}: expected a file, got a folder`);
    }
    yield* chunksOf(file);
  } finally {
    await file.close();
  }
}

async function* chunksOf(file: FileHandle): AsyncGenerator<Uint8Array> {
  for (;;) {
    const { bytesRead, buffer } = await file.read(new Uint8Array(CHUNK_BYTES));
    if (bytesRead === 0) return;
    yield buffer.subarray(0, bytesRead);
  }
}
