import { require } from "./event-fault.ts";
import type { GovernedDecision } from "./governance-objects.ts";
import type { ReferenceValue } from "./policy.ts";
import type { GovernanceState } from "./governance-state.ts";

/** Images that governance accepts besides those of policies, at most. */
export const ACCEPTED_MEASUREMENTS_MAX = 64;

/**
 * Accepts one more image, for tasks of epochs that have not begun: a task is judged by what held when it was admitted.
 *
 * @throws {@link VerificationError} GOVERNANCE_EVENT_INVALID for an epoch that has begun, an image that is accepted so
 * already or was revoked, or one too many.
 */
export function acceptMeasurement(
  state: GovernanceState,
  decision: Extract<GovernedDecision, { readonly type: "measurement_accepted" }>,
): GovernanceState {
  const { reference_value: value, from_epoch: fromEpoch } = decision;
  const { acceptedMeasurements: accepted, revokedMeasurements: revoked } = state;
  const next = state.epoch.epochId + 1;
  require(fromEpoch >= next, "from_epoch", `${next} or later`, `${fromEpoch}`);
  require(!revoked.includes(value.pcr0), "pcr0", "an image that was not revoked", value.pcr0);
  const isNew = accepted.every((each) => each.value.pcr0 !== value.pcr0);
  require(isNew, "pcr0", "an image that is not accepted yet", value.pcr0);
  const max = ACCEPTED_MEASUREMENTS_MAX;
  require(accepted.length < max, "reference_value", `at most ${max}`, `${max + 1}`);
  return { ...state, acceptedMeasurements: [...accepted, { value, fromEpoch }] };
}

/**
 * The images that may run a task: those of the policy version in force and those accepted for the epoch. Says nothing of
 * revocations, which end both at once.
 *
 * @param state - Bound to a task by `governanceFor`, or as of now.
 */
export function referenceValuesOf(state: GovernanceState): readonly ReferenceValue[] {
  const accepted = state.acceptedMeasurements
    .filter(({ fromEpoch }) => fromEpoch <= state.epoch.epochId)
    .map(({ value }) => value);
  return [...state.policy.attestation.reference_values, ...accepted];
}
