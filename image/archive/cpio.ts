import { compareBytes, concat, utf8 } from "#protocol";

import { chunksOf, contentOf, type Content } from "./content.ts";
import { imageFault, imageTooLarge } from "./faults.ts";

/** What an entry of a ramdisk is. Modes are the nine permission bits; everything belongs to user and group 0. */
export type Node =
  | { readonly kind: "folder"; readonly mode: number }
  | { readonly kind: "file"; readonly mode: number; readonly content: Content }
  | { readonly kind: "link"; readonly target: string }
  | {
      readonly kind: "device";
      readonly mode: number;
      readonly major: number;
      readonly minor: number;
    };

/** A folder tree by path: without a slash in front, folders before what is in them. */
export type Tree = ReadonlyMap<string, Node>;

/** Most entries of one archive. */
export const CPIO_ENTRIES_MAX = 65_536;
/** Longest path and link target, in bytes (Linux, PATH_MAX is 4096; ours are short). */
export const CPIO_PATH_BYTES_MAX = 1024;
/** Longest file: its length has eight hexadecimal digits. */
export const CPIO_FILE_BYTES_MAX = 2 ** 32 - 1;
/** Length of an entry's header. */
export const CPIO_HEADER_BYTES = 110;
/** The name of the entry that ends an archive. */
export const CPIO_TRAILER = "TRAILER!!!";

const MAGIC = "070701";
const DEVICE_NUMBER_MAX = 0xfff;
const NO_DEVICE = [0, 0] as const;
const LINK_MODE = 0o777;
const KINDS = ["folder", "file", "link", "device"] as const;
const TYPE_MASK = 0o170000;
/** Names in an image are of printable ASCII: they look alike to every program that lists them. */
const PRINTABLE = /^[ -~]+$/;
/** Types in a mode, POSIX <sys/stat.h>. */
export const CPIO_TYPES = { folder: 0o040000, file: 0o100000, link: 0o120000, device: 0o020000 };

/** The fields of an entry's header that are not the same in every entry. */
export interface CpioHeader {
  readonly inode: number;
  readonly mode: number;
  readonly bytes: number;
  readonly device: readonly [major: number, minor: number];
  readonly path: string;
}

/**
 * Header, path and padding of one entry.
 *
 *     0    6  magic "070701"         46  8  modification time, 0   86  8  device minor, if it is one
 *     6    8  inode, from 1 on       54  8  length of the data     94  8  length of path with its NUL
 *     14   8  mode                   62  8  0                      102 8  checksum, 0
 *     22   8  user, 0                70  8  0                      110    path, NUL, zeros up to a multiple of 4
 *     30   8  group, 0               78  8  device major, if it is one    data, zeros up to a multiple of 4
 *     38   8  links, 1
 *
 * Numbers are in lower-case hexadecimal. All that could tell when, where and by whom it was built is constant.
 *
 * @see Linux Documentation/driver-api/early-userspace/buffer-format.rst
 */
export function encodeCpioHeader(header: CpioHeader): Uint8Array {
  const path = utf8(header.path);
  const { inode, mode, bytes, device } = header;
  const numbers = [inode, mode, 0, 0, 1, 0, bytes, 0, 0, ...device, path.length + 1, 0];
  const digits = numbers.map((number) => number.toString(16).padStart(8, "0")).join("");
  const head = concat(utf8(MAGIC + digits), path, Uint8Array.of(0));
  return concat(head, padding(head.length));
}

/** Zeros that take `bytes` to a multiple of four. */
export function padding(bytes: number): Uint8Array {
  return new Uint8Array((4 - (bytes % 4)) % 4);
}

/** The header that ends an archive of `entries` entries. */
export function cpioTrailer(entries: number): Uint8Array {
  const header = { inode: entries + 1, mode: 0, bytes: 0, device: [0, 0] } as const;
  return encodeCpioHeader({ ...header, path: CPIO_TRAILER });
}

/**
 * An uncompressed cpio archive ("newc") of `tree`: the same bytes for the same tree, wherever and whenever.
 *
 * Entries stand in the order of their paths' bytes, so that a folder comes before what is in it. Nothing is read
 * before the content is: an archive may be larger than memory.
 *
 * @throws {@link MalformedError} TEE_IMAGE_MALFORMED for a path that is absolute, has empty, `.` or `..` parts, or lies
 *   in no folder of the tree, and for other modes or numbers than the format has
 * @throws {@link LimitError} SCHEMA_TOO_LARGE
 */
