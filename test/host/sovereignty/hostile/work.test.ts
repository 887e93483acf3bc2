import { afterEach, beforeEach, expect, test } from "vitest";

import {
  GOVERNANCE_SNAPSHOT,
  TASK_ENVELOPE,
  TASK_REQUEST,
  VAULT_DECISION,
  hex,
  type TaskEnvelope,
  type TaskRequest,
  type WorkItem,
} from "../../../../protocol/index.ts";
import { governanceSnapshot, testActor, testSeed } from "../../../helpers/network.ts";
import { startNodeRig, type NodeRig } from "../../../helpers/vault-node-rig.ts";
import { newFixture, requestOf, stocked, type Fixture } from "../vault-fixture.ts";
import { changedTables, storeState } from "./store-state.ts";

type Work = WorkItem["work"];
type Admit = Extract<Work, { kind: "admit" }>;

const VAULTS = ["vault-1", "vault-2", "vault-3"];

let fixture: Fixture;
let rig: NodeRig;

beforeEach(async () => {
  fixture = await newFixture();
  await stocked(fixture);
  rig = startNodeRig(fixture);
  // The governance there is has been heard, so that hearing it again changes nothing.
  await rig.perform({ kind: "cosign", governance: rig.governance() });
});

afterEach(async () => {
  await rig.stop();
});

/** Has the node do a piece of hostile work: it answers nothing, with a code, and its store is as before. */
async function refused(work: Work): Promise<string> {
  rig.posted.length = 0;
  const before = storeState(fixture.directory);
  const { answer, code } = await rig.perform(work);
  expect(changedTables(before, storeState(fixture.directory))).toEqual([]);
  expect(answer).toBeNull();
  const [failed] = rig.posted;
  if (failed?.kind === "failed") return failed.code;
  expect(rig.posted).toEqual([]);
  return code ?? "no code";
}

async function admission(changes: Partial<TaskRequest> = {}): Promise<Admit> {
  const { signed } = await requestOf(fixture, "hostile", changes);
  return { kind: "admit", signed_request: signed, governance: rig.governance() };
}

function flipped(bytes: Uint8Array, at = bytes.length - 1): Uint8Array {
  return bytes.map((byte, index) => (index === at ? byte ^ 1 : byte));
}

test("[DS-7] [AZ-2] a request that its submitter did not sign as it stands is not admitted", async () => {
  const genuine = await admission();
  const stranger = await testActor("stranger", "submitter");
  const { request } = await requestOf(fixture, "hostile");
  const { submitter, coordinator, vaults } = fixture.network;
  const by = (
    actor: { readonly signing: typeof stranger.signing },
    change: Partial<TaskRequest> = {},
  ) => TASK_REQUEST.sign({ ...request, ...change }, actor.signing);
  const cases: readonly (readonly [string, Uint8Array, RegExp])[] = [
    ["its last bit", flipped(genuine.signed_request), /^PROOF_SIGNATURE_INVALID$/],
    ["its middle", flipped(genuine.signed_request, 200), /^(PROOF|SCHEMA|AUTH)_/],
    ["half of it", genuine.signed_request.slice(0, 90), /^SCHEMA_/],
    ["nothing", new Uint8Array(0), /^SCHEMA_/],
    ["more than it", new Uint8Array([...genuine.signed_request, 0]), /^SCHEMA_/],
    ["by the coordinator", by(coordinator), /^PROOF_SIGNATURE_INVALID$/],
    ["by a stranger", by(stranger, { actor_id: "stranger" }), /^AUTH_UNKNOWN_ACTOR$/],
    [
      "as the coordinator",
      by(coordinator, { actor_id: coordinator.actorId }),
      /^AUTH_ROLE_REFUSED$/,
    ],
    ["by another Vault", by(vaults[1] ?? stranger), /^PROOF_SIGNATURE_INVALID$/],
    [
      "of another network",
      by(submitter, { genesis_digest: testSeed("other") }),
      /^GOVERNANCE_GENESIS_MISMATCH$/,
    ],
    [
      "of long ago",
      by(submitter, { created_ms: request.created_ms - 10_000_000 }),
      /^AUTH_REPLAYED$/,
    ],
    [
      "of a time to come",
      by(submitter, { created_ms: request.created_ms + 10_000_000 }),
      /^AUTH_REPLAYED$/,
    ],
    ["to other Vaults", by(submitter, { vault_ids: ["vault-2", "vault-3"] }), /^POLICY_DECLINED$/],
    ["below its price", by(submitter, { epsilon_micro: 1 }), /^PRIVACY_BUDGET_EXCEEDED$/],
    ["without a deadline", by(submitter, { task_timeout_ms: 1e9 }), /^POLICY_LIMIT_EXCEEDED$/],
    ["of no known scope", by(submitter, { record_scope: "nobody" }), /^DERIVATION_UNRESOLVED$/],
  ];
  for (const [title, signed_request, code] of cases) {
    expect({ title, code: await refused({ ...genuine, signed_request }) }).toEqual({
      ...{ title, code: expect.stringMatching(code) },
    });
  }
  expect((await rig.perform(genuine)).code).toBeNull();
});

