import { spawn } from "node:child_process";
import { createReadStream } from "node:fs";
import { open } from "node:fs/promises";
import path from "node:path";
import { createGunzip } from "node:zlib";

import type { Node } from "../archive/cpio.ts";
import { contentOfFile } from "../archive/content.ts";
import { imageFault } from "../archive/faults.ts";
import { readTar, type TarEntry } from "../archive/tar.ts";
import type { Pick } from "./inputs.ts";

/** Bytes of an npm package file, in which everything is below a folder `package`. */
export function npmTar(file: string): AsyncIterable<Uint8Array> {
  const gunzip = createGunzip();
  const packed = createReadStream(file).once("error", (error) => gunzip.destroy(error));
  return packed.pipe(gunzip);
}

/** The files of a Debian package as a tar archive. Needs dpkg-deb, which every Debian has. */
export async function* debianTar(file: string): AsyncGenerator<Uint8Array> {
  const child = spawn("dpkg-deb", ["--fsys-tarfile", file], {
    stdio: ["ignore", "pipe", "ignore"],
  });
  const ended = new Promise<number | null>((resolve) => {
    child.once("error", () => resolve(null));
    child.once("close", resolve);
  });
  try {
    yield* child.stdout;
    if ((await ended) !== 0) throw imageFault(file, "a package that dpkg-deb opens", "another");
  } finally {
    child.kill();
  }
}

/**
 * Writes the files of `archive` that `picks` name into `folder` and returns them by their paths in the image.
 *
 * Modes become 755 or 644, by whether the package's owner may execute; times and owners are dropped.
 *
 * @throws {@link MalformedError} TEE_IMAGE_MALFORMED when a glob finds nothing, or something that is no file or link
 */
export async function unpack(
  archive: AsyncIterable<Uint8Array>,
  picks: readonly Pick[],
  folder: string,
): Promise<ReadonlyMap<string, Node>> {
  const found = new Map<string, Node>();
  const unused = new Set(picks.flatMap(({ include }) => include));
  for await (const entry of readTar(archive)) {
    if (entry.kind === "folder") continue;
    const place = placeOf(entry.path, picks);
    if (place === null) continue;
    unused.delete(place.glob);
    if (found.has(place.to)) throw imageFault(place.to, "one file of that path", "two");
    const file = path.join(folder, String(found.size));
    found.set(place.to, await unpackEntry(entry, file));
  }
  const [missing] = unused;
  if (missing !== undefined) throw imageFault("package", `files that match ${missing}`, "none");
  return found;
}

function placeOf(file: string, picks: readonly Pick[]): { to: string; glob: string } | null {
  for (const { include, from, to } of picks) {
    const glob = include.find((each) => path.matchesGlob(file, each));
    if (glob === undefined) continue;
    if (!file.startsWith(from)) throw imageFault(file, `a path below ${from}`, "another");
    return { to: `${to}${file.slice(from.length)}`, glob };
  }
  return null;
}

async function unpackEntry(entry: TarEntry, file: string): Promise<Node> {
  if (entry.kind === "link") return { kind: "link", target: entry.target };
  if (entry.kind !== "file") throw imageFault(entry.path, "a file or a link", "another");
  await using handle = await open(file, "wx");
  for await (const chunk of entry.data()) await handle.writeFile(chunk);
  const mode = (entry.mode & 0o100) === 0 ? 0o644 : 0o755;
  return { kind: "file", mode, content: contentOfFile(file, { bytes: entry.bytes }) };
}
