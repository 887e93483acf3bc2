import { createHash, type Hash } from "node:crypto";

import { concat, equalBytes, utf8Text, type MalformedError } from "#protocol";

import {
  CPIO_ENTRIES_MAX,
  CPIO_HEADER_BYTES,
  CPIO_PATH_BYTES_MAX,
  CPIO_TRAILER,
  CpioOrder,
  cpioTrailer,
  encodeCpioHeader,
  expectEntry,
  expectTarget,
  kindOf,
  padding,
  type CpioHeader,
  type Node,
} from "./cpio.ts";
import { imageFault, imageTooLarge } from "./faults.ts";

/** An entry of an archive, its content by SHA-256 in lower-case hex; null for what has none. */
export interface CpioEntry {
  readonly path: string;
  readonly kind: Node["kind"];
  /** Nine permission bits. */
  readonly mode: number;
  /** Of the content, or of a link's target. */
  readonly bytes: number;
  readonly sha256: string | null;
  readonly target: string | null;
  readonly device: readonly [major: number, minor: number] | null;
}

const HEX = /^[0-9a-f]{8}$/;

/**
 * Reads a cpio archive chunk by chunk, in memory that grows with the number of its entries and not with their size.
 *
 * Takes exactly what {@link cpioOf} writes: every header, name and padding must be, byte for byte, the one that this
 * module would have written for the same entry. Other archives may be as good for a kernel; nothing is said of them.
 */
export class CpioReader {
  readonly #entries: CpioEntry[] = [];
  readonly #order = new CpioOrder();
  /** What is being gathered: a header first of its fixed part, then with its path. */
  #gathered: Uint8Array = new Uint8Array(0);
  #wanted = CPIO_HEADER_BYTES;
  #header: CpioHeader | null = null;
  #hash: Hash = createHash("sha256");
  #target: Uint8Array = new Uint8Array(0);
  #dataLeft = 0;
  #paddingLeft = 0;
  #isOver = false;

  /**
   * Takes the next bytes; keeps none of `chunk`.
   *
   * @throws {@link MalformedError} TEE_IMAGE_MALFORMED
   * @throws {@link LimitError} SCHEMA_TOO_LARGE
   */
  push(chunk: Uint8Array): void {
    let rest = chunk;
    while (rest.length > 0) {
      if (this.#isOver) throw imageFault("archive", "its end after the trailer", "more bytes");
      if (this.#dataLeft > 0) rest = this.#takeData(rest);
      else if (this.#paddingLeft > 0) rest = this.#takePadding(rest);
      else rest = this.#takeHeader(rest);
    }
  }

  /** The entries of the archive whose last bytes were pushed. @throws {@link MalformedError} TEE_IMAGE_MALFORMED */
  finish(): readonly CpioEntry[] {
    if (!this.#isOver) throw imageFault("archive", "a trailer", "its end");
    return this.#entries;
  }

  #takeHeader(bytes: Uint8Array): Uint8Array {
    const part = bytes.subarray(0, this.#wanted - this.#gathered.length);
    this.#gathered = concat(this.#gathered, part);
    if (this.#gathered.length === this.#wanted) {
      if (this.#wanted === CPIO_HEADER_BYTES) this.#wanted = headLength(this.#gathered);
      else this.#begin(this.#gathered);
    }
    return bytes.subarray(part.length);
  }

  #begin(head: Uint8Array): void {
    this.#gathered = new Uint8Array(0);
    this.#wanted = CPIO_HEADER_BYTES;
    const header = parseHeader(head, this.#entries.length + 1);
    if (header.path === CPIO_TRAILER) {
      if (!equalBytes(head, cpioTrailer(this.#entries.length))) throw otherWriter("trailer");
      this.#isOver = true;
      return;
    }
    if (this.#entries.length === CPIO_ENTRIES_MAX) {
      throw imageTooLarge("entries", CPIO_ENTRIES_MAX, "more");
    }
    this.#order.expectNext(header.path, kindOf(header) === "folder");
    expectEntry(header);
    if (!equalBytes(head, encodeCpioHeader(header))) throw otherWriter(header.path);
    this.#header = header;
    this.#hash = createHash("sha256");
    this.#target = new Uint8Array(0);
    this.#dataLeft = header.bytes;
    this.#paddingLeft = padding(header.bytes).length;
    if (header.bytes === 0) this.#end(header);
  }

  #takeData(bytes: Uint8Array): Uint8Array {
    const header = this.#header;
    if (header === null) throw otherWriter("data");
    const part = bytes.subarray(0, this.#dataLeft);
    this.#dataLeft -= part.length;
    this.#hash.update(part);
    if (kindOf(header) === "link") this.#target = concat(this.#target, part);
    if (this.#dataLeft === 0) this.#end(header);
    return bytes.subarray(part.length);
  }

  #takePadding(bytes: Uint8Array): Uint8Array {
    const part = bytes.subarray(0, this.#paddingLeft);
    if (part.some((byte) => byte !== 0)) throw otherWriter("padding");
    this.#paddingLeft -= part.length;
    return bytes.subarray(part.length);
  }

  #end(header: CpioHeader): void {
    const { path, mode, bytes, device } = header;
    const kind = kindOf(header);
    const hasContent = kind === "file" || kind === "link";
    const target = kind === "link" ? textOf(this.#target) : null;
    if (target !== null) expectTarget(path, target);
    this.#entries.push({
      path,
      kind,
      mode: mode & 0o777,
      bytes,
      sha256: hasContent ? this.#hash.digest("hex") : null,
      target,
      device: kind === "device" ? device : null,
    });
  }
}

/** Length of header, path and padding, from the fixed part. */
function headLength(head: Uint8Array): number {
  const name = numberAt(head, 94);
  if (name < 2 || name > CPIO_PATH_BYTES_MAX + 1) {
    throw imageTooLarge("path of an entry", CPIO_PATH_BYTES_MAX, `${name - 1}`);
  }
  const bytes = CPIO_HEADER_BYTES + name;
  return bytes + padding(bytes).length;
}

function parseHeader(head: Uint8Array, inode: number): CpioHeader {
  return {
    inode,
    mode: numberAt(head, 14),
    bytes: numberAt(head, 54),
    device: [numberAt(head, 78), numberAt(head, 86)],
    path: textOf(head.subarray(CPIO_HEADER_BYTES, CPIO_HEADER_BYTES + numberAt(head, 94) - 1)),
  };
}

function numberAt(head: Uint8Array, at: number): number {
  const digits = Buffer.from(head.subarray(at, at + 8)).toString("latin1");
  if (!HEX.test(digits)) throw otherWriter("header of an entry");
  return Number.parseInt(digits, 16);
}

function textOf(bytes: Uint8Array): string {
  try {
    return utf8Text(bytes);
  } catch {
    throw otherWriter("path of an entry");
  }
}

function otherWriter(subject: string): MalformedError {
  return imageFault(subject, "a cpio archive as this builder writes it", "other bytes");
}
