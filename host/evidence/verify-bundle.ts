import {
  DELIVERY_SHARE,
  GOVERNANCE_SNAPSHOT,
  RefusedError,
  SymphonyError,
  TASK_ENVELOPE,
  VerificationError,
  equalBytes,
  foldGovernance,
  governanceOnceOf,
  noOutput,
  parseCose,
  parseEvidence,
  taskKeyOf,
  verifyEvidenceSeal,
  verifyGovernanceSnapshot,
  verifySettlementProof,
  type ConsumptionRecord,
  type ErrorCode,
  type Evidence,
  type FinalizedSettlement,
  type GovernanceState,
  type TaskEnvelope,
} from "#protocol";

import {
  UNDECIDED,
  applyChallenge,
  collectRounds,
  composeEntry,
  expectSame,
  required,
  verifyChallenge,
  verifyConsumption,
  verifyExecution,
  type VerifiedExecution,
} from "../settlement/index.ts";
import type { Trust } from "./trust.ts";
import { verifyWitnessed } from "./verify-witnesses.ts";
import { verifyDecisions } from "./verify-decisions.ts";
import {
  replayTransitions,
  verifyLedgerEvent,
  verifyLog,
  type VerifiedLog,
} from "./verify-logs.ts";

/** One line of the checklist. */
export interface CheckResult {
  readonly check: string;
  readonly ok: boolean;
  readonly detail: string;
}

/** What verifying a bundle came to. `checks` ends with the first that failed. */
export interface VerificationReport {
  readonly ok: boolean;
  readonly network: string;
  readonly task_id: string | null;
  readonly task_class: string | null;
  /** Whether the verifier's trust is in a simulator; then the result proves nothing about hardware. */
  readonly simulated: boolean;
  readonly checks: readonly CheckResult[];
  readonly failure: { readonly check: string; readonly code: ErrorCode } | null;
}

/**
 * Verifies an evidence file offline: from the file and the verifier's own trust, and nothing else. Pure.
 *
 * In this order: file, governance from the pinned genesis, the coordinator's seal over every byte, envelope, Vault
 * decisions, rounds and criteria (`verifyExecution`), consumption, settlement recomputed, delivery, logs, witnesses. Stops at the
 * first fault. Throws nothing for what the file holds.
 */
export function verifyBundle(bytes: Uint8Array, trust: Trust): VerificationReport {
  const checklist = new Checklist();
  let envelope: TaskEnvelope | null = null;
  try {
    verifyAll(bytes, trust, { checklist, admit: (admitted) => (envelope = admitted) });
  } catch (fault) {
    if (!(fault instanceof SymphonyError)) throw fault;
    checklist.fail(fault);
  }
  return reportOf(checklist, envelope, trust);
}

function reportOf(
  checklist: Checklist,
  envelope: TaskEnvelope | null,
  trust: Trust,
): VerificationReport {
  return {
    ok: checklist.failure === null,
    network: trust.network,
    task_id: envelope?.task_id ?? null,
    task_class: envelope?.task_class ?? null,
    simulated: trust.simulated,
    checks: checklist.results,
    failure: checklist.failure,
  };
}

/** Keeps what held, and the name of what is being judged. */
class Checklist {
  readonly results: CheckResult[] = [];
  failure: VerificationReport["failure"] = null;
  #current = "file";

  begin(check: string): void {
    this.#current = check;
  }

  pass(check: string, detail: string): void {
    this.results.push({ check, ok: true, detail });
  }

  fail(fault: SymphonyError): void {
    const check = this.#current;
    this.results.push({ check, ok: false, detail: `${fault.code}: ${fault.message}` });
    this.failure = { check, code: fault.code };
  }

  /** Runs one check; its detail is what `work` says of its result. */
  run<T>(check: string, work: () => readonly [T, string]): T {
    this.begin(check);
    const [result, detail] = work();
    this.pass(check, detail);
    return result;
  }
}

