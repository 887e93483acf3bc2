import type { ResolutionState } from "../../protocol/semantics/resolution.ts";
import type { CanonicalAttribute, SemanticRegistry } from "../../protocol/semantics/semantics.ts";
import type { TaskRequest } from "../../protocol/task-request.ts";
import { queryAttributeOf, ruleNamed } from "./derived-semantics.ts";
import { testSemantics } from "./network-data.ts";
import { createNetwork } from "./network.ts";
import { testRequest } from "./network-task.ts";

/**
 * A composition of `operands` operands, every second a query attribute, and the registry of `count` canonical attributes
 * and half as many query attributes that it resolves in.
 */
export async function largeResolution(args: {
  readonly attributes: number;
  readonly operands: number;
}): Promise<{ readonly request: TaskRequest; readonly state: ResolutionState }> {
  const network = await createNetwork();
  const operands = Array.from({ length: args.operands }, (_, index) =>
    index % 2 === 0
      ? ({ attribute: `a.${index}`, op: "range", min: 20, max: 60 } as const)
      : ({ attribute: `customer.band-${index}`, op: "eq", value: "senior" } as const),
  );
  const request = await testRequest(network, {
    task_class: "query",
    predicate: { operator: "OR", operands },
    audience_cap: 100,
  });
  return { request, state: { semantics: large(args), policy: network.genesis.policy } };
}

function large({
  attributes,
  operands,
}: {
  attributes: number;
  operands: number;
}): SemanticRegistry {
  const semantics = testSemantics();
  const age = semantics.attributes.find((each) => each.attribute_id === "customer.age");
  if (age === undefined) throw new Error("no age");
  const named = Array.from({ length: attributes }, (_, index): CanonicalAttribute => ({
    ...age,
    attribute_id: `a.${index}`,
  }));
  const rules = Array.from({ length: attributes / 2 }, (_, index) => ({
    ...ruleNamed("age-band"),
    rule_id: `band-${index}`,
    source_attributes: ruleNamed("age-band").source_attributes.map((source) => ({
      ...source,
      attribute_id: `a.${index}`,
    })),
  }));
  return {
    ...semantics,
    attributes: [...semantics.attributes, ...named],
    derivation_rules: rules,
    query_attributes: rules.map((rule) => queryAttributeOf(rule)),
    record_scopes: semantics.record_scopes.map((scope) =>
      scope.record_scope_id === "customers"
        ? {
            ...scope,
            attribute_ids: [
              ...scope.attribute_ids,
              ...Array.from({ length: operands }, (_, index) => `a.${index}`),
            ],
          }
        : scope,
    ),
  };
}

/** The registry with its entries in another order, which depends on `draw` of [0, bound). */
export function shuffled(
  registry: SemanticRegistry,
  draw: (bound: number) => number,
): SemanticRegistry {
  const mix = <T>(entries: readonly T[]): T[] => {
    const mixed = [...entries];
    for (let at = mixed.length - 1; at > 0; at -= 1) {
      const other = draw(at + 1);
      const [a, b] = [mixed[at], mixed[other]];
      if (a !== undefined && b !== undefined) [mixed[at], mixed[other]] = [b, a];
    }
    return mixed;
  };
  return {
    semantic_version: registry.semantic_version,
    domains: mix(registry.domains),
    attributes: mix(registry.attributes),
    query_attributes: mix(registry.query_attributes),
    derivation_rules: mix(registry.derivation_rules),
    record_scopes: mix(registry.record_scopes),
  };
}
