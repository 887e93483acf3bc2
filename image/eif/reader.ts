import { createReadStream } from "node:fs";
import { stat } from "node:fs/promises";

import {
  EIF_BYTES_MAX,
  EIF_HEADER_BYTES,
  EifMeasurer,
  type EifMeasurement,
  type EifSectionType,
} from "#attestation";
import { concat } from "#protocol";

import { chunksOf, contentOfFile, type Content } from "../archive/content.ts";
import { CpioReader, type CpioEntry } from "../archive/cpio-reader.ts";
import { imageFault, imageTooLarge } from "../archive/faults.ts";

/** Bytes of metadata that are read; AWS's own tool writes about 500. */
export const METADATA_BYTES_MAX = 64 * 1024;
/** Longest command line of an x86_64 kernel (Linux, COMMAND_LINE_SIZE). */
export const CMDLINE_BYTES_MAX = 2048;

const SECTION_HEADER_BYTES = 12;
const CHUNK_BYTES = 1024 * 1024;
const CPIO_MAGIC = "070701";

/** A section of an image file and where its data is. */
export interface ImageSection {
  readonly type: EifSectionType;
  readonly content: Content;
}

/** An image file whose structure and CRC-32 are right, and what it measures to. */
export interface Image {
  readonly path: string;
  readonly measurement: EifMeasurement;
  readonly sections: readonly ImageSection[];
}

/**
 * Measures the image file at `path` in constant memory, PCR 8 from the certificate that it names.
 *
 * @throws {@link MalformedError} TEE_IMAGE_MALFORMED
 * @throws {@link LimitError} SCHEMA_TOO_LARGE
 * @throws node's own errors for a path that cannot be read
 */
export async function measureImage(path: string): Promise<EifMeasurement> {
  const measurer = new EifMeasurer({ signer: "unverified" });
  const found = await stat(path);
  if (found.isDirectory()) throw imageFault("image file", "a file", "a folder");
  if (found.size > EIF_BYTES_MAX) throw imageTooLarge("image file", EIF_BYTES_MAX, found.size);
  for await (const chunk of createReadStream(path, { highWaterMark: CHUNK_BYTES })) {
    measurer.push(chunk);
  }
  return measurer.finish();
}

/** Measures the image file at `path` and finds its sections. @throws as {@link measureImage} */
export async function readImage(path: string): Promise<Image> {
  const measurement = await measureImage(path);
  let start = EIF_HEADER_BYTES;
  const sections = measurement.sections.map(({ type, bytes }): ImageSection => {
    start += SECTION_HEADER_BYTES;
    const content = contentOfFile(path, { start, bytes });
    start += bytes;
    return { type, content };
  });
  return { path, measurement, sections };
}

/**
 * The data of the one section of `type`, or null when there is none.
 *
 * @throws {@link LimitError} SCHEMA_TOO_LARGE above `bytesMax`
 */
export async function readSection(
  { sections }: Image,
  type: EifSectionType,
  bytesMax: number,
): Promise<Uint8Array | null> {
  const found = sections.find((section) => section.type === type);
  if (found === undefined) return null;
  if (found.content.bytes > bytesMax) {
    throw imageTooLarge(`${type} section`, bytesMax, found.content.bytes);
  }
  const chunks: Uint8Array[] = [];
  for await (const chunk of chunksOf(found.content, type)) chunks.push(chunk);
  return concat(...chunks);
}

/** A ramdisk: its entries, or null where it is packed or by another builder, so that files cannot be told apart. */
export type Ramdisk = readonly CpioEntry[] | null;

/**
 * The ramdisks of `image`, in order.
 *
 * @throws {@link MalformedError} TEE_IMAGE_MALFORMED for a cpio archive that this builder did not write
 */
export async function readRamdisks({ sections }: Image): Promise<readonly Ramdisk[]> {
  const ramdisks: Ramdisk[] = [];
  for (const { type, content } of sections) {
    // One after the other: they are read from one disk.
    if (type === "ramdisk") ramdisks.push(await readRamdisk(content));
  }
  return ramdisks;
}

async function readRamdisk(content: Content): Promise<Ramdisk> {
  const reader = new CpioReader();
  let isFirst = true;
  for await (const chunk of chunksOf(content, "ramdisk")) {
    if (isFirst && !isCpio(chunk)) return null;
    isFirst = false;
    reader.push(chunk);
  }
  return reader.finish();
}

function isCpio(first: Uint8Array): boolean {
  return Buffer.from(first.subarray(0, CPIO_MAGIC.length)).toString("latin1") === CPIO_MAGIC;
}
