import { execFile } from "node:child_process";
import { join } from "node:path";
import { promisify } from "node:util";

import { expect, test } from "vitest";
import { z } from "zod";

const run = promisify(execFile);
const MAIN = join(import.meta.dirname, "main.ts");
const NODE_OPTIONS = [
  "--expose-gc",
  "--min-semi-space-size=64",
  "--max-semi-space-size=64",
  "--disable-warning=ExperimentalWarning",
];
const resultSchema = z.object({
  name: z.string(),
  loop: z.object({ inputs: z.number(), reached: z.array(z.number()) }).nullable(),
  measured: z.object({ samples: z.number() }).nullable(),
  faults: z.array(z.string()),
});
type Result = z.infer<typeof resultSchema>;

async function fuzz(...options: readonly string[]): Promise<readonly Result[]> {
  const args = [...NODE_OPTIONS, MAIN, ...options, "--json", "--seed", "7"];
  const { stdout } = await run(process.execPath, args).catch((error: unknown) =>
    z.object({ code: z.literal(1), stdout: z.string() }).parse(error),
  );
  return stdout
    .trimEnd()
    .split("\n")
    .map((line) => resultSchema.parse(JSON.parse(line)));
}

const TIMEOUT_MS = 120_000;

test(
  "every parser keeps its promises for a few inputs of a fixed seed",
  { timeout: TIMEOUT_MS },
  async () => {
    const results = await fuzz("--inputs", "60", "--samples", "1", "--grown", "64");
    expect(results.length).toBeGreaterThan(20);
    for (const { name, loop, measured, faults } of results) {
      expect(faults, name).toEqual([]);
      expect(loop?.inputs, name).toBe(60);
      expect(measured?.samples, name).toBeGreaterThan(2);
    }
  },
);

test("a parser that breaks a promise is found", { timeout: TIMEOUT_MS }, async () => {
  const bad = ["bad-error", "bad-code", "bad-class", "bad-steps", "bad-allocation", "bad-hang"];
  const options = "--inputs 200 --samples 3 --grown 256 --patience 1500";
  const results = await fuzz(...bad, ...options.split(" "));
  const found = new Map(results.map(({ name, faults }) => [name, faults.join("\n")]));
  expect(found.get("bad-error")).toContain("threw RangeError");
  expect(found.get("bad-code")).toContain("threw MalformedError SCHEMA_MALFORMED");
  expect(found.get("bad-class")).toContain("threw LimitError TEE_DOCUMENT_MALFORMED (limit)");
  expect(found.get("bad-steps")).toMatch(/took \d+ steps for zeros, grown to/);
  expect(found.get("bad-allocation")).toMatch(/allocated \d+ bytes for zeros, grown to/);
  expect(found.get("bad-hang")).toContain("no end after 1500 ms in loop input");
});
