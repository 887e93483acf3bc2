import type { RoundEvidence } from "../../../host/settlement/index.ts";
import { hex, sha384, utf8, type TaskEnvelope } from "../../../protocol/index.ts";
import { TEST_MEASUREMENT } from "../../helpers/network.ts";
import { someDigest, type SyntheticOptions } from "../../helpers/synthetic-round.ts";

/** Envelopes that say another thing than what was admitted. */
export const ENVELOPES: readonly {
  title: string;
  code: string;
  damage: (envelope: TaskEnvelope) => TaskEnvelope;
}[] = [
  {
    title: "another genesis",
    code: "GOVERNANCE_GENESIS_MISMATCH",
    damage: (envelope) => ({ ...envelope, genesis_digest: someDigest("other") }),
  },
  {
    title: "[GS-6] another policy version",
    code: "POLICY_NOT_ACTIVE",
    damage: (envelope) => ({ ...envelope, policy_version: "policy-2" }),
  },
  {
    title: "[GS-6] the same version name over another policy",
    code: "POLICY_NOT_ACTIVE",
    damage: (envelope) => ({ ...envelope, policy_digest: someDigest("other") }),
  },
  {
    title: "a request that somebody else signed",
    code: "PROOF_COMMITMENT_MISMATCH",
    damage: (envelope) => ({ ...envelope, epsilon_micro: envelope.epsilon_micro + 1 }),
  },
  {
    title: "another delivery key",
    code: "PROOF_COMMITMENT_MISMATCH",
    damage: (envelope) => ({ ...envelope, delivery_key: new Uint8Array(1216) }),
  },
  {
    title: "[AC-2][AP-9] a composition that the request does not resolve to",
    code: "PROOF_COMMITMENT_MISMATCH",
    damage: (envelope) => ({ ...envelope, attribute_composition: null }),
  },
  {
    title: "another task id",
    code: "PROOF_COMMITMENT_MISMATCH",
    damage: (envelope) => ({ ...envelope, task_id: `t-${"0".repeat(32)}` }),
  },
];

/** Two Vaults of the run. */
export const [FIRST, SECOND] = ["vault-1", "vault-2"] as const;

/** Evidence that a coordinator changed after honest enclaves gave it. */
export const ROUNDS: readonly {
  title: string;
  code: string;
  damage: (round: RoundEvidence) => RoundEvidence;
}[] = [
  {
    title: "another ciphertext than its bundle names",
    code: "PROOF_COMMITMENT_MISMATCH",
    damage: (round) => ({
      ...round,
      outcome: { ...round.outcome, ciphertext: someDigest("other") },
    }),
  },
  {
    title: "another key share than its bundle names",
    code: "PROOF_COMMITMENT_MISMATCH",
    damage: (round) => ({ ...round, outcome: { ...round.outcome, shares: [] } }),
  },
  {
    title: "[TT-2] Vault evidence made for another nonce",
    code: "TEE_NONCE_MISMATCH",
    damage: (round) => ({
      ...round,
      slices: round.slices.map((slice) => ({ ...slice, vault_random: someDigest("other") })),
    }),
  },
  {
    title: "[TT-2] evidence of the slice of another Vault",
    code: "TEE_NONCE_MISMATCH",
    damage: (round) => {
      const other = round.slices.find((slice) => slice.vault_id === SECOND);
      return {
        ...round,
        slices: round.slices.map((slice) =>
          slice.vault_id === FIRST && other !== undefined
            ? { ...slice, vault_evidence: other.vault_evidence, vault_random: other.vault_random }
            : slice,
        ),
      };
    },
  },
  {
    title: "[AG-4] no aggregator evidence",
    code: "VERIFY_RESULT_REJECTED",
    damage: (round) => ({
      ...round,
      aggregator: round.aggregator && { ...round.aggregator, evidence: [] },
    }),
  },
  {
    title: "[AG-4] no aggregator at all",
    code: "PROOF_SIGNATURE_INVALID",
    damage: (round) => ({ ...round, aggregator: null }),
  },
  {
    title: "a slice that is not there",
    code: "VERIFY_RESULT_REJECTED",
    damage: (round) => ({ ...round, slices: round.slices.slice(1) }),
  },
  {
    title: "a slice bundle that is not there",
    code: "VERIFY_RESULT_REJECTED",
    damage: (round) => ({
      ...round,
      slices: round.slices.map((slice) => ({ ...slice, bundle: null })),
    }),
  },
  {
    title: "a slice output that travelled as other bytes",
    code: "PROOF_COMMITMENT_MISMATCH",
    damage: (round) => ({
      ...round,
      slices: round.slices.map((slice) => ({ ...slice, sealed_output_digest: someDigest("x") })),
    }),
  },
  {
    title: "the bundles of two Vaults swapped",
    code: "PROOF_SIGNATURE_INVALID",
    damage: (round) => {
      const [one, two, ...more] = round.slices;
      if (one === undefined || two === undefined) throw new Error("too few slices");
      return {
        ...round,
        slices: [{ ...one, bundle: two.bundle }, { ...two, bundle: one.bundle }, ...more],
      };
    },
  },
  {
    title: "another round number",
    code: "PROOF_COMMITMENT_MISMATCH",
    damage: (round) => ({ ...round, round: 1 }),
  },
];