test("[DS-7] governance that no quorum cosigned, of another network or from before decides nothing", async () => {
  const genuine = await admission();
  const old = rig.governance();
  const { checkpoint, ...snapshot } = GOVERNANCE_SNAPSHOT.decode(old);
  const unsigned = checkpoint.split("\n").slice(0, 5).join("\n");
  const cases: (readonly [string, Uint8Array])[] = [
    ["nothing", new Uint8Array(0)],
    ["half of it", old.slice(0, old.length / 2)],
    ["one bit of its checkpoint", flipped(old)],
    [
      "without cosignatures",
      GOVERNANCE_SNAPSHOT.encode({ ...snapshot, checkpoint: `${unsigned}\n` }),
    ],
    ["with an event that its checkpoint does not know", withEvent(old)],
  ];
  expect(await rig.govern({ type: "actor_suspended", actor_id: "vault-3" })).toBeNull();
  cases.push(["from before", old]);
  for (const [title, governance] of cases) {
    const code = await refused({ ...genuine, governance });
    expect({ title, code }).toEqual({
      title,
      code: expect.stringMatching(/^(SCHEMA|PROOF|GOVERNANCE)_/),
    });
  }
});

function withEvent(snapshot: Uint8Array): Uint8Array {
  const { network } = fixture;
  const longer = governanceSnapshot(network, [{ type: "actor_suspended", actor_id: "vault-2" }]);
  const { events } = GOVERNANCE_SNAPSHOT.decode(longer);
  return GOVERNANCE_SNAPSHOT.encode({ ...GOVERNANCE_SNAPSHOT.decode(snapshot), events });
}

/** An admitted query, and a slice of it that the node would run. */
async function sliceWork(): Promise<{
  envelope: TaskEnvelope;
  slice: Extract<Work, { kind: "slice" }>;
}> {
  const envelope = await rig.admit(VAULTS);
  const slice = await rig.sliceOf(envelope);
  if (slice.kind !== "slice") throw new Error("expected a slice");
  return { envelope, slice };
}

function coordinated(
  envelope: TaskEnvelope,
  change: Partial<NonNullable<TaskEnvelope["coordination_envelope"]>>,
): TaskEnvelope {
  const coordination = envelope.coordination_envelope;
  if (coordination === null) throw new Error("expected a task of several Vaults");
  return { ...envelope, coordination_envelope: { ...coordination, ...change } };
}

