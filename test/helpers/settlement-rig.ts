import { randomBytes } from "node:crypto";
import { mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { openActorLog, actorLogStatements, type ActorLog } from "../../host/evidence/actor-log.ts";
import { assembleBundle, excerptOf } from "../../host/evidence/index.ts";
import {
  governanceStatements,
  createGovernanceEvent,
  openEpochRegister,
  openGovernance,
  type EpochRegister,
  type Governance,
} from "../../host/governance/index.ts";
import {
  settlementStatements,
  openSettlement,
  requireDisputed,
  type SettlementTables,
  type Settlement,
  type SettlementStore,
  type VerifiedExecution,
} from "../../host/settlement/index.ts";
import { openStore, type Store } from "../../host/store/index.ts";
import {
  CHALLENGE,
  CONSUMPTION_RECORD,
  DELIVERY_SHARE,
  EXECUTION_RESULT_BUNDLE,
  GOVERNANCE_SNAPSHOT,
  LOG_EXCERPT,
  actorLogOrigin,
  verifyGovernanceSnapshot,
  verifySettlementProof,
  type Challenge,
  type ConsumptionRecord,
  type GovernanceState,
  type GovernedDecision,
} from "../../protocol/index.ts";
import { cosignedHead } from "./witnesses.ts";
import { NETWORK_TIME_MS, type TestNetwork } from "./network.ts";
import { logEvent, verifyRun, type TestRun } from "./evidence-rig.ts";
import { governanceKey } from "./votes.ts";

/** The coordinator's settlement over a store of its own, with a clock that a test moves. */
export interface SettlementRig {
  readonly settlement: Settlement;
  readonly epochs: EpochRegister;
  readonly store: Store<SettlementStore>;
  readonly file: string;
  readonly log: ActorLog;
  readonly clock: { ms: number };
  /** What governance says; a test may replace it. */
  readonly governance: { state: GovernanceState };
  /** The coordinator's governance log, which `governance` need not follow. */
  readonly own: Governance;
  /** Governance asks for the epoch to close. */
  requestBoundary(): Promise<void>;
}

/** Opens settlement for `network`; `file` reopens an earlier store. */
export async function openSettlementRig(
  network: TestNetwork,
  state: GovernanceState,
  file: string = join(mkdtempSync(join(tmpdir(), "symphony-settlement-")), "coordinator.db"),
): Promise<SettlementRig> {
  const store = await openStore<SettlementStore>({
    at: { kind: "sqlite", file },
    migrations: [
      {
        version: 1,
        statements: (words) => [
          ...actorLogStatements(words),
          ...governanceStatements(words),
          ...settlementStatements(words),
        ],
      },
    ],
  });
  const clock = { ms: NETWORK_TIME_MS };
  const governance = { state };
  const { coordinator } = network;
  const log = await openActorLog({
    store,
    actorId: coordinator.actorId,
    key: coordinator.signing,
    origin: actorLogOrigin(network.genesis.network, coordinator.actorId),
    nowMs: () => clock.ms,
  });
  const own = await openGovernance({
    store,
    genesisBytes: network.genesisBytes,
    signingKey: coordinator.signing,
    nowMs: () => clock.ms,
    requireDisputed: (trx, taskId) => requireDisputed(trx.withTables<SettlementTables>(), taskId),
  });
  const epochs = await openEpochRegister({ store, governance: own });
  await store.write((trx) => epochs.assign(trx, "t-waiting"));
  const settlement = openSettlement({
    store,
    log,
    epochs,
    governance: () => governance.state,
    appendDecision: (...args) => own.append(...args),
    signingKey: coordinator.signing,
    nowMs: () => clock.ms,
  });
  const requestBoundary = async (): Promise<void> => {
    const decision = { type: "epoch_boundary_requested", reason: "a test" } as const;
    const keys = network.governanceKeys.slice(0, 2);
    const timeMs = clock.ms;
    await own.submit(createGovernanceEvent({ state: own.state(), decision, keys, timeMs }));
  };
  return { settlement, epochs, store, file, log, clock, governance, own, requestBoundary };
}

/** A Vault's signed consumption record for a run: what its slices were charged. */
export async function consumptionRecord(
  run: TestRun,
  vaultId: string,
  changes: Partial<ConsumptionRecord> = {},
): Promise<Uint8Array> {
  const { envelope } = run.task;
  const vault = run.network.vaults.find((each) => each.actorId === vaultId);
  const reservation = envelope.privacy_budget_reservation.find((each) => each.vault_id === vaultId);
  if (vault === undefined || reservation === undefined) throw new Error("no such vault");
  const { reservation_id } = reservation;
  const epsilon_micro = changes.consumed_epsilon_micro ?? envelope.epsilon_micro;
  const body = { reservation_id, epsilon_micro };
  const committed = { type: "budget.committed", taskId: envelope.task_id, body };
  const head = await logEvent(run.logs, vaultId, committed);
  return CONSUMPTION_RECORD.sign(
    {
      version: 1,
      envelope_digest: run.task.envelopeDigest,
      vault_id: vaultId,
      record_scope: envelope.record_scope,
      usage_scope: envelope.usage_scope,
      reservation_id: reservation.reservation_id,
      consumed_epsilon_micro: envelope.epsilon_micro,
      reserved_epsilon_micro: reservation.epsilon_micro,
      flagged: false,
      epoch_id: envelope.epoch_id,
      ...head,
      ...changes,
    },
    vault.signing,
  );
}

/** A challenge of a run's first round, signed by governance. */
export function governanceChallenge({ network, task, finished }: TestRun): Uint8Array {
  const [first] = finished;
  if (first === undefined) throw new Error("no bundle to dispute");
  const challenge: Challenge = {
    ...{ version: 1, genesis_digest: network.genesisDigest, task_id: task.envelope.task_id },
    ...{ envelope_digest: task.envelopeDigest, target: { kind: "aggregation" }, bond_minor: 0 },
    round_bundle: EXECUTION_RESULT_BUNDLE.digest(first.bundle),
    ...{ reason: "another commitment", challenger: "governance", opened_ms: NETWORK_TIME_MS },
  };
  return CHALLENGE.sign(challenge, governanceKey(network, 0));
}

/** Governance's decision that a challenge was right, and that Vault 2 pays. */
export function challengeApproved(task_id: string): GovernedDecision {
  const penalty = { actor_id: "vault-2", amount_minor: 500 };
  return { type: "challenge_resolved", task_id, resolution: "approved", penalty, reason: "late" };
}

/** A run, settled, with its evidence file. */
export interface SettledRun {
  readonly run: TestRun;
  readonly execution: VerifiedExecution;
  readonly consumption: readonly Uint8Array[];
  readonly settlement: Uint8Array;
  readonly file: Uint8Array;
}

const HISTORY = ["resolving", "dispatched", "verifying", "awaiting_settlement", "completed"];

/** Verifies, settles and exports a run; `later` is the cosigned snapshot when it settles, `exported` what is shown. */
export async function settleRun(
  run: TestRun,
  { later, exported }: { readonly later?: Uint8Array; readonly exported?: Uint8Array } = {},
): Promise<SettledRun> {
  const execution = verifyRun(run);
  const consumption: Uint8Array[] = [];
  for (const vaultId of execution.participants) {
    consumption.push(await consumptionRecord(run, vaultId));
  }
  const rig = await openSettlementRig(run.network, run.governance);
  await rig.settlement.candidate(execution, consumption);
  if (later !== undefined) {
    const { genesisDigest } = run.network;
    rig.governance.state = verifyGovernanceSnapshot(
      GOVERNANCE_SNAPSHOT.decode(later),
      genesisDigest,
    );
  }
  rig.clock.ms += 60_000;
  await rig.settlement.finalizeDue();
  const settlement = await rig.settlement.proofFor(run.task.envelope.task_id);
  await rig.store.close();
  const shown = exported ?? later ?? run.snapshotBytes;
  const { file } = await exportRun(run, { execution, consumption, settlement }, shown);
  return { run, execution, consumption, settlement, file };
}

/** Writes the evidence file of a settled run. */
export async function exportRun(
  run: TestRun,
  settled: Pick<SettledRun, "execution" | "consumption" | "settlement">,
  governance: Uint8Array = run.snapshotBytes,
): Promise<{ readonly file: Uint8Array }> {
  const { network, task } = run;
  const taskId = task.envelope.task_id;
  let from = "accepted";
  for (const to of HISTORY) {
    const event = { type: "task_transition", taskId, body: { task_id: taskId, from, to } };
    await logEvent(run.logs, network.coordinator.actorId, event);
    from = to;
  }
  const logs = [];
  for (const { log } of run.logs.values()) {
    const [witness] = network.vaults.filter(({ actorId }) => actorId !== log.actorId);
    const isVault = log.actorId !== network.coordinator.actorId;
    const cosigned = isVault && witness ? cosignedHead(log, [witness]) : undefined;
    logs.push(LOG_EXCERPT.encode(await excerptOf(log, taskId, cosigned)));
  }
  const { rootDigest, entry } = verifySettlementProof(settled.settlement, {
    coordinatorKey: network.coordinator.signing.publicKey,
    genesisDigest: network.genesisDigest,
  });
  const delivery = network.vaults
    .filter((vault) => settled.execution.participants.includes(vault.actorId))
    .map((vault) =>
      DELIVERY_SHARE.sign(
        {
          version: 1,
          envelope_digest: task.envelopeDigest,
          vault_id: vault.actorId,
          output_commitment: entry.output_commitment,
          settlement_root: rootDigest,
          sealed_share: new Uint8Array(randomBytes(64)),
        },
        vault.signing,
      ),
    );
  const file = assembleBundle(
    {
      governance: GOVERNANCE_SNAPSHOT.decode(governance),
      envelope: task.envelope,
      decisions: task.signedDecisions,
      messages: run.messages,
      consumption: settled.consumption,
      challenges: [],
      settlement: settled.settlement,
      delivery,
      logs,
    },
    network.coordinator.signing,
  );
  return { file };
}
