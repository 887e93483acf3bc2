import { z } from "zod";

import type { NamedKey } from "./checkpoint.ts";
import { bytes32, bytesUpTo, identifier, natural, unixMs } from "./fields.ts";
import { vaultKeysOf } from "./governance/actor-keys.ts";
import { ACTORS_MAX } from "./governance/actors.ts";
import { PROOF_NODES_MAX } from "./merkle.ts";
import { defineObject } from "./object.ts";
import type { GovernanceState } from "./governance/governance-state.ts";

/** The largest checkpoint that its log alone has signed, in UTF-16 units. */
const NOTE_MAX = 2 * 1024;

/** The most restarts that a Vault can declare in its life. */
export const RESTARTS_MAX = 16;

/** The most consistency proofs in one question: one for each head that witnesses hold. */
export const WITNESS_PROOFS_MAX = 16;

const note = z.string().max(NOTE_MAX);
/** A signed {@link RESTART_STATEMENT}. */
const restart = bytesUpTo(8 * 1024);
const proof = z.array(bytes32).max(PROOF_NODES_MAX);

/**
 * A Vault asks another to cosign the head of its log. Signed by the asking Vault, so that a proof that does not hold is
 * its own doing.
 */
export const witnessQuestionSchema = z.strictObject({
  version: z.literal(1),
  genesis_digest: bytes32,
  vault_id: identifier,
  /** Of the asker's log, signed by it alone. */
  checkpoint: note,
  /** Governance events that the asker has accepted. */
  governance_size: natural,
  /** That the first `size` events of the log are its prefix: one for each head that a witness may hold. */
  proofs: z.array(z.strictObject({ size: natural, nodes: proof })).max(WITNESS_PROOFS_MAX),
  /** Every restart that the asker has declared, oldest first. */
  restarts: z.array(restart).max(RESTARTS_MAX),
  /**
   * SHA-256 of the newest restart of each other Vault that the asker follows, ascending by Vault. A question that names
   * a restart was asked after it: whoever carries an earlier one again reminds a Vault of nothing that it forgot.
   */
  heard: z.array(bytes32).max(ACTORS_MAX),
});

/**
 * A Vault declares that its log goes on from an older copy: the heads up to `abandoned` are given up, and its whole
 * budget is written off. The operator's word, signed with the Vault's key.
 */
export const restartStatementSchema = z.strictObject({
  version: z.literal(1),
  genesis_digest: bytes32,
  vault_id: identifier,
  /** Counts from 1. */
  generation: natural.min(1),
  abandoned: z.strictObject({ size: natural, root: bytes32 }),
  /** The log right after its event `ledger.restarted`, which says the same and follows the entries of the write-off. */
  restarted: z.strictObject({ size: natural, root: bytes32 }),
  /** Governance events that the write-off knew of: what was given back before them was written off too. */
  governance_size: natural,
  at_ms: unixMs,
});

/**
 * What a witness answers to a {@link WITNESS_QUESTION}. Each is proven by what it carries: `cosigned` by the witness'
 * cosignature, the others by the asker's own signatures.
 */
export const witnessAnswerSchema = z.discriminatedUnion("result", [
  /** The asked checkpoint with one more signature line. */
  z.strictObject({ result: z.literal("cosigned"), checkpoint: note }),
  /** The newest head the witness holds, which the asked one does not extend by any proof given. */
  z.strictObject({
    result: z.literal("held"),
    checkpoint: note,
    restarts: z.array(restart).max(RESTARTS_MAX),
  }),
  /** Two heads that the asker signed and that cannot both be of one log. */
  z.strictObject({ result: z.literal("forked"), held: note, other: note }),
]);

/** A Vault asks another which head of its log that one cosigned last. */
export const headQuestionSchema = z.strictObject({
  version: z.literal(1),
  genesis_digest: bytes32,
  vault_id: identifier,
  /** Fresh. */
  nonce: bytes32,
});

/** The answer to a {@link HEAD_QUESTION}, signed by the witness. */
export const headStatementSchema = z.strictObject({
  version: z.literal(1),
  genesis_digest: bytes32,
  vault_id: identifier,
  witness_id: identifier,
  nonce: bytes32,
  /** As the asker signed it; null when the witness never cosigned one. */
  checkpoint: note.nullable(),
  /** Restarts of the asker that the witness has accepted, oldest first. */
  restarts: z.array(restart).max(RESTARTS_MAX),
});

export type WitnessQuestion = z.infer<typeof witnessQuestionSchema>;
export type RestartStatement = z.infer<typeof restartStatementSchema>;
export type WitnessAnswer = z.infer<typeof witnessAnswerSchema>;
export type HeadQuestion = z.infer<typeof headQuestionSchema>;
export type HeadStatement = z.infer<typeof headStatementSchema>;

/** The largest question or answer, bytes. */
export const WITNESS_BYTES_MAX = 192 * 1024;

export const WITNESS_QUESTION = defineObject(
  "witness-question",
  witnessQuestionSchema,
  WITNESS_BYTES_MAX,
);
export const WITNESS_ANSWER = defineObject(
  "witness-answer",
  witnessAnswerSchema,
  WITNESS_BYTES_MAX,
);
export const HEAD_QUESTION = defineObject("head-question", headQuestionSchema, 1024);
export const HEAD_STATEMENT = defineObject(
  "head-statement",
  headStatementSchema,
  WITNESS_BYTES_MAX,
);
export const RESTART_STATEMENT = defineObject("restart-statement", restartStatementSchema, 4096);

/** Who witnesses a Vault's log, and how many of them it takes. */
export interface WitnessRules {
  /** The other Vaults that are active, in the order of the registry. */
  readonly witnesses: readonly NamedKey[];
  /** How many must cosign a head before a key is sealed; policy's `witness_quorum`. */
  readonly cosign: number;
  /** How many must say, when a Vault starts, that they know no newer head. */
  readonly confirm: number;
}

/**
 * The rules for the log of `vaultId` under `governance`.
 *
 * `confirm` is so large that among any so many there is one of any `cosign` that cosigned the newest head. It is
 * counted over all registered Vaults but the retired: suspending one does not make a rollback easier.
 */
export function witnessRulesOf(governance: GovernanceState, vaultId: string): WitnessRules {
  const others = vaultKeysOf(governance).filter(({ name }) => name !== vaultId);
  const cosign = governance.policy.multi_vault.witness_quorum;
  return {
    witnesses: others.filter(({ name }) => governance.actors.get(name)?.status === "active"),
    cosign,
    confirm: cosign === 0 ? 0 : Math.max(cosign, others.length - cosign + 1),
  };
}