const WIDER: readonly {
  readonly title: string;
  readonly damage: (genuine: TaskEnvelope) => TaskEnvelope;
}[] = [
  { title: "a wider scope", damage: (e) => ({ ...e, record_scope: "receipts" }) },
  { title: "another purpose", damage: (e) => ({ ...e, usage_scope: "training" }) },
  { title: "more epsilon", damage: (e) => ({ ...e, epsilon_micro: e.epsilon_micro + 1 }) },
  { title: "less epsilon, so less noise is charged", damage: (e) => ({ ...e, epsilon_micro: 1 }) },
  { title: "more delta", damage: (e) => ({ ...e, delta_pico: e.delta_pico + 1 }) },
  { title: "more time", damage: (e) => ({ ...e, task_timeout: e.task_timeout + 1 }) },
  { title: "another policy", damage: (e) => ({ ...e, policy_version: e.policy_version + 1 }) },
  { title: "another policy's digest", damage: (e) => ({ ...e, policy_digest: testSeed("other") }) },
  { title: "another network", damage: (e) => ({ ...e, genesis_digest: testSeed("other") }) },
  {
    title: "the coordinator's delivery key",
    damage: (e) => ({ ...e, delivery_key: new Uint8Array(1216) }),
  },
  { title: "a quorum of one", damage: (e) => coordinated(e, { minimum_vault_quorum: 1 }) },
  {
    title: "the coordinator as aggregator",
    damage: (e) => coordinated(e, { aggregator_id: "master" }),
  },
  {
    title: "more rounds",
    damage: (e) => ({
      ...e,
      iteration_policy: {
        ...{ maximum_rounds: 9, convergence_threshold_micro: null },
        ...{ early_stop: false, failed_round: "reject" as const },
      },
    }),
  },
  {
    title: "another Vault's reservation",
    damage: (e) => ({
      ...e,
      privacy_budget_reservation: e.privacy_budget_reservation.map((each) => ({
        ...each,
        vault_id: "vault-2",
      })),
    }),
  },
  { title: "no consent reference", damage: (e) => ({ ...e, consent_references: [] }) },
];

test("[DS-4] [MV-3] [PL-2] a slice wider than what the Vault decided gets no record, no key and no charge", async () => {
  const { envelope, slice } = await sliceWork();
  for (const { title, damage } of WIDER) {
    const code = await refused({ ...slice, envelope: TASK_ENVELOPE.encode(damage(envelope)) });
    expect({ title, code }).toEqual({
      ...{
        title,
        code: expect.stringMatching(/^(COORDINATION_SLICE_REFUSED|GOVERNANCE_|POLICY_)/),
      },
    });
    expect(rig.requests).not.toContain("run");
  }
});

test("[DS-4] a slice that is broken, of no admitted task, or of a round and attempt that are not, is refused", async () => {
  const { envelope, slice } = await sliceWork();
  const never = await requestOf(fixture, "never asked");
  const other: TaskEnvelope = {
    ...envelope,
    caller_context: {
      ...envelope.caller_context,
      request_digest: TASK_REQUEST.digest(never.request),
      signed_request: never.signed,
    },
  };
  const cases: readonly (readonly [string, Partial<typeof slice>])[] = [
    ["nothing", { envelope: new Uint8Array(0) }],
    ["half of it", { envelope: slice.envelope.slice(0, slice.envelope.length / 2) }],
    ["more than it", { envelope: new Uint8Array([...slice.envelope, 0]) }],
    ["a task nobody admitted", { envelope: TASK_ENVELOPE.encode(other) }],
    ["a round that is not", { round: 1 }],
    ["governance of nobody", { governance: new Uint8Array(3) }],
  ];
  for (const [title, change] of cases) {
    const code = await refused({ ...slice, ...change });
    expect({ title, code }).toEqual({
      ...{
        title,
        code: expect.stringMatching(/^(SCHEMA|COORDINATION|PROOF|GOVERNANCE|EXECUTION)_/),
      },
    });
    expect(rig.requests).not.toContain("run");
  }
});

