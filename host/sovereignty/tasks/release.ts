import {
  DELIVERY_SHARE,
  EXECUTION_RESULT_BUNDLE,
  RefusedError,
  SEAL_INFO,
  SETTLEMENT_ENTRY,
  SETTLEMENT_PROOF,
  SETTLEMENT_ROOT,
  TASK_ENVELOPE,
  VerificationError,
  activeActor,
  equalBytes,
  governanceOnceOf,
  hex,
  leafHash,
  openByAny,
  seal,
  sealedShareDigest,
  verifyInclusion,
  type DeliveryShare,
  type GovernanceState,
  type SettlementEntry,
  type SettlementRoot,
  type TaskEnvelope,
} from "#protocol";

import { decodePlan } from "./decision-plan.ts";
import { requireSameEnvelope } from "./dispatch.ts";
import { decisionOf, releasedOf, settledOf, type Writing } from "../queries.ts";
import { verifyRound } from "./settle.ts";
import type { VaultContext } from "../vault-context.ts";

const DIGEST_BYTES = 32;

/** See {@link releaseShare}. */
export interface Release {
  readonly envelope: TaskEnvelope;
  /** Encoded SettlementProof. */
  readonly settlementProof: Uint8Array;
  /** The final round's signed ExecutionResultBundle. */
  readonly signedBundle: Uint8Array;
  /** This Vault's share of the result key, sealed to its box key. */
  readonly sealedShare: Uint8Array;
  readonly governance: GovernanceState;
}

type Settled = NonNullable<Awaited<ReturnType<typeof settledOf>>>;

/**
 * Releases this Vault's share of a result key to the submitter's delivery key, once the result is final (RD-2).
 *
 * Only after: this Vault's own commit is durable; the coordinator's signed root includes the entry of this envelope,
 * output and consumption record, in the epoch of the task or a later one to which it was deferred; governance has
 * approved no challenge of it; and the policy's challenge window has passed on the Vault's own clock since it settled. For one output of a task, ever: asked again it gives the same bytes. The event is durable before the share
 * leaves.
 *
 * @returns A signed DeliveryShare.
 * @throws {@link RefusedError} SETTLEMENT_NOT_FINAL before settlement or inside the window; DELIVERY_REFUSED for a
 * task without a result of this Vault, another output, an approved challenge, or a revoked grant.
 * @throws {@link VerificationError} SETTLEMENT_INVALID, PROOF_SIGNATURE_INVALID, PROOF_INCLUSION_INVALID,
 * PROOF_COMMITMENT_MISMATCH, INTERNAL_OPEN_FAILED
 */
export async function releaseShare(context: VaultContext, args: Release): Promise<Uint8Array> {
  const { envelope } = args;
  const governance = governanceOnceOf(args.governance, envelope);
  const requestDigest = envelope.caller_context.request_digest;
  const settled = await requireSettled(context, envelope);
  const outputCommitment = await requireFinalOutput(context, args, settled);
  const root = requireSettlement(args, settled, outputCommitment);
  if (governance.challengeResolutions.get(envelope.task_id)?.resolution === "approved") {
    throw refused("a task of which governance has approved no challenge");
  }
  const released = await releasedOf(context.store.db, requestDigest);
  if (released !== undefined) {
    return sameOutput(released.output_commitment, outputCommitment, released.share);
  }
  requireWindow(context, settled, governance);
  const envelopeDigest = TASK_ENVELOPE.digest(envelope);
  const share: DeliveryShare = {
    version: 1,
    envelope_digest: envelopeDigest,
    vault_id: context.vaultId,
    output_commitment: outputCommitment,
    settlement_root: SETTLEMENT_ROOT.digest(root),
    sealed_share: await reseal(context, args, envelopeDigest),
  };
  return await context.store.write(async (trx) => {
    const meanwhile = await releasedOf(trx, requestDigest);
    if (meanwhile !== undefined) {
      return sameOutput(meanwhile.output_commitment, outputCommitment, meanwhile.share);
    }
    const grantId = await requireUnrevoked(trx, requestDigest);
    const signed = DELIVERY_SHARE.sign(share, context.signingKey);
    await trx
      .insertInto("released")
      .values({ request_digest: requestDigest, output_commitment: outputCommitment, share: signed })
      .execute();
    await context.log.append(trx, {
      type: "share.released",
      taskId: envelope.task_id,
      body: {
        envelope_digest: envelopeDigest,
        output_commitment: outputCommitment,
        settlement_root: share.settlement_root,
        grant_id: grantId,
      },
    });
    return signed;
  });
}

async function requireSettled(context: VaultContext, envelope: TaskEnvelope): Promise<Settled> {
  const requestDigest = envelope.caller_context.request_digest;
  const settled = await settledOf(context.store.db, requestDigest);
  if (settled === undefined) throw notFinal("a task whose consumption this Vault has committed");
  requireSameEnvelope(TASK_ENVELOPE.digest(envelope), settled.envelope_digest);
  return settled;
}

/** The bundle is the one settled, final, and says that this share is one of its key's. */
async function requireFinalOutput(
  context: VaultContext,
  { envelope, signedBundle, sealedShare }: Release,
  settled: Settled,
): Promise<Uint8Array> {
  const bundle = await verifyRound(context, envelope, signedBundle);
  const digest = EXECUTION_RESULT_BUNDLE.digest(bundle);
  const last = settled.bundles.subarray(-DIGEST_BYTES);
  const output = settled.output_commitment;
  if (output === null) throw refused("a task with a result that this Vault took part in");
  if (!bundle.final || !equalBytes(digest, last) || !equalBytes(bundle.output_commitment, output)) {
    throw refused("the final bundle that this Vault settled");
  }
  const entry = bundle.share_digests.find((each) => each.vault_id === context.vaultId);
  if (entry === undefined || !equalBytes(entry.digest, sealedShareDigest(sealedShare))) {
    throw new VerificationError(
      { code: "PROOF_COMMITMENT_MISMATCH", field: "share_digests" },
      "sealed share: expected the one that the final bundle names for this Vault, got another",
    );
  }
  return output;
}

