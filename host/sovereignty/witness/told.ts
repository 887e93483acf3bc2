import {
  HEAD_STATEMENT,
  SymphonyError,
  WITNESS_ANSWER,
  equalBytes,
  verifyCheckpoint,
  type GovernanceState,
  type HeadStatement,
  type NamedKey,
  type WitnessAnswer,
} from "#protocol";

import type { VaultContext } from "../vault-context.ts";

/** A HeadStatement of the witness about this Vault and over the nonce; undefined for anything else. */
export function headStatementOf(
  { vaultId }: VaultContext,
  answer: Uint8Array,
  from: NamedKey & { readonly nonce: Uint8Array; readonly governance: GovernanceState },
): HeadStatement | undefined {
  try {
    const statement = HEAD_STATEMENT.verify(answer, from.publicKey);
    const isAnswer =
      statement.witness_id === from.name &&
      statement.vault_id === vaultId &&
      equalBytes(statement.genesis_digest, from.governance.genesisDigest) &&
      equalBytes(statement.nonce, from.nonce);
    return isAnswer ? statement : undefined;
  } catch (error) {
    if (error instanceof SymphonyError) return undefined;
    throw error;
  }
}

/** The line that the witness added to the asked checkpoint; undefined when it is not its cosignature of it. */
export function cosignatureOf(
  context: VaultContext,
  args: {
    readonly asked: { readonly note: string };
    readonly checkpoint: string;
    readonly witness: NamedKey;
  },
): string | undefined {
  const { asked, checkpoint, witness } = args;
  const line = checkpoint.slice(asked.note.length);
  const added = checkpoint.startsWith(asked.note) && line.indexOf("\n") === line.length - 1;
  const isSigned = holds(() => verifyNote(context, checkpoint, [witness]));
  return added && isSigned ? line : undefined;
}

/** An answer to a WitnessQuestion, of nobody known yet; undefined for anything else. */
export function decodedAnswer(answer: Uint8Array): WitnessAnswer | undefined {
  try {
    return WITNESS_ANSWER.decode(answer);
  } catch (error) {
    if (error instanceof SymphonyError) return undefined;
    throw error;
  }
}

/** @throws VerificationError for a checkpoint that this Vault, or one of `witnesses`, did not sign */
export function verifyNote(
  { log, vaultId, signingKey }: VaultContext,
  note: string,
  witnesses: readonly NamedKey[],
): void {
  verifyCheckpoint(note, {
    origin: log.origin,
    log: { name: vaultId, publicKey: signingKey.publicKey },
    witnesses,
    quorum: witnesses.length,
  });
}

/** Whether `verify` throws no error of ours. */
export function holds(verify: () => void): boolean {
  try {
    verify();
    return true;
  } catch (error) {
    if (error instanceof SymphonyError) return false;
    throw error;
  }
}
