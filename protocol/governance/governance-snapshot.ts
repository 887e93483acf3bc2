import { z } from "zod";

import { bytesUpTo } from "../fields.ts";
import { equalBytes } from "../bytes.ts";
import { verifyCheckpoint } from "../checkpoint.ts";
import { VerificationError } from "../errors.ts";
import { vaultKeysOf } from "./actor-keys.ts";
import { foldGovernance, type FoldedLog } from "./governance.ts";
import { GENESIS, governanceOrigin } from "./governance-objects.ts";
import { leafHash, merkleRoot } from "../merkle.ts";
import { defineObject } from "../object.ts";
import type { GovernanceState } from "./governance-state.ts";

/** The governance log as a relying party takes it: every event and a cosigned checkpoint over them. */
export const governanceSnapshotSchema = z.strictObject({
  genesis: bytesUpTo(1024 * 1024),
  events: z.array(bytesUpTo(1024 * 1024)).max(10_000),
  checkpoint: z.string().max(64 * 1024),
});

export type GovernanceSnapshot = z.infer<typeof governanceSnapshotSchema>;

export const GOVERNANCE_SNAPSHOT = defineObject(
  "governance-snapshot",
  governanceSnapshotSchema,
  16 * 1024 * 1024,
);

/**
 * Verifies a snapshot that Vaults have yet to cosign: as {@link verifyGovernanceSnapshot}, with no cosignature needed.
 *
 * For cosigners only, who may act at once on what it withdraws: revocations and suspensions. Nothing it grants counts
 * before a quorum has cosigned, and for nobody else does anything.
 */
export function verifyGovernanceForCosigning(
  snapshot: GovernanceSnapshot,
  pinnedGenesisDigest: Uint8Array,
  known?: FoldedLog,
): GovernanceState {
  return verifySnapshot({ snapshot, pinnedGenesisDigest, known, quorum: () => 0 });
}

/**
 * Verifies a governance snapshot against a pinned genesis digest and returns the state it gives.
 *
 * Checks, in this order: genesis digest, every event's quorum, the checkpoint's log signature (the coordinator's),
 * cosignatures by at least `checkpoint_quorum` Vaults, and the Merkle root over exactly these events.
 *
 * @param known - What the caller itself has verified before; its events are not verified again, see {@link foldGovernance}.
 * @throws {@link VerificationError} GOVERNANCE_GENESIS_MISMATCH, GOVERNANCE_EVENT_INVALID, PROOF_CHECKPOINT_INVALID
 */
export function verifyGovernanceSnapshot(
  snapshot: GovernanceSnapshot,
  pinnedGenesisDigest: Uint8Array,
  known?: FoldedLog,
): GovernanceState {
  return verifySnapshot({ snapshot, pinnedGenesisDigest, known, quorum: quorumOf });
}

/** By the active policy version, which the events that the checkpoint covers have decided. */
function quorumOf({ policy }: GovernanceState): number {
  return policy.governance.checkpoint_quorum;
}

function verifySnapshot(args: {
  readonly snapshot: GovernanceSnapshot;
  readonly pinnedGenesisDigest: Uint8Array;
  readonly known: FoldedLog | undefined;
  readonly quorum: (state: GovernanceState) => number;
}): GovernanceState {
  const { snapshot, pinnedGenesisDigest, known, quorum } = args;
  const genesis = GENESIS.decode(snapshot.genesis);
  if (!equalBytes(GENESIS.digest(genesis), pinnedGenesisDigest)) {
    throw new VerificationError(
      { code: "GOVERNANCE_GENESIS_MISMATCH" },
      "governance genesis: expected the pinned digest, got another",
    );
  }
  const isSame = known !== undefined && equalBytes(known.state.genesisDigest, pinnedGenesisDigest);
  const state = foldGovernance(snapshot.genesis, snapshot.events, isSame ? known : undefined);
  verifyGovernanceCheckpoint(state, snapshot, quorum(state));
  return state;
}

function verifyGovernanceCheckpoint(
  state: GovernanceState,
  snapshot: GovernanceSnapshot,
  quorum: number,
): void {
  const { genesis, actors } = state;
  const coordinator = actors.get(genesis.coordinator_id);
  if (coordinator === undefined) {
    throw new VerificationError(
      { code: "GOVERNANCE_EVENT_INVALID" },
      "governance genesis: expected the coordinator among the actors",
    );
  }
  const checkpoint = verifyCheckpoint(snapshot.checkpoint, {
    origin: governanceOrigin(genesis.network),
    log: { name: coordinator.actor_id, publicKey: coordinator.signing_key },
    witnesses: vaultKeysOf(state),
    quorum,
  });
  const root = merkleRoot(snapshot.events.map((event) => leafHash(event)));
  if (checkpoint.size !== state.sequence || !equalBytes(checkpoint.root, root)) {
    throw new VerificationError(
      { code: "PROOF_CHECKPOINT_INVALID", expected: state.sequence, actual: checkpoint.size },
      `governance checkpoint: expected the root of these ${state.sequence} events`,
    );
  }
}
