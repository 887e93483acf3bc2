import { closeSync, openSync, readFileSync, readSync, readdirSync, statSync } from "node:fs";
import { join } from "node:path";

/** One way a secret could be written down. */
export interface Needle {
  readonly name: string;
  readonly bytes: Buffer;
}

/** Bytes of a needle that are looked for at least: fewer would be found by chance. */
const NEEDLE_BYTES_MIN = 10;
const CHUNK_BYTES = 1024 * 1024;
/** Most of a process' writable memory was never touched; comparing is faster than searching. */
const ZEROES = Buffer.alloc(CHUNK_BYTES);

/** Every form in which `secret` is looked for: plain, hexadecimal, base64 at each alignment, UTF-16 of a text. */
export function needlesOf(secret: string | Uint8Array): Needle[] {
  const plain = Buffer.from(secret);
  const label = typeof secret === "string" ? secret : "bytes";
  const forms: [string, Buffer][] = [
    ["plain", plain],
    ["hex", Buffer.from(plain.toString("hex"))],
    ["HEX", Buffer.from(plain.toString("hex").toUpperCase())],
    ...[0, 1, 2].map((shift): [string, Buffer] => [`base64+${shift}`, base64At(plain, shift)]),
  ];
  if (typeof secret === "string") {
    // Without its last zero it is found in either byte order.
    forms.push(["utf-16", Buffer.from(secret, "utf16le").subarray(0, -1)]);
  }
  return forms.map(([form, bytes]) => {
    if (bytes.length < NEEDLE_BYTES_MIN) throw new Error(`needle: too short in ${form}`);
    return { name: `${label} in ${form}`, bytes };
  });
}

/** The characters of base64 that `plain` alone decides when `shift` bytes come before it. */
function base64At(plain: Buffer, shift: number): Buffer {
  const text = Buffer.concat([Buffer.alloc(shift), plain]).toString("base64");
  const first = Math.ceil((shift * 8) / 6);
  const last = Math.floor(((shift + plain.length) * 8) / 6);
  return Buffer.from(text.slice(first, last));
}

/** Names of the needles that `bytes` holds. */
export function findIn(bytes: Uint8Array, needles: readonly Needle[]): string[] {
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  return needles.filter((needle) => buffer.includes(needle.bytes)).map(({ name }) => name);
}

/**
 * Names of the needles in the writable memory of process `pid`, of which the caller must be an ancestor or root.
 * Regions that go away meanwhile are passed over.
 *
 * @throws Error when nothing could be read: an empty search proves nothing.
 */
export function findInProcess(pid: number, needles: readonly Needle[]): string[] {
  const found = new Set<string>();
  const overlap = Math.max(...needles.map(({ bytes }) => bytes.length)) - 1;
  const memory = openSync(`/proc/${pid}/mem`, "r");
  const buffer = Buffer.alloc(CHUNK_BYTES);
  let bytesRead = 0;
  try {
    for (const { start, end } of writableRegions(pid)) {
      for (let at = start; at < end; at += CHUNK_BYTES - overlap) {
        const chunk = readAt(memory, at, buffer.subarray(0, end - at));
        bytesRead += chunk.length;
        if (chunk.equals(ZEROES.subarray(0, chunk.length))) continue;
        for (const name of findIn(chunk, needles)) found.add(name);
      }
    }
  } finally {
    closeSync(memory);
  }
  if (bytesRead < 16 * CHUNK_BYTES)
    throw new Error(`process ${pid}: only ${bytesRead} bytes readable`);
  return [...found];
}

/** Writable regions of which any page is resident or swapped out. */
function writableRegions(pid: number): { start: number; end: number }[] {
  const regions = readFileSync(`/proc/${pid}/smaps`, "utf8").split(/^(?=[0-9a-f]+-[0-9a-f]+ )/m);
  return regions.flatMap((region) => {
    const match = /^([0-9a-f]+)-([0-9a-f]+) rw/.exec(region);
    if (match === null || !/^(Rss|Swap): +[1-9]/m.test(region)) return [];
    return [{ start: parseInt(match[1] ?? "", 16), end: parseInt(match[2] ?? "", 16) }];
  });
}

function readAt(file: number, position: number, buffer: Buffer): Buffer {
  try {
    return buffer.subarray(0, readSync(file, buffer, { position }));
  } catch {
    return buffer.subarray(0, 0);
  }
}

/** `file: needle` for every needle in a file below `folder`, whatever the file is. */
export function findInFolder(folder: string, needles: readonly Needle[]): string[] {
  return readdirSync(folder, { recursive: true, encoding: "utf8" }).flatMap((name) => {
    const path = join(folder, name);
    if (!statSync(path).isFile()) return [];
    return findIn(readFileSync(path), needles).map((needle) => `${name}: ${needle}`);
  });
}
