import { LimitError } from "./errors.ts";

/** The largest frame on any channel unless its owner says otherwise: 64 MiB. */
export const FRAME_BYTES_MAX = 64 * 1024 * 1024;

const HEAD_BYTES = 4;
const NOTHING = new Uint8Array(0);

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
 * Holds at most one unfinished frame, in no more than twice the bytes that came of it. The announced length is judged
 * before anything is kept for it.
 */
export class FrameReader {
  readonly #maxBytes: number;
  /** What came and is no whole frame yet: its first `#length` bytes. */
  #buffer = NOTHING;
  #length = 0;

  constructor(maxBytes: number = FRAME_BYTES_MAX) {
    this.#maxBytes = maxBytes;
  }

  /** @throws {@link LimitError} SCHEMA_TOO_LARGE when a frame announces more than the limit. */
  push(chunk: Uint8Array): Uint8Array[] {
    this.#append(chunk);
    const payloads: Uint8Array[] = [];
    const { buffer, byteOffset } = this.#buffer;
    const view = new DataView(buffer, byteOffset, this.#length);
    let start = 0;
    while (this.#length - start >= HEAD_BYTES) {
      const length = view.getUint32(start);
      if (length > this.#maxBytes) throw tooLarge(length, this.#maxBytes);
      const end = start + HEAD_BYTES + length;
      if (end > this.#length) break;
      payloads.push(this.#buffer.subarray(start + HEAD_BYTES, end));
      start = end;
    }
    if (start > 0) this.#keepFrom(start);
    return payloads;
  }

  #append(chunk: Uint8Array): void {
    const length = this.#length + chunk.length;
    if (length > this.#buffer.length) {
      const grown = new Uint8Array(Math.max(length, 2 * this.#length));
      grown.set(this.#buffer.subarray(0, this.#length));
      this.#buffer = grown;
    }
    this.#buffer.set(chunk, this.#length);
    this.#length = length;
  }

  /** The payloads before `start` have the buffer from now on; what follows them gets one of its own. */
  #keepFrom(start: number): void {
    this.#buffer = this.#buffer.slice(start, this.#length);
    this.#length -= start;
  }
}

function tooLarge(bytes: number, maxBytes: number): LimitError {
  return new LimitError(
    { code: "SCHEMA_TOO_LARGE", bytes, maxBytes },
    `frame: expected at most ${maxBytes} bytes, got ${bytes}`,
  );
}