export function cpioOf(tree: Tree): Content {
  if (tree.size > CPIO_ENTRIES_MAX) throw imageTooLarge("entries", CPIO_ENTRIES_MAX, tree.size);
  const order = new CpioOrder();
  const parts = [...tree]
    .map(([path, node]) => ({ path, node, name: utf8(path) }))
    .toSorted((a, b) => compareBytes(a.name, b.name))
    .map(({ path, node }, index) => {
      order.expectNext(path, node.kind === "folder");
      const data = dataOf(node);
      if (data.bytes > CPIO_FILE_BYTES_MAX) {
        throw imageTooLarge(path, CPIO_FILE_BYTES_MAX, data.bytes);
      }
      return { path, data, head: encodeCpioHeader(headerOf({ path, node }, index + 1)) };
    });
  const trailer = cpioTrailer(parts.length);
  const lengths = parts.map(({ head, data }) => head.length + Math.ceil(data.bytes / 4) * 4);
  return {
    bytes: lengths.reduce((sum, length) => sum + length, trailer.length),
    read: async function* () {
      for (const { head, path, data } of parts) {
        yield head;
        yield* chunksOf(data, path);
        yield padding(data.bytes);
      }
      yield trailer;
    },
  };
}

function dataOf(node: Node): Content {
  if (node.kind === "file") return node.content;
  return contentOf(utf8(node.kind === "link" ? node.target : ""));
}

function headerOf(
  { path, node }: { readonly path: string; readonly node: Node },
  inode: number,
): CpioHeader {
  const permissions = node.kind === "link" ? LINK_MODE : node.mode;
  const device = node.kind === "device" ? ([node.major, node.minor] as const) : NO_DEVICE;
  if (!Number.isInteger(permissions) || permissions < 0 || permissions > 0o777) {
    throw imageFault(`${path} mode`, "nine permission bits", `${permissions}`);
  }
  const { bytes } = dataOf(node);
  const header = { inode, mode: CPIO_TYPES[node.kind] | permissions, bytes, device, path };
  expectEntry(header);
  if (node.kind === "link") expectTarget(path, node.target);
  return header;
}

/** What an entry is, by its mode. @throws {@link MalformedError} TEE_IMAGE_MALFORMED for types that no image has */
export function kindOf({ mode, path }: CpioHeader): Node["kind"] {
  const kind = KINDS.find((each) => CPIO_TYPES[each] === (mode & TYPE_MASK));
  if (kind === undefined) throw imageFault(path, "a folder, file, link or device", "another");
  return kind;
}

/**
 * Each kind of entry has the fields of its kind and no others.
 *
 * @throws {@link MalformedError} TEE_IMAGE_MALFORMED
 */
export function expectEntry(header: CpioHeader): void {
  const { mode, bytes, device, path } = header;
  const kind = kindOf(header);
  // By arithmetic: bit operators would take a mode of 32 bits for a negative one.
  const permissions = mode - (mode & TYPE_MASK);
  if (permissions > 0o777 || (kind === "link" && permissions !== LINK_MODE)) {
    throw imageFault(`${path} mode`, "nine permission bits", permissions.toString(8));
  }
  const numberMax = kind === "device" ? DEVICE_NUMBER_MAX : 0;
  if (device.some((number) => !Number.isInteger(number) || number < 0 || number > numberMax)) {
    throw imageFault(`${path} device`, `numbers up to ${numberMax}`, device.join(":"));
  }
  if ((kind === "folder" || kind === "device") && bytes > 0) {
    throw imageFault(path, `a ${kind} without content`, `${bytes} bytes`);
  }
  if (kind === "link" && bytes > CPIO_PATH_BYTES_MAX) {
    throw imageTooLarge(`${path} link`, CPIO_PATH_BYTES_MAX, bytes);
  }
}

/** A link names something. @throws {@link MalformedError} TEE_IMAGE_MALFORMED */
export function expectTarget(path: string, target: string): void {
  if (!PRINTABLE.test(target)) throw imageFault(`${path} link`, "a path", JSON.stringify(target));
}

/** What the paths of an archive must be, one after the other: well formed, in order, each in a folder before it. */
export class CpioOrder {
  readonly #folders = new Set<string>([""]);
  #last: Uint8Array = new Uint8Array(0);

  /** @throws {@link MalformedError} TEE_IMAGE_MALFORMED, {@link LimitError} SCHEMA_TOO_LARGE */
  expectNext(path: string, isFolder: boolean): void {
    const name = utf8(path);
    if (name.length > CPIO_PATH_BYTES_MAX) {
      throw imageTooLarge("path of an entry", CPIO_PATH_BYTES_MAX, name.length);
    }
    const parts = path.split("/");
    if (!PRINTABLE.test(path) || path === CPIO_TRAILER || parts.some(isNoName)) {
      throw imageFault("path of an entry", "names between slashes", JSON.stringify(path));
    }
    if (compareBytes(this.#last, name) >= 0) {
      throw imageFault(path, "a path after the one before it", "the same or an earlier one");
    }
    if (!this.#folders.has(parts.slice(0, -1).join("/"))) {
      throw imageFault(path, "its folder before it", "none");
    }
    if (isFolder) this.#folders.add(path);
    this.#last = name;
  }
}

function isNoName(part: string): boolean {
  return part === "" || part === "." || part === "..";
}
