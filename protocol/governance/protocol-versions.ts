import { VerificationError } from "../errors.ts";
import { require } from "./event-fault.ts";
import type { GovernedDecision } from "./governance-objects.ts";
import type { GovernanceState } from "./governance-state.ts";

/** The version of the protocol that this software speaks; that of a genesis. */
export const PROTOCOL_VERSION = 1;

/**
 * Decides from which epoch on the network speaks the next version.
 *
 * @throws {@link VerificationError} GOVERNANCE_EVENT_INVALID for another version than the next, or an epoch that has
 * begun or is not after the last upgrade.
 */
export function upgradeProtocol(
  state: GovernanceState,
  decision: Extract<GovernedDecision, { readonly type: "protocol_upgraded" }>,
): GovernanceState {
  const { protocol_version: version, from_epoch: fromEpoch, specification } = decision;
  const { protocolUpgrades: upgrades, epoch } = state;
  const next = PROTOCOL_VERSION + upgrades.length + 1;
  require(version === next, "protocol_version", `${next}`, `${version}`);
  const earliest = Math.max(epoch.epochId, upgrades.at(-1)?.fromEpoch ?? 0) + 1;
  require(fromEpoch >= earliest, "from_epoch", `${earliest} or later`, `${fromEpoch}`);
  return { ...state, protocolUpgrades: [...upgrades, { version, fromEpoch, specification }] };
}

/**
 * Refuses an epoch whose protocol this software does not speak: it would read what follows wrongly.
 *
 * @throws {@link VerificationError} VERSION_UNSUPPORTED
 */
export function requireSpoken({ protocolUpgrades }: GovernanceState, epochId: number): void {
  const upgrade = protocolUpgrades.find(({ fromEpoch }) => fromEpoch <= epochId);
  if (upgrade === undefined) return;
  const { version } = upgrade;
  throw new VerificationError(
    { code: "VERSION_UNSUPPORTED", expected: PROTOCOL_VERSION, actual: version },
    `protocol: expected version ${PROTOCOL_VERSION} in epoch ${epochId}, got ${version}, decided by governance`,
  );
}
