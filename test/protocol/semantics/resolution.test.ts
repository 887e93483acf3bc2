import { expect, test } from "vitest";

import {
  encodeCbor,
  genesisState,
  GENESIS,
  resolveRequest,
  type CanonicalAttribute,
  type GovernanceState,
  type Predicate,
  type SemanticRegistry,
  type TaskParameters,
  type TaskRequest,
} from "../../../protocol/index.ts";
import { createNetwork } from "../../helpers/network.ts";
import { testRequest } from "../../helpers/network-task.ts";

const network = await createNetwork();
const state = genesisState(network.genesisBytes);

const OPERANDS: Predicate["operands"] = [
  { attribute: "customer.city", op: "in", values: ["Porto", "Lyon"] },
  { attribute: "customer.age", op: "range", min: 30, max: 60 },
];

function query(predicate: Predicate): TaskParameters {
  return { task_class: "query", predicate, audience_cap: 100 };
}

const request = await testRequest(network, query({ operator: "AND", operands: OPERANDS }));

async function asking(predicate: Predicate): Promise<TaskRequest> {
  return testRequest(network, query(predicate));
}

function withSemantics(change: (semantics: SemanticRegistry) => SemanticRegistry): GovernanceState {
  const semantics = change(state.semantics);
  return { ...genesisState(GENESIS.encode({ ...network.genesis, semantics })) };
}

function changed(id: string, change: Partial<CanonicalAttribute>): GovernanceState {
  return withSemantics((semantics) => ({
    ...semantics,
    attributes: semantics.attributes.map((attribute) =>
      attribute.attribute_id === id ? { ...attribute, ...change } : attribute,
    ),
  }));
}

test("[AP-3] binds a query to its scope, attributes and declared composition", () => {
  const resolution = resolveRequest(request, state);
  expect(resolution).toMatchObject({
    semantic_version: "semantics-1",
    record_scope: { record_scope_id: "customers" },
    attribute_ids: ["customer.age", "customer.city"],
    operandEpsilonsMicro: [100_000, 100_000],
    combined_privacy_class: 2,
    attribute_composition: {
      operator: "AND",
      operand_attributes: OPERANDS,
      minimum_result_cardinality: 10,
    },
  });
});

test("[AP-9] equal request and semantic version give equal bytes; another predicate another digest", async () => {
  const again = resolveRequest(
    await asking({ operator: "AND", operands: structuredClone(OPERANDS) }),
    genesisState(network.genesisBytes.slice()),
  );
  const { resolutionDigest, projections, ...rest } = resolveRequest(request, state);
  const { resolutionDigest: digestAgain, projections: projectionsAgain, ...restAgain } = again;
  expect(projectionsAgain).toEqual(projections);
  expect(encodeCbor(restAgain)).toEqual(encodeCbor(rest));
  expect(digestAgain).toEqual(resolutionDigest);
  const other = resolveRequest(await asking({ operator: "OR", operands: OPERANDS }), state);
  expect(other.resolutionDigest).not.toEqual(resolutionDigest);
  expect(other.attribute_composition?.composition_id).not.toBe(
    resolveRequest(request, state).attribute_composition?.composition_id,
  );
});

test("a task with one operand has no composition, and its operator all the same", async () => {
  const [operand] = OPERANDS;
  if (operand === undefined) throw new Error("no operand");
  const single = resolveRequest(await asking({ operator: "NOT", operands: [operand] }), state);
  expect(single).toMatchObject({ attribute_composition: null, operator: "NOT" });
});

test.for(["proposed", "registered", "deprecated", "retired"] as const)(
  "[DM-3] a %s domain takes no part in resolution",
  (status) => {
    const governance = withSemantics((semantics) => ({
      ...semantics,
      domains: semantics.domains.map((domain) =>
        domain.domain_id === "customer" ? { ...domain, status } : domain,
      ),
    }));
    expect(() => resolveRequest(request, governance)).toThrow(
      expect.objectContaining({
        code: "DERIVATION_UNRESOLVED",
        details: { subject: "domain customer", candidates: [`customer@1 ${status}`] },
      }),
    );
  },
);

test.for(["proposed", "registered", "deprecated", "retired", "superseded"] as const)(
  "[CA-4][CA-5] a %s attribute never resolves",
  (status) => {
    const governance = changed("customer.city", { status });
    expect(() => resolveRequest(request, governance)).toThrow(
      expect.objectContaining({
        code: "DERIVATION_UNRESOLVED",
        details: {
          subject: "attribute customer.city",
          candidates: [`customer/customer.city@semantics-1 ${status}`],
        },
      }),
    );
  },
);

