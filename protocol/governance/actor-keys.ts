import { checkpointSigner, type NamedKey } from "../checkpoint.ts";
import { keyIdOf, parseCose } from "../signing.ts";
import type { GovernanceState, RegisteredActor } from "./governance-state.ts";

/**
 * The key by which `actor` signed `signed` for a task of epoch `epochId`: the one that the signature names, if it was
 * the actor's in that epoch or has become so since, and the present one otherwise, which did not sign it. A key that
 * was given up before the task's epoch began says nothing about the task.
 *
 * @param signed - COSE_Sign1, yet to be verified.
 * @throws {@link MalformedError} SCHEMA_CBOR_MALFORMED
 */
export function taskKeyOf(actor: RegisteredActor, signed: Uint8Array, epochId: number): Uint8Array {
  const { keyId } = parseCose(signed);
  const held = keysSince(actor, epochId).find(({ publicKey }) => keyIdOf(publicKey) === keyId);
  return held?.publicKey ?? actor.signing_key;
}

/** Every key of `actor` that counts for tasks of epoch `epochId`, the present one last. */
export function keysSince(actor: RegisteredActor, epochId: number): readonly NamedKey[] {
  return actor.keys
    .filter(({ untilEpoch }) => untilEpoch === null || untilEpoch >= epochId)
    .map(({ signingKey }) => ({ name: actor.actor_id, publicKey: signingKey }));
}

/** The key by which a checkpoint of the log of `actor` was signed, as {@link taskKeyOf} says it of an object. */
export function logKeyOf(actor: RegisteredActor, note: string, epochId: number): NamedKey {
  const present = { name: actor.actor_id, publicKey: actor.signing_key };
  return checkpointSigner(note, keysSince(actor, epochId)) ?? present;
}

/** The keys that cosign logs: of every Vault that has not retired, the suspended ones among them. */
export function vaultKeysOf({ actors }: Pick<GovernanceState, "actors">): readonly NamedKey[] {
  return [...actors.values()]
    .filter(({ role, status }) => role === "enterprise" && status !== "retired")
    .map(({ actor_id: name, signing_key: publicKey }) => ({ name, publicKey }));
}
