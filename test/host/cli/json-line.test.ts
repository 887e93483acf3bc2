import fc from "fast-check";
import { expect, test } from "vitest";

import { lineOfPath } from "../../../host/cli/json-line.ts";

const TEXT = `{
  "a \\"}": [1,
    {"b":
      "x,]"},
    -2.5e3
  ],
  "c": {
    "d": null
  }
}`;

test.for([
  { path: [], line: 1 },
  { path: ['a "}'], line: 2 },
  { path: ['a "}', 1], line: 3 },
  { path: ['a "}', 1, "b"], line: 4 },
  { path: ['a "}', 2], line: 5 },
  { path: ["c", "d"], line: 8 },
  { path: ["c", "missing"], line: 7 },
  { path: ['a "}', 9], line: 2 },
  { path: ["c", "d", "deeper"], line: 8 },
])("$path is on line $line", ({ path, line }) => {
  expect(lineOfPath(TEXT, path)).toBe(line);
});

test("every value of any JSON is found where it was written", () => {
  fc.assert(
    fc.property(fc.array(fc.jsonValue(), { maxLength: 8 }), (values) => {
      const text = `[\n${values.map((value) => JSON.stringify(value)).join(",\n")}\n]`;
      for (const at of values.keys()) expect(lineOfPath(text, [at])).toBe(at + 2);
    }),
    { seed: 3 },
  );
});
