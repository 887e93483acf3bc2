import * as fs from "node:fs";
import path from "node:path";

import { expect, test } from "vitest";

import { describedRoutes } from "../../host/http/index.ts";
import { enclaveRequestSchema, enclaveResponseSchema } from "../../protocol/channel.ts";
import { EVIDENCE_SECTIONS } from "../../protocol/evidence-bundle.ts";
import { SEAL_INFO } from "../../protocol/session.ts";
import { LISTENERS, emptyServer } from "./openapi.ts";
import { wireBlocks } from "./wire-blocks.ts";

const ROOT = path.resolve(import.meta.dirname, "../..");
const PAGE = fs.readFileSync(path.join(ROOT, "docs/wire.md"), "utf8");

/** Objects that `evidence-bundle.ts` keeps to itself; the page has them in words. */
const WITHOUT_BLOCK = new Set(["evidence-seal", "evidence-bundle"]);

/** Text of every shipped source below `folders`. */
function sources(...folders: readonly string[]): string {
  return folders
    .flatMap((folder) =>
      fs
        .readdirSync(path.join(ROOT, folder), { recursive: true, encoding: "utf8" })
        .filter((name) => name.endsWith(".ts"))
        .map((name) => fs.readFileSync(path.join(ROOT, folder, name), "utf8")),
    )
    .join("\n");
}

function found(text: string, pattern: RegExp): string[] {
  return [...new Set([...text.matchAll(pattern)].map((match) => match[1] ?? ""))];
}

const OBJECTS = found(sources("protocol"), /defineObject\(\s*"([a-z0-9-]+)"/g);

/** The CDDL blocks of the page by the name they define. */
function blocksOfPage(): ReadonlyMap<string, string> {
  const blocks = [...PAGE.matchAll(/^```cddl\n([\s\S]*?)\n```$/gm)].map((match) => match[1] ?? "");
  return new Map(
    blocks
      .flatMap((block) => block.split(/\n\n/))
      .map((definition) => [definition.split(" = ")[0] ?? "", definition]),
  );
}

test("the page defines every type of the schemas, field by field, and no other", () => {
  expect(Object.fromEntries(blocksOfPage())).toEqual(Object.fromEntries(wireBlocks()));
});

test.each(OBJECTS)("object %s is on the page", (name) => {
  expect(PAGE.includes(`\`${name}\``)).toBe(true);
  expect(wireBlocks().has(name) || WITHOUT_BLOCK.has(name)).toBe(true);
});

test.each([
  ...enclaveRequestSchema.options.map(({ shape }) => shape.method.value),
  ...enclaveResponseSchema.options.map(({ shape }) => shape.result.value),
  ...EVIDENCE_SECTIONS,
])("%s of channel or evidence file is on the page", (name) => {
  expect(PAGE.includes(`\`${name}\``)).toBe(true);
});

test.each(Object.entries(SEAL_INFO))("box %s is on the page", (_, info) => {
  expect(PAGE.includes(`\`${info}\``)).toBe(true);
});

const ROUTES = Object.values(LISTENERS).flatMap((listener) =>
  describedRoutes(emptyServer(listener)).map(({ method, path: route }) => `${method} ${route}`),
);

test.each(ROUTES)("route %s is on the page", (route) => {
  expect(PAGE.includes(`\`${route}\``)).toBe(true);
});

const INSIDE = sources("protocol", "attestation", "aggregation", "enclave", "host");

test.each([
  ...found(INSIDE, /digestOf(?:Bytes)?\(\s*"([a-z0-9-]+)"/g),
  ...found(INSIDE, /utf8\(\s*["`](symphony\/[a-z0-9-]+\/v1)/g),
  ...found(sources("protocol"), /["`](symphony\.[a-z]+)\//g),
])("domain %s is on the page", (domain) => {
  expect(PAGE.includes(`\`${domain}`)).toBe(true);
});

test("the lists above are not empty", () => {
  for (const list of [OBJECTS, ROUTES]) expect(list.length).toBeGreaterThan(10);
});
