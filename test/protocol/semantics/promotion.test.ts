import { expect, test } from "vitest";

import {
  LOCAL_ATTRIBUTE_CANDIDATE,
  aggregateCandidates,
  genesisState,
  judgePromotion,
  judgeVaultScoped,
  registerSemantics,
  resolveRequest,
  type DerivationRule,
  type GovernanceState,
  type LocalAttributeCandidate,
  type Promotion,
  type Proposal,
} from "../../../protocol/index.ts";
import { exactGranularity } from "../../helpers/network-data.ts";
import { createNetwork, type TestActor } from "../../helpers/network.ts";
import { testRequest } from "../../helpers/network-task.ts";
import { approvedBy, votedOn } from "../../helpers/votes.ts";

const network = await createNetwork({ vaultCount: 3, policy: votedOn });
const genesis = genesisState(network.genesisBytes);
const governance: GovernanceState = { ...genesis, epoch: { ...genesis.epoch, epochId: 10 } };
const [first, second, third] = network.vaults;

const promotion: Promotion = {
  definition: {
    ...{ attribute_id: "customer.years", domain_id: "customer", semantic_version: "semantics-2" },
    ...{ scope: "network", supersedes: null, type: "integer", scale: 0 },
    ...{ range: { min: 0, max: 120 }, directly_queryable: true, default_privacy_class: 3 },
    default_query_granularity: exactGranularity("integer"),
    privacy_impact_epsilon_micro: 1_000,
  },
  resolutions: [],
};

function candidateOf(
  vault: TestActor | undefined,
  changes: Partial<LocalAttributeCandidate> = {},
): Uint8Array {
  if (vault === undefined) throw new Error("no such vault");
  const candidate: LocalAttributeCandidate = {
    ...{ genesis_digest: network.genesisDigest, vault_id: vault.actorId, domain_id: "customer" },
    ...{ attribute_id: "customer.years", local_id: "local-1", semantic_version: "semantics-1" },
    ...{ window: { first_epoch: 0, last_epoch: 9 }, type: "integer", noised_rows: 1_000 },
    ...{ epochs_present: 9, epsilon_micro: 100_000, signals: [], ...changes },
  };
  return LOCAL_ATTRIBUTE_CANDIDATE.sign(candidate, vault.signing);
}

function judge(
  signed: readonly Uint8Array[],
  changes: Partial<Promotion> = {},
  state = governance,
) {
  return judgePromotion(state, {
    ...{ promotion: { ...promotion, ...changes }, signed, exception: null },
  });
}

function unmet({ preconditions }: ReturnType<typeof judge>): string[] {
  return preconditions.filter(({ met }) => !met).map(({ name }) => name);
}

const BOTH = [candidateOf(first), candidateOf(second)];

test("[LA-2] what candidates say together is a report, the same in any order, and makes nothing active", () => {
  const subject = { domainId: "customer", attributeId: "customer.years", exception: null };
  const signal = { attribute_id: "customer.age", kind: "alias", confidence_percent: 70 } as const;
  const surer = { ...signal, confidence_percent: 90 };
  const all = [
    candidateOf(first, { signals: [signal] }),
    candidateOf(second, { epochs_present: 8, signals: [surer] }),
    candidateOf(second, { local_id: "local-2", epochs_present: 2 }),
  ];
  const report = aggregateCandidates(governance, subject, all);
  expect(report).toMatchObject({
    ...{ vaults: ["vault-1", "vault-2"], domains: ["customer"], types: ["integer"] },
    ...{ coverage_percent: 66, noised_rows: 3_000, stability_percent: 80, signals: [surer] },
  });
  expect(aggregateCandidates(governance, subject, all.toReversed())).toEqual(report);
  expect(report.evidence).toHaveLength(3);
});

test("[LA-2] forged, foreign, repeated, mixed and unfinished candidates are no evidence", () => {
  const other = { window: { first_epoch: 10, last_epoch: 19 } };
  const faults: (readonly Uint8Array[])[] = [
    [],
    [candidateOf(network.submitter)],
    [candidateOf(first, { vault_id: "vault-2" })],
    [candidateOf(first, { genesis_digest: new Uint8Array(32) })],
    [candidateOf(first, { attribute_id: "customer.shoe" })],
    [candidateOf(first), candidateOf(first)],
    [candidateOf(first, other)],
    [candidateOf(first, { window: { first_epoch: 0, last_epoch: 4 } })],
    [candidateOf(first), candidateOf(second, other)],
  ];
  for (const signed of faults) {
    expect(() => judge(signed)).toThrow(
      expect.objectContaining({ code: "DERIVATION_CANDIDATE_REFUSED" }),
    );
  }
  const altered = candidateOf(first);
  altered[altered.length - 1] = (altered.at(-1) ?? 0) ^ 1;
  expect(() => judge([altered])).toThrow(
    expect.objectContaining({ code: "PROOF_SIGNATURE_INVALID" }),
  );
});

