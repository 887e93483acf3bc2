import { customersScope, feature, rawFeature, receiptsScope } from "../../sim/demo/generated.ts";
import { csvOf } from "../../sim/data/csv.ts";
import { generateDemoReceipts } from "../../sim/data/receipts.ts";
import { DEMO_COLUMNS } from "../../sim/data/companies.ts";
import { buildLogisticModel, buildLogisticStepGraph } from "../../enclave/index.ts";
import type { Policy } from "../../protocol/governance/policy.ts";
import type { TaskClass } from "../../protocol/fields.ts";
import type { DemoPlan, PlannedTask } from "../../sim/network/plan.ts";

/** The Vaults of the small plan; the first also holds receipts. */
export const LIVE_VAULTS = ["vault-a", "vault-b", "vault-c"] as const;

const MICRO = 1_000_000;
const ROWS_MAX = 256;
const FEATURES = [
  feature("age", 50, 18, [18, 90]),
  feature("balance", 3_000, 2_500, [0, 10_000]),
  feature("visits", 20, 15, [0, 60]),
];

/** What a small plan may differ in. */
export interface LivePlanOptions {
  readonly network?: string;
  /** Customers of each Vault. Two thirds of a Vault's customers are the next Vault's too. */
  readonly customers?: number;
  readonly rounds?: number;
  readonly policy?: (policy: Policy) => Policy;
  /** The city of a customer, by Vault and row: any text. */
  readonly city?: (vaultId: string, row: number) => string;
  /** The e-mail address of customer `person`. */
  readonly email?: (person: number) => string;
  readonly receipts?: DemoPlan["vaults"][number]["documents"];
  /** Also: tasks of one Vault that others never see. */
  readonly tasks?: (tasks: readonly PlannedTask[]) => readonly PlannedTask[];
}

/** A plan as small as the demo's is plausible: one task of each class, three Vaults, two rounds of training. */
export function livePlan(options: LivePlanOptions = {}): DemoPlan {
  const [first] = LIVE_VAULTS;
  const receipts = options.receipts ?? defaultReceipts();
  const tasks = liveTasks(options.rounds ?? 2);
  return {
    network: options.network ?? "live",
    scopes: [customersScope(), receiptsScope()],
    vaults: LIVE_VAULTS.map((vaultId, index) => ({
      vaultId,
      tables: [{ scope: "customers", csv: customersCsv(index, options) }],
      documents: vaultId === first ? receipts : [],
    })),
    models: [
      {
        name: "churn-score",
        kind: "model",
        bytes: buildLogisticModel({
          weights: new Float32Array([-0.6, -0.8, -1.1, 0.2]),
          features: FEATURES.map((each) => ({ ...each, equals_micro: null })),
        }),
      },
      {
        name: "churn-step",
        kind: "step_graph",
        bytes: buildLogisticStepGraph({ features: FEATURES.length }),
      },
    ],
    tasks: options.tasks?.(tasks) ?? tasks,
    policy: (policy) => (options.policy ?? ((same) => same))(smallPolicy(policy)),
  };
}

/** The planned task of a class. */
export function taskOf(plan: DemoPlan, taskClass: TaskClass): PlannedTask {
  const task = plan.tasks.find((each) => each.taskClass === taskClass);
  if (task === undefined) throw new Error(`plan: expected a ${taskClass} task`);
  return task;
}

/** Small padding, and a short challenge window: these tests are not about either. */
function smallPolicy(policy: Policy): Policy {
  const classes = { ...policy.classes };
  for (const name of ["parse", "query", "compute", "train"] as const) {
    classes[name] = { ...classes[name], rows_max: ROWS_MAX };
  }
  return {
    ...policy,
    classes,
    governance: { ...policy.governance, challenge_window_ms: 200 },
  };
}

function defaultReceipts(): DemoPlan["vaults"][number]["documents"] {
  return generateDemoReceipts(1).map(({ name, image }) => ({
    scope: "receipts",
    subject: "p0001@example.org",
    name,
    image,
  }));
}

function customersCsv(index: number, options: LivePlanOptions): string {
  const count = options.customers ?? 60;
  const vaultId = LIVE_VAULTS[index] ?? "";
  const email = options.email ?? ((person) => `p${String(person).padStart(4, "0")}@example.org`);
  const rows = Array.from({ length: count }, (_, row) => {
    const person = row + Math.floor((index * count) / 3);
    const visits = (person * 7) % 60;
    return [
      `c${person}`,
      email(person),
      String(20 + ((person * 11) % 60)),
      options.city?.(vaultId, row) ?? "Carrow",
      `${(person * 173) % 9_000}.00`,
      "cellular",
      String(visits),
      `${(person * 91) % 4_000}.00`,
      visits < 30 ? "1" : "0",
    ];
  });
  return csvOf(
    DEMO_COLUMNS.map(({ name }) => name),
    rows,
  );
}

function liveTasks(rounds: number): PlannedTask[] {
  const [first] = LIVE_VAULTS;
  const shared = { scope: "customers", vaultIds: LIVE_VAULTS };
  return [
    {
      title: "read one receipt",
      taskClass: "parse",
      scope: "receipts",
      usageScope: "personal_use",
      vaultIds: [first],
      epsilonMicro: 0,
      parameters: ({ records }) => ({
        task_class: "parse",
        record_commitment: records(first, "receipts")[0] ?? new Uint8Array(32),
      }),
    },
    {
      ...shared,
      title: "count people of 20 and more",
      taskClass: "query",
      usageScope: "marketing",
      epsilonMicro: 1 * MICRO,
      parameters: () => ({
        task_class: "query",
        predicate: {
          operator: "AND",
          operands: [
            { attribute: "age", op: "range", min: 20, max: 90 },
            { attribute: "visits", op: "range", min: 0, max: 61 },
          ],
        },
        audience_cap: 1_000,
      }),
    },
    {
      ...shared,
      title: "score everyone",
      taskClass: "compute",
      usageScope: "analytics",
      epsilonMicro: 1 * MICRO,
      parameters: ({ model }) => ({
        task_class: "compute",
        model_digest: model("churn-score"),
        features: FEATURES.map(rawFeature),
        bin_edges_micro: [0, 500_000, 1_000_001],
        work_units_max: 1_000_000,
      }),
    },
    {
      ...shared,
      title: "train on everyone",
      taskClass: "train",
      usageScope: "training",
      epsilonMicro: 4 * MICRO,
      parameters: ({ model }) => ({
        task_class: "train",
        model_digest: model("churn-step"),
        features: FEATURES,
        label: { attribute: "churned", positive: 1 },
        rounds,
        groups: 32,
        local_steps: 2,
        batch_size: 8,
        learning_rate_micro: 300_000,
        clip_norm_micro: 300_000,
        fraction_bits: 16,
        convergence_threshold_micro: null,
      }),
    },
  ];
}
