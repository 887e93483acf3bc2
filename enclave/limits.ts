import { digestOf } from "#protocol";

/** Documents one enclave asks its NSM for on behalf of its host. */
export const ATTESTATIONS_MAX = 128;

/** The whole life of an enclave process; an abandoned one ends itself. */
export const LIFE_MS_MAX = 600_000;

/** Time between two messages of the host. */
export const IDLE_MS_MAX = 300_000;

/** The largest artifact, a model or a step graph. */
export const ARTIFACT_BYTES_MAX = 16 * 1024 * 1024;

/** Operators one admitted graph may hold. */
export const ARTIFACT_NODES_MAX = 10_000;

/** Names of the workloads as bundles carry them; a changed behaviour gets a new name. */
export const WORKLOADS = {
  parse: "parse.receipt.v1",
  query: "query.audience.v1",
  compute: "compute.onnx-histogram.v1",
  train: "train.fedavg-logistic.v1",
} as const;

/** What is fixed about this image besides its code; part of the session manifest. */
export function configurationDigest(): Uint8Array {
  return digestOf("enclave-configuration", {
    attestations_max: ATTESTATIONS_MAX,
    life_ms_max: LIFE_MS_MAX,
    idle_ms_max: IDLE_MS_MAX,
    artifact_bytes_max: ARTIFACT_BYTES_MAX,
    artifact_nodes_max: ARTIFACT_NODES_MAX,
    workloads: WORKLOADS,
  });
}
