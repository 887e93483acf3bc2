import { sealBatch, inputCommitment, parseBatchHeader } from "../../protocol/batch.ts";
import type { BatchColumn } from "../../protocol/batch-body.ts";
import { sha256 } from "../../protocol/hash.ts";
import { concat, utf8 } from "../../protocol/bytes.ts";
import type { CanonicalRecord } from "../../protocol/record.ts";
import type { QueryGranularity } from "../../protocol/semantics/granularity.ts";
import type { CanonicalAttribute, SemanticRegistry } from "../../protocol/semantics/semantics.ts";

/** The columns of the `customers` scope. */
export const CUSTOMER_COLUMNS: readonly BatchColumn[] = [
  { name: "customer.id", type: "text", scale: 0 },
  { name: "customer.email", type: "text", scale: 0 },
  { name: "customer.age", type: "integer", scale: 0 },
  { name: "customer.balance", type: "decimal", scale: 2 },
  { name: "customer.city", type: "text", scale: 0 },
  { name: "customer.subscribed", type: "integer", scale: 0 },
];

/** The columns of the `receipts` scope. */
export const RECEIPT_COLUMNS: readonly BatchColumn[] = [
  { name: "receipt.id", type: "text", scale: 0 },
  { name: "receipt.owner", type: "text", scale: 0 },
  { name: "receipt.image", type: "bytes", scale: 0 },
];

const RANGES: Readonly<Record<string, { min: number; max: number }>> = {
  "customer.age": { min: 0, max: 120 },
  "customer.balance": { min: -1_000_000, max: 10_000_000 },
  "customer.subscribed": { min: 0, max: 1 },
};

/** A registry with the scopes `customers` (linked by e-mail) and `receipts`. */
export function testSemantics(): SemanticRegistry {
  const domain = (domain_id: string) => ({
    domain_id,
    parent_domain_id: null,
    layer: "concrete" as const,
    domain_version: 1,
    semantic_version: "semantics-1",
    status: "active" as const,
    cross_domain: "mediated" as const,
  });
  return {
    semantic_version: "semantics-1",
    domains: [domain("customer"), domain("receipt")],
    attributes: [
      ...CUSTOMER_COLUMNS.map((column) => attribute("customer", column)),
      ...RECEIPT_COLUMNS.map((column) => attribute("receipt", column)),
    ],
    query_attributes: [],
    derivation_rules: [],
    record_scopes: [
      {
        record_scope_id: "customers",
        domain_id: "customer",
        attribute_ids: CUSTOMER_COLUMNS.map((column) => column.name),
        foreign_attributes: [],
        subject_attribute_id: "customer.id",
        link_attribute_id: "customer.email",
      },
      {
        record_scope_id: "receipts",
        domain_id: "receipt",
        attribute_ids: RECEIPT_COLUMNS.map((column) => column.name),
        foreign_attributes: [],
        subject_attribute_id: "receipt.owner",
        link_attribute_id: null,
      },
    ],
  };
}

/** Every value apart. */
export function exactGranularity(type: CanonicalAttribute["type"]): QueryGranularity {
  const numeric = type === "integer" || type === "decimal";
  return {
    temporal_resolution: null,
    spatial_resolution: null,
    numeric_resolution: numeric ? { boundaries: [], width: 1 } : null,
    categorical_resolution: numeric ? null : "exact",
  };
}

function attribute(domainId: string, { name, type, scale }: BatchColumn): CanonicalAttribute {
  const queryable = name !== "customer.id" && name !== "customer.email" && type !== "bytes";
  return {
    attribute_id: name,
    domain_id: domainId,
    semantic_version: "semantics-1",
    scope: "network",
    status: "active",
    effective_from: "semantics-1",
    deprecated_from: null,
    retired_from: null,
    supersedes: null,
    type,
    scale,
    range: RANGES[name] ?? null,
    directly_queryable: queryable,
    default_query_granularity: queryable ? exactGranularity(type) : null,
    default_privacy_class: 2,
    privacy_impact_epsilon_micro: 100_000,
  };
}

/** A sealed batch as a Vault stores it, with the keys that open it. */
export interface TestBatch {
  readonly batchId: Uint8Array;
  readonly dataKey: Uint8Array;
  /** The secret the data key stays wrapped under after the key service has released it. */
  readonly secret: Uint8Array;
  readonly bytes: Uint8Array;
  readonly root: Uint8Array;
  readonly records: readonly CanonicalRecord[];
}

/** 32 bytes of `label`. */
function seed(label: string): Uint8Array {
  return sha256(utf8(`symphony test data ${label}`));
}

