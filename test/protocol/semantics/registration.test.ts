import { describe, expect, test } from "vitest";

import {
  CROSS_DOMAIN_APPROVAL,
  GENESIS,
  encodeCbor,
  foldGovernance,
  genesisState,
  resolveRequest,
  ruleDigest,
  canonicalAttributeSchema,
  underSemantics,
  type CanonicalAttribute,
  type DerivationRule,
  type SemanticRegistration,
  type SemanticRegistry,
} from "../../../protocol/index.ts";
import {
  derivedSemantics,
  granularityOf,
  queryAttributeOf,
  registrationOf,
  ruleNamed,
} from "../../helpers/derived-semantics.ts";
import { testSemantics } from "../../helpers/network-data.ts";
import { createNetwork, governanceEvents } from "../../helpers/network.ts";
import { testRequest } from "../../helpers/network-task.ts";

const network = await createNetwork({
  genesis: (genesis) => ({ ...genesis, semantics: openSemantics() }),
});
const VERSION = { semantic_version: "semantics-2" } as const;

/** The customers' domain takes part in rules of others, and its records carry where their receipts are kept. */
function openSemantics(): SemanticRegistry {
  const semantics = testSemantics();
  return {
    ...semantics,
    record_scopes: semantics.record_scopes.map((scope) =>
      scope.record_scope_id === "receipts"
        ? {
            ...scope,
            foreign_attributes: [{ domain_id: "customer", attribute_id: "customer.age" }],
          }
        : scope,
    ),
  };
}

function folded(...registrations: readonly SemanticRegistration[]) {
  const decisions = registrations.map(
    (registration) => ({ type: "semantics_registered", registration }) as const,
  );
  return foldGovernance(network.genesisBytes, governanceEvents(network, decisions));
}

function refusal(code: string) {
  return expect.objectContaining({ code });
}

const rule = { ...ruleNamed("age-band"), ...VERSION };
const query = queryAttributeOf(rule);
const ageQuery = await testRequest(network, {
  task_class: "query",
  predicate: {
    operator: "AND",
    operands: [{ attribute: "customer.age-band", op: "eq", value: "senior" }],
  },
  audience_cap: 10,
});
const cityQuery = await testRequest(network, {
  task_class: "query",
  predicate: { operator: "AND", operands: [{ attribute: "customer.city", op: "eq", value: "x" }] },
  audience_cap: 10,
});