test("[CA-4] a superseded attribute is refused with its replacement named", () => {
  const governance = withSemantics((semantics) => {
    const attributes = semantics.attributes.flatMap((attribute): CanonicalAttribute[] =>
      attribute.attribute_id === "customer.city"
        ? [
            { ...attribute, status: "superseded" },
            { ...attribute, attribute_id: "customer.town", supersedes: "customer.city" },
          ]
        : [attribute],
    );
    return { ...semantics, attributes };
  });
  expect(() => resolveRequest(request, governance)).toThrow(/customer\.town@semantics-1 active/);
});

test("[CA-5] two active meanings of one name are refused, not guessed, and both are named", () => {
  const governance = withSemantics((semantics) => ({
    ...semantics,
    attributes: semantics.attributes.flatMap((attribute) =>
      attribute.attribute_id === "customer.city"
        ? [attribute, { ...attribute, semantic_version: "semantics-2" }]
        : [attribute],
    ),
  }));
  expect(() => resolveRequest(request, governance)).toThrow(
    expect.objectContaining({
      code: "DERIVATION_UNRESOLVED",
      details: {
        subject: "attribute customer.city",
        candidates: [
          "customer/customer.city@semantics-1 active",
          "customer/customer.city@semantics-2 active",
        ],
      },
    }),
  );
});

test.for([
  { title: "unknown to the registry", attribute: "customer.shoe", code: "DERIVATION_UNRESOLVED" },
  { title: "not directly queryable", attribute: "customer.email", code: "DERIVATION_UNRESOLVED" },
  { title: "of another domain", attribute: "receipt.id", code: "COMPOSITION_INVALID" },
])("[AP-3] refuses an attribute that is $title", async ({ attribute, code }) => {
  const asked = await asking({ operator: "AND", operands: [{ attribute, op: "eq", value: "x" }] });
  expect(() => resolveRequest(asked, state)).toThrow(expect.objectContaining({ code }));
});

test.for(["allowed", "mediated", "denied"] as const)(
  "[AP-10] an attribute of another domain needs a derivation rule, under a %s policy too",
  async (cross_domain) => {
    const governance = withSemantics((semantics) => ({
      ...semantics,
      domains: semantics.domains.map((domain) => ({ ...domain, cross_domain })),
    }));
    const asked = await asking({
      operator: "AND",
      operands: [...OPERANDS, { attribute: "receipt.id", op: "eq", value: "x" }],
    });
    expect(() => resolveRequest(asked, governance)).toThrow(
      expect.objectContaining({
        code: "COMPOSITION_INVALID",
        details: {
          attribute: "receipt.id",
          cross_domain_policy: cross_domain,
          candidates: ["receipt/receipt.id"],
        },
      }),
    );
  },
);

test("[AP-3] refuses an unknown record scope", async () => {
  const asked = { ...request, record_scope: "patients" };
  expect(() => resolveRequest(asked, state)).toThrow(
    expect.objectContaining({ code: "DERIVATION_UNRESOLVED" }),
  );
});

const BAD_LITERALS: readonly { title: string; operand: Predicate["operands"][number] }[] = [
  { title: "text for a number", operand: { attribute: "customer.age", op: "eq", value: "40" } },
  { title: "a number for text", operand: { attribute: "customer.city", op: "eq", value: 1 } },
  {
    title: "a range over text",
    operand: { attribute: "customer.city", op: "range", min: 0, max: 9 },
  },
  {
    title: "an empty range",
    operand: { attribute: "customer.age", op: "range", min: 40, max: 40 },
  },
  {
    title: "one past the end",
    operand: { attribute: "customer.age", op: "range", min: 0, max: 122 },
  },
  { title: "one before the start", operand: { attribute: "customer.age", op: "eq", value: -1 } },
  { title: "one of several", operand: { attribute: "customer.age", op: "in", values: [30, 121] } },
];

test.for(BAD_LITERALS)("[AP-3] refuses $title", async ({ operand }) => {
  const asked = await asking({ operator: "AND", operands: [operand] });
  expect(() => resolveRequest(asked, state)).toThrow(
    expect.objectContaining({ code: "DERIVATION_VALUE_OUT_OF_RANGE", class: "malformed" }),
  );
});

