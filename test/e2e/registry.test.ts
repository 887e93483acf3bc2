import { execFile } from "node:child_process";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";

import { afterAll, beforeAll, expect, test } from "vitest";
import { z } from "zod";

import { readReceipt } from "../../examples/client/parse.ts";
import { REPOSITORY_ROOT, startLiveNetwork, type LiveNetwork } from "../helpers/live-network.ts";
import { livePlan } from "../helpers/live-plan.ts";
import { runSymphony } from "../helpers/symphony-process.ts";

let live: LiveNetwork;
const plan = livePlan({ network: "registry" });

beforeAll(async () => {
  live = await startLiveNetwork(plan);
});
afterAll(async () => live.stop());

const granularity = {
  temporal_resolution: null,
  spatial_resolution: null,
  numeric_resolution: null,
  categorical_resolution: "group",
};

const endedSchema = z.object({
  task_id: z.string(),
  state: z.literal("completed"),
  delivered: z.literal(true),
  result: z.object({ kind: z.literal("audience"), size: z.int() }),
});

/** Three bands of age, and who may ask for them. */
const DOCUMENT = {
  semantic_version: "semantics-2",
  derivation_rules: [
    {
      rule_id: "age-band",
      source_attributes: [
        {
          domain_id: "retail",
          attribute_id: "age",
          cross_domain_policy: null,
          mediation_authority: null,
        },
      ],
      transform_type: "bucket",
      transform_params: {
        kind: "boundaries",
        boundaries: [40, 60],
        labels: ["young", "middle", "senior"],
      },
      output_type: "text",
      output_scale: 0,
      output_range: null,
      privacy_impact_epsilon_micro: 200_000,
    },
  ],
  query_attributes: [
    {
      query_attribute_id: "age-band",
      domain_id: "retail",
      status: "active",
      supersedes: null,
      derivation_rule_id: "age-band",
      query_granularity: granularity,
      privacy_class: 1,
      allowed_usage_scope: ["marketing"],
      restricted_to: [],
    },
  ],
};

async function symphony(...words: string[]): Promise<string> {
  const ended = await runSymphony([...words, "--dir", live.directory], { cwd: live.directory });
  expect(ended, ended.stderr).toMatchObject({ code: 0 });
  return ended.stdout;
}

async function fileOf(name: string, content: unknown): Promise<string> {
  const file = join(live.directory, name);
  await writeFile(file, JSON.stringify(content));
  return file;
}

test("[QA-1][QA-3][QA-4][DR-2][DR-3] a derived attribute is registered and queried by the command line, and verified offline", async () => {
  const document = await fileOf("registry.json", DOCUMENT);
  const key = (number: number): string => join(live.directory, "governance", `key-${number}.seed`);
  const applied = await symphony("registry", "apply", document, "--key", key(1), "--key", key(2));
  expect(applied).toContain("semantics-1 -> semantics-2");
  const request = await fileOf("request.json", {
    record_scope: "customers",
    usage_scope: "marketing",
    vault_ids: plan.vaults.map(({ vaultId }) => vaultId),
    parameters: {
      task_class: "query",
      predicate: {
        operator: "OR",
        operands: [
          { attribute: "age-band", op: "eq", value: "senior" },
          { attribute: "age", op: "range", min: 40, max: 60 },
        ],
      },
      audience_cap: 1_000,
    },
    epsilon_micro: 8_000_000,
    budget_lock_minor: 10_000,
  });
  const text = await symphony("submit", request, "--wait", "--json");
  const ended = endedSchema.parse(JSON.parse(text));
  // Ages are 20 to 79, of 100 people in all.
  const people = Array.from({ length: 100 }, (_, person) => 20 + ((person * 11) % 60));
  const expected = people.filter((age) => age >= 40).length;
  expect(Math.abs(ended.result.size - expected)).toBeLessThan(30);
  const out = join(live.directory, "task.symphony");
  await symphony("export", ended.task_id, "--out", out);
  const verified = await runSymphony(
    ["verify", out, "--trust", join(live.directory, "trust.json"), "--json"],
    { cwd: live.directory },
  );
  expect(verified, verified.stderr + verified.stdout).toMatchObject({ code: 0 });
});

test("the client's examples run on a network: a query as a program, a receipt by its record", async () => {
  const example = join(REPOSITORY_ROOT, "examples", "client", "main.ts");
  const words = ["--disable-warning=ExperimentalWarning", example, "query", live.directory];
  const { stdout } = await promisify(execFile)(process.execPath, words);
  expect(stdout).toMatch(/^(about \d+ people|fewer people than may be told)\n$/);
  const [record] = (await (await live.operator("vault-a")).records({ scope: "receipts" })).records;
  const told = await readReceipt(live.submitter, {
    ...{ record_scope: "receipts", usage_scope: "personal_use", vault_ids: ["vault-a"] },
    parameters: { task_class: "parse", record_commitment: record?.commitment },
    epsilon_micro: 0,
  });
  expect(told).toMatch(/^a receipt of [A-Z]/);
});
