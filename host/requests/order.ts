import type { ErrorCode } from "#protocol";

/** Who judges a step: the coordinator, before any Vault is asked, or each Vault, which believes nobody. */
export type AdmissionParty = "coordinator" | "vault";

/** One step of admission. */
export interface AdmissionStep {
  readonly name: string;
  readonly by: readonly AdmissionParty[];
  /** What has to hold, in words. */
  readonly holds: string;
  /** Every code that the step refuses with. */
  readonly refuses: readonly ErrorCode[];
}

/**
 * The one order in which a request is judged. Whoever judges runs its own steps in this order and stops at the first that
 * does not hold, so that equal requests meet equal refusals (AP-6). docs/admission.md is generated from it.
 */
export const ADMISSION_STEPS = [
  {
    name: "identity",
    by: ["coordinator", "vault"],
    holds: "its shape; an active actor of the network signed exactly these bytes, for this network",
    refuses: [
      "SCHEMA_TOO_LARGE",
      "SCHEMA_CBOR_MALFORMED",
      "SCHEMA_MALFORMED",
      "AUTH_UNKNOWN_ACTOR",
      "PROOF_SIGNATURE_INVALID",
      "GOVERNANCE_GENESIS_MISMATCH",
    ],
  },
  {
    name: "authorization",
    by: ["coordinator", "vault"],
    holds:
      "the actor may submit; the request is fresh; it names Vaults of the network; who is to execute has the stake of its tier",
    refuses: [
      "AUTH_ROLE_REFUSED",
      "AUTH_REPLAYED",
      "AUTH_UNKNOWN_ACTOR",
      "POLICY_DECLINED",
      "POLICY_STAKE_INSUFFICIENT",
    ],
  },
  {
    name: "class",
    by: ["coordinator", "vault"],
    holds:
      "what the policy asks of its task class: time, number of Vaults, rounds, a registered model",
    refuses: [
      "POLICY_LIMIT_EXCEEDED",
      "SCHEMA_MALFORMED",
      "POLICY_DECLINED",
      "EXECUTION_WORKLOAD_UNREGISTERED",
    ],
  },
  {
    name: "semantics",
    by: ["coordinator", "vault"],
    holds: "every name in it means one thing under the semantic version in force",
    refuses: [
      "DERIVATION_UNRESOLVED",
      "DERIVATION_VALUE_OUT_OF_RANGE",
      "COMPOSITION_INVALID",
      "DERIVATION_REGISTRY_INVALID",
    ],
  },
  {
    name: "price",
    by: ["coordinator", "vault"],
    holds:
      "it offers the epsilon its meaning costs, and locks the money that its rewards may come to",
    refuses: ["PRIVACY_BUDGET_EXCEEDED", "POLICY_DECLINED"],
  },
  {
    name: "controls",
    by: ["coordinator"],
    holds:
      "its request_id is new; the submitter is within its rate; there is room for one more task; its funds cover the lock",
    refuses: ["AUTH_REPLAYED", "POLICY_LIMIT_EXCEEDED", "POLICY_DECLINED"],
  },
  {
    name: "grant",
    by: ["vault"],
    holds: "a grant of this Vault covers actor, class, domain, record scope and purpose",
    refuses: ["AUTH_GRANT_MISSING"],
  },
  {
    name: "consent",
    by: ["vault"],
    holds: "enough subjects of the whole record scope consent to the purpose",
    refuses: ["POLICY_DECLINED"],
  },
  {
    name: "budget",
    by: ["vault"],
    holds: "what is left, net of reservations, covers the task for every one of those subjects",
    refuses: ["POLICY_DECLINED"],
  },
  {
    name: "policy",
    by: ["coordinator"],
    holds: "enough Vaults reserved, under the one policy version that the task was taken under",
    refuses: ["POLICY_NOT_ACTIVE", "COORDINATION_QUORUM_NOT_MET", "AUTH_GRANT_MISSING"],
  },
] as const satisfies readonly AdmissionStep[];

export type AdmissionStepName = (typeof ADMISSION_STEPS)[number]["name"];

/** The first fault in the order of admission; null when there is none. */
export function firstFault<Fault>(
  faults: Readonly<Partial<Record<AdmissionStepName, Fault | null>>>,
): Fault | null {
  for (const { name } of ADMISSION_STEPS) {
    const fault = faults[name] ?? null;
    if (fault !== null) return fault;
  }
  return null;
}
