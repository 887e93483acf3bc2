import {
  GOVERNANCE_SNAPSHOT,
  RefusedError,
  TASK_ENVELOPE,
  TASK_REQUEST,
  VerificationError,
  activeActor,
  encodeCbor,
  equalBytes,
  governanceFor,
  isSortedSet,
  iterationPolicyOf,
  resolveRequest,
  roundsOf,
  underSemantics,
  verifyGovernanceSnapshot,
  taskKeyOf,
  type CborValue,
  type GovernanceState,
  type Policy,
  type Projection,
  type RecordScope,
  type RegisteredActor,
  type SemanticResolution,
  type SliceReference,
  type TaskEnvelope,
  type VaultAttribute,
} from "#protocol";

/** What a host says a job is about. */
export interface PresentedTask {
  readonly envelope: Uint8Array;
  readonly governance: Uint8Array;
  readonly round: number;
  readonly attempt: number;
}

/**
 * An envelope that holds together with the governance state of the pinned genesis and with the request its submitter
 * signed. Only {@link verifyTask} makes one.
 */
class VerifiedTask {
  readonly state: GovernanceState;
  readonly envelope: TaskEnvelope;
  readonly envelopeDigest: Uint8Array;
  readonly scope: RecordScope;
  /** Columns of the Vault's own that operands are computed from; in no registry. */
  readonly vaultAttributes: readonly VaultAttribute[];
  /** What each operand of the request is computed from. */
  readonly projections: readonly Projection[];
  readonly round: number;
  readonly attempt: number;
  readonly #verified = true;

  constructor(args: {
    readonly state: GovernanceState;
    readonly envelope: TaskEnvelope;
    readonly resolution: SemanticResolution;
    readonly round: number;
    readonly attempt: number;
  }) {
    this.state = args.state;
    this.envelope = args.envelope;
    this.envelopeDigest = TASK_ENVELOPE.digest(args.envelope);
    this.scope = args.resolution.record_scope;
    this.vaultAttributes = args.resolution.vault_attributes;
    this.projections = args.resolution.projections;
    this.round = args.round;
    this.attempt = args.attempt;
  }

  get verified(): boolean {
    return this.#verified;
  }

  get policy(): Policy {
    return this.state.policy;
  }

  /** Rows one Vault may contribute: the public bound that outputs are padded to. */
  get rowsMax(): number {
    return this.policy.classes[this.envelope.task_class].rows_max;
  }

  /** Vaults the envelope names, in order. */
  get vaultIds(): readonly string[] {
    return this.envelope.inputs.map((input) => input.vault_id);
  }

  /** The fewest subjects a released count stands for. */
  get cardinalityMin(): number {
    const composed = this.envelope.attribute_composition?.minimum_result_cardinality ?? 0;
    return Math.max(1, composed, this.policy.privacy.minimum_result_cardinality);
  }

  get isFinalRound(): boolean {
    return this.round === roundsOf(this.envelope) - 1;
  }

  /** Names the job of one Vault in this round. */
  reference(vaultId: string): SliceReference {
    return {
      envelope_digest: this.envelopeDigest,
      vault_id: vaultId,
      round: this.round,
      attempt: this.attempt,
    };
  }

  /** What the envelope fixes for one Vault. @throws {@link VerificationError} EXECUTION_ORDER_MISMATCH */
  commitmentsOf(vaultId: string): {
    readonly inputCommitment: Uint8Array;
    readonly consentCommitment: Uint8Array;
    readonly shareCommitment: Uint8Array;
  } {
    const input = this.envelope.inputs.find((candidate) => candidate.vault_id === vaultId);
    const consent = this.envelope.consent_references.find(
      (candidate) => candidate.vault_id === vaultId,
    );
    const share = input?.share_commitments[this.round];
    if (input === undefined || consent === undefined || share === undefined) {
      throw mismatch("a Vault of this envelope with commitments for this round");
    }
    return {
      inputCommitment: input.input_commitment,
      consentCommitment: consent.consent_commitment,
      shareCommitment: share,
    };
  }

  /** The active actor behind one Vault of this task. @throws AUTH_UNKNOWN_ACTOR, AUTH_ROLE_REFUSED */
  vault(vaultId: string): RegisteredActor {
    const actor = activeActor(this.state, vaultId);
    if (actor.role === "enterprise") return actor;
    throw new RefusedError(
      { code: "AUTH_ROLE_REFUSED", role: actor.role },
      `vault: expected an enterprise actor, got ${actor.role}`,
    );
  }
}

export type { VerifiedTask };

/** The one error of things that do not say the same; names what was expected, never a value. */
export function mismatch(expected: string): VerificationError {
  return new VerificationError(
    { code: "EXECUTION_ORDER_MISMATCH", expected },
    `task: expected ${expected}, got another`,
  );
}

