import * as fs from "node:fs";
import path from "node:path";

import { afterAll, beforeAll, describe, expect, test } from "vitest";

import { EXIT } from "../../../cli/index.ts";
import type { QueryAttribute } from "../../../protocol/index.ts";
import { granularityOf, queryAttributeOf, ruleNamed } from "../../helpers/derived-semantics.ts";
import { startCoordinator, type LiveCoordinator } from "../../helpers/live-coordinator.ts";
import { createNetwork, openedNow } from "../../helpers/network.ts";
import { submitterFolder, symphony as speak, writeSeed } from "../../helpers/spoken.ts";

let live: LiveCoordinator;
let folder: string;

beforeAll(async () => {
  const network = await createNetwork({
    policy: (policy) => ({ ...policy, epoch: { ...policy.epoch, time_ms_max: 3_600_000 } }),
    genesis: (genesis) => ({
      ...openedNow(genesis),
      semantics: {
        ...genesis.semantics,
        record_scopes: genesis.semantics.record_scopes.map((scope) => ({
          ...scope,
          foreign_attributes:
            scope.record_scope_id === "receipts"
              ? [{ domain_id: "customer", attribute_id: "customer.age" }]
              : [],
        })),
      },
    }),
  });
  live = await startCoordinator(network);
  await live.cosign();
  folder = submitterFolder(live);
  writeSeed(inFolder("key-1.seed"), "governance 1");
  writeSeed(inFolder("key-2.seed"), "governance 2");
  writeSeed(inFolder("authority.seed"), "vault-1 signing");
});

afterAll(async () => {
  await live.stop();
  for (const each of [folder, live.folder]) fs.rmSync(each, { recursive: true, force: true });
});

/** Events that were registered. */
let events = 0;

async function sequence(): Promise<number> {
  return (await live.client.governance(live.network.genesisDigest)).sequence;
}

let out = "";
let err = "";

async function symphony(...words: string[]): Promise<number> {
  const spoken = await speak(...words, "--dir", folder);
  ({ out, err } = spoken);
  return spoken.exit;
}

function inFolder(name: string): string {
  return path.join(folder, name);
}

function documentOf(content: unknown, name = "registry.json"): string {
  const text = typeof content === "string" ? content : JSON.stringify(content, null, 2);
  fs.writeFileSync(inFolder(name), text);
  return inFolder(name);
}

/** Without what governance keeps by itself, as a person writes it. */
function written<T extends { readonly semantic_version: string }>(entry: T) {
  const { semantic_version: _, ...rest } = entry;
  return rest;
}

const KEYS = (): string[] => ["--key", inFolder("key-1.seed"), "--key", inFolder("key-2.seed")];

async function apply(content: unknown, ...more: string[]): Promise<number> {
  const code = await symphony("registry", "apply", documentOf(content), ...KEYS(), ...more);
  if (code === EXIT.ok && out.includes("registered")) {
    events += 1;
    await live.cosign();
    // What Vaults have cosigned is what the next command is planned against.
    await expect.poll(() => sequence(), { timeout: 60_000 }).toBe(events);
  }
  return code;
}

/** Submits a query of one operand; the coordinator judges its meaning at once. */
async function asked(
  operand: Readonly<Record<string, unknown>>,
  change: Readonly<Record<string, unknown>> = {},
): Promise<number> {
  const request = {
    record_scope: "customers",
    usage_scope: "marketing",
    vault_ids: ["vault-1", "vault-2"],
    parameters: {
      task_class: "query",
      predicate: { operator: "AND", operands: [operand] },
      audience_cap: 100,
    },
    epsilon_micro: 1_000_000,
    ...change,
  };
  return symphony("submit", documentOf(request, "request.json"), "--json");
}

const SENIOR = { attribute: "customer.age-band", op: "eq", value: "senior" };
const rule = ruleNamed("age-band");
const query = queryAttributeOf(rule);
const entries = (change: Partial<QueryAttribute> = {}) => ({
  derivation_rules: [written(rule)],
  query_attributes: [{ ...written(query), ...change }],
});

