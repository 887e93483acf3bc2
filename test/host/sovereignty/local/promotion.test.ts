import * as fs from "node:fs";
import path from "node:path";

import { expect, test } from "vitest";

import { exactGranularity } from "../../../helpers/network-data.ts";
import { customersWith, inEpoch, ingestIgnoring } from "../../../helpers/pool-sources.ts";
import { operate } from "../../http/vault/operated.ts";
import { newFixture, newFolder } from "../vault-fixture.ts";

test("[LA-3] [LA-4] the operator has promotions judged by the command line, which promotes nothing", async () => {
  const fixture = await newFixture({
    policy: (policy) => ({
      ...policy,
      semantics: {
        ...policy.semantics,
        local_attributes: {
          ...{ high_activity_domains: ["customer"], minimum_vaults: 1 },
          ...{ stability_percent: 20, vault_scoped_epochs: 1 },
        },
      },
    }),
  });
  const text = customersWith(400, "years", String);
  await ingestIgnoring(fixture, text, { epochId: 2, ignore: ["years"] });
  const governance = inEpoch(fixture.governance, 6);
  const operated = await operate({ ...fixture, governance });
  const folder = newFolder();
  const file = (name: string, value?: unknown): string => {
    const at = path.join(folder, name);
    if (value !== undefined) fs.writeFileSync(at, JSON.stringify(value));
    return at;
  };
  const words = ["--scope", "customers", "--column", "years", "--attribute", "customer.years"];
  await operated.vault("attributes", "candidates", ...words, "--out", file("c.cose"));
  const canonical = file("canonical.json", {
    ...{ to: "canonical", exception: null, resolutions: [] },
    definition: {
      ...{ attribute_id: "customer.years", domain_id: "customer", semantic_version: "next" },
      ...{ scope: "network", supersedes: null, type: "integer", scale: 0 },
      ...{ range: { min: 0, max: 120 }, directly_queryable: true, default_privacy_class: 3 },
      default_query_granularity: exactGranularity("integer"),
      privacy_impact_epsilon_micro: 1_000,
    },
  });
  const given = ["--candidate", file("c.cose"), "--out", file("registry.json")];
  const judged = await operated.vault("attributes", "promote", canonical, ...given);
  expect(judged.out).not.toContain("NOT MET");
  expect(judged.exit).toBe(0);
  const document: unknown = JSON.parse(fs.readFileSync(file("registry.json"), "utf8"));
  expect(document).toMatchObject({
    semantic_version: "next",
    attributes: [{ status: "proposed" }],
  });
  const scoped = file("scoped.json", {
    ...{ to: "vault_scoped_query", scope: "customers", column: "years", derivation_rule: null },
    ...{ query_granularity: null, privacy_class: 3, allowed_usage_scope: "vault_local" },
    operator_approves: true,
  });
  const refused = await operated.vault("attributes", "promote", scoped);
  expect(refused).toMatchObject({
    exit: 1,
    out: expect.stringMatching(/derivation_rule +NOT MET/),
  });
  expect(refused.out).toMatch(/stability +met/);
});
