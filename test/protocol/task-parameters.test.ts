import { expect, test } from "vitest";

import { taskParametersSchema, type TaskParameters } from "../../protocol/index.ts";

const FEATURE = {
  attribute: "customer.age",
  mean_micro: 0,
  scale_micro: 1,
  min_micro: 0,
  max_micro: 1,
};
const TEST = { attribute: "customer.age", op: "eq", value: 1 } as const;
const PREDICATE = { operator: "AND", operands: [TEST] } as const;

const GOOD = {
  parse: { task_class: "parse", record_commitment: new Uint8Array(32) },
  query: {
    task_class: "query",
    predicate: { operator: "AND", operands: [TEST] },
    audience_cap: 1000,
  },
  compute: {
    task_class: "compute",
    model_digest: new Uint8Array(32),
    features: [FEATURE],
    bin_edges_micro: [0, 500_000, 1_000_000],
    work_units_max: 1000,
  },
  train: {
    task_class: "train",
    model_digest: new Uint8Array(32),
    features: [FEATURE],
    label: { attribute: "customer.subscribed", positive: 1 },
    rounds: 2,
    groups: 4,
    local_steps: 1,
    batch_size: 1,
    learning_rate_micro: 1,
    clip_norm_micro: 1,
    fraction_bits: 8,
    convergence_threshold_micro: null,
  },
} satisfies Record<TaskParameters["task_class"], TaskParameters>;

/** `length` copies of one item. */
const many = <T>(length: number, item: T): T[] => Array.from({ length }, () => item);

test.for(Object.values(GOOD))("accepts the parameters of $task_class", (good) => {
  expect(taskParametersSchema.parse(good)).toEqual(good);
});

interface Damage {
  readonly name: string;
  readonly of: keyof typeof GOOD;
  readonly title: string;
  readonly change: Readonly<Record<string, unknown>>;
}

const DAMAGES: readonly Damage[] = [
  { name: "parse", of: "parse", title: "an unknown field", change: { more: 1 } },
  {
    name: "parse",
    of: "parse",
    title: "a short commitment",
    change: { record_commitment: new Uint8Array(31) },
  },
  { name: "[TC-3] query", of: "query", title: "a negative cap", change: { audience_cap: -1 } },
  { name: "[TC-4] compute", of: "compute", title: "an unknown field", change: { more: 1 } },
  {
    name: "[TC-4] compute",
    of: "compute",
    title: "undeclared work",
    change: { work_units_max: undefined },
  },
  { name: "[TC-4] compute", of: "compute", title: "a fraction", change: { work_units_max: 0.5 } },
  {
    name: "[TC-4] compute",
    of: "compute",
    title: "edges that stand still",
    change: { bin_edges_micro: [0, 0] },
  },
  {
    name: "[TC-4] compute",
    of: "compute",
    title: "edges that fall",
    change: { bin_edges_micro: [0, 2, 1] },
  },
  { name: "[TC-4] compute", of: "compute", title: "one edge", change: { bin_edges_micro: [0] } },
  {
    name: "[TC-4] compute",
    of: "compute",
    title: "65 bins",
    change: { bin_edges_micro: many(66, 0).map((_, at) => at) },
  },
  {
    name: "[TC-4] compute",
    of: "compute",
    title: "a digest of another length",
    change: { model_digest: new Uint8Array(1) },
  },
  { name: "[TC-4] compute", of: "compute", title: "no features", change: { features: [] } },
  {
    name: "[TC-4] compute",
    of: "compute",
    title: "257 features",
    change: { features: many(257, FEATURE) },
  },
  {
    name: "[TC-4] compute",
    of: "compute",
    title: "a scale of zero",
    change: { features: [{ ...FEATURE, scale_micro: 0 }] },
  },
  {
    name: "[TC-4] compute",
    of: "compute",
    title: "an empty range",
    change: { features: [{ ...FEATURE, min_micro: 2 }] },
  },
  { name: "train", of: "train", title: "an unknown field", change: { more: 1 } },
  { name: "train", of: "train", title: "no rounds", change: { rounds: 0 } },
  { name: "train", of: "train", title: "101 rounds", change: { rounds: 101 } },
  { name: "train", of: "train", title: "a fraction", change: { learning_rate_micro: 0.5 } },
  { name: "train", of: "train", title: "no features", change: { features: [] } },
  { name: "train", of: "train", title: "no label", change: { label: undefined } },
  { name: "train", of: "train", title: "no groups", change: { groups: 0 } },
  {
    name: "train",
    of: "train",
    title: "an unbounded norm",
    change: { clip_norm_micro: 1_000_000_001 },
  },
  { name: "train", of: "train", title: "25 fraction bits", change: { fraction_bits: 25 } },
  ...[0, 0.5, 1_000_000_001, undefined].map((threshold) => ({
    name: "[TC-5] train",
    of: "train" as const,
    title: `a threshold of ${threshold}`,
    change: { convergence_threshold_micro: threshold },
  })),
];

test.for(DAMAGES)("$name refuses $title", ({ of, change }) => {
  expect(taskParametersSchema.safeParse({ ...GOOD[of], ...change }).success).toBe(false);
});

test.for([
  { title: "no operands", predicate: { operator: "AND", operands: [] } },
  { title: "65 operands", predicate: { operator: "OR", operands: many(65, TEST) } },
  { title: "another operator", predicate: { operator: "XOR", operands: [TEST] } },
  { title: "a composition of compositions", predicate: { operator: "NOT", operands: [PREDICATE] } },
  { title: "a lone operand", predicate: TEST },
  { title: "another test", operand: { ...TEST, op: "like" } },
  { title: "a fraction", operand: { ...TEST, value: 1.5 } },
  { title: "null for a value", operand: { ...TEST, value: null } },
  { title: "an unknown field", operand: { ...TEST, sql: "1=1" } },
  { title: "no attribute", operand: { ...TEST, attribute: "" } },
  { title: "one of none", operand: { attribute: "customer.age", op: "in", values: [] } },
  { title: "one of 65", operand: { attribute: "customer.age", op: "in", values: many(65, 1) } },
  { title: "an open range", operand: { attribute: "customer.age", op: "range", min: 0 } },
])("[AC-1] a predicate refuses $title", ({ predicate, operand }) => {
  const damaged = predicate ?? { ...PREDICATE, operands: [operand] };
  const { success } = taskParametersSchema.safeParse({ ...GOOD.query, predicate: damaged });
  expect(success).toBe(false);
});
