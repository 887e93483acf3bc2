import { execFile } from "node:child_process";
import { mkdir, writeFile } from "node:fs/promises";
import path from "node:path";
import { promisify } from "node:util";

import { MalformedError } from "#protocol";

import { chunksOf } from "../archive/content.ts";
import type { Node, Tree } from "../archive/cpio.ts";
import { imageFault } from "../archive/faults.ts";
import { SOURCES_PATH, readSources } from "./root-tree.ts";

const NODE_PATH = "rootfs/usr/bin/node";
const STRIP_MS_MAX = 60_000;
const run = promisify(execFile);

/**
 * Takes the types out of `sources`, by image/strip of the checkout at `root` and by the Node of the image: what it would
 * do at each start of an enclave, and half of the time that takes.
 *
 * @param packages - With the image's Node.
 * @param folder - To be made, for this alone.
 * @returns the sources by their paths in the image, `.js` for `.ts`
 * @throws {@link MalformedError} TEE_IMAGE_MALFORMED when there is no Node, or it refuses a source
 */
export async function stripSources(
  sources: Tree,
  packages: Tree,
  { root, folder }: { readonly root: string; readonly folder: string },
): Promise<ReadonlyMap<string, Node>> {
  const tree = path.join(folder, "tree");
  for (const [name, node] of sources) {
    await writeNode(path.join(tree, name.slice(SOURCES_PATH.length)), node);
  }
  const node = packages.get(NODE_PATH);
  if (node === undefined) throw imageFault(NODE_PATH, "a Node among the packages", "none");
  const program = path.join(folder, "node");
  await writeNode(program, node);
  const words = ["--disable-warning=ExperimentalWarning", path.join(root, "image/strip/main.ts")];
  try {
    await run(program, [...words, tree], { env: {}, timeout: STRIP_MS_MAX });
  } catch (cause) {
    throw new MalformedError(
      { code: "TEE_IMAGE_MALFORMED", field: "sources" },
      "sources: expected modules whose types Node takes out, got a failure",
      { cause },
    );
  }
  return readSources(tree);
}

async function writeNode(file: string, node: Node): Promise<void> {
  if (node.kind !== "file") throw imageFault(path.basename(file), "a file", "another");
  await mkdir(path.dirname(file), { recursive: true });
  await writeFile(file, chunksOf(node.content, path.basename(file)), { mode: node.mode });
}
