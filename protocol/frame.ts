import { LimitError } from "./errors.ts";

/** The largest frame on any channel unless its owner says otherwise: 64 MiB. */
export const FRAME_BYTES_MAX = 64 * 1024 * 1024;

/** Pieces of a stream are joined up to this length; longer ones stay as they came. */
const JOINED_BYTES_MAX = 64 * 1024;

/**
 * Frames `payload` for a byte stream.
 *
 *     offset  size  field
 *     0       4     payload length, unsigned, big endian
 *     4       n     payload
 *
 * @throws {@link LimitError} SCHEMA_TOO_LARGE above {@link FRAME_BYTES_MAX}.
 */
export function encodeFrame(payload: Uint8Array): Uint8Array {
  if (payload.length > FRAME_BYTES_MAX) throw tooLarge(payload.length, FRAME_BYTES_MAX);
  const frame = new Uint8Array(4 + payload.length);
  new DataView(frame.buffer).setUint32(0, payload.length);
  frame.set(payload, 4);
  return frame;
}

/**
 * Takes frames out of a byte stream. Feed it chunks in order; it returns the payloads completed so far.
 *
 * Holds at most one unfinished frame. The announced length is judged before anything is kept for it.
 */
export class FrameReader {
  readonly #maxBytes: number;
  #chunks: Uint8Array[] = [];
  #bytes = 0;

  constructor(maxBytes: number = FRAME_BYTES_MAX) {
    this.#maxBytes = maxBytes;
  }

  /** @throws {@link LimitError} SCHEMA_TOO_LARGE when a frame announces more than the limit. */
  push(chunk: Uint8Array): Uint8Array[] {
    this.#chunks.push(chunk);
    this.#bytes += chunk.length;
    this.#join();
    const payloads: Uint8Array[] = [];
    while (this.#bytes >= 4) {
      const head = this.#peek(4);
      const length = new DataView(head.buffer, head.byteOffset, 4).getUint32(0);
      if (length > this.#maxBytes) throw tooLarge(length, this.#maxBytes);
      if (this.#bytes < 4 + length) break;
      payloads.push(this.#take(4 + length).subarray(4));
    }
    return payloads;
  }

  /** Joins pieces of about one length as they come: a stream of single bytes takes no more memory than it has bytes. */
  #join(): void {
    for (;;) {
      const last = this.#chunks.at(-1);
      const before = this.#chunks.at(-2);
      if (last === undefined || before === undefined || last.length < before.length) return;
      if (before.length + last.length > JOINED_BYTES_MAX) return;
      this.#chunks.splice(-2, 2, new Uint8Array(Buffer.concat([before, last])));
    }
  }

  #peek(count: number): Uint8Array {
    const first = this.#chunks[0];
    if (first !== undefined && first.length >= count) return first.subarray(0, count);
    const whole = new Uint8Array(Buffer.concat(this.#chunks));
    this.#chunks = [whole];
    return whole.subarray(0, count);
  }

  #take(count: number): Uint8Array {
    const whole =
      this.#chunks.length === 1 ? this.#chunks[0] : new Uint8Array(Buffer.concat(this.#chunks));
    if (whole === undefined) return new Uint8Array(0);
    const rest = whole.subarray(count);
    this.#chunks = rest.length > 0 ? [rest] : [];
    this.#bytes = rest.length;
    return whole.slice(0, count);
  }
}

function tooLarge(bytes: number, maxBytes: number): LimitError {
  return new LimitError(
    { code: "SCHEMA_TOO_LARGE", bytes, maxBytes },
    `frame: expected at most ${maxBytes} bytes, got ${bytes}`,
  );
}
