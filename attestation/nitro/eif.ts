import { createHash, type Hash } from "node:crypto";

import { LimitError, MalformedError, concat, fromHex, hex, sha384 } from "#protocol";

import { crc32 } from "./crc32.ts";
import { parseSigningCertificate } from "./eif-signature.ts";

/** Length of the file header (aws-nitro-enclaves-image-format, src/defs/mod.rs, `EifHeader`). */
export const EIF_HEADER_BYTES = 548;
/** The largest image file measured here: 16 GiB. The format gives no bound. */
export const EIF_BYTES_MAX = 16 * 1024 ** 3;
/** The largest signature section (src/defs/mod.rs, `SIGNATURE_MAX_SIZE`). */
export const EIF_SIGNATURE_BYTES_MAX = 32_768;
/** Most sections of one file (src/defs/mod.rs, `MAX_NUM_SECTIONS`). */
export const EIF_SECTIONS_MAX = 32;

const SECTION_HEADER_BYTES = 12;
const MAGIC = fromHex("2e656966");
const VERSIONS: readonly number[] = [2, 3, 4];
const CRC_AT = 544;
const OFFSETS_AT = 28;
const SIZES_AT = OFFSETS_AT + 8 * EIF_SECTIONS_MAX;
const PCR_BYTES = 48;
const SECTION_TYPES = ["invalid", "kernel", "cmdline", "ramdisk", "signature", "metadata"] as const;

/** The version of the format that a section came with, where it was not in the first. */
const SINCE: Partial<Record<EifSectionType, number>> = { signature: 3, metadata: 4 };

/** What a section of an image file holds. */
export type EifSectionType = Exclude<(typeof SECTION_TYPES)[number], "invalid">;

/** What an enclave image file measures to. Registers are 96 lower-case hex digits. */
export interface EifMeasurement {
  readonly pcr0: string;
  readonly pcr1: string;
  readonly pcr2: string;
  /**
   * What PCR 8 will be if the image's signature is good: it follows from the certificate that the file names, and
   * no signature was verified. Null when it was not asked for, or the image is not signed.
   */
  readonly pcr8Unverified: string | null;
  readonly isSigned: boolean;
  readonly architecture: "x86_64" | "aarch64";
  /** In the order of the file; `bytes` without the section's header. */
  readonly sections: readonly { readonly type: EifSectionType; readonly bytes: number }[];
  /** Of the whole file. */
  readonly bytes: number;
}

interface Header {
  readonly isArm: boolean;
  readonly version: number;
  readonly sizes: readonly number[];
  readonly crc: number;
}

/**
 * Measures an enclave image file (EIF) as the Nitro hypervisor will, chunk by chunk and in constant memory.
 *
 *     0    4  magic ".eif"            284  8 x 32  section sizes, without section headers
 *     4    2  version, 2 to 4         540  4       unused
 *     6    2  flags, bit 0: aarch64   544  4       CRC-32 of all other bytes
 *     8    8  default memory          548          sections, each: u16 type, u16 flags, u64 size, data
 *     16   8  default CPUs
 *     24   2  reserved
 *     26   2  section count           big endian; offsets point at section headers
 *     28   8 x 32  section offsets
 *
 * PCR n is SHA-384 of 48 zero bytes and the SHA-384 of its content, section data only, in file order. PCR 0: kernel,
 * command line, ramdisks; PCR 1: kernel, command line, first ramdisk; PCR 2: the other ramdisks. Sections have no
 * domain separation, so an image is named by all three. Metadata is in none of them.
 *
 * Stricter than other readers, so that no two of them can see different images: sections follow one another
 * without gaps as the tables say, with one kernel and one command line before the ramdisks, and nothing after the last.
 *
 * @see aws-nitro-enclaves-image-format README.md, "Enclave Image File (EIF) Specification"
 */
export class EifMeasurer {
  readonly #withSigner: boolean;
  readonly #all = createHash("sha384");
  readonly #boot = createHash("sha384");
  readonly #application = createHash("sha384");
  readonly #sections: { type: EifSectionType; bytes: number }[] = [];
  readonly #signature: Uint8Array[] = [];
  /** The header being gathered: the file's, or a section's. */
  #gathered: Uint8Array = new Uint8Array(0);
  #header: Header | null = null;
  #hashes: readonly Hash[] = [];
  #left = 0;
  #crc = 0;
  #bytes = 0;

