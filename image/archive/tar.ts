import { imageFault, imageTooLarge } from "./faults.ts";

/** An entry of a tar archive. */
export interface TarEntry {
  /** Without `./` in front and a slash at the end. */
  readonly path: string;
  readonly kind: "folder" | "file" | "link" | "other";
  /** Permission bits. */
  readonly mode: number;
  readonly bytes: number;
  /** Of a link. */
  readonly target: string;
  /** The content, to be read before the next entry is asked for, or not at all. */
  readonly data: () => AsyncGenerator<Uint8Array>;
}

/** Bytes of one archive, unpacked. Node's package has 260 MB. */
export const TAR_BYTES_MAX = 1024 * 1024 * 1024;

const BLOCK_BYTES = 512;
const EXTENSION_BYTES_MAX = 64 * 1024;
const KINDS: Readonly<Record<string, TarEntry["kind"]>> = {
  "\0": "file",
  "0": "file",
  "2": "link",
  "5": "folder",
};

/**
 * The entries of a tar archive: POSIX ustar with pax and GNU extensions for long names, as npm and dpkg write it.
 *
 *     0    100  name         156  1    type              265  ...  owner's names, devices: not read
 *     100  8    mode         157  100  target of a link  345  155  name's beginning
 *     124  12   size         257  6    magic "ustar"     512       data, zeros up to a multiple of 512
 *     148  8    checksum     numbers in octal
 *
 * @throws {@link MalformedError} TEE_IMAGE_MALFORMED
 * @throws {@link LimitError} SCHEMA_TOO_LARGE
 * @see POSIX.1-2017 pax, "ustar Interchange Format"
 */
export async function* readTar(chunks: AsyncIterable<Uint8Array>): AsyncGenerator<TarEntry> {
  const source = new Source(chunks);
  let names: Names = {};
  for (;;) {
    const block = await source.take(BLOCK_BYTES);
    if (block.every((byte) => byte === 0)) break;
    const head = parseHead(block);
    const end = source.bytes + Math.ceil(head.bytes / BLOCK_BYTES) * BLOCK_BYTES;
    if (["x", "g", "L", "K"].includes(head.type)) {
      names = { ...names, ...(await readExtension(source, head)) };
    } else {
      const data = source.pieces(head.bytes);
      yield {
        path: plainPath(names.path ?? head.path),
        kind: KINDS[head.type] ?? "other",
        mode: head.mode,
        bytes: head.bytes,
        target: names.linkpath ?? head.target,
        data: () => data,
      };
      names = {};
    }
    await source.skipTo(end);
  }
  await source.drain();
}

interface Names {
  readonly path?: string;
  readonly linkpath?: string;
}

interface Head {
  readonly path: string;
  readonly mode: number;
  readonly bytes: number;
  readonly type: string;
  readonly target: string;
}

function parseHead(block: Uint8Array): Head {
  const sum = block.reduce((total, byte, at) => total + (at >= 148 && at < 156 ? 32 : byte), 0);
  if (numberAt(block, 148, 8) !== sum) throw fault("the checksum of an entry's header");
  const isUstar = textAt(block, 257, 5) === "ustar";
  const start = isUstar && block[263] !== 0x20 ? textAt(block, 345, 155) : "";
  const name = textAt(block, 0, 100);
  return {
    path: start === "" ? name : `${start}/${name}`,
    mode: numberAt(block, 100, 8) & 0o777,
    bytes: numberAt(block, 124, 12),
    type: String.fromCharCode(block[156] ?? 0),
    target: textAt(block, 157, 100),
  };
}

/** Long names that stand before an entry: pax records, or GNU's name by itself. */
async function readExtension(source: Source, { type, bytes }: Head): Promise<Names> {
  if (bytes > EXTENSION_BYTES_MAX) throw imageTooLarge("tar name", EXTENSION_BYTES_MAX, bytes);
  const text = Buffer.from(await source.take(bytes)).toString("utf8");
  if (type === "g") return {};
  if (type === "L") return { path: text.replace(/\0.*$/s, "") };
  if (type === "K") return { linkpath: text.replace(/\0.*$/s, "") };
  const records = [...text.matchAll(/^\d+ (path|linkpath)=(.*)$/gm)];
  return Object.fromEntries(records.map(([, key = "", value = ""]) => [key, value]));
}

function plainPath(path: string): string {
  return path.replace(/^(\.\/)+/, "").replace(/\/+$/, "");
}

function numberAt(block: Uint8Array, at: number, length: number): number {
  const text = textAt(block, at, length).trim();
  if (!/^[0-7]{1,12}$/.test(text)) throw fault("octal digits");
  return Number.parseInt(text, 8);
}

function textAt(block: Uint8Array, at: number, length: number): string {
  const field = Buffer.from(block.subarray(at, at + length));
  const end = field.indexOf(0);
  return field.subarray(0, end === -1 ? length : end).toString("utf8");
}

/** A stream of chunks that is taken by number of bytes. */
class Source {
  readonly #chunks: AsyncIterator<Uint8Array>;
  #chunk: Uint8Array = new Uint8Array(0);
  /** How many were taken. */
  bytes = 0;

  constructor(chunks: AsyncIterable<Uint8Array>) {
    this.#chunks = chunks[Symbol.asyncIterator]();
  }

  async take(count: number): Promise<Uint8Array> {
    const parts: Uint8Array[] = [];
    for await (const part of this.pieces(count)) parts.push(part);
    return new Uint8Array(Buffer.concat(parts));
  }

  async *pieces(count: number): AsyncGenerator<Uint8Array> {
    for (let left = count; left > 0;) {
      const part = this.#chunk.subarray(0, left);
      this.#chunk = this.#chunk.subarray(part.length);
      this.bytes += part.length;
      left -= part.length;
      if (part.length > 0) yield part;
      else if (!(await this.#next())) throw fault("more bytes");
    }
  }

  async skipTo(end: number): Promise<void> {
    for await (const part of this.pieces(end - this.bytes)) part.subarray(0, 0);
  }

  /** Reads what is left, so that what writes the stream can end. */
  async drain(): Promise<void> {
    while (await this.#next());
  }

  async #next(): Promise<boolean> {
    const { done, value } = await this.#chunks.next();
    if (done === true) return false;
    this.#chunk = value;
    if (this.bytes + value.length > TAR_BYTES_MAX) {
      throw imageTooLarge("tar archive", TAR_BYTES_MAX, "more");
    }
    return true;
  }
}

function fault(expected: string) {
  return imageFault("tar archive", expected, "other bytes");
}