/** A rule and its query attribute are planned, registered, and resolve. */
async function registers(): Promise<void> {
  expect(await asked(SENIOR)).toBe(EXIT.refused);
  expect(err).toContain("DERIVATION_UNRESOLVED");
  const content = { semantic_version: "semantics-2", ...entries() };
  expect(await symphony("registry", "plan", documentOf(content))).toBe(EXIT.ok);
  expect(out).toBe(
    "semantics-1 -> semantics-2\n" +
      "  + query attribute customer/customer.age-band (active)\n" +
      "  + derivation rule age-band\n",
  );
  expect(await asked(SENIOR)).toBe(EXIT.refused);
  expect(await apply(content)).toBe(EXIT.ok);
  expect(await asked(SENIOR)).toBe(EXIT.ok);
}

/** A document that is applied twice changes nothing the second time. */
async function repeats(): Promise<void> {
  const content = { semantic_version: "semantics-2", ...entries() };
  expect(await apply(content)).toBe(EXIT.ok);
  expect(out).toBe("semantics-2: nothing to change\n");
}

/** A derived operand costs at least the epsilon of its rule. */
async function prices(): Promise<void> {
  for (const change of [{ usage_scope: "personal_use" }, { record_scope: "shoes" }]) {
    expect(await asked(SENIOR, change)).toBe(EXIT.refused);
    expect(err).toContain("DERIVATION_UNRESOLVED");
  }
  expect(await asked(SENIOR, { epsilon_micro: 299_999 })).toBe(EXIT.refused);
  expect(err).toContain("PRIVACY_BUDGET_EXCEEDED");
}

/** What is registered cannot say something else. */
async function contradicts(): Promise<void> {
  const finer = granularityOf({ categorical_resolution: "exact" });
  const content = { semantic_version: "semantics-3", ...entries({ query_granularity: finer }) };
  expect(await apply(content)).toBe(EXIT.refused);
  expect(err).toContain("query attribute customer/customer.age-band, query_granularity: expected");
}

/** A mediated rule waits for its authority. */
async function mediates(): Promise<void> {
  const [source] = rule.source_attributes;
  const mediated = {
    ...written(rule),
    rule_id: "owner-age",
    source_attributes: [
      { ...source, cross_domain_policy: "mediated", mediation_authority: "vault-1" },
    ],
  };
  const crossing = { query_attribute_id: "receipt.owner-age", domain_id: "receipt" };
  const content = {
    semantic_version: "semantics-3",
    derivation_rules: [mediated],
    query_attributes: [{ ...written(query), ...crossing, derivation_rule_id: "owner-age" }],
  };
  expect(await apply(content)).toBe(EXIT.refused);
  expect(err).toContain("expected the approval of vault-1 for rule owner-age, got none");
  const approving = ["--authority", "vault-1", "--rule", "owner-age"];
  const file = inFolder("registry.json");
  const approval = inFolder("owner-age.approval");
  const words = ["registry", "approve", file, ...approving, "--out", approval];
  expect(await symphony(...words, "--key", inFolder("authority.seed")), err).toBe(EXIT.ok);
  expect(await apply(content, "--approval", approval), err).toBe(EXIT.ok);
  const operand = { attribute: "receipt.owner-age", op: "eq", value: "senior" };
  expect(await asked(operand, { record_scope: "receipts" }), err).toBe(EXIT.ok);
}

