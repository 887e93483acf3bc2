import {
  hex,
  keyIdOf,
  requiredStakeMinor,
  slashedMinor,
  unbondingMinor,
  type GovernanceState,
  type RegisteredActor,
} from "#protocol";

/** An actor with its keys and stake, as JSON can carry it; amounts in minor units. */
export function actorView(actor: RegisteredActor, { policy }: GovernanceState) {
  const { stake } = actor;
  return {
    actor_id: actor.actor_id,
    role: actor.role,
    status: actor.status,
    signing_key: hex(actor.signing_key),
    keys: actor.keys.map(({ signingKey, fromEpoch, untilEpoch }) => ({
      key_id: keyIdOf(signingKey),
      from_epoch: fromEpoch,
      until_epoch: untilEpoch,
    })),
    stake: {
      required_minor: requiredStakeMinor(actor.role, policy),
      bonded_minor: actor.stake_minor,
      deposited_minor: stake.depositedMinor,
      unbonding_minor: unbondingMinor(stake),
      unbonding: stake.unbonding.map(({ amountMinor, releaseEpoch }) => ({
        amount_minor: amountMinor,
        release_epoch: releaseEpoch,
      })),
      withdrawn_minor: stake.withdrawnMinor,
      slashed_minor: slashedMinor(stake),
      slashes: stake.slashes.map(({ condition, evidence, amountMinor }) => ({
        condition,
        evidence,
        amount_minor: amountMinor,
      })),
    },
  };
}

/** What {@link actorView} gives. */
export type ActorView = ReturnType<typeof actorView>;
