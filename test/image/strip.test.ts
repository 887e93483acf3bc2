import * as fs from "node:fs";
import path from "node:path";

import { afterAll, expect, test } from "vitest";

import { IMAGE_FILES, IMAGE_FOLDERS } from "../../image/index.ts";
import { stripFolder, stripModule } from "../../image/strip/strip.ts";
import { createImageFolder } from "./rig.ts";

const ROOT = path.join(import.meta.dirname, "../..");
const folder = createImageFolder();
afterAll(() => folder.remove());

test("[RT-1] types become blanks, and every other character stays where it was", () => {
  const source = `import { a, type A } from "../a.ts";\nexport const b: A = a as A;\n`;
  const stripped = `import { a,        } from "../a.js";\nexport const b    = a     ;\n`;
  expect(stripModule(source)).toBe(stripped);
});

test.for([
  { title: "syntax that has to be compiled", source: "enum A { B }" },
  { title: "what is no module", source: "const = 1;" },
  { title: "a path of a source that is not imported", source: `open("./b.ts");` },
])("refuses $title", ({ source }) => {
  expect(() => stripModule(source)).toThrow();
});

test("[RT-1] our sources differ from what is in the image by their types alone", async () => {
  for (const name of [...IMAGE_FOLDERS, ...IMAGE_FILES]) {
    fs.cpSync(path.join(ROOT, name), path.join(folder.path, name), { recursive: true });
  }
  await stripFolder(folder.path);
  const names = fs.readdirSync(folder.path, { recursive: true, encoding: "utf8" });
  expect(names.filter((name) => name.endsWith(".ts"))).toEqual([]);
  const modules = names.filter((name) => name.endsWith(".js"));
  expect(modules).toContain("enclave/main.js");
  for (const name of modules) {
    const stripped = fs.readFileSync(path.join(folder.path, name), "utf8");
    const source = fs.readFileSync(path.join(ROOT, name.replace(/js$/, "ts")), "utf8");
    expect(differing(source, stripped), name).toEqual([]);
    for (const [, imported = ""] of stripped.matchAll(/^[^/*]* from "(\.[^"]*)"/gm)) {
      expect(modules).toContain(path.join(path.dirname(name), imported));
    }
  }
  const { imports } = JSON.parse(fs.readFileSync(path.join(folder.path, "package.json"), "utf8"));
  expect(imports).toMatchObject({ "#protocol": "./protocol/index.js" });
});

/** Lines of `stripped` where a character is neither that of `source` nor blank. */
function differing(source: string, stripped: string): string[] {
  const lines = source.replaceAll('.ts"', '.js"').split("\n");
  return stripped.split("\n").filter((line, at) => {
    const was = lines[at] ?? "";
    const differs = (char: string, column: number) => /\S/.test(char) && char !== was[column];
    return was.length !== line.length || Array.from(line).some(differs);
  });
}
