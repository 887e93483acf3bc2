import {
  ROUND_MESSAGE,
  SEALED_OUTCOME,
  VerificationError,
  parseCose,
  sealedOutcomeDigest,
  sealedOutputDigest,
  sealedShareDigest,
  type OutcomeDigests,
  type ReducedMessage,
} from "#protocol";

/** A slice enclave of one round, and what its Vault made of it. All of it untrusted until `verifyExecution`. */
export interface SliceEvidence {
  readonly vault_id: string;
  readonly manifest: Uint8Array;
  /** Null for a sole task. */
  readonly evidence_for_aggregator: Uint8Array | null;
  readonly vault_evidence: Uint8Array;
  readonly vault_random: Uint8Array;
  /** COSE_Sign1 of the work order. */
  readonly order: Uint8Array;
  /** COSE_Sign1 of the SliceResultBundle; null for a sole task. */
  readonly bundle: Uint8Array | null;
  /** Digest of the sealed slice output as it travelled; null for a sole task. */
  readonly sealed_output_digest: Uint8Array | null;
}

/** The aggregator enclave of one round, with the evidence it gave each Vault. */
export interface AggregatorEvidence {
  readonly manifest: Uint8Array;
  readonly evidence: readonly { readonly vault_id: string; readonly evidence: Uint8Array }[];
}

/** One round as an outsider can judge it: who ran, what was signed, and what the sealed matter hashes to. */
export interface RoundEvidence {
  readonly round: number;
  readonly attempt: number;
  /** Null for a sole task. */
  readonly aggregator: AggregatorEvidence | null;
  /** Slices that answered, in order of Vault identifier. */
  readonly slices: readonly SliceEvidence[];
  /** COSE_Sign1 of the ExecutionResultBundle. */
  readonly bundle: Uint8Array;
  readonly outcome: OutcomeDigests;
}

/**
 * Reduces a signed round message to what an outsider can judge; null for messages that hold sealed matter only.
 *
 * Does not verify the sender's signature: what counts in a message is signed inside it, by enclave or Vault.
 *
 * @throws MalformedError, LimitError
 */
export function reduceMessage(signed: Uint8Array): ReducedMessage | null {
  const { sender, round, attempt, body } = ROUND_MESSAGE.decode(parseCose(signed).payload);
  switch (body.kind) {
    case "round_secret":
      return null;
    case "contribution":
      return { sender, round, attempt, body: { kind: body.kind, order: body.order } };
    case "round_result": {
      const { kind, bundle } = body;
      return { sender, round, attempt, body: { kind, bundle, outcome: digestsOf(body.outcome) } };
    }
    case "slice_result": {
      const { kind, order, bundle, sealed } = body;
      const outcome = order === null ? null : digestsOf(sealed);
      const sealed_output_digest = sealedOutputDigest(sealed);
      return {
        sender,
        round,
        attempt,
        body: { kind, order, bundle, sealed_output_digest, outcome },
      };
    }
    case "aggregator_ready":
    case "slice_attested":
    case "aggregator_evidence":
    case "failed":
      return { sender, round, attempt, body };
  }
}

function digestsOf(sealedOutcome: Uint8Array): OutcomeDigests {
  const { ciphertext, shares } = SEALED_OUTCOME.decode(sealedOutcome);
  return {
    ciphertext: sealedOutcomeDigest(ciphertext),
    shares: shares.map(({ vault_id, sealed }) => ({ vault_id, digest: sealedShareDigest(sealed) })),
  };
}

/**
 * Puts the messages of one round and attempt together.
 *
 * @param messages - In the order in which they were posted; of several of a kind by one sender the last counts.
 * @throws {@link VerificationError} PROOF_BUNDLE_INCOMPLETE when there is no result. A slice that posted a result
 * without order or evidence is left out; the round does not stand if its bundle names it.
 */
export function collectRound(messages: readonly ReducedMessage[]): RoundEvidence {
  const first = messages[0];
  const ready = lastOf(messages, "aggregator_ready");
  const final = lastOf(messages, "round_result") ?? lastOf(messages, "slice_result");
  if (first === undefined || final === undefined) throw incomplete("a result");
  const outcome = final.body.outcome;
  if (outcome === null) throw incomplete("a result of the round");
  return {
    round: first.round,
    attempt: first.attempt,
    aggregator:
      ready === undefined ? null : { manifest: ready.body.manifest, evidence: peersOf(messages) },
    slices: vaultsOf(messages).flatMap((vaultId) => sliceOf(messages, vaultId)),
    bundle: final.body.bundle,
    outcome,
  };
}

/**
 * Puts the messages of a task together, round by round; of each round the attempt that has a result, the last of them.
 *
 * @throws {@link VerificationError} PROOF_BUNDLE_INCOMPLETE
 */
export function collectRounds(messages: readonly ReducedMessage[]): RoundEvidence[] {
  const rounds = [...new Set(messages.map((message) => message.round))].sort((a, b) => a - b);
  return rounds.map((round) => {
    const ofRound = messages.filter((message) => message.round === round);
    const withResult = ofRound.filter(
      ({ body }) => (body.kind === "round_result" || body.kind === "slice_result") && body.outcome,
    );
    const attempt = Math.max(-1, ...withResult.map((message) => message.attempt));
    return collectRound(ofRound.filter((message) => message.attempt === attempt));
  });
}

function vaultsOf(messages: readonly ReducedMessage[]): string[] {
  const results = messages.filter((message) => message.body.kind === "slice_result");
  return [...new Set(results.map((message) => message.sender))].sort();
}

function peersOf(messages: readonly ReducedMessage[]): AggregatorEvidence["evidence"] {
  const byVault = new Map<string, Uint8Array>();
  for (const { body } of messages) {
    if (body.kind === "aggregator_evidence") byVault.set(body.vault_id, body.evidence);
  }
  return [...byVault]
    .map(([vault_id, evidence]) => ({ vault_id, evidence }))
    .sort((a, b) => (a.vault_id < b.vault_id ? -1 : 1));
}

function sliceOf(messages: readonly ReducedMessage[], vaultId: string): SliceEvidence[] {
  const own = messages.filter((message) => message.sender === vaultId);
  const attested = lastOf(own, "slice_attested")?.body;
  const result = lastOf(own, "slice_result")?.body;
  const order = result?.order ?? lastOf(own, "contribution")?.body.order;
  if (attested === undefined || result === undefined || order === undefined) return [];
  const sole = result.order !== null;
  const slice = {
    vault_id: vaultId,
    manifest: attested.manifest,
    evidence_for_aggregator: attested.evidence_for_aggregator,
    vault_evidence: attested.vault_evidence,
    vault_random: attested.vault_random,
    order,
    bundle: sole ? null : result.bundle,
    sealed_output_digest: sole ? null : result.sealed_output_digest,
  };
  return [slice];
}

type OfKind<K extends ReducedMessage["body"]["kind"]> = Omit<ReducedMessage, "body"> & {
  readonly body: Extract<ReducedMessage["body"], { readonly kind: K }>;
};

function lastOf<K extends ReducedMessage["body"]["kind"]>(
  messages: readonly ReducedMessage[],
  kind: K,
): OfKind<K> | undefined {
  return messages.findLast((message): message is OfKind<K> => message.body.kind === kind);
}

function incomplete(expected: string): VerificationError {
  return new VerificationError(
    { code: "PROOF_BUNDLE_INCOMPLETE", expected },
    `round evidence: expected ${expected}, got none`,
  );
}
