import type {
  CanonicalAttribute,
  Policy,
  QueryGranularity,
  RecordScope,
  TaskClass,
  TaskParameters,
  TaskResult,
  UsageScope,
} from "#protocol";

/** A column of a table as the semantic registry will know it. */
export interface PlannedColumn {
  readonly name: string;
  readonly type: CanonicalAttribute["type"];
  readonly scale: number;
  readonly range: { readonly min: number; readonly max: number } | null;
  readonly queryable: boolean;
}

/** A record scope to register: its columns, whose records they are, and what links a person across Vaults. */
export interface PlannedScope {
  readonly scope: string;
  readonly domain: string;
  readonly columns: readonly PlannedColumn[];
  readonly subject: string;
  readonly link: string | null;
}

/** What one Vault holds when the demo starts. */
export interface PlannedVault {
  readonly vaultId: string;
  readonly tables: readonly { readonly scope: string; readonly csv: string }[];
  readonly documents: readonly {
    readonly scope: string;
    readonly subject: string;
    readonly name: string;
    readonly image: Uint8Array;
  }[];
}

/** A task the demo submits. `parameters` is a function because some name what earlier steps produced. */
export interface PlannedTask {
  readonly title: string;
  readonly taskClass: TaskClass;
  readonly scope: string;
  readonly usageScope: UsageScope;
  readonly vaultIds: readonly string[];
  readonly epsilonMicro: number;
  readonly parameters: (context: PlannedContext) => TaskParameters;
}

/** What tasks can refer to once data is in and models are registered. */
export interface PlannedContext {
  /** Record commitments of a Vault's scope, in ingest order. */
  readonly records: (vaultId: string, scope: string) => readonly Uint8Array[];
  /** Digest under which governance registered a model of the plan. */
  readonly model: (name: string) => Uint8Array;
}

/** A model or step graph that governance registers before tasks name it. */
export interface PlannedModel {
  readonly name: string;
  readonly kind: "model" | "step_graph";
  readonly bytes: Uint8Array;
}

/** A whole demo: who holds what, what governance registers, and what is asked. */
export interface DemoPlan {
  readonly network: string;
  readonly scopes: readonly PlannedScope[];
  readonly vaults: readonly PlannedVault[];
  readonly models: readonly PlannedModel[];
  readonly tasks: readonly PlannedTask[];
  readonly policy: (policy: Policy) => Policy;
  /** What to say at the end beside the results, from public files alone; no enclave has a part in it. */
  readonly report?: (outcomes: readonly PlannedOutcome[]) => Promise<PlannedReport>;
}

/** What a task of the plan came to: its result is absent when it was not delivered. */
export interface PlannedOutcome {
  readonly task: PlannedTask;
  readonly result: TaskResult | undefined;
}

/** The same facts for people and for programs. */
export interface PlannedReport {
  readonly lines: readonly string[];
  readonly facts: Readonly<Record<string, unknown>>;
}

/** What registering a column costs at least per use, micro-epsilon. */
const ATTRIBUTE_EPSILON_MICRO = 100_000;

/** The attributes of a scope, under `<domain>.`-free names: a column is its attribute. */
export function attributesOf(scope: PlannedScope, semanticVersion: string): CanonicalAttribute[] {
  return scope.columns.map((column) => ({
    attribute_id: column.name,
    domain_id: scope.domain,
    semantic_version: semanticVersion,
    scope: "network",
    status: "active",
    effective_from: semanticVersion,
    deprecated_from: null,
    retired_from: null,
    supersedes: null,
    type: column.type,
    scale: column.scale,
    range: column.range === null ? null : { ...column.range },
    directly_queryable: column.queryable,
    default_query_granularity: column.queryable ? exactly(column) : null,
    default_privacy_class: column.queryable ? 1 : 3,
    privacy_impact_epsilon_micro: column.queryable ? ATTRIBUTE_EPSILON_MICRO : 0,
  }));
}

/** Every value apart: numbers in buckets of one, categories as they are. */
function exactly({ type }: PlannedColumn): QueryGranularity {
  const numeric = type === "integer" || type === "decimal";
  return {
    temporal_resolution: null,
    spatial_resolution: null,
    numeric_resolution: numeric ? { boundaries: [], width: 1 } : null,
    categorical_resolution: numeric ? null : "exact",
  };
}

/** The record scope itself. */
export function recordScopeOf(scope: PlannedScope): RecordScope {
  return {
    record_scope_id: scope.scope,
    domain_id: scope.domain,
    attribute_ids: scope.columns.map(({ name }) => name),
    foreign_attributes: [],
    subject_attribute_id: scope.subject,
    link_attribute_id: scope.link,
  };
}
