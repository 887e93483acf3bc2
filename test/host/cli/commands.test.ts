import * as fs from "node:fs";
import path from "node:path";

import { afterAll, beforeAll, expect, test } from "vitest";
import { z } from "zod";

import { EXIT } from "../../../cli/index.ts";
import { startCoordinator, type LiveCoordinator } from "../../helpers/live-coordinator.ts";
import { createNetwork } from "../../helpers/network.ts";
import { submitterFolder, symphony as speak } from "../../helpers/spoken.ts";

let live: LiveCoordinator;
let folder: string;

beforeAll(async () => {
  const network = await createNetwork();
  live = await startCoordinator(network);
  await live.cosign();
  folder = submitterFolder(live);
});

afterAll(async () => {
  await live.stop();
  for (const each of [folder, live.folder]) fs.rmSync(each, { recursive: true, force: true });
});

let out = "";
let err = "";

async function symphony(...words: string[]): Promise<number> {
  const said = await speak(...words);
  ({ out, err } = said);
  return said.exit;
}

function requestFile(changes: Record<string, unknown> = {}): string {
  const file = path.join(folder, "request.json");
  const request = {
    record_scope: "customers",
    usage_scope: "marketing",
    vault_ids: ["vault-2", "vault-1"],
    parameters: {
      task_class: "query",
      predicate: {
        operator: "AND",
        operands: [{ attribute: "customer.age", op: "range", min: 20, max: 60 }],
      },
      audience_cap: 100,
    },
    epsilon_micro: 1_000_000,
    ...changes,
  };
  fs.writeFileSync(file, JSON.stringify(request));
  return file;
}

const COMMANDS = [
  "ingest",
  "submit",
  "status",
  "export",
  "explain",
  "challenge",
  "verify",
  "attest",
  "vault",
  "registry",
  "doctor",
];

test("without words it says what there is, and exits as wrongly called", async () => {
  expect(await symphony()).toBe(EXIT.usage);
  for (const command of COMMANDS) expect(err).toContain(command);
  const usage = err;
  expect(await symphony("--help")).toBe(EXIT.ok);
  expect(out).toBe(usage);
});

test.for(COMMANDS)("%s --help says how it is called, and exits 0", async (command) => {
  expect(await symphony(command, "--help")).toBe(EXIT.ok);
  expect(out).toContain(`symphony ${command}`);
  expect(err).toBe("");
});

test("an unknown command names the known ones", async () => {
  expect(await symphony("frobnicate")).toBe(EXIT.usage);
  for (const command of COMMANDS) expect(err).toContain(command);
  expect(err).toContain("got frobnicate");
});

test.for([
  { words: ["status"], expected: "one task identifier" },
  { words: ["status", "a", "b"], expected: "one task identifier" },
  { words: ["explain"], expected: "one task identifier" },
  { words: ["export"], expected: "one task identifier" },
  { words: ["challenge"], expected: "one task identifier" },
  { words: ["challenge", "t-1"], expected: "--by, --key and --reason" },
  ...["slice 1", "round", "round 1 of x", "round -1", "everything"].map((target) => ({
    words: ["challenge", "t", "--by", "v", "--key", "k", "--reason", "r", "--target", target],
    expected: "--target",
  })),
  { words: ["submit"], expected: "one REQUEST file" },
  { words: ["ingest"], expected: "one file or folder" },
  { words: ["ingest", "x.csv"], expected: "--scope" },
  { words: ["ingest", "x.csv", "--scope", "s"], expected: "--vault" },
  { words: ["vault"], expected: "--vault" },
  { words: ["verify"], expected: "FILE" },
  { words: ["verify", "f"], expected: "--trust" },
  { words: ["status", "t-1", "--bogus"], expected: "--bogus" },
  { words: ["submit", "r.json", "--dir"], expected: "--dir" },
  { words: ["status", "t-1", "--dir", "/nowhere"], expected: "/nowhere/network.json" },
  { words: ["verify", "/nowhere/f", "--trust", "/nowhere/t"], expected: "/nowhere/t" },
])("$words is a usage error that names $expected", async ({ words, expected }) => {
  expect(await symphony(...words)).toBe(EXIT.usage);
  expect(err).toContain(expected);
  expect(out).toBe("");
});

test("with --json an error is one object on standard error", async () => {
  expect(await symphony("status", "--json")).toBe(EXIT.usage);
  expect(JSON.parse(err)).toEqual({ error: "usage", message: expect.any(String) });
  expect(await symphony("status", "t-9", "--dir", folder, "--json")).toBe(EXIT.refused);
  expect(JSON.parse(err)).toEqual({
    error: "EXECUTION_TASK_UNKNOWN",
    message: expect.stringContaining("task"),
  });
});