test("[DS-7] what is not a Vault's work, or not what happened, is refused and changes nothing", async () => {
  const { envelope } = await sliceWork();
  const encoded = TASK_ENVELOPE.encode(envelope);
  const governance = rig.governance();
  const nothing = new Uint8Array(0);
  const release = { kind: "release", envelope: encoded, governance, settlement: nothing } as const;
  const cases: readonly (readonly [string, Work, RegExp])[] = [
    [
      "an aggregation",
      {
        kind: "aggregate",
        envelope: encoded,
        governance,
        round: 0,
        attempt: 0,
        previous: null,
        artifact: null,
      },
      /^COORDINATION_ROLE_REFUSED$/,
    ],
    [
      "a share before settlement",
      { ...release, bundle: nothing, sealed_share: nothing },
      /^DELIVERY_REFUSED$/,
    ],
    ["a settlement of nothing", { kind: "settle", envelope: nothing, bundles: [] }, /^SCHEMA_/],
    [
      "a settlement of a task nobody admitted",
      { kind: "settle", envelope: TASK_ENVELOPE.encode(strange(envelope)), bundles: [] },
      /^PRIVACY_BUDGET_UNKNOWN_RESERVATION$/,
    ],
    ["a question of a witness that is none", { kind: "witness", question: nothing }, /^SCHEMA_/],
    ["a question about heads that is none", { kind: "witnessed", question: nothing }, /^SCHEMA_/],
    ["governance of nobody", { kind: "cosign", governance: nothing }, /^SCHEMA_/],
  ];
  for (const [title, work, code] of cases) {
    expect({ title, code: await refused(work) }).toEqual({
      title,
      code: expect.stringMatching(code),
    });
  }
  const unknown = {
    kind: "abort",
    envelope_digest: testSeed("a"),
    request_digest: testSeed("b"),
  } as const;
  expect(await refused(unknown)).toBe("no code");
});

function strange(envelope: TaskEnvelope): TaskEnvelope {
  const caller_context = { ...envelope.caller_context, request_digest: testSeed("strange") };
  return { ...envelope, caller_context };
}

test("[AZ-2] the same request many times at once, and again, is decided and reserved once with the same bytes", async () => {
  const genuine = await admission();
  const answers = await Promise.all(Array.from({ length: 20 }, () => rig.perform(genuine)));
  const first = answers[0]?.answer ?? new Uint8Array(0);
  VAULT_DECISION.verify(first, fixture.actor.signing.publicKey);
  expect(new Set(answers.map(({ answer }) => hex(answer ?? new Uint8Array(0)))).size).toBe(1);
  const before = storeState(fixture.directory);
  expect((await rig.perform(genuine)).answer).toEqual(first);
  expect(changedTables(before, storeState(fixture.directory))).toEqual([]);
  const status = await fixture.vault.status();
  expect(status.reservations).toEqual({ reserved: 1, executing: 0 });
});

test("[AZ-2] a task aborted, settled and run again out of order gives its budget back once, and runs never", async () => {
  const { envelope, slice } = await sliceWork();
  const digests = {
    envelope_digest: TASK_ENVELOPE.digest(envelope),
    request_digest: envelope.caller_context.request_digest,
  };
  const abort = { kind: "abort", ...digests } as const;
  expect((await rig.perform(abort)).code).toBeNull();
  const released = storeState(fixture.directory);
  await Promise.all([rig.perform(abort), rig.perform(abort), rig.perform(abort)]);
  expect(changedTables(released, storeState(fixture.directory))).toEqual([]);
  expect(await refused(slice)).toBe("PRIVACY_BUDGET_STATE_CONFLICT");
  const { budgets, reservations } = await fixture.vault.status();
  expect(reservations).toEqual({ reserved: 0, executing: 0 });
  const used = budgets.map((each) => each.consumedMaxMicro + each.reservedMaxMicro);
  expect(new Set(used)).toEqual(new Set([0]));
});