describe("[DR-3] registry versions", () => {
  test("what is registered resolves from then on, and never before", () => {
    const state = folded(registrationOf({ derivation_rules: [rule], query_attributes: [query] }));
    expect(resolveRequest(ageQuery, state)).toMatchObject({
      semantic_version: "semantics-2",
      derivation_rule_refs: ["age-band"],
    });
    expect(() => resolveRequest(ageQuery, underSemantics(state, "semantics-1"))).toThrow(
      refusal("DERIVATION_UNRESOLVED"),
    );
    expect(() => underSemantics(state, "semantics-3")).toThrow(
      refusal("PROOF_COMMITMENT_MISMATCH"),
    );
  });

  test("[CA-6] retirement ends new use, and an older version resolves to the same bytes as ever", () => {
    const before = resolveRequest(cityQuery, genesisState(network.genesisBytes));
    const step = (to: "deprecated" | "retired") =>
      [{ kind: "attribute", domain_id: "customer", attribute_id: "customer.city", to }] as const;
    const state = folded(
      registrationOf({ transitions: [...step("deprecated")] }),
      registrationOf({
        semantic_version: "semantics-3",
        predecessor_version: "semantics-2",
        transitions: [...step("retired")],
      }),
    );
    expect(() => resolveRequest(cityQuery, state)).toThrow(/customer\.city@semantics-1 retired/);
    const again = resolveRequest(cityQuery, underSemantics(state, "semantics-1"));
    expect(again.resolutionDigest).toEqual(before.resolutionDigest);
    const city = state.semantics.attributes.find((each) => each.attribute_id === "customer.city");
    expect(city).toMatchObject({
      effective_from: "semantics-1",
      deprecated_from: "semantics-2",
      retired_from: "semantics-3",
    });
  });

  test("[CA-4] what is superseded points to a successor", () => {
    const [city] = testSemantics().attributes.filter((a) => a.attribute_id === "customer.city");
    if (city === undefined) throw new Error("no city");
    const transitions: SemanticRegistration["transitions"] = [
      {
        kind: "attribute",
        domain_id: "customer",
        attribute_id: "customer.city",
        to: "superseded",
      },
    ];
    expect(() => folded(registrationOf({ transitions }))).toThrow(
      refusal("DERIVATION_REGISTRY_INVALID"),
    );
    const town = {
      ...city,
      ...VERSION,
      attribute_id: "customer.town",
      supersedes: "customer.city",
      effective_from: "semantics-2",
    };
    const state = folded(registrationOf({ transitions, attributes: [town] }));
    expect(() => resolveRequest(cityQuery, state)).toThrow(/customer\.town@semantics-2 active/);
    const stray = { ...town, supersedes: "customer.shoe" };
    expect(() => folded(registrationOf({ attributes: [stray] }))).toThrow(
      refusal("DERIVATION_REGISTRY_INVALID"),
    );
  });

  const [age] = testSemantics().attributes.filter((each) => each.attribute_id === "customer.age");
  if (age === undefined) throw new Error("no age");
  const shoe = { ...age, ...VERSION, attribute_id: "customer.shoe", effective_from: "semantics-2" };
  test.for<{ title: string; change: Partial<SemanticRegistration>; code?: string }>([
    {
      title: "another predecessor",
      change: { predecessor_version: "semantics-0" },
      code: "GOVERNANCE_EVENT_INVALID",
    },
    {
      title: "a version that is there",
      change: { semantic_version: "semantics-1" },
      code: "GOVERNANCE_EVENT_INVALID",
    },
    {
      title: "a registered attribute again",
      change: { attributes: [{ ...shoe, attribute_id: "customer.age" }] },
    },
    {
      title: "an entry of another version",
      change: { attributes: [{ ...shoe, semantic_version: "semantics-1" }] },
    },
    {
      title: "an attribute that begins retired",
      change: { attributes: [{ ...shoe, status: "retired" }] },
    },
    {
      title: "a window it has not earned",
      change: { attributes: [{ ...shoe, status: "proposed" }] },
    },
    { title: "a rule twice", change: { derivation_rules: [rule, rule] } },
    { title: "a query attribute without rule [QA-3]", change: { query_attributes: [query] } },
    {
      title: "a step of nothing",
      change: {
        transitions: [{ kind: "domain", domain_id: "shoes", domain_version: 1, to: "active" }],
      },
    },
    {
      title: "a step that the lifecycle has not",
      change: {
        transitions: [{ kind: "domain", domain_id: "customer", domain_version: 1, to: "retired" }],
      },
      code: "EXECUTION_ILLEGAL_TRANSITION",
    },
    {
      title: "[QG-2] a finer projection at a coarser one's class",
      change: {
        attributes: [shoe],
        derivation_rules: [
          { ...ruleNamed("age-decade"), ...VERSION },
          { ...ruleNamed("age-decade"), ...VERSION, rule_id: "age-lustrum" },
        ],
        query_attributes: [
          { ...queryAttributeOf({ ...ruleNamed("age-decade"), ...VERSION }), privacy_class: 0 },
          queryAttributeOf(
            { ...ruleNamed("age-decade"), ...VERSION, rule_id: "age-lustrum" },
            {
              privacy_class: 0,
              query_granularity: granularityOf({
                numeric_resolution: { boundaries: [], width: 5 },
              }),
            },
          ),
        ],
      },
    },
  ])("refuses $title", ({ change, code = "DERIVATION_REGISTRY_INVALID" }) => {
    expect(() => folded(registrationOf(change))).toThrow(refusal(code));
  });

  test("entries that say all else alike are a new version of their own", () => {
    const state = folded(registrationOf({ attributes: [shoe] }));
    expect(state.semantics.attributes.at(-1)).toEqual(shoe);
    expect([...state.registries.keys()]).toEqual(["semantics-1", "semantics-2"]);
    expect(encodeCbor(state.registries.get("semantics-1") ?? null)).toEqual(
      encodeCbor(network.genesis.semantics),
    );
  });
});

describe("[CA-1] a canonical attribute", () => {
  const [age] = testSemantics().attributes.filter((each) => each.attribute_id === "customer.age");
  if (age === undefined) throw new Error("no age");
  const shoe: CanonicalAttribute = {
    ...{ ...age, ...VERSION, attribute_id: "customer.shoe" },
    ...{ status: "proposed", effective_from: null },
  };

  test.for([
    ...(["attribute_id", "domain_id", "semantic_version"] as const),
    ...(["scope", "status", "supersedes"] as const),
    ...(["effective_from", "deprecated_from", "retired_from"] as const),
  ])("says its %s", (field) => {
    const { [field]: _left, ...rest } = shoe;
    expect(canonicalAttributeSchema.safeParse(shoe).success).toBe(true);
    expect(canonicalAttributeSchema.safeParse(rest).success).toBe(false);
  });

  test("is of one registered domain, and one entry there", () => {
    const strange = { ...shoe, domain_id: "shoes" };
    for (const attributes of [
      [strange],
      [shoe, shoe],
      [shoe, { ...shoe, type: "text" as const }],
    ]) {
      expect(() => folded(registrationOf({ attributes }))).toThrow(
        refusal("DERIVATION_REGISTRY_INVALID"),
      );
    }
    const both = [shoe, { ...shoe, domain_id: "receipt" }];
    const { semantics } = folded(registrationOf({ attributes: both }));
    expect(semantics.attributes.slice(-2).map(({ domain_id }) => domain_id)).toEqual([
      "customer",
      "receipt",
    ]);
  });

  test("says from which version on it is what it has become", () => {
    const steps = ["registered", "active", "deprecated", "retired"] as const;
    const registrations = steps.map((to, index) =>
      registrationOf({
        ...{ semantic_version: `semantics-${index + 3}` },
        ...{ predecessor_version: `semantics-${index + 2}` },
        transitions: [
          { kind: "attribute", domain_id: "customer", attribute_id: "customer.shoe", to },
        ],
      }),
    );
    const { registries } = folded(registrationOf({ attributes: [shoe] }), ...registrations);
    const seen = [...registries.values()].slice(1).map(({ attributes }) => attributes.at(-1));
    const windows = [
      { status: "proposed", effective_from: null },
      { status: "registered", effective_from: null },
      { status: "active", effective_from: "semantics-4", deprecated_from: null },
      { status: "deprecated", effective_from: "semantics-4", deprecated_from: "semantics-5" },
      { status: "retired", deprecated_from: "semantics-5", retired_from: "semantics-6" },
    ];
    expect(seen).toEqual(windows.map((each) => expect.objectContaining(each)));
    expect(seen.map((each) => each?.semantic_version)).toEqual(windows.map(() => "semantics-2"));
  });
});