test("[AC-1] NOT takes one operand, and the combined privacy class is the operands' highest", async () => {
  const two = await asking({ operator: "NOT", operands: OPERANDS });
  expect(() => resolveRequest(two, state)).toThrow(
    expect.objectContaining({ code: "COMPOSITION_INVALID" }),
  );
  const governance = changed("customer.age", { default_privacy_class: 7 });
  expect(resolveRequest(request, governance).attribute_composition).toMatchObject({
    combined_privacy_class: 7,
  });
});

test("[AC-1] JOIN takes two operands or more", async () => {
  const [first, second] = OPERANDS;
  if (first === undefined || second === undefined) throw new Error("two operands");
  const lone = await asking({ operator: "JOIN", operands: [first] });
  const both = await asking({ operator: "JOIN", operands: [first, second] });
  expect(() => resolveRequest(lone, state)).toThrow(
    expect.objectContaining({ code: "COMPOSITION_INVALID", class: "malformed" }),
  );
  const composed = resolveRequest(both, state);
  expect(composed.attribute_composition).toMatchObject({
    operator: "JOIN",
    operand_attributes: [first, second],
  });
});

test("[AC-1] JOIN over two record scopes is refused, and says which scope has the attribute", async () => {
  const [first] = OPERANDS;
  if (first === undefined) throw new Error("an operand");
  const [customers] = state.semantics.record_scopes;
  if (customers === undefined) throw new Error("a record scope");
  const visits = {
    ...customers,
    record_scope_id: "visits",
    attribute_ids: ["customer.id", "customer.visits"],
    link_attribute_id: null,
  };
  const age = state.semantics.attributes.find((each) => each.attribute_id === "customer.age");
  if (age === undefined) throw new Error("an attribute");
  const attributes = [
    ...state.semantics.attributes,
    { ...age, attribute_id: "customer.visits" },
    { ...age, attribute_id: "customer.nowhere" },
  ];
  const record_scopes = [...state.semantics.record_scopes, visits];
  const semantics = { ...state.semantics, attributes, record_scopes };
  const refusal = async (operator: "AND" | "JOIN", attribute: string) => {
    const asked = await asking({
      operator,
      operands: [first, { attribute, op: "eq", value: 3 }],
    });
    return () => resolveRequest(asked, { ...state, semantics });
  };
  expect(await refusal("JOIN", "customer.visits")).toThrow(
    expect.objectContaining({
      ...{ code: "COMPOSITION_INVALID", class: "refused" },
      details: expect.objectContaining({ record_scope: "customers", candidates: ["visits"] }),
    }),
  );
  const unresolved = expect.objectContaining({ code: "DERIVATION_UNRESOLVED" });
  expect(await refusal("JOIN", "customer.nowhere")).toThrow(unresolved);
  expect(await refusal("AND", "customer.visits")).toThrow(unresolved);
});

test("[AP-3] features and label of training compose over their registered ranges", async () => {
  const feature = { mean_micro: 0, scale_micro: 1, min_micro: 0, max_micro: 1 };
  const train: TaskParameters = {
    task_class: "train",
    model_digest: new Uint8Array(32),
    features: [
      { attribute: "customer.age", ...feature },
      { attribute: "customer.balance", ...feature },
    ],
    label: { attribute: "customer.subscribed", positive: 1 },
    rounds: 2,
    groups: 4,
    local_steps: 1,
    batch_size: 1,
    learning_rate_micro: 1,
    clip_norm_micro: 1,
    fraction_bits: 8,
    convergence_threshold_micro: null,
  };
  const resolution = resolveRequest(await testRequest(network, train), state);
  expect(resolution.attribute_composition).toMatchObject({
    operator: "FILTER",
    operand_attributes: [
      { attribute: "customer.age", op: "range", min: 0, max: 121 },
      { attribute: "customer.balance", op: "range", min: -1_000_000, max: 10_000_001 },
      { attribute: "customer.subscribed", op: "eq", value: 1 },
    ],
  });
  const leaking: TaskParameters = { ...train, label: { attribute: "customer.age", positive: 1 } };
  const refused = await testRequest(network, leaking);
  expect(() => resolveRequest(refused, state)).toThrow(
    expect.objectContaining({ code: "COMPOSITION_INVALID" }),
  );
});

test("parse uses every attribute of its scope and composes none", async () => {
  const asked = await testRequest(network, {
    task_class: "parse",
    record_commitment: new Uint8Array(32),
  });
  expect(resolveRequest(asked, state)).toMatchObject({
    attribute_ids: ["receipt.id", "receipt.image", "receipt.owner"],
    attribute_composition: null,
    operandEpsilonsMicro: [],
  });
});
