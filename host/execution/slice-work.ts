import { RefusedError, equalBytes, sha256, type TaskEnvelope, type WorkItem } from "#protocol";

/** Work that asks for one Vault's slice. */
export type SliceWork = Extract<WorkItem["work"], { kind: "slice" }>;

/**
 * Refuses what comes with an envelope and is not what it names, before an enclave starts and anything is charged: an
 * enclave would refuse it after the charge, and the subjects would have paid for nothing.
 *
 * @throws RefusedError COORDINATION_SLICE_REFUSED with `field`
 */
export function requireCarried(work: SliceWork, { parameters }: TaskEnvelope): void {
  if ((work.previous === null) !== (work.round === 0)) {
    throw refused("previous", "the round before in each round but the first");
  }
  const named = "model_digest" in parameters ? parameters.model_digest : null;
  const { artifact } = work;
  const fits =
    artifact === null || named === null ? artifact === named : equalBytes(sha256(artifact), named);
  if (!fits) throw refused("artifact", "the artifact that the envelope names");
}

function refused(field: string, expected: string): RefusedError {
  return new RefusedError(
    { code: "COORDINATION_SLICE_REFUSED", field },
    `slice ${field}: expected ${expected}`,
  );
}
