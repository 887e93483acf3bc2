import { inflateSync } from "node:zlib";

import { MalformedError } from "#protocol";

/** An 8-bit grey image, row by row from the top, no padding. */
export interface GreyImage {
  readonly width: number;
  readonly height: number;
  readonly pixels: Uint8Array;
}

/**
 * Decodes an 8-bit grey PNG without interlacing: what the recogniser hands back of a decoded image.
 *
 * Not a general PNG reader. Checksums are not looked at: the bytes come from our own process.
 *
 * @throws {@link MalformedError} SCHEMA_IMAGE_MALFORMED for any other kind of PNG.
 * @see PNG (Third Edition) § 5.3 (chunks), § 9 (filters)
 */
export function decodeGreyPng(png: Uint8Array): GreyImage {
  const view = new DataView(png.buffer, png.byteOffset, png.byteLength);
  const width = view.getUint32(16);
  const height = view.getUint32(20);
  if (png[24] !== 8 || png[25] !== 0 || png[28] !== 0) {
    throw new MalformedError(
      { code: "SCHEMA_IMAGE_MALFORMED" },
      "image: expected pixels that convert to 8-bit grey, got another kind",
    );
  }
  const parts: Uint8Array[] = [];
  for (let at = 8; at + 12 <= png.length;) {
    const length = view.getUint32(at);
    if (view.getUint32(at + 4) === 0x49444154) parts.push(png.subarray(at + 8, at + 8 + length));
    at += 12 + length;
  }
  const filtered = inflateSync(Buffer.concat(parts), { maxOutputLength: (width + 1) * height });
  return { width, height, pixels: unfilter(filtered, width, height) };
}

/** Undoes the five scan line filters; one byte a pixel. */
function unfilter(filtered: Uint8Array, width: number, height: number): Uint8Array {
  const pixels = new Uint8Array(width * height);
  for (let y = 0; y < height; y += 1) {
    const source = y * (width + 1);
    const filter = filtered[source] ?? 0;
    const row = y * width;
    for (let x = 0; x < width; x += 1) {
      const left = x > 0 ? (pixels[row + x - 1] ?? 0) : 0;
      const up = y > 0 ? (pixels[row + x - width] ?? 0) : 0;
      const corner = x > 0 && y > 0 ? (pixels[row + x - width - 1] ?? 0) : 0;
      pixels[row + x] = (filtered[source + 1 + x] ?? 0) + predict(filter, left, up, corner);
    }
  }
  return pixels;
}

function predict(filter: number, left: number, up: number, corner: number): number {
  if (filter === 0) return 0;
  if (filter === 1) return left;
  if (filter === 2) return up;
  if (filter === 3) return (left + up) >> 1;
  const toLeft = Math.abs(up - corner);
  const toUp = Math.abs(left - corner);
  const toCorner = Math.abs(left + up - 2 * corner);
  if (toLeft <= toUp && toLeft <= toCorner) return left;
  return toUp <= toCorner ? up : corner;
}

/** The weight of a whole sample, in fixed point. */
const ONE = 4_096;

/** Taps of one resampled position: four source indexes and their weights, which sum to {@link ONE}. */
interface Taps {
  readonly indexes: Int32Array;
  readonly weights: Int32Array;
}

/**
 * Enlarges an image by Catmull-Rom interpolation in integers, so that every machine gives equal bytes.
 *
 * @param scale - Above 1; the result has `round(width * scale)` by `round(height * scale)` pixels.
 * @see Keys 1981, "Cubic convolution interpolation", a = -1/2
 */
export function enlarge(image: GreyImage, scale: number): GreyImage {
  const width = Math.round(image.width * scale);
  const height = Math.round(image.height * scale);
  const across = tapsOf(image.width, width, scale);
  const down = tapsOf(image.height, height, scale);
  const wide = new Int32Array(width * image.height);
  for (let y = 0; y < image.height; y += 1) {
    for (let x = 0; x < width; x += 1) {
      wide[y * width + x] = blend(image.pixels, { offset: y * image.width, stride: 1 }, across, x);
    }
  }
  const pixels = new Uint8Array(width * height);
  for (let y = 0; y < height; y += 1) {
    for (let x = 0; x < width; x += 1) {
      const sum = blend(wide, { offset: x, stride: width }, down, y);
      pixels[y * width + x] = Math.min(255, Math.max(0, Math.round(sum / (ONE * ONE))));
    }
  }
  return { width, height, pixels };
}

function tapsOf(from: number, to: number, scale: number): Taps {
  const indexes = new Int32Array(to * 4);
  const weights = new Int32Array(to * 4);
  for (let position = 0; position < to; position += 1) {
    const source = (position + 0.5) / scale - 0.5;
    const base = Math.floor(source);
    let rest = ONE;
    for (let tap = 0; tap < 4; tap += 1) {
      indexes[position * 4 + tap] = Math.min(from - 1, Math.max(0, base + tap - 1));
      const weight = Math.round(ONE * cubic(Math.abs(source - base - tap + 1)));
      weights[position * 4 + tap] = weight;
      rest -= weight;
    }
    weights[position * 4 + 1] = (weights[position * 4 + 1] ?? 0) + rest;
  }
  return { indexes, weights };
}

function cubic(distance: number): number {
  if (distance < 1) return 1.5 * distance ** 3 - 2.5 * distance ** 2 + 1;
  if (distance < 2) return -0.5 * distance ** 3 + 2.5 * distance ** 2 - 4 * distance + 2;
  return 0;
}

function blend(
  samples: Uint8Array | Int32Array,
  line: { readonly offset: number; readonly stride: number },
  taps: Taps,
  position: number,
): number {
  let sum = 0;
  for (let tap = position * 4; tap < position * 4 + 4; tap += 1) {
    const sample = samples[line.offset + (taps.indexes[tap] ?? 0) * line.stride] ?? 0;
    sum += sample * (taps.weights[tap] ?? 0);
  }
  return sum;
}
