import { afterEach, beforeEach, expect, test } from "vitest";

import { parseNitroDocument } from "../../../attestation/index.ts";
import { runAggregation } from "../../../host/execution/aggregator-round.ts";
import { RoundBoard, type RoundBody } from "../../../host/execution/round-board.ts";
import {
  CONTRIBUTION,
  EXECUTION_RESULT_BUNDLE,
  GOVERNANCE_SNAPSHOT,
  ROUND_MESSAGE,
  SEAL_INFO,
  SESSION_MANIFEST,
  genesisState,
  parseCose,
  peerNonce,
  seal,
  sessionAad,
  vaultNonce,
  verifyGovernanceSnapshot,
  type EnclaveRequest,
  type GovernanceStatement,
  type SessionManifest,
} from "../../../protocol/index.ts";
import {
  bootHosted,
  rigPlatform,
  startEnclave,
  type HostedEnclave,
} from "../../helpers/enclave-rig.ts";
import { runRequest } from "../../helpers/enclave-round.ts";
import { customerData } from "../../helpers/network-data.ts";
import {
  noiseShare,
  signOrder,
  testOrder,
  testTask,
  type TestTask,
} from "../../helpers/network-task.ts";
import {
  NETWORK_TIME_MS,
  createNetwork,
  governanceSnapshot,
  testSeed,
  type TestActor,
  type TestNetwork,
} from "../../helpers/network.ts";
import { ADULTS } from "../../helpers/sample-parameters.ts";
import { rigLauncher } from "../../helpers/vault-node-rig.ts";

type Decision = GovernanceStatement["decision"];

const VAULTS = ["vault-1", "vault-2", "vault-3"];
const NOW_MS = NETWORK_TIME_MS + 60_000;
const READ_MS = 5;

let network: TestNetwork;
let task: TestTask;
let decisions: Decision[];
let said: { position: number; message: Uint8Array }[];
let posted: RoundBody[];
let requests: EnclaveRequest["method"][];
let alive: Set<object>;
let slices: Map<string, Slice>;
/** The Vault whose manifest is none. */
let garbled: string;
/** What the test does when the aggregator's host has posted something, before any Vault hears of it. */
let onPost: (body: RoundBody) => void;

interface Slice {
  readonly vault: TestActor;
  readonly enclave: HostedEnclave;
  readonly vaultEvidence: Uint8Array;
  readonly aggregator: SessionManifest;
  readonly moduleId: string;
  evidence: Uint8Array;
}

beforeEach(async () => {
  network = await createNetwork();
  task = await testTask(network, { parameters: ADULTS, data: customerData(VAULTS, 20) });
  decisions = [];
  said = [];
  posted = [];
  requests = [];
  alive = new Set();
  slices = new Map();
  garbled = "";
  onPost = () => undefined;
});

afterEach(() => expect(alive.size).toBe(0));

const reference = (vaultId: string) => ({
  envelope_digest: task.envelopeDigest,
  vault_id: vaultId,
  round: 0,
  attempt: 0,
});

function say(actor: TestActor, body: RoundBody): void {
  const { vault_id: sender, ...round } = reference(actor.actorId);
  const message = ROUND_MESSAGE.sign({ ...round, sender, body }, actor.signing);
  said.push({ position: said.length + 1, message });
}

/** A Vault whose enclave meets the aggregator's. */
async function attest(vault: TestActor, aggregator: SessionManifest): Promise<void> {
  const enclave = await bootHosted(startEnclave(), "slice", network.genesisBytes);
  const vaultRandom = testSeed(vault.actorId);
  const vaultEvidence = await enclave.attest(vaultNonce(reference(vault.actorId), vaultRandom));
  const { moduleId } = parseNitroDocument(vaultEvidence);
  const evidence = new Uint8Array(0);
  slices.set(vault.actorId, { vault, enclave, vaultEvidence, aggregator, moduleId, evidence });
  say(vault, {
    kind: "slice_attested",
    manifest: vault.actorId === garbled ? new Uint8Array(1) : enclave.manifestBytes,
    evidence_for_aggregator: await enclave.attest(
      peerNonce(aggregator.challenge, enclave.manifestDigest),
    ),
    vault_evidence: vaultEvidence,
    vault_random: vaultRandom,
  });
  if (vault.actorId === garbled)
    say(vault, { kind: "failed", code: "TEE_NSM_FAILED", executing: false });
}

function orderOf({ vault, enclave, aggregator }: Slice) {
  return testOrder(task, {
    vaultId: vault.actorId,
    enclaveManifest: enclave.manifestDigest,
    aggregatorManifest: SESSION_MANIFEST.digest(aggregator),
  });
}

async function contribute(slice: Slice): Promise<void> {
  const { vault, aggregator, evidence } = slice;
  say(vault, {
    kind: "contribution",
    order: signOrder(task, orderOf(slice)),
    sealed: await seal({
      to: aggregator.box_key,
      info: SEAL_INFO.contribution,
      aad: sessionAad(reference(vault.actorId), evidence),
      plaintext: CONTRIBUTION.encode({
        noise_share: noiseShare(task.request, vault.actorId, 0),
        state_key_share: null,
      }),
    }),
  });
}

