import * as fs from "node:fs";
import os from "node:os";
import path from "node:path";

import { afterAll, expect, test } from "vitest";

import { readRegistryDocument } from "../../host/cli/registry/document.ts";
import { planRegistration } from "../../host/cli/registry/plan.ts";
import { genesisState, registerSemantics, resolveRequest } from "../../protocol/index.ts";
import { testRequest } from "../helpers/network-task.ts";
import { createNetwork } from "../helpers/network.ts";

const PAGE = fs.readFileSync(path.resolve(import.meta.dirname, "../../docs/registry.md"), "utf8");
const folder = fs.mkdtempSync(path.join(os.tmpdir(), "symphony-registry-page-"));
const file = path.join(folder, "loyalty.yaml");
const network = await createNetwork();
const state = genesisState(network.genesisBytes);

afterAll(() => fs.rmSync(folder, { recursive: true, force: true }));

function example(change: (text: string) => string = (same) => same): string {
  fs.writeFileSync(file, change(/```yaml\n([\s\S]*?)```/.exec(PAGE)?.[1] ?? ""));
  return file;
}

test("[DM-1][QG-1][CA-3] the page's registry is registered, and means what the page says", async () => {
  const document = await readRegistryDocument(example(), state.semantics);
  const { registration, changes } = planRegistration(state.semantics, document, []);
  expect(changes.map(({ name }) => name)).toContain("loyalty/loyalty.tier");
  const registered = registerSemantics(state, registration);
  const asking = async (attribute: string, value: number | string) =>
    resolveRequest(
      await testRequest(
        network,
        {
          task_class: "query",
          predicate: { operator: "AND", operands: [{ attribute, op: "eq", value }] },
          audience_cap: 100,
        },
        { record_scope: "members" },
      ),
      { ...state, ...registered },
    );
  const [tier] = (await asking("loyalty.tier", "gold")).projections;
  expect(tier).toMatchObject({ rule: { rule_id: "loyalty-tier" }, privacyClass: 2 });
  expect((await asking("loyalty.points", 300)).projections).toHaveLength(1);
  await expect(asking("loyalty.points", 350)).rejects.toThrow("registered granularity");
  await expect(asking("loyalty.member", "anna")).rejects.toMatchObject({
    code: "DERIVATION_UNRESOLVED",
  });
});

test("a fault is told as the page tells it", async () => {
  const [, told = ""] = /^ {4}registry document loyalty\.yaml (line .*)$/m.exec(PAGE) ?? [];
  const broken = example((text) => text.replace("layer: concrete", "layer: shop"));
  await expect(readRegistryDocument(broken, state.semantics)).rejects.toThrow(
    `registry document ${file} ${told}`,
  );
});