test("a task is submitted, and its status told in words and as JSON", async () => {
  expect(await symphony("submit", requestFile(), "--dir", folder)).toBe(EXIT.ok);
  const [taskId = ""] = out.split(" ");
  expect(taskId).toMatch(/^t-[0-9a-f]{32}$/);
  expect(await symphony("status", taskId, "--dir", folder)).toBe(EXIT.ok);
  expect(out).toMatch(new RegExp(`^${taskId} query (accepted|resolving) SIMULATED\n$`));
  expect(await symphony("status", taskId, "--dir", folder, "--json")).toBe(EXIT.ok);
  expect(JSON.parse(out)).toMatchObject({ task_id: taskId, task_class: "query", simulated: true });
  expect(await symphony("export", taskId, "--dir", folder)).toBe(EXIT.unavailable);
  expect(err).toContain("DELIVERY_NOT_READY");
});

test("a task without evidence is explained as far as it has come", async () => {
  expect(await symphony("submit", requestFile(), "--dir", folder, "--json")).toBe(EXIT.ok);
  const { task_id: taskId } = z.object({ task_id: z.string() }).parse(JSON.parse(out));
  expect(await symphony("explain", taskId, "--dir", folder)).toBe(EXIT.ok);
  expect(out).toContain("there is no evidence to explain it by");
  expect(await symphony("explain", "t-9", "--dir", folder)).toBe(EXIT.refused);
  expect(err).toContain("EXECUTION_TASK_UNKNOWN");
});

test.for([
  { changes: { epsilon_micro: 1 }, code: "PRIVACY_BUDGET_EXCEEDED" },
  { changes: { vault_ids: ["vault-1"] }, code: "POLICY_DECLINED" },
  { changes: { vault_ids: ["vault-1", "vault-9"] }, code: "AUTH_UNKNOWN_ACTOR" },
  { changes: { record_scope: "shoes" }, code: "DERIVATION_UNRESOLVED" },
  { changes: { usage_scope: "fun" }, code: "SCHEMA_CONFIG_MALFORMED" },
  { changes: { shoe: 42 }, code: "SCHEMA_CONFIG_MALFORMED" },
  { changes: { parameters: { task_class: "guess" } }, code: "SCHEMA_CONFIG_MALFORMED" },
  { changes: { parameters: { task_class: "query" } }, code: "SCHEMA_CONFIG_MALFORMED" },
])("[CB-2] a refused request exits 1 with $code", async ({ changes, code }) => {
  expect(await symphony("submit", requestFile(changes), "--dir", folder)).toBe(EXIT.refused);
  expect(err).toContain(code);
});

test("a file that is neither YAML nor JSON is refused by its name and place", async () => {
  const file = path.join(folder, "broken.json");
  fs.writeFileSync(file, "{");
  expect(await symphony("submit", file, "--dir", folder)).toBe(EXIT.refused);
  expect(err).toContain(`SCHEMA_JSON_MALFORMED: request ${file} line 1 column `);
});

test("a coordinator that does not answer is exit code 3", async () => {
  const away = path.join(folder, "away");
  fs.mkdirSync(away);
  const network = fs.readFileSync(path.join(folder, "network.json"), "utf8");
  const moved = network.replace(live.publicUrl, "http://127.0.0.1:1");
  fs.writeFileSync(path.join(away, "network.json"), moved);
  expect(await symphony("status", "t-1", "--dir", away)).toBe(EXIT.unavailable);
  expect(err).toContain("COORDINATION_UNAVAILABLE");
});

test("--version says the package's version, and a word that is no command is told all there are", async () => {
  const { version } = z
    .object({ version: z.string() })
    .parse(JSON.parse(fs.readFileSync(path.resolve("package.json"), "utf8")));
  expect([await symphony("--version"), out]).toEqual([EXIT.ok, `symphony ${version}\n`]);
  expect(await symphony("verfy")).toBe(EXIT.usage);
  for (const word of ["demo", "up", "sim", "verify", "doctor"]) expect(err).toContain(word);
});

test("submit takes no --out without --wait, for there is no model yet", async () => {
  expect(await symphony("submit", requestFile(), "--dir", folder, "--out", "model.onnx")).toBe(
    EXIT.usage,
  );
  expect(err).toContain("--wait");
});