function verifyAll(
  bytes: Uint8Array,
  trust: Trust,
  { checklist, admit }: { checklist: Checklist; admit: (envelope: TaskEnvelope) => void },
): void {
  const file = checklist.run("file", () => [
    parseEvidence(bytes),
    `${bytes.length} bytes of canonical CBOR`,
  ]);
  const { evidence } = file;
  const governance = checklist.run("governance", () => verifyGovernance(evidence, trust));
  const envelope = checklist.run("seal", () => {
    const sealed = TASK_ENVELOPE.decode(evidence.envelope);
    const coordinator = governance.actors.get(governance.genesis.coordinator_id);
    const coordinatorKey = required(coordinator, "coordinator").signing_key;
    verifyEvidenceSeal(file, { coordinatorKey, taskId: sealed.task_id });
    return [sealed, `every byte, by ${governance.genesis.coordinator_id}`];
  });
  admit(envelope);
  checklist.run("vault decisions", () => {
    const declined = verifyDecisions(envelope, evidence.decisions, governance);
    return [null, `${envelope.inputs.length} reserved, ${declined} declined`];
  });
  checklist.begin("settlement");
  const settled = verifySettled(evidence, governance);
  checklist.begin("execution");
  const execution = verifyExecution({
    envelope,
    governance: stateAt(evidence, settled.entry.verified_governance_size),
    anchors: trust.anchors,
    rounds: collectRounds(evidence.messages, envelope),
    observe: (check, detail) => checklist.pass(check, detail),
  });
  verifyOutcome(checklist, { evidence, governance, envelope, execution, settled });
}

interface Executed {
  readonly evidence: Evidence;
  readonly governance: GovernanceState;
  readonly envelope: TaskEnvelope;
  readonly execution: VerifiedExecution;
  readonly settled: FinalizedSettlement;
}

function verifyOutcome(checklist: Checklist, executed: Executed): void {
  const { evidence, governance, execution } = executed;
  const consumption = checklist.run("consumption", () => {
    const records = verifyConsumption(execution, evidence.consumption, execution.governance);
    const proven = new Set(records.map((record) => record.vault_id));
    const unproven = execution.participants
      .filter((vaultId) => !proven.has(vaultId))
      .map((vaultId) => `${vaultId} NO RECORD`);
    return [records, [...records.map(describeConsumption), ...unproven].join(", ")];
  });
  checklist.run("settlement", () => verifySettlement(executed, consumption));
  checklist.run("delivery", () => {
    verifyDelivery(executed);
    return [null, `${evidence.delivery.length} shares released`];
  });
  const logs = checklist.run("logs", () => verifyLogs(executed));
  checklist.run("ledger heads", () => verifyHeads(executed, { logs, consumption }));
  checklist.run("witnesses", () => verifyWitnesses(executed, logs));
  checklist.run("task history", () => {
    const { genesis } = governance;
    const own = logs.find((log) => log.actorId === genesis.coordinator_id);
    const state = replayTransitions(required(own, "log"), executed.envelope.task_id);
    return [null, `replays to ${state}`];
  });
}

function verifyGovernance(evidence: Evidence, trust: Trust): readonly [GovernanceState, string] {
  const snapshot = GOVERNANCE_SNAPSHOT.decode(evidence.governance);
  const state = verifyGovernanceSnapshot(snapshot, trust.genesisDigest);
  const { network, simulated } = state.genesis;
  if (network !== trust.network || simulated !== trust.simulated) {
    throw new VerificationError(
      { code: "GOVERNANCE_GENESIS_MISMATCH", expected: trust.network, actual: network },
      `genesis: expected network ${trust.network}, simulated ${trust.simulated}, got ${network}, ${simulated}`,
    );
  }
  return [state, `network ${network}, ${state.sequence} events, cosigned`];
}

function describeConsumption(record: ConsumptionRecord): string {
  return `${record.vault_id} ${record.consumed_epsilon_micro} micro-epsilon${record.flagged ? " FLAGGED" : ""}`;
}

/** The coordinator's root and the entry under it; the governance log in the file reaches at least to the root. */
function verifySettled(evidence: Evidence, governance: GovernanceState): FinalizedSettlement {
  const coordinator = required(
    governance.actors.get(governance.genesis.coordinator_id),
    "coordinator",
  );
  const settled = verifySettlementProof(evidence.settlement, {
    coordinatorKey: coordinator.signing_key,
    genesisDigest: governance.genesisDigest,
  });
  const { governance_size: size } = settled.root;
  if (governance.sequence < size || settled.entry.verified_governance_size > size) {
    throw new VerificationError(
      { code: "PROOF_BUNDLE_INCOMPLETE", expected: size, actual: governance.sequence },
      `governance: expected the ${size} events or more of the settlement, got ${governance.sequence}`,
    );
  }
  return settled;
}

/** The state after the first `size` events of the file's governance log, all of which are verified. */
function stateAt(evidence: Evidence, size: number): GovernanceState {
  const { genesis, events } = GOVERNANCE_SNAPSHOT.decode(evidence.governance);
  return foldGovernance(genesis, events.slice(0, size));
}