/** A version in YAML: domains stand below one another, and a literal must be one that a decade begins with. */
async function layers(): Promise<void> {
  const decade = { ...ruleNamed("age-decade"), rule_id: "decade" };
  const projection = {
    ...{ ...written(queryAttributeOf(decade)), query_attribute_id: "customer.decade" },
    ...{ derivation_rule_id: "decade", privacy_class: 1 },
  };
  const cheaper = { ...written(decade), privacy_impact_epsilon_micro: 99_000 };
  const version = (layer: string): string =>
    `semantic_version: semantics-4
domains:
  - {domain_id: commerce, parent_domain_id: null, layer: family, domain_version: 1,
     status: active, cross_domain: denied}
  - domain_id: commerce.online
    parent_domain_id: commerce
    layer: ${layer} # below its parent
    domain_version: 1
    status: active
    cross_domain: denied
derivation_rules: [${JSON.stringify(cheaper)}]
query_attributes: [${JSON.stringify(projection)}]
`;
  expect(await apply(version("global"))).toBe(EXIT.refused);
  expect(err).toContain("domain commerce.online: expected a registered parent of a higher layer");
  expect(await apply(version("shop"))).toBe(EXIT.refused);
  expect(err).toContain("registry.json line 7 column 12, domains.1.layer: ");
  expect(await apply(version("concrete")), err).toBe(EXIT.ok);
  const from = (value: number) => ({ attribute: "customer.decade", op: "eq", value });
  expect(await asked(from(45))).toBe(EXIT.refused);
  expect(err).toContain("a literal at the registered granularity");
  expect(await asked(from(40)), err).toBe(EXIT.ok);
}

/** A JOIN takes two operands, costs half of the dearest for the second, and crosses domains by rules alone. */
async function joins(): Promise<void> {
  const joining = (operands: readonly object[], change: object = {}) =>
    asked(SENIOR, {
      parameters: {
        task_class: "query",
        predicate: { operator: "JOIN", operands },
        audience_cap: 100,
      },
      ...change,
    });
  const porto = { attribute: "customer.city", op: "eq", value: "Porto" };
  expect(await joining([SENIOR])).toBe(EXIT.refused);
  expect(err).toContain("COMPOSITION_INVALID");
  expect(await joining([SENIOR, porto], { epsilon_micro: 449_999 })).toBe(EXIT.refused);
  expect(err).toContain("PRIVACY_BUDGET_EXCEEDED");
  expect(await joining([SENIOR, porto], { epsilon_micro: 450_000 }), err).toBe(EXIT.ok);
  const owner = { attribute: "receipt.owner", op: "eq", value: "anna" };
  const age = { attribute: "customer.age", op: "eq", value: 40 };
  const senior = { attribute: "receipt.owner-age", op: "eq", value: "senior" };
  const receipts = { record_scope: "receipts" };
  expect(await joining([owner, age], receipts)).toBe(EXIT.refused);
  expect(err).toContain("COMPOSITION_INVALID");
  expect(await joining([owner, senior], receipts), err).toBe(EXIT.ok);
}

/** Steps of lifecycles end new use. */
async function ends(): Promise<void> {
  expect(
    await apply({ semantic_version: "semantics-5", ...entries({ status: "restricted" }) }),
    err,
  ).toBe(EXIT.ok);
  expect(out).toContain("~ query attribute customer/customer.age-band: active -> restricted");
  expect(await asked(SENIOR)).toBe(EXIT.refused);
  const state = await live.client.governance(live.network.genesisDigest);
  const city = state.semantics.attributes.find((each) => each.attribute_id === "customer.city");
  const { effective_from, deprecated_from, retired_from, ...plain } = city ?? {};
  const moved = (status: string) => ({ attributes: [{ ...plain, status }] });
  const porto = { attribute: "customer.city", op: "eq", value: "Porto" };
  expect(await asked(porto), err).toBe(EXIT.ok);
  expect(await apply({ semantic_version: "semantics-6", ...moved("retired") })).toBe(EXIT.refused);
  expect(err).toContain("EXECUTION_ILLEGAL_TRANSITION");
  expect(await apply({ semantic_version: "semantics-6", ...moved("deprecated") }), err).toBe(
    EXIT.ok,
  );
  expect(await asked(porto)).toBe(EXIT.refused);
  const domain = state.semantics.domains.find((each) => each.domain_id === "customer");
  const ended = {
    semantic_version: "semantics-7",
    domains: [{ ...domain, status: "deprecated" }],
  };
  expect(await apply(ended), err).toBe(EXIT.ok);
  const age = { attribute: "customer.age", op: "eq", value: 30 };
  expect(await asked(age)).toBe(EXIT.refused);
  expect(err).toContain("domain customer");
  expect([effective_from, deprecated_from, retired_from]).toEqual(["semantics-1", null, null]);
}

