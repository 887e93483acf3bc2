import { execFileSync, spawnSync } from "node:child_process";
import * as fs from "node:fs";
import os from "node:os";
import path from "node:path";

import { afterAll, beforeAll, expect, test } from "vitest";
import { z } from "zod";

const ROOT = path.resolve(import.meta.dirname, "../..");

const Report = z.object({
  diagnostics: z.array(z.object({ code: z.string(), filename: z.string(), message: z.string() })),
});

/** One file of the fixture tree, and the rule that has to refuse it; `undefined` where it is allowed. */
interface Fixture {
  readonly title: string;
  readonly file: string;
  readonly source: string;
  readonly refusedBy: string | undefined;
}

const BOUNDARIES = "symphony(boundaries)";
const PURE = ["protocol", "attestation", "aggregation"];
const ALLOWED: Readonly<Record<string, readonly string[]>> = {
  protocol: [],
  attestation: ["protocol"],
  aggregation: ["protocol"],
  enclave: ["protocol", "attestation", "aggregation"],
  cli: ["protocol"],
  host: ["protocol", "attestation", "aggregation", "cli"],
  image: ["protocol", "attestation", "cli"],
  sim: ["protocol", "attestation", "aggregation", "cli", "enclave", "host", "image"],
};

function matrix(): Fixture[] {
  const names = Object.keys(ALLOWED);
  return names.flatMap((own) =>
    names.map((other) => ({
      title: `${own} imports #${other}`,
      file: `${own}/from-${other}.ts`,
      source: `import { name } from "#${other}";\nexport const kept = name;\n`,
      refusedBy: ALLOWED[own]?.includes(other) === true ? undefined : BOUNDARIES,
    })),
  );
}

function imports(title: string, file: string, specifier: string, refused: boolean): Fixture {
  return {
    title,
    file,
    source: `import * as named from ${JSON.stringify(specifier)};\nexport const kept = named;\n`,
    refusedBy: refused ? BOUNDARIES : undefined,
  };
}

function refused(title: string, file: string, source: string, refusedBy = BOUNDARIES): Fixture {
  return { title, file, source, refusedBy };
}

const WAYS: Fixture[] = [
  refused("import type", "protocol/w1.ts", `import type { T } from "#host";\nexport type U = T;\n`),
  refused("export from", "protocol/w2.ts", `export { name } from "#host";\n`),
  refused("export all", "protocol/w3.ts", `export * from "#host";\n`),
  refused("import()", "protocol/w4.ts", `export const later = import("#host");\n`),
  refused(
    "import() of an expression",
    "protocol/w5.ts",
    `export const l = import("#" + "host");\n`,
  ),
  refused("an import type in place", "protocol/w6.ts", `export type U = import("#host").T;\n`),
  refused("a side-effect import", "protocol/w7.ts", `import "#host";\n`),
  refused(
    "require",
    "host/w14.ts",
    `declare const require: any;\nexport const x = require("#sim");\n`,
  ),
  imports("a relative escape", "protocol/w8.ts", "../host/index.ts", true),
  imports("a relative escape by detour", "protocol/deep/w9.ts", "./../../host/index.ts", true),
  imports("a relative path to a permitted module", "enclave/w10.ts", "../protocol/index.ts", true),
  imports("a deep path", "attestation/w11.ts", "#protocol/cbor.ts", true),
  imports("a relative path inside", "protocol/deep/w12.ts", "../index.ts", false),
  imports("a test importing by path", "test/w13.ts", "../host/index.ts", false),
];

const ROOMS: Fixture[] = [
  imports("a plane imports a plane", "host/admission/r1.ts", "../execution/index.ts", true),
  imports("a service imports a plane", "host/governance/r2.ts", "../settlement/index.ts", true),
  imports("a plane goes behind a service", "host/execution/r3.ts", "../governance/x.ts", true),
  imports("a plane calls a service", "host/execution/r4.ts", "../governance/index.ts", false),
];

const PACKAGES: Fixture[] = [
  imports("cborg in its adapter", "protocol/cbor.ts", "cborg", false),
  imports("cborg elsewhere", "protocol/p2.ts", "cborg", true),
  imports("a subpath elsewhere", "host/p3.ts", "cborg/length", true),
  imports("onnxruntime-node in the host", "host/p4.ts", "onnxruntime-node", true),
  imports("the AWS client outside its adapter", "host/http/p5.ts", "@aws-sdk/client-kms", true),
  imports("kysely in a service's queries", "host/governance/queries.ts", "kysely", false),
  imports("kysely elsewhere", "host/governance/p7.ts", "kysely", true),
  imports("fastify in host/http", "host/http/server.ts", "fastify", false),
  imports("fastify elsewhere", "host/p9.ts", "fastify", true),
  imports("zod anywhere", "protocol/p10.ts", "zod", false),
  imports("a package of no table", "host/p11.ts", "left-pad", true),
  imports("a builtin without its prefix", "host/p12.ts", "fs", true),
  refused(
    "a package's types",
    "host/p13.ts",
    `import type { T } from "cborg";\nexport type U = T;\n`,
  ),
];

