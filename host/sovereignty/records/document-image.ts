import { LimitError, MalformedError, equalBytes } from "#protocol";

/** The largest document image, and the longest side in pixels. */
export const IMAGE_BYTES_MAX = 8 * 1024 * 1024;
export const IMAGE_SIDE_MAX = 16_384;

/** What the header of an image says. The pixels are not decoded: that happens in the enclave only. */
export interface ImageHeader {
  readonly format: "png" | "jpeg";
  readonly width: number;
  readonly height: number;
}

/** PNG (third edition) § 5.2 signature, § 11.2.1 IHDR at a fixed place */
const PNG_SIGNATURE = Uint8Array.of(0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a);
const PNG_IHDR = Uint8Array.of(0, 0, 0, 13, 0x49, 0x48, 0x44, 0x52);
const PNG_HEADER_BYTES = 33;

/** ITU-T T.81 Table B.1: SOI; and the frame headers SOF0 to SOF15 without DHT, JPG and DAC. */
const JPEG_START = Uint8Array.of(0xff, 0xd8, 0xff);
const NO_FRAME = [0xc4, 0xc8, 0xcc];

/**
 * Parses the header of a PNG or JPEG, told by its first bytes and not by its name.
 *
 * @throws {@link LimitError} SCHEMA_TOO_LARGE above {@link IMAGE_BYTES_MAX}.
 * @throws {@link MalformedError} SCHEMA_IMAGE_MALFORMED for another format, a header cut short, or a side that is zero
 * or above {@link IMAGE_SIDE_MAX}.
 */
export function parseImageHeader(bytes: Uint8Array): ImageHeader {
  if (bytes.length > IMAGE_BYTES_MAX) {
    throw new LimitError(
      { code: "SCHEMA_TOO_LARGE", bytes: bytes.length, max: IMAGE_BYTES_MAX },
      `image: expected at most ${IMAGE_BYTES_MAX} bytes, got ${bytes.length}`,
    );
  }
  const header = parsePng(bytes) ?? parseJpeg(bytes);
  if (header === undefined) throw malformed("a PNG or JPEG with a whole header");
  const sides = [header.width, header.height];
  if (sides.some((side) => side < 1 || side > IMAGE_SIDE_MAX)) {
    throw malformed(`sides in [1, ${IMAGE_SIDE_MAX}] pixels`);
  }
  return header;
}

function parsePng(bytes: Uint8Array): ImageHeader | undefined {
  const whole =
    bytes.length >= PNG_HEADER_BYTES &&
    equalBytes(bytes.subarray(0, 8), PNG_SIGNATURE) &&
    equalBytes(bytes.subarray(8, 16), PNG_IHDR);
  if (!whole) return undefined;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  return { format: "png", width: view.getUint32(16), height: view.getUint32(20) };
}

function parseJpeg(bytes: Uint8Array): ImageHeader | undefined {
  if (!equalBytes(bytes.subarray(0, 3), JPEG_START)) return undefined;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  let at = 2;
  while (at + 9 <= bytes.length && view.getUint8(at) === 0xff) {
    const marker = view.getUint8(at + 1);
    if (marker === 0xff) {
      at += 1;
      continue;
    }
    if (marker >= 0xc0 && marker <= 0xcf && !NO_FRAME.includes(marker)) {
      return { format: "jpeg", width: view.getUint16(at + 7), height: view.getUint16(at + 5) };
    }
    at += 2 + view.getUint16(at + 2);
  }
  return undefined;
}

function malformed(expected: string): MalformedError {
  return new MalformedError(
    { code: "SCHEMA_IMAGE_MALFORMED", expected },
    `image: expected ${expected}, got another file`,
  );
}
