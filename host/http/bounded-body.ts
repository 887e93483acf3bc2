import { LimitError } from "#protocol";

/**
 * The body of an answer, read piece by piece so that a server cannot make us hold more than `bytesMax`.
 *
 * @throws {@link LimitError} SCHEMA_TOO_LARGE
 */
export async function readBounded(response: Response, bytesMax: number): Promise<Uint8Array> {
  if (response.body === null) return new Uint8Array(0);
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  for await (const chunk of response.body) {
    bytes += chunk.length;
    if (bytes > bytesMax) {
      throw new LimitError(
        { code: "SCHEMA_TOO_LARGE", bytesMax },
        `answer: expected at most ${bytesMax} bytes, got more`,
      );
    }
    chunks.push(chunk);
  }
  return new Uint8Array(Buffer.concat(chunks));
}
