import { describe, expect, test } from "vitest";

import {
  genesisState,
  resolveRequest,
  type GovernanceState,
  type Operand,
  type Policy,
  type Predicate,
  type QueryAttribute,
  type TaskRequest,
} from "../../../protocol/index.ts";
import { derivedSemantics, granularityOf, ruleNamed } from "../../helpers/derived-semantics.ts";
import { largeResolution, shuffled } from "../../helpers/large-registry.ts";
import { createNetwork } from "../../helpers/network.ts";
import { testRequest } from "../../helpers/network-task.ts";

const network = await createNetwork({
  genesis: (genesis) => ({ ...genesis, semantics: derivedSemantics(genesis.semantics) }),
});
const state = genesisState(network.genesisBytes);

async function asking(operands: readonly Operand[], change: Partial<TaskRequest> = {}) {
  const predicate: Predicate = { operator: "AND", operands: [...operands] };
  return testRequest(network, { task_class: "query", predicate, audience_cap: 9 }, change);
}

const SENIOR: Operand = { attribute: "customer.age-band", op: "eq", value: "senior" };
const CITY: Operand = { attribute: "customer.city", op: "eq", value: "Porto" };

function queried(change: Partial<QueryAttribute>, id = "customer.age-band"): GovernanceState {
  const query_attributes = state.semantics.query_attributes.map((each) =>
    each.query_attribute_id === id ? { ...each, ...change } : each,
  );
  return { ...state, semantics: { ...state.semantics, query_attributes } };
}

function permitting(governance: GovernanceState, semantics: Partial<Policy["semantics"]>) {
  const { policy } = governance;
  return { ...governance, policy: { ...policy, semantics: { ...policy.semantics, ...semantics } } };
}

const UNRESOLVED = expect.objectContaining({ code: "DERIVATION_UNRESOLVED" });

describe("[QA-1] a query attribute", () => {
  test("[DR-5] resolves to its rule, class and cost, and says that it is no canonical truth", async () => {
    const resolution = resolveRequest(await asking([SENIOR, CITY]), state);
    expect(resolution).toMatchObject({
      attribute_ids: ["customer.age", "customer.city"],
      derivation_rule_refs: ["age-band"],
      operandEpsilonsMicro: [300_000, 100_000],
      combined_privacy_class: 2,
      operand_refs: [
        { kind: "query", id: "customer.age-band", rule_id: "age-band" },
        { kind: "canonical", id: "customer.city", rule_id: null },
      ],
    });
  });

  test.for(["proposed", "registered", "restricted", "deprecated", "retired"] as const)(
    "[QA-2] that is %s is refused and named",
    async (status) => {
      const asked = await asking([SENIOR]);
      expect(() => resolveRequest(asked, queried({ status }))).toThrow(
        expect.objectContaining({
          details: {
            subject: "attribute customer.age-band",
            candidates: [`query customer/customer.age-band@semantics-1 ${status}`],
          },
        }),
      );
    },
  );

  test("[QA-2] that is restricted resolves for the actors it names alone", async () => {
    const asked = await asking([SENIOR]);
    const named: Partial<QueryAttribute> = {
      status: "restricted",
      restricted_to: [asked.actor_id],
    };
    expect(resolveRequest(asked, queried(named)).derivation_rule_refs).toEqual(["age-band"]);
    const others = { ...named, restricted_to: ["another"] };
    expect(() => resolveRequest(asked, queried(others))).toThrow(UNRESOLVED);
  });

  test("[QA-2][DM-3] that is deprecated resolves while policy permits it", async () => {
    const asked = await asking([SENIOR]);
    const deprecated = queried({ status: "deprecated" });
    const permitted = permitting(deprecated, { deprecated_resolvable: true });
    expect(resolveRequest(asked, permitted).derivation_rule_refs).toEqual(["age-band"]);
  });

  test("is for its usage scopes alone", async () => {
    const asked = await asking([SENIOR], { usage_scope: "marketing" });
    const others = queried({ allowed_usage_scope: ["analytics"] });
    expect(() => resolveRequest(asked, others)).toThrow(UNRESOLVED);
  });

  test("[CA-5] of the name of a canonical attribute is ambiguous, and both are named", async () => {
    const governance = queried({ query_attribute_id: "customer.city" });
    const asked = await asking([CITY]);
    expect(() => resolveRequest(asked, governance)).toThrow(
      /customer\/customer\.city@semantics-1 active, query customer\/customer\.city/,
    );
  });

  test("[QA-3] over a source that may not resolve is refused", async () => {
    const attributes = state.semantics.attributes.map((each) =>
      each.attribute_id === "customer.age" ? { ...each, status: "retired" as const } : each,
    );
    const governance = { ...state, semantics: { ...state.semantics, attributes } };
    const asked = await asking([SENIOR]);
    expect(() => resolveRequest(asked, governance)).toThrow(/customer\.age@semantics-1 retired/);
  });

  test.for<Operand>([
    { attribute: "customer.age-decade", op: "range", min: 25, max: 60 },
    { attribute: "customer.age-decade", op: "range", min: 20, max: 65 },
    { attribute: "customer.age-decade", op: "eq", value: 45 },
    { attribute: "customer.total-balance", op: "in", values: [10_000, 15_000] },
    { attribute: "customer.age-band", op: "eq", value: 1 },
    { attribute: "customer.is-adult", op: "eq", value: 2 },
  ])("[QA-4][QG-2] takes no literal finer than it gives: %j", async (operand) => {
    const asked = await asking([operand]);
    expect(() => resolveRequest(asked, state)).toThrow(
      expect.objectContaining({ code: "DERIVATION_VALUE_OUT_OF_RANGE" }),
    );
  });

  test("[QA-4] takes edges of its buckets, and the end of its range", async () => {
    const operand = { attribute: "customer.age-decade", op: "range", min: 30 } as const;
    for (const max of [60, 120, 121, 130]) {
      const asked = await asking([{ ...operand, max }]);
      expect(resolveRequest(asked, state).operandEpsilonsMicro).toEqual([50_000]);
    }
  });

  test("[CA-2] direct use is at the default granularity, class and cost of the attribute", async () => {
    const coarse = granularityOf({ numeric_resolution: { boundaries: [], width: 20 } });
    const attributes = state.semantics.attributes.map((each) =>
      each.attribute_id === "customer.age"
        ? { ...each, default_query_granularity: coarse, default_privacy_class: 0 }
        : each,
    );
    const governance = { ...state, semantics: { ...state.semantics, attributes } };
    const age = { attribute: "customer.age", op: "eq" } as const;
    const [projection] = resolveRequest(
      await asking([{ ...age, value: 40 }]),
      governance,
    ).projections;
    expect(projection).toMatchObject({ rule: null, granularity: coarse, privacyClass: 0 });
    const finer = await asking([{ ...age, value: 45 }]);
    expect(() => resolveRequest(finer, governance)).toThrow(/granularity/);
  });

  test("[CA-3] a projection of something that is not directly queryable needs its rule", async () => {
    const email = { attribute: "customer.email", op: "eq", value: "x" } as const;
    const direct = await asking([email]);
    expect(() => resolveRequest(direct, state)).toThrow(UNRESOLVED);
    const derived = await asking([{ ...email, attribute: "customer.email-hash" }]);
    expect(resolveRequest(derived, state).derivation_rule_refs).toEqual(["email-hash"]);
  });

  test("[CA-3] what another domain has, and no rule gives, is composed with nothing here", async () => {
    const asked = await asking([CITY, { attribute: "receipt.owner", op: "eq", value: "x" }]);
    expect(() => resolveRequest(asked, state)).toThrow(
      expect.objectContaining({ code: "COMPOSITION_INVALID" }),
    );
  });

  test("[CA-3] another granularity than the default one is a query attribute's", async () => {
    const coarse = granularityOf({ numeric_resolution: { boundaries: [], width: 20 } });
    const attributes = state.semantics.attributes.map((each) =>
      each.attribute_id === "customer.age" ? { ...each, default_query_granularity: coarse } : each,
    );
    const governance = { ...state, semantics: { ...state.semantics, attributes } };
    const decade = { op: "range", min: 30, max: 50 } as const;
    const direct = await asking([{ attribute: "customer.age", ...decade }]);
    expect(() => resolveRequest(direct, governance)).toThrow(/granularity/);
    const derived = await asking([{ attribute: "customer.age-decade", ...decade }]);
    expect(resolveRequest(derived, governance).derivation_rule_refs).toEqual(["age-decade"]);
  });

  test("[DM-1] sub-domains and domains below one that is not active take no part", async () => {
    const asked = await asking([CITY]);
    const [customer] = state.semantics.domains;
    if (customer === undefined) throw new Error("no domain");
    const under = (status: "active" | "retired", layer: "sub" | "concrete") => ({
      ...state,
      semantics: {
        ...state.semantics,
        domains: [
          { ...customer, layer, parent_domain_id: "people" },
          { ...customer, domain_id: "people", layer: "family" as const, status },
        ],
      },
    });
    expect(() => resolveRequest(asked, under("retired", "concrete"))).toThrow(/domain people/);
    expect(() => resolveRequest(asked, under("active", "sub"))).toThrow(/domain customer/);
    const permitted = permitting(under("active", "sub"), { sub_domains_permitted: true });
    expect(resolveRequest(asked, permitted).attribute_ids).toEqual(["customer.city"]);
  });
});