  /** @param signer - `unverified`: also compute PCR 8 from the certificate that the file names. */
  constructor({ signer }: { readonly signer: "ignored" | "unverified" }) {
    this.#withSigner = signer === "unverified";
  }

  /**
   * Takes the next bytes of the file; keeps none of `chunk`.
   *
   * @throws {@link MalformedError} TEE_IMAGE_MALFORMED
   * @throws {@link LimitError} SCHEMA_TOO_LARGE
   */
  push(chunk: Uint8Array): void {
    this.#bytes += chunk.length;
    let rest = chunk;
    while (rest.length > 0) {
      rest = this.#left > 0 ? this.#takeData(rest) : this.#takeHeader(rest);
    }
  }

  /**
   * The measurement of the file whose last bytes were pushed.
   *
   * @throws {@link MalformedError} TEE_IMAGE_MALFORMED for a truncated or altered file.
   */
  finish(): EifMeasurement {
    const header = this.#header;
    if (header === null) throw fault("header", `${EIF_HEADER_BYTES} bytes`, `${this.#bytes}`);
    if (this.#left > 0 || this.#gathered.length > 0 || this.#sections.length < header.sizes.length)
      throw fault("file", `${header.sizes.length} whole sections`, `${this.#bytes} bytes of them`);
    if (this.#crc !== header.crc) {
      throw fault("CRC-32", hex32(header.crc), hex32(this.#crc));
    }
    const types = this.#sections.map(({ type }) => type);
    if (!types.includes("ramdisk")) throw fault("sections", "a ramdisk", "none");
    return {
      pcr0: register(this.#all),
      pcr1: register(this.#boot),
      pcr2: register(this.#application),
      pcr8Unverified: this.#signature.length > 0 ? signerRegister(this.#signature) : null,
      isSigned: types.includes("signature"),
      architecture: header.isArm ? "aarch64" : "x86_64",
      sections: this.#sections,
      bytes: this.#bytes,
    };
  }

  #takeData(bytes: Uint8Array): Uint8Array {
    const part = bytes.subarray(0, this.#left);
    this.#left -= part.length;
    this.#crc = crc32(part, this.#crc);
    for (const hash of this.#hashes) hash.update(part);
    if (this.#withSigner && this.#sections.at(-1)?.type === "signature") {
      this.#signature.push(part.slice());
    }
    return bytes.subarray(part.length);
  }

  #takeHeader(bytes: Uint8Array): Uint8Array {
    const wanted = this.#header === null ? EIF_HEADER_BYTES : SECTION_HEADER_BYTES;
    if (this.#header !== null && this.#sections.length === this.#header.sizes.length) {
      throw fault("file", "its end after the last section", "more bytes");
    }
    const part = bytes.subarray(0, wanted - this.#gathered.length);
    this.#gathered = concat(this.#gathered, part);
    if (this.#gathered.length === wanted) {
      const gathered = this.#gathered;
      this.#gathered = new Uint8Array(0);
      if (this.#header === null) this.#beginFile(gathered);
      else this.#beginSection(gathered, this.#header);
    }
    return bytes.subarray(part.length);
  }

  #beginFile(bytes: Uint8Array): void {
    this.#header = parseHeader(bytes);
    this.#crc = crc32(bytes.subarray(0, CRC_AT), 0);
  }

  #beginSection(bytes: Uint8Array, { sizes, version }: Header): void {
    const index = this.#sections.length;
    const { type, size } = parseSectionHeader(bytes, index);
    if (size !== sizes[index]) {
      throw fault(`section ${index} size`, `${sizes[index] ?? 0}`, `${size}`);
    }
    this.#expectInPlace(type, version);
    this.#hashes = this.#hashesOf(type);
    this.#sections.push({ type, bytes: size });
    this.#left = size;
    this.#crc = crc32(bytes, this.#crc);
    if (type === "signature" && size > EIF_SIGNATURE_BYTES_MAX) {
      throw tooLarge("signature section", EIF_SIGNATURE_BYTES_MAX, size);
    }
  }

  #expectInPlace(type: EifSectionType, version: number): void {
    const before = this.#sections.map((section) => section.type);
    const follows = { kernel: [], cmdline: ["kernel"], ramdisk: ["kernel", "cmdline"] } as const;
    const needed = type === "signature" || type === "metadata" ? [] : follows[type];
    if (!needed.every((each) => before.includes(each))) {
      throw fault("sections", `${needed.join(" and ")} before ${type}`, "another order");
    }
    if (type !== "ramdisk" && before.includes(type)) {
      throw fault("sections", `one ${type}`, "another");
    }
    const since = SINCE[type];
    if (since !== undefined && version < since) {
      throw fault(`${type} section`, `version ${since} or later`, `${version}`);
    }
  }

  #hashesOf(type: EifSectionType): readonly Hash[] {
    switch (type) {
      case "kernel":
      case "cmdline":
        return [this.#all, this.#boot];
      case "ramdisk": {
        const isFirst = !this.#sections.some((section) => section.type === "ramdisk");
        return [this.#all, isFirst ? this.#boot : this.#application];
      }
      case "signature":
      case "metadata":
        return [];
    }
  }
}

function parseHeader(bytes: Uint8Array): Header {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (hex(bytes.subarray(0, MAGIC.length)) !== hex(MAGIC)) {
    throw fault("magic", hex(MAGIC), hex(bytes.subarray(0, MAGIC.length)));
  }
  const version = view.getUint16(4);
  if (!VERSIONS.includes(version)) throw fault("version", VERSIONS.join(" or "), `${version}`);
  const flags = view.getUint16(6);
  if (flags > 1) throw fault("flags", "0 or 1", `${flags}`);
  const count = view.getUint16(26);
  if (count < 2 || count > EIF_SECTIONS_MAX) {
    throw fault("section count", `2 to ${EIF_SECTIONS_MAX}`, `${count}`);
  }
  return {
    isArm: flags === 1,
    version,
    sizes: parseTables(view, count),
    crc: view.getUint32(CRC_AT),
  };
}

/** The sizes of the sections, which must follow one another from the end of the header on. */
function parseTables(view: DataView, count: number): readonly number[] {
  let end = BigInt(EIF_HEADER_BYTES);
  return Array.from({ length: count }, (_, index) => {
    const offset = view.getBigUint64(OFFSETS_AT + 8 * index);
    const size = view.getBigUint64(SIZES_AT + 8 * index);
    if (offset !== end) throw fault(`section ${index} offset`, `${end}`, `${offset}`);
    end += BigInt(SECTION_HEADER_BYTES) + size;
    if (end > BigInt(EIF_BYTES_MAX)) throw tooLarge("image", EIF_BYTES_MAX, Number(end));
    return Number(size);
  });
}

function parseSectionHeader(
  bytes: Uint8Array,
  index: number,
): { type: EifSectionType; size: number } {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const type = SECTION_TYPES[view.getUint16(0)];
  if (type === undefined || type === "invalid") {
    throw fault(`section ${index} type`, "1 to 5", `${view.getUint16(0)}`);
  }
  const flags = view.getUint16(2);
  if (flags !== 0) throw fault(`section ${index} flags`, "0", `${flags}`);
  return { type, size: Number(view.getBigUint64(4)) };
}

/** PCR value after one extension of zeros by the digest of its content. */
function register(content: Hash): string {
  return hex(sha384(new Uint8Array(PCR_BYTES), new Uint8Array(content.digest())));
}

function signerRegister(section: readonly Uint8Array[]): string {
  const certificate = parseSigningCertificate(Buffer.concat(section));
  return hex(sha384(new Uint8Array(PCR_BYTES), sha384(certificate)));
}

function hex32(value: number): string {
  return value.toString(16).padStart(8, "0");
}

function tooLarge(subject: string, maxBytes: number, bytes: number): LimitError {
  return new LimitError(
    { code: "SCHEMA_TOO_LARGE", bytes, maxBytes },
    `image file ${subject}: expected at most ${maxBytes} bytes, got ${bytes}`,
  );
}

function fault(subject: string, expected: string, got: string): MalformedError {
  return new MalformedError(
    { code: "TEE_IMAGE_MALFORMED", field: subject },
    `image file ${subject}: expected ${expected}, got ${got}`,
  );
}
