import path from "node:path";

import type { CanonicalAttribute, RecordScope } from "../../../../protocol/index.ts";

/** Mapping files that the project ships. */
export const EXAMPLES = path.join(import.meta.dirname, "../../../../examples/ingest");

type Shape =
  { readonly range: readonly [number, number]; readonly scale?: number } | "text" | "bytes";

const BIT = { range: [0, 1] } as const;

/** The attributes of the genuine sets, as the mapping files of `examples/ingest` name them. */
const SETS: Readonly<Record<string, Readonly<Record<string, Shape>>>> = {
  adult: {
    "person.id": "text",
    "person.age": { range: [0, 130] },
    "person.workclass": "text",
    "person.education": "text",
    "person.education_years": { range: [1, 16] },
    "person.marital_status": "text",
    "person.occupation": "text",
    "person.relationship": "text",
    "person.race": "text",
    "person.sex": "text",
    "person.capital_gain": { range: [0, 99_999] },
    "person.capital_loss": { range: [0, 99_999] },
    "person.hours_per_week": { range: [0, 99] },
    "person.native_country": "text",
    "person.income_over_50k": BIT,
  },
  bank: {
    "client.id": "text",
    "client.age": { range: [18, 130] },
    "client.job": "text",
    "client.marital": "text",
    "client.education": "text",
    "client.default": BIT,
    "client.balance": { range: [-1_000_000, 1_000_000] },
    "client.housing": BIT,
    "client.loan": BIT,
    "client.contact": "text",
    "client.duration": { range: [0, 100_000] },
    "client.campaign": { range: [1, 1_000] },
    "client.days_since": { range: [0, 10_000] },
    "client.previous": { range: [0, 1_000] },
    "client.subscribed": BIT,
  },
  heart: {
    "patient.id": "text",
    "patient.age": { range: [0, 130] },
    "patient.sex": BIT,
    "patient.chest_pain": { range: [1, 4] },
    "patient.trestbps": { range: [0, 300] },
    "patient.cholesterol": { range: [0, 1_000] },
    "patient.fasting_sugar": BIT,
    "patient.restecg": { range: [0, 2] },
    "patient.thalach": { range: [0, 300] },
    "patient.exang": BIT,
    "patient.oldpeak": { range: [-100, 100], scale: 1 },
    "patient.disease": BIT,
  },
  patients: {
    "patient.id": "text",
    "patient.age": { range: [0, 130] },
    "patient.sex": BIT,
    "patient.oldpeak": { range: [-100, 100], scale: 1 },
  },
  receipts: { "receipt.owner": "text", "receipt.image": "bytes", "receipt.name": "text" },
};

/** A record scope of {@link SETS} with its attributes; the first attribute is the subject. */
export function setTarget(name: string): {
  readonly recordScope: RecordScope;
  readonly attributes: readonly CanonicalAttribute[];
} {
  const shapes = Object.entries(SETS[name] ?? {});
  const ids = shapes.map(([id]) => id);
  return {
    recordScope: {
      record_scope_id: name,
      domain_id: "sets",
      attribute_ids: ids,
      foreign_attributes: [],
      subject_attribute_id: ids[0] ?? "",
      link_attribute_id: null,
    },
    attributes: shapes.map(([id, shape]) => attributeOf(id, shape)),
  };
}

function attributeOf(attribute_id: string, shape: Shape): CanonicalAttribute {
  const plain = {
    attribute_id,
    domain_id: "sets",
    semantic_version: "1",
    scope: "network",
    status: "active",
    effective_from: "1",
    deprecated_from: null,
    retired_from: null,
    supersedes: null,
    directly_queryable: true,
    default_query_granularity: null,
    default_privacy_class: 1,
    privacy_impact_epsilon_micro: 0,
  } as const;
  if (typeof shape === "string") return { ...plain, type: shape, scale: 0, range: null };
  const [min, max] = shape.range;
  const { scale = 0 } = shape;
  return { ...plain, type: scale === 0 ? "integer" : "decimal", scale, range: { min, max } };
}
