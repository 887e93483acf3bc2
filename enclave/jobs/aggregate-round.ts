import {
  type CoordinationEnvelope,
  type TaskParameters,
  type TaskResult,
  type TrainParameters,
} from "#protocol";

import { aggregateHistogram } from "../workloads/aggregate/compute.ts";
import { countSensitivity, type CountPrivacy } from "../workloads/aggregate/privacy.ts";
import { aggregateQuery } from "../workloads/aggregate/query.ts";
import { aggregateUpdates, declaredChange, modelResult } from "../workloads/aggregate/train.ts";
import { computeOutputBytes } from "./slices/compute.ts";
import { int32Bytes } from "./slices/features.ts";
import { queryOutputBytes } from "./slices/query.ts";
import { trainOutputBytes, weightsOf } from "./slices/train.ts";
import type { RoundOutcome } from "./outcome.ts";
import { mismatch, type VerifiedTask } from "./task.ts";

/** What one round is aggregated from. */
export interface RoundInputs {
  /** Padded slice outputs, in order of Vault. */
  readonly outputs: readonly Uint8Array[];
  readonly noiseKey: Uint8Array;
  /** Content of the state this round started from. */
  readonly state: Uint8Array | null;
  /** Whether any evidence behind this round is a simulator's. */
  readonly simulated: boolean;
}

type Method = CoordinationEnvelope["aggregation_method"];

/** Methods each class may be combined by; a task of one Vault is combined as a union or a sum of one. */
const METHODS: Readonly<Record<TaskParameters["task_class"], readonly Method[]>> = {
  parse: [],
  query: ["union", "intersection"],
  compute: ["secure_sum"],
  train: ["federated_average"],
};

/** The method of a task's envelope, if its class can be combined by it. @throws EXECUTION_ORDER_MISMATCH */
export function methodOf({ envelope }: VerifiedTask): Method | "none" {
  const coordination = envelope.coordination_envelope;
  if (coordination === null) return "none";
  const { aggregation_method: method, aggregation_environment: place } = coordination;
  if (place !== "tee") throw mismatch("aggregation inside an enclave");
  if (METHODS[envelope.task_class].includes(method)) return method;
  throw mismatch("a method for this task class");
}

/** Size of the slice outputs of a task: a function of public parameters alone. */
export function sliceOutputBytes(task: VerifiedTask): number {
  const { parameters } = task.envelope;
  switch (parameters.task_class) {
    case "parse":
      throw mismatch("a task class with slices");
    case "query":
      return queryOutputBytes(task.rowsMax);
    case "compute":
      return computeOutputBytes(parameters);
    case "train":
      return trainOutputBytes(parameters);
  }
}

/**
 * Combines the slices of one round: the result of the task, or the state of its next round.
 *
 * @throws {@link MalformedError} EXECUTION_INPUT_MISMATCH
 * @throws {@link LimitError} EXECUTION_BOUND_EXCEEDED
 */
export function aggregateRound(task: VerifiedTask, inputs: RoundInputs): RoundOutcome {
  const { parameters } = task.envelope;
  const { outputs, noiseKey, simulated } = inputs;
  const outputBytes = sliceOutputBytes(task);
  const result = (value: TaskResult["result"]): RoundOutcome => ({
    kind: "result",
    result: value,
    simulated,
    modelChangeMicro: null,
  });
  switch (parameters.task_class) {
    case "parse":
      throw mismatch("a task class with slices");
    case "query": {
      const method = methodOf(task) === "intersection" ? "intersection" : "union";
      const privacy = countPrivacy(task);
      const { audience_cap: audienceCap } = parameters;
      return result(
        aggregateQuery({ outputs, outputBytes, method, audienceCap, noiseKey, privacy }),
      );
    }
    case "compute": {
      const privacy = countPrivacy(task);
      const { rowsMax } = task;
      return result(
        aggregateHistogram({ outputs, outputBytes, parameters, rowsMax, noiseKey, privacy }),
      );
    }
    case "train":
      return aggregateTraining(task, { ...inputs, parameters, outputBytes });
  }
}

function aggregateTraining(
  task: VerifiedTask,
  round: RoundInputs & { readonly parameters: TrainParameters; readonly outputBytes: number },
): RoundOutcome {
  const { outputs, outputBytes, parameters, noiseKey, simulated } = round;
  const { epsilon_micro: epsilonMicro, delta_pico: deltaPico } = task.envelope;
  const before = weightsOf(parameters, round.state);
  const weights = aggregateUpdates({
    outputs,
    outputBytes,
    parameters,
    weights: before,
    round: task.round,
    epsilonMicro,
    deltaPico,
    vaults: task.vaultIds.length,
    noiseKey,
  });
  const modelChangeMicro = declaredChange(parameters, before, weights);
  if (!task.isFinalRound) {
    return { kind: "state", content: int32Bytes(weights), bytes: outputBytes, modelChangeMicro };
  }
  const result = modelResult(parameters, weights);
  return { kind: "result", result, simulated, modelChangeMicro };
}

/**
 * What protects the counts of a task.
 *
 * One person is one and the same in every Vault only for a query whose scope links by what identifies: otherwise a Vault
 * may know the person by another link, or by none, and each Vault's part counts for itself.
 */
export function countPrivacy(task: VerifiedTask): CountPrivacy {
  const { link_attribute_id: link, subject_attribute_id: subject } = task.scope;
  return {
    k: task.cardinalityMin,
    epsilonMicro: task.envelope.epsilon_micro,
    deltaPico: task.envelope.delta_pico,
    sensitivity: countSensitivity({
      vaults: task.vaultIds.length,
      localMin: task.policy.privacy.minimum_local_cardinality,
      deduplicated: task.envelope.task_class === "query" && link === subject,
    }),
  };
}
