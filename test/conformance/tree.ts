import { createHash } from "node:crypto";
import * as fs from "node:fs";
import path from "node:path";

const NOT_SOURCE = new Set([".git", "node_modules", "symphony-demo", "coverage", ".conformance"]);

function isSource(name: string): boolean {
  return !NOT_SOURCE.has(name) && !name.endsWith(".log") && !name.startsWith(".setup.lock");
}

/** Paths of every source file below `root`, sorted, relative, with forward slashes. */
export function sourceFiles(root: string, folder = ""): string[] {
  const entries = fs.readdirSync(path.join(root, folder), { withFileTypes: true });
  const found = entries
    .filter(({ name }) => isSource(name))
    .flatMap((entry) => {
      const inner = folder === "" ? entry.name : `${folder}/${entry.name}`;
      if (entry.isDirectory()) return sourceFiles(root, inner);
      return entry.isFile() ? [inner] : [];
    });
  return found.sort();
}

/** SHA-256, in hex, over the paths and contents of the source files below `root`. */
export function treeHash(root: string): string {
  const hash = createHash("sha256");
  for (const file of sourceFiles(root)) {
    const bytes = fs.readFileSync(path.join(root, file));
    hash.update(`${file} ${bytes.length}\n`).update(bytes);
  }
  return hash.digest("hex");
}

/** Copies the source files of `root` to the empty folder `target`, with its node_modules as a link. */
export function copyTree(root: string, target: string): void {
  for (const file of sourceFiles(root)) {
    fs.mkdirSync(path.dirname(path.join(target, file)), { recursive: true });
    fs.copyFileSync(path.join(root, file), path.join(target, file));
  }
  const modules = fs.realpathSync(path.join(root, "node_modules"));
  fs.symlinkSync(modules, path.join(target, "node_modules"));
}
