import * as fs from "node:fs";
import path from "node:path";

import { expect, test } from "vitest";

import { ERROR_CLASSES, ERROR_CODES, ERROR_FAMILIES } from "../../protocol/index.ts";

const PAGE = path.resolve(import.meta.dirname, "../../docs/errors.md");
const CLASSES: ReadonlySet<string> = new Set(ERROR_CLASSES);

interface Entry {
  readonly family: string;
  readonly code: string;
  readonly classes: readonly string[];
  readonly cause: string;
  readonly remedy: string;
}

function entries(): Entry[] {
  const [, ...sections] = fs.readFileSync(PAGE, "utf8").split(/^## /m);
  return sections.flatMap((section) => {
    const [head = "", ...parts] = section.split(/^### /m);
    const family = head.split("\n")[0] ?? "";
    return parts.map((part) => ({
      family,
      code: part.split("\n")[0] ?? "",
      classes: field(part, "Class").split(", "),
      cause: field(part, "Cause"),
      remedy: field(part, "Remedy"),
    }));
  });
}

function field(part: string, name: string): string {
  return new RegExp(`^- \\*\\*${name}:\\*\\* (.+)$`, "m").exec(part)?.[1] ?? "";
}

test("[CB-2] docs/errors.md has exactly the codes of protocol/error-codes.ts", () => {
  const documented = entries().map(({ code }) => code);
  expect(documented.toSorted()).toEqual([...ERROR_CODES].toSorted());
  expect(new Set(documented).size).toBe(documented.length);
});

test("[CB-2] every code begins with an error family, and stands under it", () => {
  for (const { family, code } of entries()) {
    const families = ERROR_FAMILIES.filter((name) => code.startsWith(`${name}_`));
    expect(families, code).toContain(family);
  }
});

test("[CB-2] the nineteen families of the specification all have codes", () => {
  expect(ERROR_FAMILIES).toHaveLength(19);
  const used = ERROR_FAMILIES.filter((name) => ERROR_CODES.some((c) => c.startsWith(`${name}_`)));
  expect(used).toEqual([...ERROR_FAMILIES]);
});

test("codes are distinct", () => {
  expect(new Set(ERROR_CODES).size).toBe(ERROR_CODES.length);
});

test("every entry gives known classes, a cause and a remedy", () => {
  for (const { code, classes, cause, remedy } of entries()) {
    expect(
      classes.filter((name) => !CLASSES.has(name)),
      code,
    ).toEqual([]);
    expect(cause.length, code).toBeGreaterThan(20);
    expect(remedy.length, code).toBeGreaterThan(15);
  }
});