function requireSettlement(
  { envelope, settlementProof, governance }: Release,
  settled: Settled,
  outputCommitment: Uint8Array,
): SettlementRoot {
  const proof = SETTLEMENT_PROOF.decode(settlementProof);
  const coordinator = activeActor(governance, governance.genesis.coordinator_id);
  const root = SETTLEMENT_ROOT.verify(proof.root, coordinator.signing_key);
  const entry = SETTLEMENT_ENTRY.decode(proof.entry);
  verifyInclusion({
    leafHash: leafHash(proof.entry),
    index: proof.index,
    size: root.entry_count,
    proof: proof.proof,
    root: root.entries_root,
  });
  const fault = faultOf({ root, entry, envelope, governance, settled, outputCommitment });
  if (fault !== undefined) {
    throw new VerificationError(
      { code: "SETTLEMENT_INVALID", field: fault },
      `settlement ${fault}: expected what this Vault executed and settled, got another`,
    );
  }
  return root;
}

function faultOf(args: {
  readonly root: SettlementRoot;
  readonly entry: SettlementEntry;
  readonly envelope: TaskEnvelope;
  readonly governance: GovernanceState;
  readonly settled: Settled;
  readonly outputCommitment: Uint8Array;
}): string | undefined {
  const { root, entry, envelope, governance, settled, outputCommitment } = args;
  const ownBundles = digestsOf(settled.bundles);
  const finalBundle = entry.round_bundles.at(-1) ?? new Uint8Array(0);
  const rounds = envelope.iteration_policy?.maximum_rounds ?? 1;
  const claims: readonly (readonly [string, boolean])[] = [
    ["genesis_digest", equalBytes(root.genesis_digest, governance.genesisDigest)],
    ["policy_version", root.policy_version === envelope.policy_version],
    ["epoch_id", entry.epoch_id === envelope.epoch_id && root.epoch_id >= entry.epoch_id],
    ["task_id", entry.task_id === envelope.task_id],
    ["envelope_digest", equalBytes(entry.envelope_digest, TASK_ENVELOPE.digest(envelope))],
    ["output_commitment", equalBytes(entry.output_commitment, outputCommitment)],
    ["round_bundles", entry.round_bundles.length === rounds && includesAll(entry, ownBundles)],
    ["final bundle", equalBytes(finalBundle, settled.bundles.subarray(-DIGEST_BYTES))],
    ["consumption", includes(entry.consumption, settled.record_digest)],
  ];
  return claims.find(([, holds]) => !holds)?.[0];
}

function includesAll(entry: SettlementEntry, digests: readonly Uint8Array[]): boolean {
  return digests.every((digest) => includes(entry.round_bundles, digest));
}

function includes(digests: readonly Uint8Array[], digest: Uint8Array): boolean {
  return digests.some((each) => equalBytes(each, digest));
}

function digestsOf(bytes: Uint8Array): Uint8Array[] {
  return Array.from({ length: bytes.length / DIGEST_BYTES }, (_, index) =>
    bytes.subarray(index * DIGEST_BYTES, (index + 1) * DIGEST_BYTES),
  );
}

/** By this Vault's clock alone: the coordinator's times are not asked. */
function requireWindow({ nowMs }: VaultContext, settled: Settled, { policy }: GovernanceState) {
  const finalMs = settled.at_ms + policy.governance.challenge_window_ms;
  if (nowMs() < finalMs) throw notFinal(`the challenge window to have passed, at ${finalMs} ms`);
}

/** The grant that the task was admitted under, in the write that releases: none is revoked in between. */
async function requireUnrevoked(trx: Writing, requestDigest: Uint8Array): Promise<string> {
  const decided = await decisionOf(trx, requestDigest);
  if (decided?.plan === undefined || decided.plan === null) throw refused("an admitted task");
  const { grant_id: grantId } = decodePlan(decided.plan);
  const grant = await trx
    .selectFrom("access_grant")
    .select("revoked_ms")
    .where("grant_id", "=", grantId)
    .executeTakeFirst();
  if (grant === undefined || grant.revoked_ms !== null) throw refused("a grant that still stands");
  return grantId;
}

async function reseal(
  { boxKey, formerBoxKeys }: VaultContext,
  { envelope, sealedShare }: Release,
  envelopeDigest: Uint8Array,
): Promise<Uint8Array> {
  const share = await openByAny({
    keys: [boxKey, ...formerBoxKeys],
    info: SEAL_INFO.resultShare,
    aad: envelopeDigest,
    sealed: sealedShare,
  });
  try {
    return await seal({
      to: envelope.delivery_key,
      info: SEAL_INFO.deliveryShare,
      aad: envelopeDigest,
      plaintext: share,
    });
  } finally {
    share.fill(0);
  }
}

function sameOutput(recorded: Uint8Array, asked: Uint8Array, share: Uint8Array): Uint8Array {
  if (equalBytes(recorded, asked)) return share;
  throw refused(`output ${hex(recorded)}, the only one of this task that is released`);
}

function notFinal(expected: string): RefusedError {
  return new RefusedError({ code: "SETTLEMENT_NOT_FINAL" }, `settlement: expected ${expected}`);
}

function refused(expected: string): RefusedError {
  return new RefusedError({ code: "DELIVERY_REFUSED" }, `delivery: expected ${expected}`);
}