test("[LA-4] what meets every precondition is proposed, and governance's registry takes it so", () => {
  const { registration, preconditions } = judge(BOTH);
  expect(preconditions.map(({ name }) => name)).toEqual([
    ...["coverage", "stability", "domain_binding", "type", "no_conflict", "new_name"],
  ]);
  expect(registration?.attributes).toMatchObject([{ status: "proposed", effective_from: null }]);
  if (registration === null) throw new Error("expected a registration");
  const { semantics } = registerSemantics(governance, registration);
  expect(semantics.attributes.at(-1)).toMatchObject({ status: "proposed" });
  expect(governance.semantics.attributes).not.toEqual(semantics.attributes);
});

test("[LA-4] each precondition alone keeps an attribute from being proposed", () => {
  const conflict = {
    signals: [{ attribute_id: "customer.age", kind: "conflict", confidence_percent: 64 } as const],
  };
  const alias = { attribute_id: "customer.age", relation: "alias" } as const;
  const replacement = { attribute_id: "customer.age", relation: "replacement" } as const;
  const named = [candidateOf(first), candidateOf(second, conflict)];
  const { definition } = promotion;
  const cases: [string[], ReturnType<typeof judge>][] = [
    [["coverage"], judge([candidateOf(first)])],
    [["stability"], judge([candidateOf(first), candidateOf(second, { epochs_present: 7 })])],
    [["domain_binding"], judge([candidateOf(first), candidateOf(third, { domain_id: "receipt" })])],
    [["type"], judge([candidateOf(first), candidateOf(second, { type: "date" })])],
    [["no_conflict"], judge(named)],
    [["no_conflict"], judge(named, { resolutions: [replacement] })],
    [[], judge(named, { resolutions: [alias] })],
    [
      [],
      judge(named, {
        definition: { ...definition, supersedes: "customer.age" },
        resolutions: [replacement],
      }),
    ],
    [
      ["new_name"],
      judge(
        [first, second].map((vault) => candidateOf(vault, { attribute_id: "customer.age" })),
        { definition: { ...definition, attribute_id: "customer.age" } },
      ),
    ],
  ];
  for (const [names, judged] of cases) {
    expect(unmet(judged)).toEqual(names);
    expect(judged.registration === null).toBe(names.length > 0);
  }
});

test("[LA-2][LA-4] governance's exception takes another window and fewer Vaults, for the attribute it approved", () => {
  const { registration } = judge(BOTH);
  if (registration === null) throw new Error("expected a registration");
  const decision = { type: "semantics_registered", registration } as const;
  const { state, proposalId: exception } = approvedBy(network, governance, decision);
  const window = { first_epoch: 4, last_epoch: 8 };
  const signed = [candidateOf(first, { window, epochs_present: 5 })];
  const next = { ...promotion.definition, semantic_version: "semantics-3" };
  const excepted = (
    changes: Partial<Parameters<typeof judgePromotion>[1]> = {},
    changed: Partial<GovernanceState> = {},
  ) =>
    judgePromotion(
      { ...state, ...changed },
      { promotion: { ...promotion, definition: next }, signed, exception, ...changes },
    );
  const judged = excepted();
  expect(unmet(judged)).toEqual([]);
  expect(judged.registration).toMatchObject({
    ...{ attributes: [], predecessor_version: "semantics-2", semantic_version: "semantics-3" },
    transitions: [{ kind: "attribute", attribute_id: "customer.years", to: "registered" }],
  });
  if (judged.registration === null) throw new Error("expected a registration");
  const { semantics } = registerSemantics(state, judged.registration);
  expect(semantics.attributes.at(-1)).toMatchObject({ status: "registered" });
  expect(unmet(excepted({}, { semantics })), "registered already").toEqual(["new_name"]);
  const steady = [candidateOf(first, { window, epochs_present: 3 })];
  expect(unmet(excepted({ signed: steady })), "an exception from no other rule").toEqual([
    "stability",
  ]);
  const boundary = { type: "epoch_boundary_requested", reason: "a test" } as const;
  const other = approvedBy(network, state, boundary);
  const shoe = { ...promotion.definition, attribute_id: "customer.shoe" };
  const ofShoe = [candidateOf(first, { window, attribute_id: "customer.shoe" })];
  const unfinished = [candidateOf(first, { window: { first_epoch: 6, last_epoch: 10 } })];
  const proposals = new Map([...state.proposals].map(([id, each]) => [id, open(each)]));
  const refusals = [
    () => excepted({ exception: null }),
    () => excepted({ exception: "00".repeat(32) }),
    () => excepted({ exception: other.proposalId }, other.state),
    () => excepted({ promotion: { ...promotion, definition: shoe }, signed: ofShoe }),
    () => excepted({ signed: unfinished }),
    () => excepted({}, { proposals }),
  ];
  for (const refusal of refusals) {
    expect(refusal).toThrow(expect.objectContaining({ code: "DERIVATION_CANDIDATE_REFUSED" }));
  }
});

