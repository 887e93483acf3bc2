import {
  ROUND_MESSAGE,
  SEALED_OUTCOME,
  SymphonyError,
  TASK_ENVELOPE,
  VerificationError,
  equalBytes,
  parseCose,
  roundsOf,
  sealedOutcomeDigest,
  sealedOutputDigest,
  sealedShareDigest,
  type OutcomeDigests,
  type ReducedMessage,
  type TaskEnvelope,
} from "#protocol";

/** The only attempt of a round: a new one would need new budget, so a failed round fails its task. */
const ONLY_ATTEMPT = 0;

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
 * Reduces a signed round message to what an outsider can judge; null for messages that hold sealed matter only, and
 * for bytes that are no round message: nobody can spoil a round's evidence by posting such.
 *
 * Does not verify the sender's signature: what counts in a message is signed inside it, by enclave or Vault.
 */
export function reduceMessage(signed: Uint8Array): ReducedMessage | null {
  try {
    return reduced(signed);
  } catch (error) {
    if (!(error instanceof SymphonyError)) throw error;
    return null;
  }
}

function reduced(signed: Uint8Array): ReducedMessage | null {
  const { body, ...header } = ROUND_MESSAGE.decode(parseCose(signed).payload);
  switch (body.kind) {
    case "round_secret":
      return null;
    case "contribution":
      return { ...header, body: { kind: body.kind, order: body.order } };
    case "round_result": {
      const { kind, bundle } = body;
      return { ...header, body: { kind, bundle, outcome: digestsOf(body.outcome) } };
    }
    case "slice_result": {
      const { kind, order, bundle, sealed } = body;
      const outcome = order === null ? null : digestsOf(sealed);
      const sealed_output_digest = sealedOutputDigest(sealed);
      return { ...header, body: { kind, order, bundle, sealed_output_digest, outcome } };
    }
    case "aggregator_ready":
    case "slice_attested":
    case "aggregator_evidence":
    case "failed":
      return { ...header, body };
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
 * Puts the messages of a task together, round by round.
 *
 * A message counts only from whom the envelope gives the part to say it: the aggregator what aggregators say, Vaults
 * that take part what slices say; for this envelope, in the only attempt there is. Of several of a kind by one sender
 * the first counts, as for everybody who took part. Other messages change nothing, whoever posted them.
 *
 * @param messages - In the order in which they were posted.
 * @throws {@link VerificationError} PROOF_BUNDLE_INCOMPLETE for a round with messages that count and no result. A slice
 * that posted a result without order or evidence is left out; the round does not stand if its bundle names it.
 */
export function collectRounds(
  messages: readonly ReducedMessage[],
  envelope: TaskEnvelope,
): RoundEvidence[] {
  const counting = countingMessages(messages, envelope);
  const rounds = [...new Set(counting.map((message) => message.round))].sort((a, b) => a - b);
  return rounds.map((round) =>
    collectRound(
      counting.filter((message) => message.round === round),
      { round, sole: envelope.coordination_envelope === null },
    ),
  );
}

function countingMessages(
  messages: readonly ReducedMessage[],
  envelope: TaskEnvelope,
): ReducedMessage[] {
  const digest = TASK_ENVELOPE.digest(envelope);
  const aggregatorId = envelope.coordination_envelope?.aggregator_id ?? null;
  const vaultIds = new Set(envelope.inputs.map((input) => input.vault_id));
  const entitled = ({ sender, body }: ReducedMessage): boolean => {
    switch (body.kind) {
      case "aggregator_ready":
      case "aggregator_evidence":
      case "round_result":
        return sender === aggregatorId;
      case "slice_attested":
      case "contribution":
      case "slice_result":
        return vaultIds.has(sender);
      case "failed":
        return false;
    }
  };
  return messages.filter(
    (message) =>
      message.attempt === ONLY_ATTEMPT &&
      message.round < roundsOf(envelope) &&
      equalBytes(message.envelope_digest, digest) &&
      entitled(message),
  );
}

/** One round of the messages that count. */
function collectRound(
  messages: readonly ReducedMessage[],
  { round, sole }: { readonly round: number; readonly sole: boolean },
): RoundEvidence {
  const ready = firstOf(messages, "aggregator_ready");
  const final = firstOf(messages, sole ? "slice_result" : "round_result");
  const outcome = final?.body.outcome;
  if (final === undefined || outcome === undefined || outcome === null) {
    throw incomplete("a result");
  }
  return {
    round,
    attempt: ONLY_ATTEMPT,
    aggregator:
      ready === undefined ? null : { manifest: ready.body.manifest, evidence: peersOf(messages) },
    slices: vaultsOf(messages).flatMap((vaultId) => sliceOf(messages, vaultId)),
    bundle: final.body.bundle,
    outcome,
  };
}

function vaultsOf(messages: readonly ReducedMessage[]): string[] {
  const results = messages.filter((message) => message.body.kind === "slice_result");
  return [...new Set(results.map((message) => message.sender))].sort();
}

function peersOf(messages: readonly ReducedMessage[]): AggregatorEvidence["evidence"] {
  const byVault = new Map<string, Uint8Array>();
  for (const { body } of messages) {
    if (body.kind !== "aggregator_evidence" || byVault.has(body.vault_id)) continue;
    byVault.set(body.vault_id, body.evidence);
  }
  return [...byVault]
    .map(([vault_id, evidence]) => ({ vault_id, evidence }))
    .sort((a, b) => (a.vault_id < b.vault_id ? -1 : 1));
}

function sliceOf(messages: readonly ReducedMessage[], vaultId: string): SliceEvidence[] {
  const own = messages.filter((message) => message.sender === vaultId);
  const attested = firstOf(own, "slice_attested")?.body;
  const result = firstOf(own, "slice_result")?.body;
  const order = result?.order ?? firstOf(own, "contribution")?.body.order;
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

function firstOf<K extends ReducedMessage["body"]["kind"]>(
  messages: readonly ReducedMessage[],
  kind: K,
): OfKind<K> | undefined {
  return messages.find((message): message is OfKind<K> => message.body.kind === kind);
}

function incomplete(expected: string): VerificationError {
  return new VerificationError(
    { code: "PROOF_BUNDLE_INCOMPLETE", expected },
    `round evidence: expected ${expected}, got none`,
  );
}