/** The entry is recomputed from the evidence and must be the one under the coordinator's root (DT-2). */
function verifySettlement(
  { evidence, governance, envelope, execution, settled }: Executed,
  consumption: readonly ConsumptionRecord[],
): readonly [null, string] {
  const decided = governance.challengeResolutions.has(envelope.task_id);
  if (decided && evidence.challenges.length === 0) {
    throw new VerificationError(
      { code: "PROOF_BUNDLE_INCOMPLETE", expected: "challenge" },
      "challenge: expected the one that governance decided about, got none",
    );
  }
  const unchallenged = composeEntry({ execution, consumption });
  const resolved = governance.challengeResolutions.get(envelope.task_id) ?? UNDECIDED;
  const bound = governanceOnceOf(governance, envelope);
  for (const signed of evidence.challenges) verifyChallenge(signed, bound);
  const isChallenged = evidence.challenges.length > 0;
  const entry = isChallenged ? applyChallenge(unchallenged, resolved) : unchallenged;
  expectSame("settlement entry", entry, settled.entry);
  expectSame("settlement epoch", true, settled.root.epoch_id >= envelope.epoch_id);
  if (equalBytes(entry.output_commitment, noOutput())) {
    throw new RefusedError(
      { code: "VERIFY_RESULT_REJECTED", reason: "challenge approved" },
      "settlement: expected an accepted result, got one that a challenge overturned",
    );
  }
  const { epoch_id, entry_count } = settled.root;
  return [null, `epoch ${epoch_id}, one of ${entry_count} entries, accounting recomputed`];
}

function verifyDelivery({ evidence, governance, envelope, execution, settled }: Executed): void {
  for (const signed of evidence.delivery) {
    const claimed = DELIVERY_SHARE.decode(parseCose(signed, 64 * 1024).payload);
    const subject = `delivery share of ${claimed.vault_id}`;
    const vault = required(governance.actors.get(claimed.vault_id), subject);
    const share = DELIVERY_SHARE.verify(signed, taskKeyOf(vault, signed, envelope.epoch_id));
    expectSame(subject, execution.envelopeDigest, share.envelope_digest);
    expectSame(subject, settled.entry.output_commitment, share.output_commitment);
    expectSame(subject, settled.rootDigest, share.settlement_root);
    expectSame(subject, true, execution.participants.includes(share.vault_id));
  }
}

function verifyLogs({
  evidence,
  governance,
  envelope,
  execution,
}: Executed): readonly [VerifiedLog[], string] {
  const logs = evidence.logs.map((excerpt) =>
    verifyLog(excerpt, { taskId: envelope.task_id, epochId: envelope.epoch_id }, governance),
  );
  for (const actorId of [governance.genesis.coordinator_id, ...execution.participants]) {
    const own = logs.filter((log) => log.actorId === actorId);
    if (own.length === 1 && (own[0]?.events.length ?? 0) > 0) continue;
    throw new VerificationError(
      { code: "PROOF_BUNDLE_INCOMPLETE", actor_id: actorId },
      `log of ${actorId}: expected one excerpt with events of this task, got ${own.length}`,
    );
  }
  const detail = logs.map((log) => `${log.actorId} ${log.events.length} events`);
  return [logs, detail.join("; ")];
}

/** The ledger heads that orders and records name are heads of the Vaults' logs, and what they charge is in those. */
function verifyHeads(
  { evidence, execution }: Executed,
  {
    logs,
    consumption,
  }: { logs: readonly VerifiedLog[]; consumption: readonly ConsumptionRecord[] },
): readonly [null, string] {
  const heads = [...execution.orders, ...consumption];
  for (const claim of heads) {
    const { vault_id, ledger_size, ledger_root } = claim;
    const found = logs.find((each) => each.actorId === vault_id);
    const log = required(found, `log of ${vault_id}`);
    log.verifyHead(ledger_size, ledger_root);
    verifyLedgerEvent(log, claim);
  }
  const digests = evidence.consumption.length;
  return [null, `${heads.length} heads of orders and ${digests} records are in the Vaults' logs`];
}

/** Every charge stood in a head that other Vaults cosigned: no older copy of its Vault can take it back. */
function verifyWitnesses(
  { execution }: Executed,
  logs: readonly VerifiedLog[],
): readonly [null, string] {
  const { governance, orders } = execution;
  for (const { vault_id, ledger_size } of orders) {
    const log = required(
      logs.find((each) => each.actorId === vault_id),
      `log of ${vault_id}`,
    );
    verifyWitnessed(log, ledger_size, governance);
  }
  const quorum = governance.policy.multi_vault.witness_quorum;
  return [null, `each of ${orders.length} charges cosigned by ${quorum} other Vaults or more`];
}