describe("[DR-4] across domains", () => {
  /** A rule of the receipts' domain over the customers' age. */
  function across(claimed: "allowed" | "mediated" | "denied"): DerivationRule {
    const [source] = rule.source_attributes;
    if (source === undefined) throw new Error("no source");
    const mediation_authority = claimed === "mediated" ? "vault-1" : null;
    return {
      ...rule,
      rule_id: "owner-age",
      source_attributes: [{ ...source, cross_domain_policy: claimed, mediation_authority }],
    };
  }

  function registering(crossing: DerivationRule, approvals: Uint8Array[] = []) {
    const attribute = queryAttributeOf(crossing, { domain_id: "receipt" });
    return registrationOf({
      derivation_rules: [crossing],
      query_attributes: [attribute],
      approvals,
    });
  }

  function approvalOf(crossing: DerivationRule, by = network.vaults[0]): Uint8Array {
    if (by === undefined) throw new Error("no authority");
    const approval = {
      genesis_digest: network.genesisDigest,
      rule_digest: ruleDigest(crossing),
      mediation_authority: "vault-1",
    };
    return CROSS_DOMAIN_APPROVAL.sign(approval, by.signing);
  }

  test("a mediated rule is registered with its authority's approval, and resolves", async () => {
    const crossing = across("mediated");
    const state = folded(registering(crossing, [approvalOf(crossing)]));
    const asked = await testRequest(
      network,
      {
        task_class: "query",
        predicate: {
          operator: "AND",
          operands: [{ attribute: "customer.owner-age", op: "eq", value: "senior" }],
        },
        audience_cap: 10,
      },
      { record_scope: "receipts" },
    );
    expect(resolveRequest(asked, state).derivation_rule_refs).toEqual(["owner-age"]);
    const withdrawn = {
      ...state,
      semantics: {
        ...state.semantics,
        domains: state.semantics.domains.map((each) => ({
          ...each,
          cross_domain: "denied" as const,
        })),
      },
    };
    expect(() => resolveRequest(asked, withdrawn)).toThrow(refusal("COMPOSITION_INVALID"));
  });

  test.for([
    { title: "without it", approvals: () => [] },
    { title: "with that of another rule", approvals: () => [approvalOf(across("allowed"))] },
    {
      title: "with one that another signed",
      approvals: () => [approvalOf(across("mediated"), network.vaults[1])],
      code: "PROOF_SIGNATURE_INVALID",
    },
  ])("a mediated rule is refused $title", ({ approvals, code = "GOVERNANCE_EVENT_INVALID" }) => {
    expect(() => folded(registering(across("mediated"), approvals()))).toThrow(refusal(code));
  });

  test.for(["allowed", "denied"] as const)(
    "[DM-4] a %s source of a domain that wants mediation is refused",
    (claimed) => {
      expect(() => folded(registering(across(claimed)))).toThrow(
        refusal("DERIVATION_REGISTRY_INVALID"),
      );
    },
  );

  test("a genesis has no mediated rule: nothing in it is signed", () => {
    const semantics = derivedSemantics(openSemantics());
    const crossing = { ...across("mediated"), semantic_version: "semantics-1" };
    const founding = GENESIS.encode({
      ...network.genesis,
      semantics: { ...semantics, derivation_rules: [...semantics.derivation_rules, crossing] },
    });
    expect(() => genesisState(founding)).toThrow(refusal("DERIVATION_REGISTRY_INVALID"));
  });

  test("[LA-3] a genesis has no name of a Vault's own column either, of an attribute or of a rule", () => {
    const semantics = derivedSemantics(openSemantics());
    const local = `local-${"0".repeat(40)}`;
    const [attribute] = semantics.attributes;
    const [rule] = semantics.derivation_rules;
    if (attribute === undefined || rule === undefined) throw new Error("expected one of each");
    const attributes = [...semantics.attributes, { ...attribute, attribute_id: local }];
    const derivation_rules = [...semantics.derivation_rules, { ...rule, rule_id: local }];
    for (const named of [{ attributes }, { derivation_rules }]) {
      const founding = GENESIS.encode({
        ...network.genesis,
        semantics: { ...semantics, ...named },
      });
      expect(() => genesisState(founding)).toThrow(refusal("DERIVATION_REGISTRY_INVALID"));
    }
  });
});
