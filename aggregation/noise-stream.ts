import { hash } from "node:crypto";

import { LimitError, MalformedError, hkdf, utf8 } from "#protocol";

const BLOCK_BYTES = 32;
const COUNTER_BYTES = 8;
/** The most bytes one stream gives: 2^40. Nothing here comes near; a runaway loop does. */
const STREAM_BYTES_MAX = 2 ** 40;

/**
 * A deterministic byte stream: the concatenation of SHA-256(seed || uint64be(i)) for i = 0, 1, 2, ...
 *
 * Equal seeds give equal bytes, on any machine. A stream is as secret as its seed and must be used for
 * one purpose only; {@link noiseStream} derives a seed per purpose.
 */
export class NoiseStream {
  readonly #message: Buffer;
  readonly #counterAt: number;
  #block: Buffer = Buffer.alloc(0);
  #at = 0;
  #blocks = 0;

  /** @param seed - 1 to 1,024 bytes; copied. Secret noise needs 32 bytes of it ({@link noiseStream}). */
  constructor(seed: Uint8Array) {
    if (seed.length < 1 || seed.length > 1024) {
      throw new MalformedError(
        { code: "PRIVACY_BUDGET_PARAMETER_INVALID", bytes: seed.length },
        `seed: expected 1 to 1024 bytes, got ${seed.length}`,
      );
    }
    this.#message = Buffer.alloc(seed.length + COUNTER_BYTES);
    this.#message.set(seed);
    this.#counterAt = seed.length;
  }

  /** How many bytes were handed out so far. */
  get bytesUsed(): number {
    return this.#blocks * BLOCK_BYTES - (this.#block.length - this.#at);
  }

  /** The next byte of the stream. @throws {@link LimitError} EXECUTION_BOUND_EXCEEDED after 2^40 bytes */
  nextByte(): number {
    if (this.#at >= this.#block.length) this.#refill();
    const byte = this.#block[this.#at] ?? 0;
    this.#at += 1;
    return byte;
  }

  /**
   * A uniform integer in [0, bound): rejection sampling on the low bits of big-endian bytes.
   * `bound` is an integer in [1, 2^48]. A bound of 1 consumes nothing.
   */
  uniform(bound: number): number {
    if (bound === 1) return 0;
    const top = bound - 1;
    const bits = top < 2 ** 31 ? 32 - Math.clz32(top) : 64 - Math.clz32(Math.floor(top / 2 ** 32));
    const narrowed = top >= 2 ** 31 && top < 2 ** 32 ? 32 : bits;
    const bytes = Math.ceil(narrowed / 8);
    const modulus = 2 ** narrowed;
    for (;;) {
      let value = 0;
      for (let i = 0; i < bytes; i += 1) value = value * 256 + this.nextByte();
      value %= modulus;
      if (value < bound) return value;
    }
  }

  /** As {@link NoiseStream.uniform} for any positive bound, in the same byte order. */
  uniformBig(bound: bigint): bigint {
    if (bound <= 281_474_976_710_656n) return BigInt(this.uniform(Number(bound)));
    const bits = (bound - 1n).toString(2).length;
    const bytes = Math.ceil(bits / 8);
    const mask = (1n << BigInt(bits)) - 1n;
    for (;;) {
      let value = 0n;
      for (let i = 0; i < bytes; i += 1) value = (value << 8n) | BigInt(this.nextByte());
      value &= mask;
      if (value < bound) return value;
    }
  }

  #refill(): void {
    if (this.#blocks * BLOCK_BYTES >= STREAM_BYTES_MAX) {
      throw new LimitError(
        { code: "EXECUTION_BOUND_EXCEEDED", bytesMax: STREAM_BYTES_MAX },
        `noise stream: expected at most ${STREAM_BYTES_MAX} bytes to be drawn, got a request for more`,
      );
    }
    this.#message.writeUInt32BE(Math.floor(this.#blocks / 2 ** 32), this.#counterAt);
    this.#message.writeUInt32BE(this.#blocks % 2 ** 32, this.#counterAt + 4);
    this.#block = hash("sha256", this.#message, "buffer");
    this.#blocks += 1;
    this.#at = 0;
  }
}

/**
 * The stream for one purpose under one noise key: its seed is HKDF-SHA-256(key, info = `label`).
 *
 * @param noiseKey - 32 bytes; the key every participant's share went into (design, section 3).
 * @param label - Names the purpose, round and vector, so that no two draws share bytes; 1 to 256 characters.
 * @throws {@link MalformedError} PRIVACY_BUDGET_PARAMETER_INVALID
 */
export function noiseStream(noiseKey: Uint8Array, label: string): NoiseStream {
  if (noiseKey.length !== 32 || label.length < 1 || label.length > 256) {
    throw new MalformedError(
      { code: "PRIVACY_BUDGET_PARAMETER_INVALID", keyBytes: noiseKey.length },
      `noise stream: expected a key of 32 bytes and a label of 1 to 256 characters, ` +
        `got ${noiseKey.length} bytes and ${label.length} characters`,
    );
  }
  return new NoiseStream(hkdf(noiseKey, utf8(`symphony/noise-stream/v1/${label}`)));
}
