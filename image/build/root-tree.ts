import { readFile, readdir } from "node:fs/promises";
import path from "node:path";

import type { Node, Tree } from "../archive/cpio.ts";
import { contentOf, type Content } from "../archive/content.ts";
import { imageFault } from "../archive/faults.ts";
import type { Programs } from "./programs.ts";

/** Folders of the repository whose every file is in the image: all that runs inside, and nothing else of ours. */
export const IMAGE_FOLDERS = ["protocol", "attestation", "aggregation", "enclave"] as const;
/** Files beside them: how modules are named, and what third-party code there is. */
export const IMAGE_FILES = ["package.json", "package-lock.json"] as const;
/** Where an image has the development root that it trusts besides the built-in ones. */
export const ANCHOR_PATH = "rootfs/enclave/anchor.der";

/** Where our sources and their packages are in an image. */
export const SOURCES_PATH = "rootfs/enclave/";

/** Unpacked last: `init` goes on only where it is there, because a ramdisk that does not fit into memory is cut. */
const LAST_PATH = "rootfs/~";

const FILE_MODE = 0o644;
const PROGRAM_MODE = 0o755;
const FOLDER: Node = { kind: "folder", mode: 0o755 };
/** What a kernel gives its first program as input and output. */
const CONSOLE: Node = { kind: "device", mode: 0o600, major: 5, minor: 1 };
const ROOT = "rootfs/";
const KERNEL = "kernel";

/** Everything that an image is assembled of. */
export interface ImageFiles {
  readonly kernel: Content;
  /** Init and drivers: the first ramdisk. */
  readonly boot: Tree;
  /** What the enclave sees: the second. */
  readonly root: Tree;
}

/** What {@link assembleFiles} puts together. */
export interface FileSources {
  /** Files of packages by their paths in the image. */
  readonly packages: ReadonlyMap<string, Node>;
  readonly sources: ReadonlyMap<string, Node>;
  readonly programs: Programs;
  /** A root certificate, DER, for an image that trusts one more than the built-in ones; null for production. */
  readonly anchor: Uint8Array | null;
}

/**
 * Puts the trees of an image together.
 *
 * @throws {@link MalformedError} TEE_IMAGE_MALFORMED for two files of one path, and without a kernel
 */
export function assembleFiles({ packages, sources, programs, anchor }: FileSources): ImageFiles {
  const all = new Map<string, Node>();
  const add = (name: string, node: Node): void => {
    if (all.has(name)) throw imageFault(name, "one file of that path", "two");
    all.set(name, node);
  };
  for (const [name, node] of [...packages, ...sources]) add(name, node);
  for (const name of ["dev", "proc", "rootfs/dev", "rootfs/proc"]) add(name, FOLDER);
  add("dev/console", CONSOLE);
  add("init", fileOf(programs.init, PROGRAM_MODE));
  add("modules/nitro_devices.ko", fileOf(programs.module, FILE_MODE));
  add("rootfs/sbin/gate", fileOf(programs.gate, PROGRAM_MODE));
  add(LAST_PATH, fileOf(new Uint8Array(0), FILE_MODE));
  if (anchor !== null) add(ANCHOR_PATH, fileOf(anchor, FILE_MODE));
  const after = [...all.keys()].find((name) => name.startsWith(ROOT) && name > LAST_PATH);
  if (after !== undefined) throw imageFault(after, `a path before ${LAST_PATH}`, "one after it");
  const kernel = all.get(KERNEL);
  if (kernel?.kind !== "file") throw imageFault("packages", "a kernel", "none");
  all.delete(KERNEL);
  const [boot, root] = [
    treeOf(all, (name) => !name.startsWith(ROOT)),
    treeOf(all, (name) => name.startsWith(ROOT)),
  ];
  return { kernel: kernel.content, boot, root };
}

function fileOf(bytes: Uint8Array, mode: number): Node {
  return { kind: "file", mode, content: contentOf(bytes) };
}

/** The files that `isIn` chooses, with the folders they need. */
function treeOf(all: Tree, isIn: (name: string) => boolean): Tree {
  const tree = new Map([...all].filter(([name]) => isIn(name)));
  for (const name of [...tree.keys()]) {
    const parts = name.split("/");
    for (let depth = 1; depth < parts.length; depth++) {
      const folder = parts.slice(0, depth).join("/");
      if (!tree.has(folder)) tree.set(folder, FOLDER);
    }
  }
  return tree;
}

/**
 * Our own sources of the checkout at `root` as they stand, whether or not they are committed, by their paths in the
 * image. Each is read once: who edits one meanwhile does not make an image that its provenance does not tell of. Modes
 * are 644, whatever they are here.
 *
 * @throws {@link MalformedError} TEE_IMAGE_MALFORMED for anything but plain files and folders
 */
export async function readSources(root: string): Promise<ReadonlyMap<string, Node>> {
  const files: string[] = [...IMAGE_FILES];
  for (const folder of IMAGE_FOLDERS) files.push(...(await filesBelow(root, folder)));
  const found = new Map<string, Node>();
  for (const name of files) {
    const bytes = new Uint8Array(await readFile(path.join(root, name)));
    found.set(`${SOURCES_PATH}${name}`, fileOf(bytes, FILE_MODE));
  }
  return found;
}

async function filesBelow(root: string, folder: string): Promise<string[]> {
  const entries = await readdir(path.join(root, folder), { withFileTypes: true });
  const found: string[] = [];
  for (const entry of entries) {
    const name = `${folder}/${entry.name}`;
    if (entry.isDirectory()) found.push(...(await filesBelow(root, name)));
    else if (entry.isFile()) found.push(name);
    else throw imageFault(name, "a plain file or folder", "something else");
  }
  return found;
}
