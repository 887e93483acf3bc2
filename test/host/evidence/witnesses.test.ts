import { afterAll, beforeAll, expect, test } from "vitest";

import { excerptOf, verifyBundle, type Trust } from "../../../host/evidence/index.ts";
import {
  actorLogOrigin,
  cosignCheckpoint,
  encodeEvidence,
  merkleRoot,
  parseEvidence,
  signCheckpoint,
  type Evidence,
  type LogExcerpt,
} from "../../../protocol/index.ts";
import { closeRun, logEvent, runTask } from "../../helpers/evidence-rig.ts";
import { settleRun, type SettledRun } from "../../helpers/settlement-rig.ts";
import { createNetwork, testActor, testSeed, type TestActor } from "../../helpers/network.ts";
import { cosignedHead } from "../../helpers/witnesses.ts";

const OWN = "vault-1";

let settled: SettledRun;
let trust: Trust;
let evidence: Evidence;
/** Of the Vault's log: the newest head, and one before its charge. */
let newest: LogExcerpt;
let early: LogExcerpt["cosigned"];

beforeAll(async () => {
  const run = await runTask();
  settled = await settleRun(run);
  const { network, anchors } = run;
  const { genesis, genesisDigest } = network;
  trust = { network: genesis.network, genesisDigest, anchors, simulated: true };
  evidence = parseEvidence(settled.file).evidence;
  const log = logOf(OWN);
  newest = await excerptOf(log, run.task.envelope.task_id, cosignedHead(log, others()));
  const proof = log.consistencyProof(0);
  early = { checkpoint: headOf({ size: 0, root: merkleRoot([]) }, others()), proof };
});

afterAll(() => closeRun(settled.run));

function logOf(actorId: string) {
  const log = settled.run.logs.get(actorId)?.log;
  if (log === undefined) throw new Error(`no log of ${actorId}`);
  return log;
}

function others(): readonly TestActor[] {
  return settled.run.network.vaults.filter(({ actorId }) => actorId !== OWN);
}

/** A head that the Vault signed, cosigned by `witnesses`. */
function headOf(
  head: { readonly size: number; readonly root: Uint8Array; readonly origin?: string },
  witnesses: readonly TestActor[],
): string {
  const { network } = settled.run;
  const own = network.vaults.find(({ actorId }) => actorId === OWN) ?? network.coordinator;
  const signed = signCheckpoint({
    origin: actorLogOrigin(network.genesis.network, OWN),
    ...head,
    signerName: OWN,
    key: own.signing,
  });
  return witnesses.reduce(
    (note, { actorId, signing }) =>
      cosignCheckpoint(note, { signerName: actorId, key: signing, timeSeconds: 1 }),
    signed,
  );
}

/** The file with another cosigned head of one Vault, sealed again by the coordinator: a coordinator that lies. */
function resealed(cosigned: LogExcerpt["cosigned"]): Uint8Array {
  const { network, task } = settled.run;
  const logs = evidence.logs.map((log) => (log.actor_id === OWN ? { ...log, cosigned } : log));
  return encodeEvidence({
    evidence: { ...evidence, logs },
    taskId: task.envelope.task_id,
    coordinatorKey: network.coordinator.signing,
  });
}

test("[PB-2] a charge in a head that another Vault cosigned verifies, and the report says so", () => {
  const report = verifyBundle(resealed(newest.cosigned), trust);
  expect(report).toMatchObject({ ok: true });
  const line = report.checks.find(({ check }) => check === "witnesses");
  expect(line?.detail).toBe("each of 3 charges cosigned by 1 other Vaults or more");
});