const OTHER_IMAGE = { ...TEST_MEASUREMENT, pcr0: hex(sha384(utf8("another image"))) };

/** What enclaves or Vaults say that is not so, signed as it should be. */
export const LIES: readonly { title: string; code: string; lie: SyntheticOptions }[] = [
  {
    title: "[TT-2] a slice enclave of another image",
    code: "TEE_MEASUREMENT_MISMATCH",
    lie: { enclave: { measurement: OTHER_IMAGE } },
  },
  {
    title: "[AG-4] an aggregator of another image",
    code: "TEE_MEASUREMENT_MISMATCH",
    lie: { aggregatorEnclave: { measurement: OTHER_IMAGE } },
  },
  {
    title: "a slice enclave in another role",
    code: "COORDINATION_ROLE_REFUSED",
    lie: { manifest: (manifest) => ({ ...manifest, role: "aggregate" }) },
  },
  {
    title: "an enclave that pins another genesis",
    code: "GOVERNANCE_GENESIS_MISMATCH",
    lie: { manifest: (manifest) => ({ ...manifest, genesis_digest: someDigest("other") }) },
  },
  {
    title: "an order over other input",
    code: "EXECUTION_ORDER_MISMATCH",
    lie: { order: (order) => ({ ...order, input_commitment: someDigest("other") }) },
  },
  {
    title: "an order without the consent of admission",
    code: "EXECUTION_ORDER_MISMATCH",
    lie: { order: (order) => ({ ...order, consent_commitment: someDigest("other") }) },
  },
  {
    title: "an order with another noise share",
    code: "EXECUTION_ORDER_MISMATCH",
    lie: { order: (order) => ({ ...order, share_commitment: someDigest("other") }) },
  },
  {
    title: "an order for another enclave",
    code: "PROOF_COMMITMENT_MISMATCH",
    lie: { order: (order) => ({ ...order, enclave_manifest: someDigest("other") }) },
  },
  {
    title: "an order that had expired",
    code: "VERIFY_RESULT_REJECTED",
    lie: { order: (order) => ({ ...order, expires_ms: 1 }) },
  },
  {
    title: "another method than the envelope's",
    code: "PROOF_COMMITMENT_MISMATCH",
    lie: { bundle: (bundle) => ({ ...bundle, aggregation_method: "intersection" }) },
  },
  {
    title: "full coverage that is partial",
    code: "PROOF_COMMITMENT_MISMATCH",
    lie: {
      vaultIds: [FIRST, SECOND],
      bundle: (bundle) => ({ ...bundle, partial_coverage: false }),
    },
  },
  {
    title: "a lower share threshold",
    code: "PROOF_COMMITMENT_MISMATCH",
    lie: { bundle: (bundle) => ({ ...bundle, share_threshold: 1 }) },
  },
  {
    title: "another output for a slice than the slice signed",
    code: "PROOF_COMMITMENT_MISMATCH",
    lie: {
      bundle: (bundle) => ({
        ...bundle,
        slices: bundle.slices.map((slice) => ({ ...slice, output_commitment: someDigest("x") })),
      }),
    },
  },
  {
    title: "a slice bundle under another model",
    code: "PROOF_COMMITMENT_MISMATCH",
    lie: { slice: (bundle) => ({ ...bundle, model_digest: someDigest("x") }) },
  },
  {
    title: "[XP-11][VR-2] more epsilon than was declared",
    code: "VERIFY_RESULT_REJECTED",
    lie: { bundle: (bundle) => ({ ...bundle, epsilon_micro: bundle.epsilon_micro + 1 }) },
  },
  {
    title: "[XP-11] a slice that cost more than was reserved",
    code: "VERIFY_RESULT_REJECTED",
    lie: { slice: (bundle) => ({ ...bundle, epsilon_micro: bundle.epsilon_micro + 1 }) },
  },
  {
    title: "a platform it is not attested by",
    code: "PROOF_COMMITMENT_MISMATCH",
    lie: { bundle: (bundle) => ({ ...bundle, platform: "aws-nitro" }) },
  },
];