/**
 * Verifies the envelope a host presents: governance from the pinned genesis, the policy it is bound to, the semantics in force, the
 * submitter's own signature, and that the envelope asks for nothing the request did not (TE-2).
 *
 * @throws {@link VerificationError} GOVERNANCE_GENESIS_MISMATCH, GOVERNANCE_EVENT_INVALID, PROOF_CHECKPOINT_INVALID,
 *   POLICY_NOT_ACTIVE, PROOF_SIGNATURE_INVALID, EXECUTION_ORDER_MISMATCH
 * @throws {@link RefusedError} GOVERNANCE_QUORUM_NOT_MET, AUTH_UNKNOWN_ACTOR; DERIVATION_UNRESOLVED for an attribute
 *   that the registry does not allow in a task (TC-3)
 * @throws {@link MalformedError} SCHEMA_MALFORMED, SCHEMA_CBOR_MALFORMED, COMPOSITION_INVALID
 */
export function verifyTask(presented: PresentedTask, genesisDigest: Uint8Array): VerifiedTask {
  const snapshot = GOVERNANCE_SNAPSHOT.decode(presented.governance);
  const envelope = TASK_ENVELOPE.decode(presented.envelope);
  const newest = governanceFor(verifyGovernanceSnapshot(snapshot, genesisDigest), envelope);
  requireInForce(envelope, newest);
  // A task keeps the meaning it was admitted with: what is registered under a version never changes.
  const state = underSemantics(newest, envelope.semantic_version);
  const resolution = requireRequested(envelope, state);
  requireVaults(envelope);
  const { round, attempt } = presented;
  if (round >= roundsOf(envelope)) throw mismatch("a round of this envelope");
  return new VerifiedTask({ state, envelope, resolution, round, attempt });
}

function requireInForce(envelope: TaskEnvelope, state: GovernanceState): void {
  const { policy, registries } = state;
  if (!equalBytes(envelope.genesis_digest, state.genesisDigest)) throw mismatch("this network");
  if (!registries.has(envelope.semantic_version)) throw mismatch("a registered semantic version");
  if (envelope.delta_pico !== policy.privacy.delta_pico) throw mismatch("the policy's delta");
}

/** Every field of the request that an envelope repeats, so that neither can say more than the other. */
function requireRequested(envelope: TaskEnvelope, state: GovernanceState): SemanticResolution {
  const { caller_context: caller } = envelope;
  const submitter = state.actors.get(caller.actor_id);
  if (submitter === undefined) throw mismatch("a submitter of this network");
  // A suspended submitter has no new tasks; those under way, which its Vaults admitted, go on.
  const signer = taskKeyOf(submitter, caller.signed_request, envelope.epoch_id);
  const request = TASK_REQUEST.verify(caller.signed_request, signer);
  const resolution = resolveRequest(request, state);
  const pairs: readonly (readonly [string, CborValue, CborValue])[] = [
    ["the digest of the request", caller.request_digest, TASK_REQUEST.digest(request)],
    ["the submitter of the request", caller.actor_id, request.actor_id],
    ["the network of the request", envelope.genesis_digest, request.genesis_digest],
    ["the task class of the request", envelope.task_class, request.task_class],
    ["the record scope of the request", envelope.record_scope, request.record_scope],
    ["the usage scope of the request", envelope.usage_scope, request.usage_scope],
    ["the parameters of the request", envelope.parameters, request.parameters],
    ["the epsilon of the request", envelope.epsilon_micro, request.epsilon_micro],
    ["the delivery key of the request", envelope.delivery_key, request.delivery_key],
    [
      "the composition of the request",
      envelope.attribute_composition,
      resolution.attribute_composition,
    ],
    [
      "the derivation rules of the request",
      envelope.derivation_rule_refs,
      resolution.derivation_rule_refs,
    ],
    [
      "the iterations of the request",
      envelope.iteration_policy,
      iterationPolicyOf(request.parameters),
    ],
  ];
  for (const [expected, actual, wanted] of pairs) {
    if (!equalBytes(encodeCbor(actual), encodeCbor(wanted))) throw mismatch(expected);
  }
  const asked = new Set(request.vault_ids);
  const within = envelope.inputs.every((input) => asked.has(input.vault_id));
  if (!within) throw mismatch("Vaults of the request");
  const sole = envelope.coordination_envelope === null;
  if (sole !== (request.vault_ids.length === 1)) throw mismatch("a coordination for many Vaults");
  return resolution;
}

function requireVaults(envelope: TaskEnvelope): void {
  const ids = envelope.inputs.map((input) => input.vault_id);
  const named = envelope.coordination_envelope?.participating_vault_ids ?? ids.slice(0, 1);
  const consents = envelope.consent_references.map((reference) => reference.vault_id);
  const alike =
    isSortedSet(ids) &&
    equalBytes(encodeCbor(ids), encodeCbor(named)) &&
    equalBytes(encodeCbor(ids), encodeCbor(consents));
  if (!alike) throw mismatch("the same sorted Vaults as inputs, consents and participants");
}
