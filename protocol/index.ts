export {
  ERROR_CLASSES,
  ERROR_FAMILIES,
  SymphonyError,
  MalformedError,
  VerificationError,
  AppraisalError,
  RefusedError,
  ConflictError,
  LimitError,
  UnavailableError,
  type ErrorClass,
  type ErrorCode,
  type ErrorDetails,
  type ErrorFamily,
} from "./errors.ts";
export { ERROR_CODES } from "./error-codes.ts";
export {
  base64,
  compareBytes,
  concat,
  equalBytes,
  fromBase64,
  fromHex,
  hex,
  putLatin1,
  utf8,
  utf8Text,
} from "./bytes.ts";
export {
  CBOR_BYTES_MAX,
  decodeCbor,
  decodeCborHeader,
  encodeCbor,
  encodeCborHeader,
  type CborValue,
} from "./cbor.ts";
export { digestOf, digestOfBytes, hkdf, hmacSha256, sha256, sha384 } from "./hash.ts";
export { FRAME_BYTES_MAX, FrameReader, encodeFrame } from "./frame.ts";
export { defineObject, parseWith, type ProtocolObject } from "./object.ts";
export {
  actorRole,
  boxPublicKey,
  bytes32,
  bytesOf,
  bytesUpTo,
  identifier,
  microEpsilon,
  natural,
  shortText,
  taskClass,
  unixMs,
  usageScope,
  type ActorRole,
  type TaskClass,
  type UsageScope,
  consentPurpose,
  type ConsentPurpose,
} from "./fields.ts";
export {
  allowanceMicro,
  policyDigest,
  policySchema,
  type Budget,
  type GovernanceProcess,
  type Policy,
  type ReferenceValue,
} from "./governance/policy.ts";
export {
  canonicalAttributeSchema,
  domainSchema,
  recordScopeSchema,
  semanticRegistrySchema,
  type CanonicalAttribute,
  type Domain,
  type RecordScope,
  type SemanticRegistry,
  columnsOfScope,
} from "./semantics/semantics.ts";
export {
  CANDIDATES_MAX,
  aggregateCandidates,
  verifyCandidate,
  judgePromotion,
  promotionSchema,
  type CandidateReport,
  type Precondition,
  type Promotion,
  type PromotionJudgement,
} from "./semantics/promotion.ts";
export {
  judgeVaultScoped,
  vaultScopedSchema,
  type VaultScoped,
  type VaultScopedJudgement,
} from "./semantics/vault-scoped.ts";
export { requireVaultAttribute } from "./semantics/registry-coherence.ts";
export {
  VAULT_ATTRIBUTE,
  VAULT_ATTRIBUTES_MAX,
  asksVaultAlone,
  columnOfVault,
  keptTypeSchema,
  vaultAttributeSchema,
  type KeptType,
  type VaultAttribute,
} from "./semantics/vault-attribute.ts";
export {
  LOCAL_ATTRIBUTE_CANDIDATE,
  candidateWindowSchema,
  exceptionSchema,
  WINDOW_EPOCHS_MAX,
  lastWindow,
  windowEpochsOf,
  localAttributeCandidateSchema,
  requireWindow,
  type CandidateSubject,
  type CandidateWindow,
  type LocalAttributeCandidate,
} from "./semantics/local-candidate.ts";
export {
  localTypeSchema,
  mappingSignalSchema,
  mappingSignals,
  type LocalType,
  type MappingSignal,
} from "./semantics/local-attributes.ts";
export {
  computeParametersSchema,
  featureSchema,
  parseParametersSchema,
  predicateSchema,
  queryParametersSchema,
  taskParametersSchema,
  trainParametersSchema,
  type ComputeParameters,
  type Feature,
  type Operand,
  type ParseParameters,
  type Predicate,
  type QueryParameters,
  type TaskParameters,
  type TrainParameters,
} from "./task-parameters.ts";
export {
  TASK_DRY_RUN,
  TASK_REQUEST,
  isSortedSet,
  taskRequestSchema,
  type TaskRequest,
} from "./task-request.ts";
export {
  GENESIS,
  GOVERNANCE_EVENT,
  GOVERNANCE_STATEMENT,
  GOVERNANCE_VOTE,
  governedDecisionSchema,
  type Actor,
  type Artifact,
  type Genesis,
  type GovernanceDecision,
  type GovernanceEvent,
  type GovernanceStatement,
  type GovernanceVote,
  type GovernedDecision,
  governanceOrigin,
} from "./governance/governance-objects.ts";
export {
  activeActor,
  applyGovernanceEvent,
  foldGovernance,
  genesisState,
  registerSemantics,
  underSemantics,
  type FoldedLog,
} from "./governance/governance.ts";
export {
  ACTOR_REGISTRATION,
  KEY_ROTATION,
  type ChallengePenalty,
} from "./governance/actor-objects.ts";
export { keysSince, logKeyOf, taskKeyOf, vaultKeysOf } from "./governance/actor-keys.ts";
export {
  isStaked,
  requireStake,
  requiredStakeMinor,
  slashedMinor,
  unbondingMinor,
} from "./governance/stakes.ts";
export {
  openProposalOf,
  proposalIdOf,
  proposalStatus,
  verifyVote,
  type VerifiedVote,
} from "./governance/proposals.ts";
export type {
  ChallengeResolution,
  CurrentEpoch,
  Electorate,
  GovernanceState,
  PolicyStatus,
  PolicyVersion,
  Proposal,
  RegisteredActor,
  Replenishment,
  ResolvedBy,
  Vote,
} from "./governance/governance-state.ts";
export { kindOf, processOf, type ProposalKind } from "./governance/processes.ts";
export {
  electorateOf,
  tallyOf,
  voterKeysOf,
  votersOf,
  type Tally,
  type Voter,
} from "./governance/voters.ts";
export { referenceValuesOf } from "./governance/measurements.ts";
export { PROTOCOL_VERSION } from "./governance/protocol-versions.ts";
export {
  announcePolicy,
  governanceFor,
  governanceOnceOf,
  policyVersionIn,
  type PolicyBinding,
} from "./governance/policy-versions.ts";
export {
  GOVERNANCE_SNAPSHOT,
  verifyGovernanceForCosigning,
  verifyGovernanceSnapshot,
  type GovernanceSnapshot,
} from "./governance/governance-snapshot.ts";
export { VAULT_DECISION, type VaultDecision } from "./vault-decision.ts";
export {
  TASK_ENVELOPE,
  epsilonOfRound,
  iterationPolicyOf,
  roundsOf,
  taskEnvelopeSchema,
  type AttributeComposition,
  type CoordinationEnvelope,
  type TaskEnvelope,
} from "./task-envelope.ts";
export {
  SEAL_INFO,
  SESSION_MANIFEST,
  batchWrapInfo,
  peerNonce,
  sessionAad,
  vaultNonce,
  type EnclaveRole,
  type SessionManifest,
  type SliceReference,
} from "./session.ts";
export {
  CONTRIBUTION,
  ROUND_SECRET,
  SEALED_ORDER,
  WORK_ORDER,
  type Contribution,
  type RoundSecret,
  type SealedOrder,
  type WorkOrder,
} from "./work-order.ts";
export {
  EXECUTION_RESULT_BUNDLE,
  SEALED_OUTCOME,
  SLICE_RESULT_BUNDLE,
  type ExecutionResultBundle,
  type SealedOutcome,
  type SliceResultBundle,
} from "./bundles.ts";
export {
  CONSUMPTION_RECORD,
  SETTLEMENT_ENTRY,
  SETTLEMENT_PROOF,
  SETTLEMENT_ROOT,
  settlementEntriesRoot,
  type ConsumptionRecord,
  type PayoutInstruction,
  type SettlementEntry,
  type SettlementProof,
  type SettlementRoot,
} from "./settlement.ts";
export {
  assertCommitment,
  keyCommitment,
  noiseKey,
  outputCommitment,
  shareCommitment,
} from "./keys.ts";
export { decryptOnce, encryptOnce } from "./envelope-cipher.ts";
export {
  enclaveRequestSchema,
  enclaveResponseSchema,
  type EnclaveRequest,
  type EnclaveResponse,
  type SlicePresentation,
} from "./channel.ts";
export { ROUND_MESSAGE, type RoundMessage } from "./round-message.ts";
export {
  DELIVERY,
  DELIVERY_SHARE,
  RESULT_BYTES,
  TASK_RESULT,
  RECEIPT_LIMITS,
  parsedReceiptSchema,
  type Delivery,
  type DeliveryShare,
  type ParsedReceipt,
  type TaskResult,
} from "./delivery.ts";
export { WORK_ITEM, type WorkItem } from "./work.ts";
export { Secret } from "./secret.ts";
export {
  MerkleTree,
  leafHash,
  merkleRoot,
  verifyConsistency,
  verifyInclusion,
  type ConsistencyClaim,
  type InclusionClaim,
} from "./merkle.ts";
export {
  KEY_ID_BYTES,
  isSignature,
  keyIdOf,
  parseCose,
  signBytes,
  signCose,
  signerKeyOf,
  signingKeyFromSeed,
  verificationKey,
  verifyCose,
  type SignerKeys,
  type SigningKey,
} from "./signing.ts";
export {
  BOX_CHUNK_BYTES,
  BOX_ENCAPSULATION_BYTES,
  BOX_PLAINTEXT_BYTES_MAX,
  boxKeyPairFromSeed,
  generateBoxKeyPair,
  open,
  openByAny,
  seal,
  type BoxKeyPair,
} from "./sealed-box.ts";
export { combineShares, splitSecret } from "./shamir.ts";
export { defineLifecycle, type Lifecycle, type LifecycleStep } from "./lifecycle.ts";
export {
  BUDGET_RESERVATION_LIFECYCLE,
  CANONICAL_ATTRIBUTE_LIFECYCLE,
  CHALLENGE_LIFECYCLE,
  CONSENT_LIFECYCLE,
  DOMAIN_LIFECYCLE,
  EPOCH_LIFECYCLE,
  POLICY_VERSION_LIFECYCLE,
  QUERY_ATTRIBUTE_LIFECYCLE,
  SETTLEMENT_LIFECYCLE,
  TASK_LIFECYCLE,
  TASK_TRANSITION_CONDITIONS,
  assertTaskTransition,
  type ChallengeState,
  type SettlementState,
  type TaskState,
} from "./lifecycles.ts";
export {
  CHECKPOINT_TEXT_MAX,
  checkpointSigner,
  cosignCheckpoint,
  parseCheckpoint,
  signCheckpoint,
  verifyCheckpoint,
  type NamedKey,
} from "./checkpoint.ts";
export {
  eventDigest,
  eventLeaf,
  eventSchema,
  noPreviousEvent,
  parseEvent,
  signEvent,
  verifyEvent,
  verifyEventOrder,
  type LogEvent,
} from "./event-log.ts";
export {
  ATTRIBUTE_TEXT_MAX,
  SALT_BYTES,
  SUBJECT_ID_BYTES,
  attributeNameSchema,
  attributeValueSchema,
  commitRecord,
  parseRecord,
  recordSchema,
  recordSchemaNameSchema,
  serializeRecord,
  type AttributeValue,
  type CanonicalRecord,
} from "./record.ts";
export {
  BATCH_CHUNK_BYTES,
  BATCH_ID_BYTES,
  DATA_KEY_BYTES,
  batchHeaderSchema,
  batchRoot,
  inputCommitment,
  openBatch,
  parseBatchHeader,
  recordAt,
  rehashBatch,
  sealBatch,
  sealBuilt,
  type BatchHeader,
  type ErasedRecord,
  type OpenedBatch,
} from "./batch.ts";
export { BATCH_BYTES_MAX, type BatchColumn } from "./batch-body.ts";
export { BatchBuilder, type ColumnWriter } from "./batch-builder.ts";
export {
  CALL_AGE_MS_MAX,
  NODE_ANSWER,
  NODE_CALL,
  type NodeAnswer,
  type NodeCall,
} from "./node-call.ts";
export { resolveRequest, type SemanticResolution } from "./semantics/resolution.ts";
export type { Projection } from "./semantics/projection.ts";
export { columnAttribute } from "./semantics/registry-index.ts";
export {
  CROSS_DOMAIN_APPROVAL,
  ruleDigest,
  type RegistryTransition,
  type SemanticRegistration,
} from "./semantics/registration.ts";
export { type ProjectedValue, type QueryGranularity } from "./semantics/granularity.ts";
export { derive } from "./semantics/derivation.ts";
export {
  derivationRuleSchema,
  queryAttributeSchema,
  type DerivationRule,
  type QueryAttribute,
} from "./semantics/derivation-rule.ts";
export {
  encodeState,
  outcomeAad,
  sealedOutcomeDigest,
  sealedOutputDigest,
  sealedShareDigest,
  sliceOutputKey,
  stateCommitment,
  stateContent,
} from "./outcome.ts";
export { CHALLENGE, GOVERNANCE_CHALLENGER, type Challenge } from "./challenge.ts";
export { noOutput, verifySettlementProof, type FinalizedSettlement } from "./settlement-proof.ts";
export {
  EVIDENCE_BYTES_MAX,
  EVIDENCE_SECTIONS,
  LOG_EXCERPT,
  actorLogOrigin,
  encodeEvidence,
  parseEvidence,
  verifyEvidenceSeal,
  type Evidence,
  type LogExcerpt,
  type OutcomeDigests,
  type ReducedMessage,
} from "./evidence-bundle.ts";
export {
  HEAD_QUESTION,
  HEAD_STATEMENT,
  RESTARTS_MAX,
  RESTART_STATEMENT,
  WITNESS_ANSWER,
  WITNESS_PROOFS_MAX,
  WITNESS_QUESTION,
  witnessRulesOf,
  type HeadStatement,
  type RestartStatement,
  type WitnessAnswer,
  type WitnessQuestion,
  type WitnessRules,
} from "./witness.ts";
