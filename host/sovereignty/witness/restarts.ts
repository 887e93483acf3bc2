import {
  RESTART_STATEMENT,
  VerificationError,
  equalBytes,
  signerKeyOf,
  type RestartStatement,
  type SignerKeys,
} from "#protocol";

/** A tree head. */
export interface Head {
  readonly size: number;
  readonly root: Uint8Array;
}

/**
 * The restarts that a Vault declared, verified: signed by it with one of its keys, of this network, numbered from 1 without gaps.
 *
 * @throws VerificationError PROOF_SIGNATURE_INVALID, PROOF_CONSISTENCY_INVALID
 */
export function verifyRestarts(
  signed: readonly Uint8Array[],
  of: SignerKeys & { readonly vaultId: string; readonly genesisDigest: Uint8Array },
): RestartStatement[] {
  return signed.map((each, index) => {
    const statement = RESTART_STATEMENT.verify(each, signerKeyOf(each, of));
    const isNext =
      statement.vault_id === of.vaultId &&
      statement.generation === index + 1 &&
      equalBytes(statement.genesis_digest, of.genesisDigest);
    if (isNext) return statement;
    throw new VerificationError(
      { code: "PROOF_CONSISTENCY_INVALID", generation: statement.generation },
      `restart: expected number ${index + 1} of ${of.vaultId}, got number ${statement.generation}`,
    );
  });
}

/**
 * Whether restarts give up a head: the ones declared after it, oldest first. The first gives up every head up to the one
 * it names; a later one, of a Vault that learned of the head only then, the one it names.
 */
export function giveUp([next, ...later]: readonly RestartStatement[], head: Head): boolean {
  if (next !== undefined && givesUp(next, head)) return true;
  return later.some(
    ({ abandoned: { size, root } }) => size === head.size && equalBytes(root, head.root),
  );
}

/** Whether a restart gives up `head`: it is no newer than the one it names, and not another of that size. */
function givesUp({ abandoned }: RestartStatement, head: Head): boolean {
  if (head.size < abandoned.size) return true;
  return head.size === abandoned.size && equalBytes(head.root, abandoned.root);
}