const refusals: readonly {
  title: string;
  check: "witnesses" | "logs";
  code: string;
  head: () => LogExcerpt["cosigned"] | Promise<LogExcerpt["cosigned"]>;
}[] = [
  { title: "dropped", check: "witnesses", code: "PROOF_BUNDLE_INCOMPLETE", head: () => null },
  {
    title: "cosigned by nobody",
    check: "witnesses",
    code: "PROOF_BUNDLE_INCOMPLETE",
    head: () => ({ checkpoint: logOf(OWN).checkpoint(), proof: [] }),
  },
  {
    title: "cosigned by the Vault itself",
    check: "witnesses",
    code: "PROOF_BUNDLE_INCOMPLETE",
    head: () => {
      const own = settled.run.network.vaults.filter(({ actorId }) => actorId === OWN);
      return { checkpoint: cosignedHead(logOf(OWN), own).note, proof: [] };
    },
  },
  {
    title: "cosigned by the coordinator and a stranger",
    check: "witnesses",
    code: "PROOF_BUNDLE_INCOMPLETE",
    head: async () => {
      const strangers = [settled.run.network.coordinator, await testActor("vault-9", "enterprise")];
      return { checkpoint: cosignedHead(logOf(OWN), strangers).note, proof: [] };
    },
  },
  {
    title: "cosigned under another Vault's name with another key",
    check: "witnesses",
    code: "PROOF_BUNDLE_INCOMPLETE",
    head: async () => {
      const { signing } = await testActor("vault-9", "enterprise");
      const forged = others().map((other) => ({ ...other, signing }));
      return { checkpoint: cosignedHead(logOf(OWN), forged).note, proof: [] };
    },
  },
  {
    title: "older than the charge",
    check: "witnesses",
    code: "PROOF_BUNDLE_INCOMPLETE",
    head: () => early,
  },
  {
    title: "of another log",
    check: "logs",
    code: "PROOF_CHECKPOINT_INVALID",
    head: () => ({ checkpoint: cosignedHead(logOf("vault-2"), others()).note, proof: [] }),
  },
  {
    title: "of another branch of the log",
    check: "logs",
    code: "PROOF_CONSISTENCY_INVALID",
    head: () => {
      const branch = { size: logOf(OWN).size, root: testSeed("another branch") };
      return { checkpoint: headOf(branch, others()), proof: [] };
    },
  },
  {
    title: "with a cosignature over another text",
    check: "logs",
    code: "PROOF_CHECKPOINT_INVALID",
    head: () => {
      const { size } = logOf(OWN);
      const branch = headOf({ size, root: testSeed("another branch") }, others());
      const lines = branch.split("\n").slice(5).join("\n");
      return { checkpoint: `${logOf(OWN).checkpoint()}${lines}`, proof: [] };
    },
  },
];

test.for(refusals)(
  "[PB-2][PL-7] a cosigned head $title is refused",
  async ({ check, code, head }) => {
    const report = verifyBundle(resealed(await head()), trust);
    expect(report.failure).toEqual({ check, code });
  },
);

test("[PB-2] two cosignatures are two Vaults, not one twice", async () => {
  const run = await runTask({
    network: await createNetwork({
      policy: (policy) => ({
        ...policy,
        multi_vault: { ...policy.multi_vault, witness_quorum: 2 },
      }),
    }),
  });
  const other = await settleRun(run);
  const { genesis, genesisDigest } = run.network;
  const own = { network: genesis.network, genesisDigest, anchors: run.anchors, simulated: true };
  expect(verifyBundle(other.file, own).failure).toEqual({
    check: "witnesses",
    code: "PROOF_BUNDLE_INCOMPLETE",
  });
  await closeRun(run);
});

test("an excerpt's cosigned head is proven to be a prefix after the log has grown", async () => {
  const { run } = settled;
  const log = logOf("vault-3");
  const cosigned = cosignedHead(log, run.network.vaults.slice(0, 1));
  await logEvent(run.logs, "vault-3", { type: "task.after", taskId: "t-other" });
  const excerpt = await excerptOf(log, run.task.envelope.task_id, cosigned);
  expect(excerpt.cosigned?.checkpoint).toBe(cosigned.note);
  expect(excerpt.cosigned?.proof.length).toBeGreaterThan(0);
});