/** An integer in [0, bound) that depends on `label`. */
function draw(label: string, bound: number): number {
  return Number(new DataView(seed(label).buffer).getUint32(0)) % bound;
}

/**
 * `count` customers of one Vault. The person behind a row is `person-<n>`, n from `first`: two Vaults with
 * overlapping numbers share people, by e-mail address, under different pseudonyms. Older people subscribe.
 */
export function customerRecords(
  vaultId: string,
  { count, first = 0 }: { readonly count: number; readonly first?: number },
): readonly CanonicalRecord[] {
  return Array.from({ length: count }, (_, index) => {
    const person = first + index;
    const age = 18 + draw(`age ${person}`, 60);
    const noise = draw(`noise ${person}`, 20);
    return {
      schema: "customers@1",
      subject_id: seed(`${vaultId} subject ${person}`),
      salt: seed(`${vaultId} salt ${person}`).slice(0, 16),
      attributes: {
        "customer.id": `${vaultId}-${person}`,
        "customer.email": `Person-${person}@example.org`,
        "customer.age": age,
        "customer.balance": draw(`balance ${vaultId} ${person}`, 500_000),
        "customer.city": ["Porto", "Turin", "Lyon"][draw(`city ${person}`, 3)] ?? "Porto",
        "customer.subscribed": age + noise > 55 ? 1 : 0,
      },
    };
  });
}

/** Receipt records around given images. */
export function receiptRecords(
  vaultId: string,
  images: readonly Uint8Array[],
): readonly CanonicalRecord[] {
  return images.map((image, index) => ({
    schema: "receipts@1",
    subject_id: seed(`${vaultId} receipt owner ${index}`),
    salt: seed(`${vaultId} receipt salt ${index}`).slice(0, 16),
    attributes: {
      "receipt.id": `${vaultId}-receipt-${index}`,
      "receipt.owner": `${vaultId}-owner-${index}`,
      "receipt.image": image,
    },
  }));
}

/** Seals records as one batch whose id and keys depend on `label`. */
export function testBatch(
  label: string,
  records: readonly CanonicalRecord[],
  columns: readonly BatchColumn[] = CUSTOMER_COLUMNS,
): TestBatch {
  const batchId = seed(`${label} batch id`).slice(0, 16);
  const dataKey = seed(`${label} data key`);
  const bytes = sealBatch({
    batchId,
    schema: records[0]?.schema ?? "customers@1",
    columns,
    createdMs: 1_767_225_600_000,
    records,
    dataKey,
  });
  const root = parseBatchHeader(bytes).record_root;
  return { batchId, dataKey, secret: seed(`${label} batch secret`), bytes, root, records };
}

/** What one Vault brings to a task: its batches and whose subjects consent. */
export interface VaultData {
  readonly batches: readonly TestBatch[];
  readonly consentBitmap: Uint8Array;
  readonly consentKey: Uint8Array;
  readonly inputCommitment: Uint8Array;
}

/** The data of `vaultId` for one task; everybody consents but the rows in `withheld`. */
export function vaultData(
  vaultId: string,
  batches: readonly TestBatch[],
  withheld: readonly number[] = [],
): VaultData {
  const rows = batches.reduce((sum, batch) => sum + batch.records.length, 0);
  const bitmap = new Uint8Array(Math.ceil(rows / 8));
  for (let row = 0; row < rows; row += 1) {
    if (!withheld.includes(row)) bitmap[row >> 3] = (bitmap[row >> 3] ?? 0) | (1 << (row & 7));
  }
  return {
    batches,
    consentBitmap: bitmap,
    consentKey: seed(`${vaultId} consent key`),
    inputCommitment: inputCommitment(batches.map((batch) => batch.root)),
  };
}

/** Two batches of customers for each Vault; neighbours share half of their people. */
export function customerData(vaultIds: readonly string[], count: number): readonly VaultData[] {
  return vaultIds.map((vaultId, index) => {
    const first = index * Math.floor(count / 2);
    const records = customerRecords(vaultId, { count, first });
    const half = Math.ceil(count / 2);
    return vaultData(vaultId, [
      testBatch(`${vaultId} customers 0`, records.slice(0, half)),
      testBatch(`${vaultId} customers 1`, records.slice(half)),
    ]);
  });
}

/** Associated bytes of a label, for tests that need some that differ. */
export function testBytes(label: string, length: number): Uint8Array {
  const blocks = Array.from({ length: Math.ceil(length / 32) }, (_, i) => seed(`${label} ${i}`));
  return concat(...blocks).slice(0, length);
}
