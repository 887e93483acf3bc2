import { mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { afterAll, beforeAll, expect, test } from "vitest";

import {
  assembleBundle,
  excerptOf,
  verifyBundle,
  verifyExcerpt,
  verifyLog,
  type EvidenceSources,
  type Trust,
} from "../../../host/evidence/index.ts";
import { verifyLedgerEvent } from "../../../host/evidence/verify-logs.ts";
import {
  CHALLENGE,
  CONSUMPTION_RECORD,
  EVIDENCE_SECTIONS,
  GENESIS,
  GOVERNANCE_SNAPSHOT,
  LOG_EXCERPT,
  encodeEvidence,
  parseCose,
  parseEvidence,
  signingKeyFromSeed,
  type Evidence,
} from "../../../protocol/index.ts";
import { createInsecureSimPlatform } from "../../../sim/platform.ts";
import { closeRun, runTask, verifyRun } from "../../helpers/evidence-rig.ts";
import { consumptionRecord, settleRun, type SettledRun } from "../../helpers/settlement-rig.ts";
import { cosignedHead } from "../../helpers/witnesses.ts";
import { someDigest } from "../../helpers/synthetic-round.ts";
import {
  TEST_MEASUREMENT,
  createNetwork,
  governanceSnapshot,
  testActor,
  testSeed,
  type TestActor,
  type TestNetwork,
} from "../../helpers/network.ts";

let settled: SettledRun;
let trust: Trust;
let evidence: Evidence;

beforeAll(async () => {
  settled = await settleRun(await runTask());
  trust = trustOf(settled);
  evidence = parseEvidence(settled.file).evidence;
});

afterAll(() => closeRun(settled.run));

function trustOf({ run }: SettledRun): Trust {
  return {
    network: run.network.genesis.network,
    genesisDigest: run.network.genesisDigest,
    anchors: run.anchors,
    simulated: true,
  };
}

/** The file with other contents, sealed again by the coordinator: a coordinator that lies. */
function resealed(changes: Partial<Evidence>): Uint8Array {
  const { network, task } = settled.run;
  return encodeEvidence({
    evidence: { ...evidence, ...changes },
    taskId: task.envelope.task_id,
    coordinatorKey: network.coordinator.signing,
  });
}

test("[PL-5][TT-2][DT-2] a settled task's file verifies from the verifier's trust alone", () => {
  const report = verifyBundle(settled.file, trust);
  expect(report).toMatchObject({ ok: true, simulated: true, failure: null, task_class: "query" });
  expect(report.checks.map((check) => check.check)).toEqual([
    "file",
    "governance",
    "seal",
    "vault decisions",
    "request and envelope",
    "round 0",
    "acceptance criteria",
    "consumption",
    "settlement",
    "delivery",
    "logs",
    "ledger heads",
    "witnesses",
    "task history",
  ]);
  expect(verifyBundle(settled.file, trust)).toEqual(report);
});

test("holds no sealed output, result or secret of a round", () => {
  const file = Buffer.from(settled.file);
  for (const round of settled.run.finished) {
    expect(file.includes(Buffer.from(round.outcome.ciphertext))).toBe(false);
    for (const share of round.outcome.shares)
      expect(file.includes(Buffer.from(share.sealed))).toBe(false);
    for (const answer of round.ran) {
      expect(answer.result === "ran" && file.includes(Buffer.from(answer.sealed))).toBe(false);
    }
  }
});

/** 240 positions spread over the file by a fixed step, and its first and last bytes. */
function positionsOf(bytes: Uint8Array): number[] {
  const step = 7919;
  const spread = Array.from({ length: 240 }, (_, index) => (index * step * 31) % bytes.length);
  const ends = [0, 1, 2, 3, bytes.length - 1, bytes.length - 2];
  return [...new Set([...spread, ...ends])];
}

test("[PL-5] one flipped bit anywhere fails and names what failed", () => {
  const positions = positionsOf(settled.file);
  expect(positions.length).toBeGreaterThan(200);
  for (const [index, position] of positions.entries()) {
    const damaged = settled.file.slice();
    damaged[position] = (damaged[position] ?? 0) ^ (1 << (index % 8));
    const report = verifyBundle(damaged, trust);
    expect(report.ok, `position ${position}`).toBe(false);
    expect(report.failure?.check, `position ${position}`).toMatch(/^(file|governance|seal)$/);
    expect(report.checks.at(-1)?.ok).toBe(false);
  }
});

test.for(EVIDENCE_SECTIONS.map((section) => ({ section })))(
  "[PL-5] a flipped bit in section $section is refused",
  ({ section }) => {
    const { parts } = parseEvidence(settled.file);
    const part = Buffer.from(parts[section]);
    const start = Buffer.from(settled.file).indexOf(part);
    for (const share of [0.1, 0.35, 0.6, 0.85]) {
      const damaged = settled.file.slice();
      const position = start + Math.floor(part.length * share);
      damaged[position] = (damaged[position] ?? 0) ^ 4;
      expect(verifyBundle(damaged, trust).ok).toBe(false);
    }
  },
);

test.for([
  { title: "no bytes", damage: () => new Uint8Array(0) },
  { title: "a truncated file", damage: (file: Uint8Array) => file.subarray(0, -1) },
  { title: "a byte too many", damage: (file: Uint8Array) => Uint8Array.of(...file, 0) },
  { title: "another format", damage: () => Uint8Array.of(0xa1, 0x61, 0x61, 0x01) },
])("$title is no file", ({ damage }) => {
  expect(verifyBundle(damage(settled.file), trust).failure).toMatchObject({ check: "file" });
});

interface Lie {
  readonly title: string;
  readonly check: string;
  readonly code: string;
  readonly changes: () => Partial<Evidence>;
}

const LIES: readonly Lie[] = [
  {
    title: "a decision left out",
    check: "vault decisions",
    code: "PROOF_BUNDLE_INCOMPLETE",
    changes: () => ({ decisions: evidence.decisions.slice(1) }),
  },
  {
    title: "a round left out",
    check: "execution",
    code: "VERIFY_RESULT_REJECTED",
    changes: () => ({ messages: [] }),
  },
  {
    title: "a round without its result",
    check: "execution",
    code: "PROOF_BUNDLE_INCOMPLETE",
    changes: () => ({ messages: evidence.messages.slice(0, -1) }),
  },
  {
    title: "[AG-4] a round without its aggregator's evidence",
    check: "execution",
    code: "VERIFY_RESULT_REJECTED",
    changes: () => ({
      messages: evidence.messages.filter((message) => message.body.kind !== "aggregator_evidence"),
    }),
  },
  {
    title: "a slice without evidence",
    check: "execution",
    code: "VERIFY_RESULT_REJECTED",
    changes: () => ({
      messages: evidence.messages.filter((message) => message.body.kind !== "slice_attested"),
    }),
  },
  {
    title: "[DT-2] a consumption record left out",
    check: "settlement",
    code: "PROOF_COMMITMENT_MISMATCH",
    changes: () => ({ consumption: evidence.consumption.slice(1) }),
  },
  {
    title: "a log left out",
    check: "logs",
    code: "PROOF_BUNDLE_INCOMPLETE",
    changes: () => ({ logs: evidence.logs.slice(1) }),
  },
  {
    title: "a log without events",
    check: "logs",
    code: "PROOF_BUNDLE_INCOMPLETE",
    changes: () => ({ logs: evidence.logs.map((log) => ({ ...log, events: [] })) }),
  },
  {
    title: "a ledger head that is not proven",
    check: "ledger heads",
    code: "PROOF_BUNDLE_INCOMPLETE",
    changes: () => ({ logs: evidence.logs.map((log) => ({ ...log, heads: [] })) }),
  },
  {
    title: "[DS-6] a log without the event that charged its order",
    check: "ledger heads",
    code: "PROOF_BUNDLE_INCOMPLETE",
    changes: () => ({
      logs: evidence.logs.map((log) => ({
        ...log,
        events: log.actor_id === "vault-1" ? log.events.slice(1) : log.events,
      })),
    }),
  },
  {
    title: "[PB-3] a log without the event that committed its record",
    check: "ledger heads",
    code: "PROOF_BUNDLE_INCOMPLETE",
    changes: () => ({
      logs: evidence.logs.map((log) => ({
        ...log,
        events: log.actor_id === "vault-1" ? log.events.slice(0, 1) : log.events,
      })),
    }),
  },
  {
    title: "an event at another place of its log",
    check: "logs",
    code: "PROOF_COMMITMENT_MISMATCH",
    changes: () => ({
      logs: evidence.logs.map((log) => ({
        ...log,
        events: log.events.map((event) => ({ ...event, sequence: event.sequence + 1 })),
      })),
    }),
  },
  {
    title: "[TL-7] a history with a step left out",
    check: "task history",
    code: "EXECUTION_ILLEGAL_TRANSITION",
    changes: () => ({
      logs: evidence.logs.map((log) => ({
        ...log,
        events: log.actor_id === "coordinator" ? log.events.toSpliced(1, 1) : log.events,
      })),
    }),
  },
  {
    title: "a settlement proof of another place",
    check: "settlement",
    code: "PROOF_INCLUSION_INVALID",
    changes: () => ({ settlement: withIndex(evidence.settlement) }),
  },
];

/** The proof with index 1 for 0: the field is the one before last in canonical order, so found by its name. */
function withIndex(proof: Uint8Array): Uint8Array {
  const at = Buffer.from(proof).indexOf("index") + "index".length;
  return proof.with(at, 1);
}

test.for(LIES)("a coordinator that sealed $title is found out", ({ check, code, changes }) => {
  expect(verifyBundle(resealed(changes()), trust).failure).toEqual({ check, code });
});

test("[PB-3] the report names who took part and has no consumption record", () => {
  const report = verifyBundle(resealed({ consumption: evidence.consumption.slice(1) }), trust);
  const line = report.checks.find(({ check }) => check === "consumption");
  expect(line?.detail).toMatch(/^vault-2 .*, vault-3 .*, vault-1 NO RECORD$/);
});

test("[PB-3] a record of another amount than its Vault's log committed is found out", async () => {
  const run = await runTask();
  const execution = verifyRun(run);
  const first = await consumptionRecord(run, "vault-1", { consumed_epsilon_micro: 8_000_001 });
  expect(execution.participants).toContain("vault-1");
  const log = run.logs.get("vault-1")?.log;
  if (log === undefined) throw new Error("no log");
  const excerpt = await excerptOf(log, run.task.envelope.task_id);
  const record = CONSUMPTION_RECORD.decode(parseCose(first).payload);
  const { task_id: taskId, epoch_id: epochId } = run.task.envelope;
  const verified = verifyLog(excerpt, { taskId, epochId }, run.governance);
  expect(() => verifyLedgerEvent(verified, record)).not.toThrow();
  expect(() =>
    verifyLedgerEvent(verified, { ...record, consumed_epsilon_micro: 8_000_000 }),
  ).toThrow(expect.objectContaining({ code: "PROOF_COMMITMENT_MISMATCH" }));
  await closeRun(run);
});

test("[DT-2] a settlement whose accounting does not follow from the evidence is found out", async () => {
  const run = await runTask();
  const dishonest = await settleRun(run);
  const record = await consumptionRecord(run, "vault-1", { consumed_epsilon_micro: 8_000_000 });
  const file = encodeEvidence({
    evidence: {
      ...parseEvidence(dishonest.file).evidence,
      consumption: [record, ...dishonest.consumption.slice(1)],
    },
    taskId: run.task.envelope.task_id,
    coordinatorKey: run.network.coordinator.signing,
  });
  expect(verifyBundle(file, trustOf(dishonest)).failure).toEqual({
    check: "settlement",
    code: "PROOF_COMMITMENT_MISMATCH",
  });
  await closeRun(run);
});

test("[CH-2] a challenge in the file is its challenger's, and undecided changes nothing", () => {
  const [bundle] = settled.execution.bundleDigests;
  const { network, task } = settled.run;
  const [key] = network.governanceKeys;
  if (bundle === undefined || key === undefined) throw new Error("no bundle");
  const challenge = {
    version: 1,
    genesis_digest: network.genesisDigest,
    task_id: task.envelope.task_id,
    envelope_digest: task.envelopeDigest,
    round_bundle: bundle,
    target: { kind: "composite" },
    reason: "x",
    challenger: "governance",
    bond_minor: 0,
    opened_ms: 0,
  } as const;
  const closed = resealed({ challenges: [CHALLENGE.sign(challenge, key)] });
  expect(verifyBundle(closed, trust).ok).toBe(true);
  const forged = signingKeyFromSeed(testSeed("forger"));
  const unsigned = resealed({ challenges: [CHALLENGE.sign(challenge, forged)] });
  expect(verifyBundle(unsigned, trust).failure).toEqual({
    check: "settlement",
    code: "AUTH_ROLE_REFUSED",
  });
});

test("[CH-2] a challenge that governance decided about cannot be left out", async () => {
  const task_id = settled.run.task.envelope.task_id;
  const decision = {
    type: "challenge_resolved",
    task_id,
    resolution: "approved",
    penalty: { actor_id: "aggregator", amount_minor: 500 },
    reason: "x",
  } as const;
  const hidden = await settleRun(await runTask({ decisions: [decision] }));
  expect(hidden.run.task.envelope.task_id).toBe(task_id);
  expect(verifyBundle(hidden.file, trustOf(hidden)).failure).toEqual({
    check: "settlement",
    code: "PROOF_BUNDLE_INCOMPLETE",
  });
  await closeRun(hidden.run);
});

test("[PL-5][CH-2] a coordinator that shows governance as it was before it settled is found out", async () => {
  const run = await runTask();
  const task_id = run.task.envelope.task_id;
  const later = governanceSnapshot(run.network, [
    {
      type: "challenge_resolved",
      task_id,
      resolution: "approved",
      penalty: { actor_id: "aggregator", amount_minor: 500 },
      reason: "x",
    },
  ]);
  const hidden = await settleRun(run, { later, exported: run.snapshotBytes });
  expect(verifyBundle(hidden.file, trustOf(hidden)).failure).toEqual({
    check: "settlement",
    code: "PROOF_BUNDLE_INCOMPLETE",
  });
  await closeRun(run);
});

test("[PL-5][DT-2] what governance revoked after the verification does not break honest evidence", async () => {
  const run = await runTask();
  const later = governanceSnapshot(run.network, [
    { type: "measurement_revoked", pcr0: TEST_MEASUREMENT.pcr0 },
  ]);
  const honest = await settleRun(run, { later });
  expect(verifyBundle(honest.file, trustOf(honest)).failure).toBeNull();
  await closeRun(run);
});

/** A network of the same names under other keys: what an attacker would make up. */
async function attackerNetwork(): Promise<TestNetwork> {
  const base = await createNetwork();
  const other = async (actor: TestActor): Promise<TestActor> => ({
    ...(await testActor(`attacker ${actor.actorId}`, actor.role)),
    actorId: actor.actorId,
  });
  const coordinator = await other(base.coordinator);
  const aggregator = await other(base.aggregator);
  const submitter = await other(base.submitter);
  const vaults = await Promise.all(base.vaults.map(other));
  const governanceKeys = [7, 8, 9].map((n) => signingKeyFromSeed(testSeed(`attacker ${n}`)));
  const byId = new Map(
    [coordinator, aggregator, submitter, ...vaults].map((actor) => [actor.actorId, actor]),
  );
  const genesis = {
    ...base.genesis,
    governance_keys: governanceKeys.map((key) => key.publicKey),
    actors: base.genesis.actors.map((entry) => {
      const actor = byId.get(entry.actor_id);
      if (actor === undefined) throw new Error("no such actor");
      return { ...entry, signing_key: actor.signing.publicKey, box_key: actor.box.publicKey };
    }),
  };
  return {
    ...base,
    genesis,
    genesisBytes: GENESIS.encode(genesis),
    genesisDigest: GENESIS.digest(genesis),
    governanceKeys,
    coordinator,
    aggregator,
    submitter,
    vaults,
  };
}

test("[PL-5] a file wholly made up under an attacker's keys, roots and genesis is refused", async () => {
  const platform = createInsecureSimPlatform(mkdtempSync(join(tmpdir(), "symphony-attacker-")));
  const network = await attackerNetwork();
  const madeUp = await settleRun(await runTask({ network, enclave: { platform } }));
  expect(verifyBundle(madeUp.file, trustOf(madeUp)).ok).toBe(true);
  expect(verifyBundle(madeUp.file, trust).failure).toEqual({
    check: "governance",
    code: "GOVERNANCE_GENESIS_MISMATCH",
  });
  await closeRun(madeUp.run);
});

test("[PL-5] the genuine network's actors under an attacker's platform root are refused", async () => {
  const platform = createInsecureSimPlatform(mkdtempSync(join(tmpdir(), "symphony-attacker-")));
  const madeUp = await settleRun(await runTask({ enclave: { platform } }));
  expect(verifyBundle(madeUp.file, trust).failure).toEqual({
    check: "execution",
    code: "TEE_CHAIN_UNTRUSTED",
  });
  await closeRun(madeUp.run);
});

test("a file sealed by anybody but the coordinator is refused, and so is one of another task", () => {
  const forger = signingKeyFromSeed(testSeed("forger"));
  const taskId = settled.run.task.envelope.task_id;
  const failure = { check: "seal", code: "PROOF_SIGNATURE_INVALID" };
  const forged = encodeEvidence({ evidence, taskId, coordinatorKey: forger });
  expect(verifyBundle(forged, trust).failure).toEqual(failure);
  const coordinatorKey = settled.run.network.coordinator.signing;
  const elsewhere = encodeEvidence({ evidence, taskId: "t-other", coordinatorKey });
  expect(verifyBundle(elsewhere, trust).failure).toEqual({
    check: "seal",
    code: "PROOF_COMMITMENT_MISMATCH",
  });
});

test("a trust in another network of the same genesis, or in hardware, refuses it", () => {
  for (const other of [{ network: "elsewhere" }, { simulated: false }]) {
    expect(verifyBundle(settled.file, { ...trust, ...other }).failure).toEqual({
      check: "governance",
      code: "GOVERNANCE_GENESIS_MISMATCH",
    });
  }
  const pinned = { ...trust, genesisDigest: someDigest("other") };
  expect(verifyBundle(settled.file, pinned).failure?.check).toBe("governance");
});

test("a file of nothing, sealed by the coordinator, proves nothing", () => {
  const { network, task } = settled.run;
  const sources: EvidenceSources = {
    governance: GOVERNANCE_SNAPSHOT.decode(settled.run.snapshotBytes),
    envelope: task.envelope,
    decisions: [],
    messages: [],
    consumption: [],
    challenges: [],
    settlement: settled.settlement,
    delivery: [],
    logs: [],
  };
  const empty = assembleBundle(sources, network.coordinator.signing);
  expect(verifyBundle(empty, trust).failure?.check).toBe("vault decisions");
});

test("an excerpt proves its events and heads under the log's own checkpoint", async () => {
  const own = settled.run.logs.get("vault-1");
  if (own === undefined) throw new Error("no log");
  const cosigned = cosignedHead(own.log, settled.run.network.vaults.slice(1));
  const excerpt = await excerptOf(own.log, settled.run.task.envelope.task_id, cosigned);
  expect(excerpt.events.map((event) => event.sequence)).toEqual([0, 1]);
  expect(excerpt.heads.map((head) => head.size)).toEqual([1, 2]);
  expect(LOG_EXCERPT.decode(LOG_EXCERPT.encode(excerpt))).toEqual(excerpt);
  const { governance, task } = settled.run;
  const { task_id: taskId, epoch_id: epochId } = task.envelope;
  const expected = { taskId, epochId, actorId: "vault-1", governance };
  expect(verifyExcerpt(LOG_EXCERPT.encode(excerpt), expected).events).toHaveLength(2);
  const poisoned = [
    { bytes: { ...excerpt, heads: [] }, expected, code: "PROOF_BUNDLE_INCOMPLETE" },
    { bytes: { ...excerpt, cosigned: null }, expected, code: "PROOF_BUNDLE_INCOMPLETE" },
    { bytes: { ...excerpt, events: [] }, expected, code: "PROOF_BUNDLE_INCOMPLETE" },
    {
      bytes: excerpt,
      expected: { ...expected, actorId: "vault-2" },
      code: "PROOF_COMMITMENT_MISMATCH",
    },
    {
      bytes: excerpt,
      expected: { ...expected, taskId: "t-other" },
      code: "PROOF_COMMITMENT_MISMATCH",
    },
  ];
  for (const { bytes, expected: of, code } of poisoned) {
    const refused = expect.objectContaining({ code });
    expect(() => verifyExcerpt(LOG_EXCERPT.encode(bytes), of)).toThrow(refused);
  }
  expect((await excerptOf(own.log, "t-unknown")).events).toEqual([]);
});
