import fc from "fast-check";
import { expect, test } from "vitest";

import { parseYaml } from "../../../host/adapters/yaml.ts";

const TEXT = `# what a person wrote
version: 1
domains:
  - domain_id: "retail"
    status: active   # for now
  - {domain_id: no, "layers": [a, 2, null]}
note: |
  two
  lines
`;

test("YAML is read by the core schema, and every value has its place", () => {
  const { value, placeOf } = parseYaml(TEXT, "document");
  expect(value).toEqual({
    version: 1,
    domains: [
      { domain_id: "retail", status: "active" },
      { domain_id: "no", layers: ["a", 2, null] },
    ],
    note: "two\nlines\n",
  });
  expect(placeOf([])).toEqual({ line: 2, column: 1 });
  expect(placeOf(["domains", 0, "status"])).toEqual({ line: 5, column: 13 });
  expect(placeOf(["domains", 1, "layers", 1])).toEqual({ line: 6, column: 35 });
  expect(placeOf(["domains", 1, "missing", "deeper"])).toEqual({ line: 6, column: 5 });
});

const JSON_TEXT = `{
  "a \\"}": [1,
    {"b":
      "x,]"},
    -25
  ],
\t"c": {
    "d": null
  }
}`;

test.for([
  { path: [], line: 1, column: 1 },
  { path: ['a "}'], line: 2, column: 12 },
  { path: ['a "}', 0], line: 2, column: 13 },
  { path: ['a "}', 1, "b"], line: 4, column: 7 },
  { path: ['a "}', 2], line: 5, column: 5 },
  { path: ["c", "d"], line: 8, column: 10 },
  { path: ["c", "missing"], line: 7, column: 7 },
  { path: ['a "}', 9], line: 2, column: 12 },
])("$path of JSON is at $line:$column", ({ path, line, column }) => {
  expect(parseYaml(JSON_TEXT, "document").placeOf(path)).toEqual({ line, column });
});

/** JSON without fractions and with whole text, as canonical objects have it. */
const { tree } = fc.letrec<{ tree: unknown }>((tie) => ({
  tree: fc.oneof(
    { maxDepth: 5 },
    fc.string({ unit: "binary" }),
    fc.maxSafeInteger().map((value) => value + 0),
    fc.boolean(),
    fc.constant(null),
    fc.array(tie("tree"), { maxLength: 4 }),
    fc.dictionary(fc.string({ unit: "binary", maxLength: 40 }), tie("tree"), { maxKeys: 4 }),
  ),
}));

test("JSON is read as JSON, indented or not", () => {
  fc.assert(
    fc.property(tree, fc.constantFrom("", " ", "\t", "    "), (value, indent) => {
      const text = JSON.stringify(value, null, indent);
      expect(parseYaml(text, "document").value).toEqual(JSON.parse(text));
    }),
    { seed: 11, numRuns: 300 },
  );
});

test.for([
  { title: "an alias", text: "a: 1\nb: *x", says: "expected a value, got an alias" },
  { title: "an anchor", text: "a: &x 1", says: "1 column 7: expected no anchor" },
  { title: "an anchor of a map", text: "a: &x\n  b: 1", says: "expected no anchor" },
  { title: "an anchored key", text: "&x a: 1", says: "expected no anchor" },
  { title: "a merge", text: "a: &x {b: 1}\nc:\n  <<: *x", says: "expected no anchor" },
  { title: "a tag", text: "a: !!str 1", says: "expected no tag" },
  { title: "a custom tag", text: "a: !js/function x", says: "expected YAML or JSON, got a fault" },
  { title: "bytes", text: "a: !!binary AQID", says: "expected no tag" },
  { title: "a tagged list", text: "a: !!seq [1]", says: "expected no tag" },
  { title: "another version", text: "%YAML 1.1\n---\na: yes", says: "expected no directives" },
  { title: "a tag's meaning", text: "%TAG !e! tag:e:\n---\na: 1", says: "expected no directives" },
  {
    title: "two documents",
    text: "a: 1\n---\nb: 2",
    says: "line 2 column 1: expected one document",
  },
  {
    title: "a key twice",
    text: "a: 1\nb: 2\na: 3",
    says: "3 column 1: expected each key once, got a",
  },
  { title: "a number as key", text: "1: a", says: "expected text as a key" },
  { title: "a map as key", text: "{a: 1}: b", says: "expected text as a key" },
  { title: "a fraction", text: "a: 1.5", says: "column 4: expected an integer in decimal digits" },
  { title: "a whole fraction", text: "a: 1.0", says: "expected an integer in decimal digits" },
  { title: "an exponent", text: '{"a": 1e3}', says: "expected an integer in decimal digits" },
  { title: "infinity", text: "a: .inf", says: "expected an integer in decimal digits" },
  { title: "hexadecimal", text: "a: 0x10", says: "expected an integer in decimal digits" },
  { title: "a leading zero", text: "a: 010", says: "expected an integer in decimal digits" },
  { title: "an unsafe integer", text: "a: 9007199254740993", says: "expected an integer" },
  { title: "a list that does not end", text: '{"a": [1,', says: "expected YAML or JSON" },
  { title: "nothing", text: "", says: "got nothing" },
  { title: "a comment alone", text: "# nothing\n", says: "got nothing" },
  { title: "35 levels", text: "[".repeat(35) + "]".repeat(35), says: "expected at most 32 levels" },
  { title: "a million levels", text: "[".repeat(1_000_000), says: "expected at most 32 levels" },
  { title: "a deep block", text: "- ".repeat(100_000), says: "expected at most 32 levels" },
  { title: "a deep chain of keys", text: "? ".repeat(100_000), says: "expected at most 32 levels" },
])("$title is refused by its place", ({ text, says }) => {
  expect(() => parseYaml(text, "document")).toThrow(
    expect.objectContaining({
      code: "SCHEMA_JSON_MALFORMED",
      message: expect.stringContaining(says),
    }),
  );
});

test("a key that names a prototype is a key", () => {
  const { value } = parseYaml("__proto__: {admin: true}", "document");
  expect(Object.getOwnPropertyNames(value)).toEqual(["__proto__"]);
  expect(Object.getPrototypeOf(value)).toBe(Object.prototype);
});

test("any text gives a value or a fault of ours", () => {
  const pieces = [
    "a",
    ":",
    " ",
    "\n",
    "-",
    "{",
    "}",
    "[",
    "]",
    '"',
    "&",
    "*",
    "!",
    "#",
    "|",
    "?",
    "%",
  ];
  const text = fc.array(fc.constantFrom(...pieces), { maxLength: 40 }).map((all) => all.join(""));
  fc.assert(
    fc.property(text, (each) => {
      try {
        expect(parseYaml(each, "document")).toHaveProperty("value");
      } catch (error) {
        expect(error).toMatchObject({ code: "SCHEMA_JSON_MALFORMED" });
      }
    }),
    { seed: 5, numRuns: 2000 },
  );
});
