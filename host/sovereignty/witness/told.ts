import {
  HEAD_STATEMENT,
  SymphonyError,
  WITNESS_ANSWER,
  checkpointSigner,
  equalBytes,
  verifyCheckpoint,
  type GovernanceState,
  type HeadStatement,
  type NamedKey,
  type SignerKeys,
  type WitnessAnswer,
} from "#protocol";

import type { VaultContext } from "../vault-context.ts";
import { verifyRestarts } from "./restarts.ts";

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
  const { log, vaultId, signingKey } = context;
  const isSigned = holds(() =>
    verifyCheckpoint(checkpoint, {
      origin: log.origin,
      log: { name: vaultId, publicKey: signingKey.publicKey },
      witnesses: [witness],
      quorum: 1,
    }),
  );
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

/** The keys that this Vault has had, as far as governance says. The present one is its own whatever that says. */
export function ownKeys(
  { vaultId, signingKey: { publicKey } }: VaultContext,
  { actors }: GovernanceState,
): SignerKeys {
  const keys = actors.get(vaultId)?.keys.map(({ signingKey }) => signingKey) ?? [];
  return { publicKey, formerKeys: keys.filter((key) => !equalBytes(key, publicKey)) };
}

/** What a Vault says of its own log: a head and the restarts that it had declared. */
export interface ToldHead {
  readonly checkpoint: string;
  readonly restarts: readonly Uint8Array[];
}

/** Whether this Vault signed a head, and the restarts told with it, by one of the keys. */
export function isOwnHead(
  { log, vaultId }: VaultContext,
  { checkpoint, restarts }: ToldHead,
  by: SignerKeys & { readonly genesisDigest: Uint8Array },
): boolean {
  const keys = [...by.formerKeys, by.publicKey].map((publicKey) => ({ name: vaultId, publicKey }));
  return holds(() => {
    verifyCheckpoint(checkpoint, {
      origin: log.origin,
      log: checkpointSigner(checkpoint, keys) ?? { name: vaultId, publicKey: by.publicKey },
      witnesses: [],
      quorum: 0,
    });
    verifyRestarts(restarts, { vaultId, ...by });
  });
}

/** Whether `verify` throws no error of ours. */
function holds(verify: () => void): boolean {
  try {
    verify();
    return true;
  } catch (error) {
    if (error instanceof SymphonyError) return false;
    throw error;
  }
}
