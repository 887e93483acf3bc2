import { secureSum } from "#aggregation";
import {
  applyAverage,
  buildLogisticStepGraph,
  countCorrect,
  featureMatrix,
  featureRows,
  loadModel,
  subjectGroups,
  toFloats,
  trainLocally,
  updateEntryBound,
  type Columns,
  type FeatureMatrix,
  type OnnxModel,
} from "#enclave";
import { hkdf, utf8, type TrainParameters } from "#protocol";

/** Public rows of one Vault: what it trains on and what is held out, as CSV text without quoted cells. */
export interface PublicCentre {
  readonly csv: string;
  readonly testCsv: string;
}

/** How the rows of {@link PublicCentre} are to be read. */
export interface PublicTask {
  readonly parameters: TrainParameters;
  /** Column that says whose row it is. */
  readonly subject: string;
}

const MODEL_BYTES_MAX = 64 * 1024;
const ORDER_SEED = utf8("symphony/demo/public-training/v1");

/**
 * The share of held-out rows that federated averaging *without noise* gets right, for each centre.
 *
 * Computed in the open from public rows, by the kernels the enclaves run and in their order: what a noised result can
 * be held against. Deterministic. Never for rows that are not public: nothing here protects anybody.
 *
 * @throws {@link MalformedError} EXECUTION_INPUT_MISMATCH when a column of the task is missing
 */
export async function accuraciesWithoutNoise(
  centres: readonly PublicCentre[],
  task: PublicTask,
): Promise<number[]> {
  const { parameters } = task;
  const members = centres.map(({ csv }) => memberOf(csv, task));
  const step = buildLogisticStepGraph({ features: parameters.features.length });
  await using model = await loadModel(step, { bytesMax: MODEL_BYTES_MAX });
  const bounds = {
    clipNormMicro: parameters.clip_norm_micro,
    fractionBits: parameters.fraction_bits,
  };
  const entryBound = updateEntryBound({ ...bounds, groups: parameters.groups });
  let weights = new Int32Array(parameters.features.length + 1);
  for (let round = 0; round < parameters.rounds; round += 1) {
    const updates: Int32Array[] = [];
    for (const [centre, member] of members.entries()) {
      const seedOrder = hkdf(ORDER_SEED, utf8(`round ${round} centre ${centre}`));
      updates.push(await updateOf(member, { model, parameters, weights, seedOrder }));
    }
    weights = Int32Array.from(
      applyAverage({
        globalWeights: weights,
        sum: secureSum(updates, { entryBound, noiseBound: 0 }),
        noise: new Int32Array(weights.length),
        divisor: parameters.groups * members.length,
      }),
    );
  }
  const slopes = toFloats(weights, parameters.fraction_bits);
  return centres.map(({ testCsv }) => shareRight(slopes, memberOf(testCsv, task).matrix));
}

/**
 * The share of held-out rows that a delivered model gets right, for each centre.
 *
 * @param model - ONNX as the train task delivers it: raw attributes in, `label` out.
 * @throws {@link MalformedError} EXECUTION_INPUT_MISMATCH, EXECUTION_WORKLOAD_FAILED
 */
export async function accuraciesOfModel(
  model: Uint8Array,
  centres: readonly PublicCentre[],
  { parameters }: PublicTask,
): Promise<number[]> {
  await using loaded = await loadModel(model, { bytesMax: MODEL_BYTES_MAX });
  const raw = parameters.features.map((feature) => ({
    ...feature,
    mean_micro: 0,
    scale_micro: 1_000_000,
  }));
  const accuracies: number[] = [];
  for (const { testCsv } of centres) {
    const columns = columnsOf(testCsv);
    const { labels, rows } = matrixOf(columns, parameters);
    const inputs = featureRows(columns, raw, rows);
    const outputs = await loaded.run({
      attributes: { data: inputs, dims: [rows.length, raw.length] },
    });
    const said = outputs["label"]?.data;
    const right = Array.from(labels).filter((label, row) => label === Number(said?.[row]));
    accuracies.push(right.length / labels.length);
  }
  return accuracies;
}

interface Member {
  readonly matrix: FeatureMatrix;
  readonly rowGroup: Int32Array;
}

function memberOf(csv: string, { parameters, subject }: PublicTask): Member {
  const columns = columnsOf(csv);
  const matrix = matrixOf(columns, parameters);
  const names = (columns.get(subject) ?? []).map(String);
  const groups = subjectGroups(names, parameters.groups);
  return { matrix, rowGroup: Int32Array.from(matrix.rows, (row) => groups[row] ?? 0) };
}

async function updateOf(
  { matrix, rowGroup }: Member,
  round: {
    readonly model: OnnxModel;
    readonly parameters: TrainParameters;
    readonly weights: Int32Array;
    readonly seedOrder: Uint8Array;
  },
): Promise<Int32Array> {
  const { model, parameters, weights, seedOrder } = round;
  return await trainLocally({
    model,
    features: matrix.features,
    labels: matrix.labels,
    rowGroup,
    groups: parameters.groups,
    globalWeights: weights,
    learningRateMicro: parameters.learning_rate_micro,
    localSteps: parameters.local_steps,
    batchSize: parameters.batch_size,
    seedOrder,
    clipNormMicro: parameters.clip_norm_micro,
    fractionBits: parameters.fraction_bits,
  });
}

function shareRight(weights: Float32Array, { features, labels }: FeatureMatrix): number {
  const include = new Uint8Array(labels.length).fill(1);
  return countCorrect({ weights, features, labels, include }) / labels.length;
}

/** The label of a public table has no decimals, so its scaled integers are the numbers in the file. */
function matrixOf(columns: Columns, { features, label }: TrainParameters): FeatureMatrix {
  const labels = columns.get(label.attribute) ?? [];
  return featureMatrix(columns, { features, labels, positive: label.positive });
}

/** Columns of CSV text without quoted cells: numbers where a cell is one, an empty cell is absent. */
export function columnsOf(csv: string): Columns {
  const [heading = "", ...lines] = csv.trimEnd().split("\n");
  const rows = lines.map((line) => line.split(","));
  return new Map(
    heading.split(",").map((name, at) => [name, rows.map((cells) => cellOf(cells[at] ?? ""))]),
  );
}

function cellOf(cell: string): number | string | null {
  if (cell === "") return null;
  const value = Number(cell);
  return Number.isNaN(value) ? cell : value;
}
