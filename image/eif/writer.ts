import { createHash, type Hash } from "node:crypto";
import { open, type FileHandle } from "node:fs/promises";
import { crc32 } from "node:zlib";

import { EIF_BYTES_MAX, EIF_HEADER_BYTES, type EifMeasurement } from "#attestation";
import { concat, sha384, utf8 } from "#protocol";

import { chunksOf, contentOf, type Content } from "../archive/content.ts";
import { imageFault, imageTooLarge } from "../archive/faults.ts";
import { withPartial } from "../archive/temporary.ts";
import { measureImage } from "./reader.ts";
import { encodeSignatureSection, type ImageSigner } from "./signature.ts";

/** What an enclave image file is made of. */
export interface ImageParts {
  readonly kernel: Content;
  /** The kernel's command line, without a NUL at its end. */
  readonly cmdline: string;
  /** JSON as `nitro-cli describe-eif` shows it. It is in no register. */
  readonly metadata: Uint8Array;
  /** The first is measured into PCR 1 with the kernel, the others into PCR 2. Lengths are multiples of 4. */
  readonly ramdisks: readonly [Content, ...Content[]];
  readonly signer: ImageSigner | null;
}

const VERSION = 4;
const DEFAULT_MEMORY_BYTES = 1n << 30n;
const DEFAULT_CPUS = 2n;
const SECTION_HEADER_BYTES = 12;
const OFFSETS_AT = 28;
const SIZES_AT = 284;
const CRC_AT = 544;
const CHUNK_BYTES = 1024 * 1024;
const TYPES = { kernel: 1, cmdline: 2, ramdisk: 3, signature: 4, metadata: 5 } as const;

interface Section {
  readonly type: keyof typeof TYPES;
  readonly content: Content;
}

/**
 * Writes an enclave image file (EIF, x86_64) to `path`, whole or not at all, and measures what was written.
 *
 * Layout as `EifMeasurer` draws it; sections in the order of AWS's own tool: kernel, command line, metadata, ramdisks,
 * signature. Bytes are read and written in pieces, so that an image may be larger than memory.
 *
 * @throws {@link MalformedError} TEE_IMAGE_MALFORMED when a content is not as long as it says
 * @throws {@link LimitError} SCHEMA_TOO_LARGE
 */
export async function writeImage(path: string, parts: ImageParts): Promise<EifMeasurement> {
  return withPartial(path, async (partial) => {
    const file = await open(partial, "wx+", 0o644);
    try {
      await writeSections(file, parts);
      await file.sync();
    } finally {
      await file.close();
    }
    return measureImage(partial);
  });
}

async function writeSections(file: FileHandle, parts: ImageParts): Promise<void> {
  for (const { bytes } of parts.ramdisks) {
    if (bytes % 4 !== 0) throw imageFault("ramdisk", "a multiple of 4 bytes", `${bytes}`);
  }
  const sections: Section[] = [
    { type: "kernel", content: parts.kernel },
    { type: "cmdline", content: contentOf(utf8(parts.cmdline)) },
    { type: "metadata", content: contentOf(parts.metadata) },
    ...parts.ramdisks.map((content): Section => ({ type: "ramdisk", content })),
  ];
  const all = createHash("sha384");
  let end = EIF_HEADER_BYTES;
  for (const section of sections) {
    end = await writeSection(file, { section, at: end, all });
  }
  if (parts.signer !== null) {
    const pcr0 = sha384(new Uint8Array(48), new Uint8Array(all.digest()));
    const content = contentOf(encodeSignatureSection(pcr0, parts.signer));
    const section: Section = { type: "signature", content };
    await writeSection(file, { section, at: end, all: null });
    sections.push(section);
  }
  await writeHeader(file, encodeHeader(sections));
}

/** @returns where the section ends */
async function writeSection(
  file: FileHandle,
  {
    section,
    at,
    all,
  }: { readonly section: Section; readonly at: number; readonly all: Hash | null },
): Promise<number> {
  const { type, content } = section;
  const end = at + SECTION_HEADER_BYTES + content.bytes;
  if (end > EIF_BYTES_MAX) throw imageTooLarge("image file", EIF_BYTES_MAX, end);
  await writeAll(file, encodeSectionHeader(section), at);
  let next = at + SECTION_HEADER_BYTES;
  for await (const chunk of chunksOf(content, type)) {
    await writeAll(file, chunk, next);
    if (type !== "metadata") all?.update(chunk);
    next += chunk.length;
  }
  return end;
}

function encodeSectionHeader({ type, content }: Section): Uint8Array {
  const header = new DataView(new ArrayBuffer(SECTION_HEADER_BYTES));
  header.setUint16(0, TYPES[type]);
  header.setBigUint64(4, BigInt(content.bytes));
  return new Uint8Array(header.buffer);
}

/** All of the header but its last field, the CRC-32. */
function encodeHeader(sections: readonly Section[]): Uint8Array {
  const header = new DataView(new ArrayBuffer(CRC_AT));
  header.setUint16(4, VERSION);
  header.setBigUint64(8, DEFAULT_MEMORY_BYTES);
  header.setBigUint64(16, DEFAULT_CPUS);
  header.setUint16(26, sections.length);
  let at = EIF_HEADER_BYTES;
  for (const [index, { content }] of sections.entries()) {
    header.setBigUint64(OFFSETS_AT + 8 * index, BigInt(at));
    header.setBigUint64(SIZES_AT + 8 * index, BigInt(content.bytes));
    at += SECTION_HEADER_BYTES + content.bytes;
  }
  return concat(utf8(".eif"), new Uint8Array(header.buffer).subarray(4));
}

/** Completes the header with the CRC-32 of everything else, for which the file is read once. */
async function writeHeader(file: FileHandle, header: Uint8Array): Promise<void> {
  let crc = crc32(header);
  const buffer = new Uint8Array(CHUNK_BYTES);
  for (let at = EIF_HEADER_BYTES; ;) {
    const { bytesRead } = await file.read(buffer, 0, buffer.length, at);
    if (bytesRead === 0) break;
    crc = crc32(buffer.subarray(0, bytesRead), crc);
    at += bytesRead;
  }
  const last = new DataView(new ArrayBuffer(4));
  last.setUint32(0, crc);
  await writeAll(file, concat(header, new Uint8Array(last.buffer)), 0);
}

async function writeAll(file: FileHandle, bytes: Uint8Array, at: number): Promise<void> {
  for (let written = 0; written < bytes.length;) {
    const left = bytes.subarray(written);
    written += (await file.write(left, 0, left.length, at + written)).bytesWritten;
  }
}
