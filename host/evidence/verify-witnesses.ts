import {
  VerificationError,
  actorLogOrigin,
  parseCheckpoint,
  verifyCheckpoint,
  verifyConsistency,
  witnessRulesOf,
  keysSince,
  logKeyOf,
  type GovernanceState,
  type LogExcerpt,
  type RegisteredActor,
} from "#protocol";

/** A head of a log that other Vaults cosigned. */
export interface VerifiedHead {
  /** Events that it covers. */
  readonly size: number;
  /** The Vaults that cosigned it, each once. */
  readonly witnesses: readonly string[];
}

/**
 * Verifies the cosigned head of an excerpt: a head of this log, which the excerpt's own checkpoint extends, with
 * cosignatures of other Vaults of the registry. How many there have to be is not judged.
 *
 * @returns null when there is none.
 * @throws VerificationError PROOF_CHECKPOINT_INVALID, PROOF_CONSISTENCY_INVALID
 */
export function verifyCosigned(
  { cosigned, checkpoint }: LogExcerpt,
  { actor, epochId }: { readonly actor: RegisteredActor; readonly epochId: number },
  governance: GovernanceState,
): VerifiedHead | null {
  if (cosigned === null) return null;
  const others = [...governance.actors.values()].filter(
    (each) => each.role === "enterprise" && each.actor_id !== actor.actor_id,
  );
  const { size, root, witnessNames } = verifyCheckpoint(cosigned.checkpoint, {
    origin: actorLogOrigin(governance.genesis.network, actor.actor_id),
    log: logKeyOf(actor, cosigned.checkpoint, epochId),
    witnesses: others.flatMap((each) => keysSince(each, epochId)),
    quorum: 0,
  });
  const present = parseCheckpoint(checkpoint);
  verifyConsistency({
    oldSize: size,
    oldRoot: root,
    newSize: present.size,
    newRoot: present.root,
    proof: cosigned.proof,
  });
  return { size, witnesses: [...new Set(witnessNames)] };
}

/**
 * Verifies that as many other Vaults as policy asks for cosigned a head with at least the first `size` events. Only
 * those count that were active under `governance`, which is the state the task was verified by.
 *
 * @throws VerificationError PROOF_BUNDLE_INCOMPLETE
 */
export function verifyWitnessed(
  log: { readonly actorId: string; readonly cosigned: VerifiedHead | null },
  size: number,
  governance: GovernanceState,
): void {
  const rules = witnessRulesOf(governance, log.actorId);
  const active = new Set(rules.witnesses.map(({ name }) => name));
  const covers = log.cosigned !== null && log.cosigned.size >= size;
  const names = covers ? log.cosigned.witnesses.filter((name) => active.has(name)) : [];
  if (names.length >= rules.cosign) return;
  throw new VerificationError(
    { code: "PROOF_BUNDLE_INCOMPLETE", expected: rules.cosign, actual: names.length, size },
    `log of ${log.actorId}: expected ${rules.cosign} other Vaults to have cosigned its first ${size} events, got ${names.length}`,
  );
}
