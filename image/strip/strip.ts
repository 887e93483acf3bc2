import { readFile, readdir, rename, writeFile } from "node:fs/promises";
import { stripTypeScriptTypes } from "node:module";
import path from "node:path";

/** What follows `from` or `import`, as our formatter writes it. */
const IMPORT = /(\b(?:from|import) "\.[^"\n]*\.)ts"/g;
const LOCAL_FILE = /("\.[^"\n]*\.)ts"/g;

/**
 * Takes the types out of the source of a module: what Node does with it at each start, done once.
 *
 * Each type becomes as many blanks, and an import of a `.ts` file one of the `.js` file that {@link stripFolder} makes
 * of it, so that every other character stays on its line and in its column.
 *
 * @throws Error for syntax that needs more than that, and for a path of a `.ts` file that is not imported
 */
export function stripModule(source: string): string {
  const stripped = stripTypeScriptTypes(source, { mode: "strip" }).replaceAll(IMPORT, '$1js"');
  const [left] = stripped.match(LOCAL_FILE) ?? [];
  if (left !== undefined) throw new Error(`${left}: expected no path of a .ts file, got one`);
  return stripped;
}

/** Makes `.js` files of all `.ts` files below `folder`, in place; `package.json` in it names them then. */
export async function stripFolder(folder: string): Promise<void> {
  for (const entry of await readdir(folder, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile() || !entry.name.endsWith(".ts")) continue;
    const file = path.join(entry.parentPath, entry.name);
    await writeFile(file, stripModule(await readFile(file, "utf8")));
    await rename(file, `${file.slice(0, -".ts".length)}.js`);
  }
  const manifest = path.join(folder, "package.json");
  await writeFile(manifest, (await readFile(manifest, "utf8")).replaceAll(LOCAL_FILE, '$1js"'));
}