async function run(slice: Slice, sealed: Uint8Array): Promise<void> {
  const order = orderOf(slice);
  const presentation = {
    vault_id: slice.vault.actorId,
    peer: { manifest: slice.enclave.manifestBytes, evidence: slice.vaultEvidence },
    order: signOrder(task, order),
    contribution: new Uint8Array(0),
  };
  const request = await runRequest(
    task,
    { ...slice, order, presentation },
    {
      envelope: task.envelopeBytes,
      governance: governanceSnapshot(network),
      round: 0,
      attempt: 0,
    },
  );
  const ran = await slice.enclave.call({
    ...request,
    aggregator: { manifest: SESSION_MANIFEST.encode(slice.aggregator), evidence: slice.evidence },
    sealed_secret: sealed,
  });
  if (ran.result !== "ran") throw new Error("expected a result");
  say(slice.vault, { kind: "slice_result", order: null, bundle: ran.bundle, sealed: ran.sealed });
}

/** What every Vault does when the aggregator's host has spoken. */
async function hear(body: RoundBody): Promise<void> {
  if (body.kind === "aggregator_ready") {
    const manifest = SESSION_MANIFEST.decode(body.manifest);
    for (const vault of network.vaults) await attest(vault, manifest);
  }
  const slice = "vault_id" in body ? slices.get(body.vault_id) : undefined;
  if (slice === undefined) return;
  if (body.kind === "aggregator_evidence") {
    slice.evidence = body.evidence;
    await contribute(slice);
  }
  if (body.kind === "round_secret") await run(slice, body.sealed);
}

function aggregate() {
  const board = new RoundBoard({
    transport: {
      post: async (signed) => {
        const { body } = ROUND_MESSAGE.decode(parseCose(signed).payload);
        posted.push(body);
        onPost(body);
        await hear(body);
      },
      read: async (after) => {
        const messages = said.filter(({ position }) => position > after);
        if (messages.length === 0) await new Promise((done) => setTimeout(done, READ_MS));
        return { messages, closed: false };
      },
    },
    self: { actorId: network.aggregator.actorId, key: network.aggregator.signing },
    newest: () => genesisState(network.genesisBytes),
    round: { envelopeDigest: task.envelopeDigest, round: 0, attempt: 0, epochId: 0 },
    nowMs: () => NOW_MS,
  });
  return runAggregation(
    {
      kind: "aggregate",
      envelope: task.envelopeBytes,
      governance: governanceSnapshot(network),
      round: 0,
      attempt: 0,
      previous: null,
      artifact: null,
    },
    {
      launcher: rigLauncher({ hooks: {}, requests, alive, nowMs: () => NOW_MS }),
      newest: () => {
        const snapshot = governanceSnapshot(network, decisions);
        const decoded = GOVERNANCE_SNAPSHOT.decode(snapshot);
        const state = verifyGovernanceSnapshot(decoded, network.genesisDigest);
        return Promise.resolve({ state, snapshot });
      },
      anchors: [rigPlatform().anchor],
      genesis: network.genesisBytes,
      board,
      nowMs: () => NOW_MS,
    },
  );
}

/** The Vaults whose slices are in the round's result. */
function included(): string[] {
  const result = posted.find((body) => body.kind === "round_result");
  if (result === undefined) throw new Error("expected a result");
  const bundle = EXECUTION_RESULT_BUNDLE.decode(parseCose(result.bundle).payload);
  return bundle.slices.map(({ vault_id: vaultId }) => vaultId);
}

const moduleOf = (vaultId: string): string => slices.get(vaultId)?.moduleId ?? "";

test("[TT-5] a round that nothing happens to ends with every slice", async () => {
  expect(await aggregate()).toEqual({ ok: true });
  expect(included()).toEqual(VAULTS);
});

test("[TT-5] an aggregator enclave that is revoked during its round is ended, unfinished", async () => {
  onPost = (body) => {
    if (body.kind !== "aggregator_evidence") return;
    const { moduleId } = parseNitroDocument(body.evidence);
    const revoked = { type: "platform_revoked", module_id: moduleId } as const;
    onPost = ({ kind }) => {
      if (kind === "round_secret" && decisions.length === 0) decisions.push(revoked);
    };
  };
  expect(await aggregate()).toEqual({ ok: false, code: "TEE_PLATFORM_REVOKED" });
  expect(requests).not.toContain("finish");
});

test("[TT-5] a slice that is revoked after it was begun is left out", async () => {
  onPost = ({ kind }) => {
    if (kind !== "round_secret" || decisions.length > 0) return;
    decisions.push({ type: "platform_revoked", module_id: moduleOf("vault-2") });
  };
  expect(await aggregate()).toEqual({ ok: true });
  expect(included()).toEqual(["vault-1", "vault-3"]);
});

test("[MV-4] a Vault that says nothing sensible costs the round its slice only", async () => {
  garbled = "vault-2";
  expect(await aggregate()).toEqual({ ok: true });
  expect(included()).toEqual(["vault-1", "vault-3"]);
});

test("[TT-5] too few slices that still stand give no result", async () => {
  onPost = ({ kind }) => {
    if (kind !== "round_secret" || decisions.length > 0) return;
    for (const vaultId of ["vault-1", "vault-2"]) {
      decisions.push({ type: "platform_revoked", module_id: moduleOf(vaultId) });
    }
  };
  expect(await aggregate()).toEqual({ ok: false, code: "COORDINATION_QUORUM_NOT_MET" });
  expect(requests).not.toContain("finish");
});

test("[TT-5] the enclave begins under the newest governance, not the work's", async () => {
  onPost = ({ kind }) => {
    if (kind !== "aggregator_evidence" || decisions.length > 0) return;
    decisions.push({ type: "platform_revoked", module_id: moduleOf("vault-3") });
  };
  expect(await aggregate()).toEqual({ ok: true });
  const secrets = posted.flatMap((body) => (body.kind === "round_secret" ? [body.vault_id] : []));
  expect(secrets).toEqual(["vault-1", "vault-2"]);
});
