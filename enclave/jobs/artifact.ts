import {
  LimitError,
  VerificationError,
  equalBytes,
  hex,
  sha256,
  type Artifact,
  type TaskParameters,
} from "#protocol";

import { ARTIFACT_BYTES_MAX, ARTIFACT_NODES_MAX } from "../limits.ts";
import { inspectModel, type ModelInspection } from "../workloads/compute/index.ts";
import type { VerifiedTask } from "./task.ts";

/** A registered model or step graph, admitted by its structure. */
export interface VerifiedArtifact {
  readonly bytes: Uint8Array;
  readonly digest: Uint8Array;
  readonly inspection: ModelInspection;
}

/** The digest of the artifact that `parameters` name; null for classes without one. */
export function artifactDigestOf(parameters: TaskParameters): Uint8Array | null {
  switch (parameters.task_class) {
    case "compute":
    case "train":
      return parameters.model_digest;
    case "parse":
    case "query":
      return null;
  }
}

const KINDS = { compute: "model", train: "step_graph" } as const;

/**
 * Verifies that `bytes` are the artifact the envelope names, that governance registered it for this use, and that its
 * graph holds admitted operators only. Artifacts are named by the SHA-256 of their bytes.
 *
 * The work of a computation is judged here, before any data is opened, and by the public row bound: a test of the real
 * number of rows against a declared bound would tell the submitter that number (TC-4).
 *
 * @throws {@link VerificationError} EXECUTION_WORKLOAD_UNREGISTERED, also for an artifact nobody asked for
 * @throws {@link LimitError} EXECUTION_BOUND_EXCEEDED, also for less declared work than the row bound needs
 * @throws {@link MalformedError} EXECUTION_WORKLOAD_FAILED
 */
export function verifyArtifact(
  bytes: Uint8Array | null,
  task: VerifiedTask,
): VerifiedArtifact | null {
  const { parameters } = task.envelope;
  if (parameters.task_class === "parse" || parameters.task_class === "query") {
    if (bytes === null) return null;
    throw unregistered("no artifact");
  }
  const named = parameters.model_digest;
  const registered = task.state.artifacts.get(hex(named));
  if (bytes === null || !isRegistered(registered, KINDS[parameters.task_class])) {
    throw unregistered(`a registered ${KINDS[parameters.task_class]}`);
  }
  if (bytes.length > ARTIFACT_BYTES_MAX) {
    throw new LimitError(
      { code: "EXECUTION_BOUND_EXCEEDED", max: ARTIFACT_BYTES_MAX },
      `artifact: expected at most ${ARTIFACT_BYTES_MAX} bytes, got ${bytes.length}`,
    );
  }
  if (!equalBytes(sha256(bytes), named)) throw unregistered("the artifact the envelope names");
  const depthMax = parameters.task_class === "train" ? 1 : 0;
  const limits = { bytesMax: ARTIFACT_BYTES_MAX, nodesMax: ARTIFACT_NODES_MAX, depthMax };
  const inspection = inspectModel(bytes, limits);
  if (parameters.task_class === "compute") {
    requireWork(task.rowsMax * inspection.nodes, parameters.work_units_max);
  }
  return { bytes, digest: named, inspection };
}

function requireWork(needed: number, max: number): void {
  if (needed <= max) return;
  throw new LimitError(
    { code: "EXECUTION_BOUND_EXCEEDED", bound: "work units", max },
    `work units: expected at most ${max} as declared, got ${needed} for the policy's rows`,
  );
}

function isRegistered(artifact: Artifact | undefined, kind: Artifact["kind"]): boolean {
  return artifact !== undefined && artifact.kind === kind;
}

function unregistered(expected: string): VerificationError {
  return new VerificationError(
    { code: "EXECUTION_WORKLOAD_UNREGISTERED", expected },
    `workload: expected ${expected}, got another`,
  );
}