function open(proposal: Proposal): Proposal {
  return { ...proposal, outcome: "open" };
}

const localId = `local-${"ab".repeat(20)}`;
const kept = { type: "integer" as const, scale: 0 };
const column = {
  ...{ vaultId: "vault-1", recordScope: "customers", semanticVersion: "semantics-1", kept },
  ...{ localId, domainId: "customer", epochsPresent: 5, epochsRequired: 5 },
};
const source = {
  ...{ domain_id: "customer", attribute_id: localId },
  ...{ cross_domain_policy: null, mediation_authority: null },
};
const threshold: DerivationRule = {
  ...{ rule_id: localId, semantic_version: "semantics-1", source_attributes: [source] },
  ...{ output_scale: 0, output_range: { min: 0, max: 1 }, privacy_impact_epsilon_micro: 1 },
  output_type: "integer",
  transform_type: "threshold",
  transform_params: { comparison: "at_least", boundary: 18 },
};
const declared = {
  ...{ derivation_rule: threshold, privacy_class: 3 },
  ...{ query_granularity: exactGranularity("integer"), allowed_usage_scope: "vault_local" },
  ...{ range: { min: 0, max: 120 }, operator_approves: true },
};

test("[LA-3] each precondition alone keeps a column from its own Vault's queries", () => {
  type Declared = Parameters<typeof judgeVaultScoped>[1];
  const judged = (changes: Partial<Declared>, differs: Partial<typeof column> = {}): string[] => {
    const found = judgeVaultScoped({ ...column, ...differs }, { ...declared, ...changes });
    const unmetNames = found.preconditions.filter(({ met }) => !met).map(({ name }) => name);
    expect(found.definition === null).toBe(unmetNames.length > 0);
    return unmetNames.filter((name) => name !== "coherence");
  };
  expect(judged({})).toEqual([]);
  expect(judged({}, { epochsPresent: 4 })).toEqual(["stability"]);
  expect(judgeVaultScoped({ ...column, kept: null }, declared)).toMatchObject({
    definition: null,
    preconditions: [{ name: "kept", met: false }, ...Array.from({ length: 7 }, () => ({}))],
  });
  expect(judged({}, { semanticVersion: "semantics-2" })).toEqual(["derivation_rule"]);
  const named: DerivationRule = { ...threshold, rule_id: "r-1" };
  expect(judged({ derivation_rule: named })).toEqual(["derivation_rule"]);
  expect(judged({ derivation_rule: null })).toEqual(["derivation_rule"]);
  const raw: DerivationRule = {
    ...threshold,
    transform_type: "passthrough",
    transform_params: {},
  };
  expect(judged({ derivation_rule: raw })).toEqual(["derivation_rule"]);
  const foreign: DerivationRule = {
    ...threshold,
    source_attributes: [source, { ...source, attribute_id: "a" }],
  };
  expect(judged({ derivation_rule: foreign })).toEqual(["derivation_rule"]);
  expect(judged({ privacy_class: null })).toEqual(["privacy_class"]);
  expect(judged({ query_granularity: null })).toEqual(["granularity"]);
  expect(judged({ allowed_usage_scope: "analytics" })).toEqual(["scope"]);
  expect(judged({ operator_approves: false })).toEqual(["operator_approval"]);
});

test("[LA-3] what no registry could have is not promoted, whatever else is met", () => {
  const coherent = (changes: Partial<typeof declared>): boolean | undefined =>
    judgeVaultScoped(column, { ...declared, ...changes }).preconditions.at(-1)?.met;
  expect(coherent({})).toBe(true);
  expect(coherent({ range: { min: 1, max: 0 } })).toBe(false);
  expect(coherent({ query_granularity: exactGranularity("text") })).toBe(false);
  const boundary = { ...threshold, output_type: "text" as const };
  expect(coherent({ derivation_rule: boundary })).toBe(false);
});

test("[PL-3][LA-3] a Vault's own column resolves in no task, and no registration gives it to the network", async () => {
  const cases = [localId, "score"].flatMap((attribute) =>
    [network.vaults.slice(0, 1), network.vaults].map((vaults) => ({ attribute, vaults })),
  );
  for (const { attribute, vaults } of cases) {
    const operands = [{ attribute, op: "eq" as const, value: 1 }];
    const request = await testRequest(network, {
      task_class: "query",
      predicate: { operator: "AND", operands },
      audience_cap: 10,
    });
    const asked = { ...request, vault_ids: vaults.map(({ actorId }) => actorId) };
    expect(() => resolveRequest(asked, governance)).toThrow(
      expect.objectContaining({ code: "DERIVATION_UNRESOLVED" }),
    );
  }
  const renamed = { ...promotion.definition, attribute_id: localId };
  const signed = [first, second].map((vault) => candidateOf(vault, { attribute_id: localId }));
  expect(() => judge(signed, { definition: renamed })).toThrow(
    expect.objectContaining({ code: "DERIVATION_REGISTRY_INVALID" }),
  );
});