const PURITY: Fixture[] = PURE.flatMap((own) => [
  ...["Date.now()", "process.env", "performance.now()", "fetch('')", "globalThis.name"].map(
    (expression, index) =>
      refused(
        `${own} uses ${expression}`,
        `${own}/g${index}.ts`,
        `export const kept = (): unknown => ${expression};\n`,
        "eslint(no-restricted-globals)",
      ),
  ),
  refused(
    `${own} uses Math.random`,
    `${own}/g-random.ts`,
    "export const kept = (): number => Math.random();\n",
    "eslint(no-restricted-properties)",
  ),
  imports(`${own} imports node:fs`, `${own}/g-fs.ts`, "node:fs", true),
  imports(`${own} imports all of node:crypto`, `${own}/g-crypto.ts`, "node:crypto", true),
  refused(
    `${own} draws randomness`,
    `${own}/g-bytes.ts`,
    `import { randomBytes } from "node:crypto";\nexport const kept = randomBytes;\n`,
  ),
  {
    title: `${own} hashes`,
    file: `${own}/g-hash.ts`,
    source: `import { createHash } from "node:crypto";\nexport const kept = createHash;\n`,
    refusedBy: undefined,
  },
]);

const OUTSIDE: Fixture[] = [
  imports("the enclave opens a socket", "enclave/o1.ts", "node:net", true),
  imports("an enclave adapter reads files", "enclave/adapters/o2.ts", "node:fs", false),
  imports("the host opens a socket", "host/o3.ts", "node:net", false),
];

const longFunction = `export function long(): void {\n${"  void 0;\n".repeat(61)}}\n`;
const STYLE: Fixture[] = [
  refused("401 lines", "host/s1.ts", "export {};\n".repeat(401), "eslint(max-lines)"),
  refused("a function of 63 lines", "host/s2.ts", longFunction, "eslint(max-lines-per-function)"),
  refused("any", "host/s3.ts", "export const a: any = 1;\n", "typescript(no-explicit-any)"),
  refused(
    "a non-null assertion",
    "host/s4.ts",
    "export const f = (x: string | null): string => x!;\n",
    "typescript(no-non-null-assertion)",
  ),
  refused(
    "a type assertion",
    "host/s5.ts",
    "export const f = (x: unknown): string => x as string;\n",
    "typescript(consistent-type-assertions)",
  ),
  {
    title: "as const",
    file: "host/s6.ts",
    source: "export const a = [1] as const;\n",
    refusedBy: undefined,
  },
  refused("a default export", "host/s7.ts", "export default 1;\n", "import(no-default-export)"),
  refused(
    "a floating promise",
    "host/s8.ts",
    "async function later(): Promise<void> {}\nexport function f(): void {\n  later();\n}\n",
    "typescript(no-floating-promises)",
  ),
];

const FIXTURES = [...matrix(), ...WAYS, ...ROOMS, ...PACKAGES, ...PURITY, ...OUTSIDE, ...STYLE];

let folder = "";
let codes: ReadonlyMap<string, readonly string[]> = new Map();

beforeAll(() => {
  folder = fs.mkdtempSync(path.join(os.tmpdir(), "symphony-lint-"));
  for (const name of ["oxlint.config.ts", "tsconfig.json", "scripts/lint/boundaries.js"]) {
    fs.cpSync(path.join(ROOT, name), path.join(folder, name));
  }
  fs.writeFileSync(path.join(folder, "package.json"), JSON.stringify({ type: "module" }));
  fs.symlinkSync(path.join(ROOT, "node_modules"), path.join(folder, "node_modules"));
  for (const { file, source } of FIXTURES) {
    fs.mkdirSync(path.dirname(path.join(folder, file)), { recursive: true });
    fs.writeFileSync(path.join(folder, file), source);
  }
  codes = lint(folder);
});

afterAll(() => fs.rmSync(folder, { recursive: true, force: true }));

function lint(cwd: string): ReadonlyMap<string, readonly string[]> {
  const args = [path.join(ROOT, "node_modules/oxlint/bin/oxlint"), "-f", "json", "."];
  const run = spawnSync(process.execPath, args, { cwd, encoding: "utf8", maxBuffer: 64 << 20 });
  const found = new Map<string, string[]>();
  for (const { filename, code } of Report.parse(JSON.parse(run.stdout)).diagnostics) {
    found.set(filename, [...(found.get(filename) ?? []), code]);
  }
  return found;
}

test("the fixture files have distinct names", () => {
  expect(new Set(FIXTURES.map(({ file }) => file)).size).toBe(FIXTURES.length);
});

test.for(FIXTURES)("lint: $title -> $refusedBy", ({ file, refusedBy }) => {
  const found = codes.get(file) ?? [];
  if (refusedBy === undefined) expect(found).not.toContain(BOUNDARIES);
  else expect(found).toContain(refusedBy);
});

test("a violation makes the command fail", () => {
  const args = [path.join(ROOT, "node_modules/oxlint/bin/oxlint"), "protocol/from-host.ts"];
  const run = (): Buffer => execFileSync(process.execPath, args, { cwd: folder, stdio: "pipe" });
  expect(run).toThrow();
});

test("no shipped file switches boundaries or purity off", () => {
  const off =
    /(?:ox|es)lint-disable(?:-next-line|-line)?(?:\s*(?:\*\/|$)|.*(?:boundaries|no-restricted))/m;
  const folders = Object.keys(ALLOWED).filter((name) => fs.existsSync(path.join(ROOT, name)));
  const files = folders.flatMap((name) =>
    fs
      .readdirSync(path.join(ROOT, name), { recursive: true, encoding: "utf8" })
      .filter((file) => file.endsWith(".ts"))
      .map((file) => path.join(name, file)),
  );
  const offenders = files.filter((file) =>
    off.test(fs.readFileSync(path.join(ROOT, file), "utf8")),
  );
  expect(offenders).toEqual([]);
});