describe("[AP-9] resolution does not depend on the order of a registry", () => {
  test("10,000 shuffles give one digest", async () => {
    const { request, state: given } = await largeResolution({ attributes: 16, operands: 8 });
    const expected = resolveRequest(request, given).resolutionDigest;
    let seed = 42;
    const draw = (bound: number): number => {
      seed = (seed * 48_271) % 2_147_483_647;
      return seed % bound;
    };
    let same = 0;
    for (let run = 0; run < 10_000; run += 1) {
      const semantics = shuffled(given.semantics, draw);
      const { resolutionDigest } = resolveRequest(request, { ...given, semantics });
      if (Buffer.compare(resolutionDigest, expected) === 0) same += 1;
    }
    expect(same).toBe(10_000);
  });

  test("candidates of a refusal come sorted", async () => {
    const asked = await asking([CITY]);
    const twins = state.semantics.attributes.flatMap((each) =>
      each.attribute_id === "customer.city" ? [{ ...each, semantic_version: "z" }, each] : [each],
    );
    const refusalOf = (attributes: typeof twins): unknown => {
      try {
        return resolveRequest(asked, { ...state, semantics: { ...state.semantics, attributes } });
      } catch (error) {
        return error;
      }
    };
    expect(refusalOf(twins)).toEqual(refusalOf(twins.toReversed()));
    expect(refusalOf(twins)).toMatchObject({
      details: {
        candidates: [
          "customer/customer.city@semantics-1 active",
          "customer/customer.city@z active",
        ],
      },
    });
  });

  test("[DR-1] rules of one name twice are refused", async () => {
    const derivation_rules = [...state.semantics.derivation_rules, ruleNamed("age-band")];
    const governance = { ...state, semantics: { ...state.semantics, derivation_rules } };
    const asked = await asking([SENIOR]);
    expect(() => resolveRequest(asked, governance)).toThrow(UNRESOLVED);
  });
});
