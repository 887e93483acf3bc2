import { expect } from "vitest";

import {
  governanceFor,
  policyDigest,
  policyVersionIn,
  type GovernanceState,
  type Policy,
} from "../../protocol/index.ts";

/** Versions and epochs as `referenceOf` has them. */
export function viewOf(state: GovernanceState) {
  const versions = [...state.policies.values()].map(({ policy, status }) => ({
    version: numberOf(policy),
    status,
  }));
  const epochs = Array.from({ length: state.epoch.epochId + 1 }, (_, epochId) => {
    const version = policyVersionIn(state, epochId);
    return version === undefined ? 0 : numberOf(version.policy);
  });
  return { epochs, versions, requested: state.epoch.boundaryRequested };
}

function numberOf({ policy_version_id: id }: Policy): number {
  return Number(id.slice("policy-".length));
}

/** One task of each epoch, which nothing that governance decides later may touch. */
export class AdmittedTasks {
  readonly #bound = new Map<number, { readonly policy: Policy; readonly digest: Uint8Array }>();

  /**
   * Expects one active version, and that a task of each epoch so far is judged by the version it was admitted under, or
   * by none once that has retired.
   */
  expectUnchanged(state: GovernanceState): void {
    const active = [...state.policies.values()].filter(({ status }) => status === "active");
    expect(active.map(({ policy }) => policy)).toEqual([state.policy]);
    const { policy: bound, epoch } = state;
    if (!this.#bound.has(epoch.epochId)) {
      this.#bound.set(epoch.epochId, { policy: bound, digest: policyDigest(bound) });
    }
    for (const [epoch_id, { policy, digest: policy_digest }] of this.#bound) {
      const { policy_version_id: policy_version } = policy;
      const task = { policy_version, policy_digest, epoch_id };
      if (state.policies.get(policy_version)?.status === "retired") {
        expect(() => governanceFor(state, task)).toThrow();
      } else {
        expect(governanceFor(state, task).policy).toBe(policy);
      }
    }
  }
}