describe("a registry over HTTP and the command line", () => {
  test("[DR-1][DR-3][DR-4][DR-5][QA-1][QA-2][QG-2][CA-4][CA-5][CA-6][DM-1][DM-2][DM-3][DM-4][CA-3][QG-1][AC-1][AC-4] versions follow one another", async () => {
    await registers();
    await repeats();
    await prices();
    await contradicts();
    await mediates();
    await layers();
    await joins();
    await ends();
  });

  test("[QG-2][CA-2] a finer projection at no higher class is refused before anything is signed", async () => {
    const decade = { ...ruleNamed("age-decade"), privacy_impact_epsilon_micro: 99_000 };
    const content = {
      semantic_version: "semantics-9",
      derivation_rules: [written(decade)],
      query_attributes: [{ ...written(queryAttributeOf(decade)), privacy_class: 2 }],
    };
    expect(await symphony("registry", "plan", documentOf(content))).toBe(EXIT.refused);
    expect(err).toContain("attribute customer/customer.age: expected a higher class and cost");
  });

  test("[CA-1] an attribute is one entry of one registered domain, and says all that it is known by", async () => {
    const { semantics } = await live.client.governance(live.network.genesisDigest);
    const [age] = semantics.attributes.filter((each) => each.attribute_id === "customer.age");
    if (age === undefined) throw new Error("expected an age");
    const { effective_from: _from, deprecated_from: _until, retired_from: _end, ...rest } = age;
    const renamed = { attribute_id: "receipt.shoe", domain_id: "receipt", status: "proposed" };
    const plain = { ...written(rest), ...renamed };
    const planned = async (attributes: readonly object[]) => {
      const content = documentOf({ semantic_version: "semantics-9", attributes });
      const exit = await symphony("registry", "plan", content);
      return exit === EXIT.ok ? out : err;
    };
    expect(await planned([plain])).toContain("+ attribute receipt/receipt.shoe (proposed)");
    expect(await planned([{ ...plain, domain_id: "shoes" }])).toContain("shoes");
    expect(err).toContain("DERIVATION_REGISTRY_INVALID");
    expect(await planned([plain, plain])).toContain("receipt.shoe");
    expect(await planned([plain, plain])).toContain("DERIVATION_REGISTRY_INVALID");
    const { attribute_id: _name, ...nameless } = plain;
    expect(await planned([nameless])).toContain("attribute_id: expected");
  });

  test.for([
    { title: "no JSON", content: "{,}", expected: "line 1 column 2: expected YAML or JSON" },
    {
      title: "a field of another kind",
      content:
        '{\n  "semantic_version": "s",\n  "domains": [\n    {"domain_id": "a",\n     "domain_version": "1"}\n  ]\n}',
      expected: "line 5 column 24, domains.0.domain_version: ",
    },
    {
      title: "a field that is missing",
      content:
        '{\n  "semantic_version": "s",\n  "domains": [\n    {"domain_id": "a", "domain_version": 1}\n  ]\n}',
      expected: "line 4 column 5, domains.0.",
    },
    {
      title: "a field that there is not",
      content: '{\n  "semantic_version": "s",\n  "shoes": []\n}',
      expected: "line 3 column 12, shoes: expected no such field",
    },
  ])("a document with $title is refused by line", async ({ content, expected }) => {
    expect(await symphony("registry", "plan", documentOf(content))).toBe(EXIT.refused);
    expect(err).toContain(expected);
  });

  test("too few governance keys register nothing", async () => {
    const content = documentOf({
      semantic_version: "semantics-9",
      derivation_rules: [written(ruleNamed("is-adult"))],
    });
    const words = ["registry", "apply", content, "--key", inFolder("key-1.seed")];
    expect(await symphony(...words)).toBe(EXIT.refused);
    expect(err).toContain("GOVERNANCE_QUORUM_NOT_MET");
  });

  test.for([
    { words: ["registry", "plan"] },
    { words: ["registry", "shred", "x"] },
    { words: ["registry", "apply", "registry.json"] },
    { words: ["registry", "approve", "registry.json"] },
  ])("$words is a usage error", async ({ words }) => {
    expect(await symphony(...words)).toBe(EXIT.usage);
  });
});
