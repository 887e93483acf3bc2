import { LimitError, MalformedError, RECEIPT_LIMITS } from "#protocol";

/** The largest image accepted, in bytes: 8 MiB; the largest genuine receipt scan known to us has 1 MiB. */
export const IMAGE_BYTES_MAX = 8 * 1024 * 1024;

/** The most pixels an image may declare: 20 megapixels, an A4 page at 400 dpi with room to spare. */
export const IMAGE_PIXELS_MAX = 20_000_000;

const IMAGE_SIDE_MAX = RECEIPT_LIMITS.imageSide;

/** What an image says about itself in its header. Nothing has been decoded yet. */
export interface ImageHeader {
  readonly format: "jpeg" | "png";
  readonly width: number;
  readonly height: number;
}

const PNG_MAGIC = [0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a] as const;
const JPEG_MAGIC = [0xff, 0xd8, 0xff] as const;

/** Segments of a JPEG looked through before its frame header; real files have fewer than 30. */
const JPEG_SEGMENTS_MAX = 256;

/**
 * Reads format and dimensions of a JPEG or PNG image from its header, before anything is decoded.
 *
 * The format is recognised by the first bytes only; names and declared types play no part.
 *
 * @throws {@link LimitError} SCHEMA_TOO_LARGE when bytes, pixels or a side are over their limit.
 * @throws {@link MalformedError} SCHEMA_IMAGE_MALFORMED when it is neither format, or ends too early.
 * @see PNG (Third Edition) § 11.2.1 (IHDR); ITU-T T.81 § B.2.2 (frame header)
 */
export function parseImageHeader(image: Uint8Array): ImageHeader {
  if (image.length > IMAGE_BYTES_MAX) {
    throw new LimitError(
      { code: "SCHEMA_TOO_LARGE", bytes: image.length, maxBytes: IMAGE_BYTES_MAX },
      `image: expected at most ${IMAGE_BYTES_MAX} bytes, got ${image.length}`,
    );
  }
  const header = readHeader(image);
  const { width, height } = header;
  if (width === 0 || height === 0) throw malformed("a width and height above zero, got zero");
  if (Math.max(width, height) > IMAGE_SIDE_MAX || width * height > IMAGE_PIXELS_MAX) {
    throw new LimitError(
      { code: "SCHEMA_TOO_LARGE", width, height, maxPixels: IMAGE_PIXELS_MAX },
      `image: expected at most ${IMAGE_PIXELS_MAX} pixels and ${IMAGE_SIDE_MAX} a side, got ${width} x ${height}`,
    );
  }
  return header;
}

function readHeader(image: Uint8Array): ImageHeader {
  if (startsWith(image, PNG_MAGIC)) return readPngHeader(image);
  if (startsWith(image, JPEG_MAGIC)) return readJpegHeader(image);
  throw malformed(`JPEG or PNG, got ${image.length} bytes of something else`);
}

function startsWith(bytes: Uint8Array, magic: readonly number[]): boolean {
  return magic.every((byte, index) => bytes[index] === byte);
}

function readPngHeader(image: Uint8Array): ImageHeader {
  const view = new DataView(image.buffer, image.byteOffset, image.byteLength);
  if (image.length < 33 || view.getUint32(8) !== 13 || view.getUint32(12) !== 0x49484452) {
    throw malformed("a PNG beginning with its IHDR chunk, got another chunk or an early end");
  }
  return { format: "png", width: view.getUint32(16), height: view.getUint32(20) };
}

/** Walks the marker segments until a frame header (SOF0 to SOF15, without DHT, JPG and DAC). */
function readJpegHeader(image: Uint8Array): ImageHeader {
  const view = new DataView(image.buffer, image.byteOffset, image.byteLength);
  let at = 2;
  for (let segment = 0; segment < JPEG_SEGMENTS_MAX; segment += 1) {
    while (image[at] === 0xff && image[at + 1] === 0xff) at += 1;
    if (at + 9 > image.length || image[at] !== 0xff) break;
    const marker = image[at + 1] ?? 0;
    if (marker >= 0xc0 && marker <= 0xcf && ![0xc4, 0xc8, 0xcc].includes(marker)) {
      return { format: "jpeg", height: view.getUint16(at + 5), width: view.getUint16(at + 7) };
    }
    at += 2 + view.getUint16(at + 2);
  }
  throw malformed("a JPEG with a frame header, got none");
}

/** The one refusal of images; `expectation` names no byte of the image. */
function malformed(expectation: string): MalformedError {
  return new MalformedError({ code: "SCHEMA_IMAGE_MALFORMED" }, `image: expected ${expectation}`);
}
