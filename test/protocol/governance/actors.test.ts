import { expect, test } from "vitest";

import { createGovernanceEvent } from "../../../host/governance/index.ts";
import {
  ACTOR_REGISTRATION,
  KEY_ROTATION,
  VAULT_DECISION,
  activeActor,
  applyGovernanceEvent,
  foldGovernance,
  genesisState,
  requireStake,
  signingKeyFromSeed,
  taskKeyOf,
  vaultKeysOf,
  type GovernanceDecision,
  type GovernanceState,
  type SigningKey,
} from "../../../protocol/index.ts";
import { NETWORK_TIME_MS, createNetwork, testActor, testSeed } from "../../helpers/network.ts";

const network = await createNetwork();
const GENESIS_STATE = genesisState(network.genesisBytes);
const VOTERS = network.governanceKeys.slice(0, 2);
const newcomer = await testActor("vault-4", "enterprise");
const next = await testActor("vault-1-next", "enterprise");
const [vault] = network.vaults;
if (vault === undefined) throw new Error("no vault");
const refused = (code: string, field?: string) =>
  expect.objectContaining(
    field === undefined ? { code } : { code, details: expect.objectContaining({ field }) },
  );
const INVALID = "GOVERNANCE_EVENT_INVALID";

function decided(
  state: GovernanceState,
  decision: GovernanceDecision,
  keys: readonly SigningKey[] = VOTERS,
): GovernanceState {
  const event = createGovernanceEvent({ state, decision, keys, timeMs: NETWORK_TIME_MS });
  return applyGovernanceEvent(state, event);
}

function folded(...decisions: readonly GovernanceDecision[]): GovernanceState {
  return decisions.reduce<GovernanceState>((state, each) => decided(state, each), GENESIS_STATE);
}

/** Closes the open epoch, as governance has asked for. */
function closed(state: GovernanceState): GovernanceState {
  const requested = decided(state, { type: "epoch_boundary_requested", reason: "" });
  const { epochId } = state.epoch;
  const decision = { epoch_id: epochId, trigger: "governance", settlements: 0 } as const;
  return decided(requested, { type: "epoch_closed", ...decision }, [network.coordinator.signing]);
}

type Registration = Parameters<typeof ACTOR_REGISTRATION.sign>[0];

function registration(
  changes: Partial<Registration> = {},
  key: SigningKey = newcomer.signing,
): GovernanceDecision {
  const statement: Registration = {
    version: 1,
    genesis_digest: network.genesisDigest,
    actor_id: newcomer.actorId,
    role: "enterprise",
    signing_key: newcomer.signing.publicKey,
    box_key: newcomer.box.publicKey,
    ...changes,
  };
  return {
    type: "actor_registered",
    signed_registration: ACTOR_REGISTRATION.sign(statement, key),
  };
}

type Rotation = Parameters<typeof KEY_ROTATION.sign>[0];

function rotation(changes: Partial<Rotation> = {}, key: SigningKey = next.signing): Uint8Array {
  return KEY_ROTATION.sign(
    {
      version: 1,
      genesis_digest: network.genesisDigest,
      actor_id: "vault-1",
      previous_key: vault?.signing.publicKey ?? new Uint8Array(32),
      signing_key: next.signing.publicKey,
      box_key: next.box.publicKey,
      ...changes,
    },
    key,
  );
}

const rotated = (signed_rotation: Uint8Array = rotation()): GovernanceDecision => ({
  type: "actor_key_rotated",
  actor_id: "vault-1",
  signed_rotation,
});
const replaced = (previous_until_epoch: number | null): GovernanceDecision => ({
  type: "actor_key_replaced",
  actor_id: "vault-1",
  signed_rotation: rotation(),
  previous_until_epoch,
});

test("[GS-3] an actor is registered by its own statement and governance's decision, without stake", () => {
  const state = folded(registration());
  expect(activeActor(state, "vault-4")).toMatchObject({ role: "enterprise", stake_minor: 0 });
  expect(vaultKeysOf(state).map(({ name }) => name)).toContain("vault-4");
  expect(() => requireStake(activeActor(state, "vault-4"), state.policy)).toThrow(
    refused("POLICY_STAKE_INSUFFICIENT"),
  );
});

test.for<{ title: string; decision: GovernanceDecision; code: string; field?: string }>([
  {
    title: "a key that its holder did not sign with",
    decision: registration({}, next.signing),
    code: "PROOF_SIGNATURE_INVALID",
  },
  {
    title: "a name that is taken",
    decision: registration({ actor_id: "vault-2" }),
    code: INVALID,
    field: "actor_id",
  },
  {
    title: "another network",
    decision: registration({ genesis_digest: new Uint8Array(32) }),
    code: INVALID,
    field: "genesis_digest",
  },
  {
    title: "a key that another actor has",
    decision: registration({ signing_key: vault.signing.publicKey }, vault.signing),
    code: INVALID,
    field: "signing_key",
  },
  {
    title: "a key that governance decides with",
    decision: registration({ signing_key: VOTERS[0]?.publicKey ?? new Uint8Array(32) }, VOTERS[0]),
    code: INVALID,
    field: "signing_key",
  },
  {
    title: "a box key that another actor has",
    decision: registration({ box_key: vault.box.publicKey }),
    code: INVALID,
    field: "box_key",
  },
])("[GS-3] refuses to register $title", ({ decision, code, field }) => {
  expect(() => folded(decision)).toThrow(refused(code, field));
});

test("[GS-3] an actor rotates its key by itself, and the key it gave up is nobody's again", () => {
  const state = decided(GENESIS_STATE, rotated(), [vault.signing]);
  expect(activeActor(state, "vault-1")).toMatchObject({
    signing_key: next.signing.publicKey,
    box_key: next.box.publicKey,
  });
  expect(state.withdrawals).toBe(0);
  const taken = registration({ signing_key: vault.signing.publicKey }, vault.signing);
  expect(() => decided(state, taken)).toThrow(refused(INVALID, "signing_key"));
});

test.for<{ title: string; signers: readonly SigningKey[]; signed?: Uint8Array; code: string }>([
  {
    title: "without its present key",
    signers: [next.signing],
    code: "GOVERNANCE_QUORUM_NOT_MET",
  },
  {
    title: "by governance, which replaces keys",
    signers: VOTERS,
    code: "GOVERNANCE_QUORUM_NOT_MET",
  },
  {
    title: "to a key that its holder did not sign with",
    signers: [vault.signing],
    signed: rotation({}, newcomer.signing),
    code: "PROOF_SIGNATURE_INVALID",
  },
  {
    title: "from a key that it no longer has",
    signers: [vault.signing],
    signed: rotation({ previous_key: newcomer.signing.publicKey }),
    code: INVALID,
  },
  {
    title: "by another actor's statement",
    signers: [vault.signing],
    signed: rotation({ actor_id: "vault-2" }),
    code: INVALID,
  },
  {
    title: "by a statement of another network",
    signers: [vault.signing],
    signed: rotation({ genesis_digest: new Uint8Array(32) }),
    code: INVALID,
  },
])("[GS-3] refuses to rotate a key $title", ({ signers, signed, code }) => {
  expect(() => decided(GENESIS_STATE, rotated(signed), signers)).toThrow(refused(code));
});

test("[GS-3] the coordinator's key stays: the log is signed with it, and everybody pins that", () => {
  const { coordinator } = network;
  const decision: GovernanceDecision = {
    type: "actor_key_rotated",
    actor_id: "coordinator",
    signed_rotation: rotation({
      actor_id: "coordinator",
      previous_key: coordinator.signing.publicKey,
    }),
  };
  expect(() => decided(GENESIS_STATE, decision, [coordinator.signing])).toThrow(
    refused(INVALID, "actor_id"),
  );
});

/** Who signed with which key, as a verifier of a task of `epochId` takes it. */
function isTaken(state: GovernanceState, key: SigningKey, epochId: number): boolean {
  const actor = activeActor(state, "vault-1");
  const signed = VAULT_DECISION.sign(
    {
      version: 1,
      vault_id: "vault-1",
      request_digest: new Uint8Array(32),
      outcome: { decision: "declined", code: "POLICY_DECLINED" },
    },
    key,
  );
  try {
    VAULT_DECISION.verify(signed, taskKeyOf(actor, signed, epochId));
    return true;
  } catch {
    return false;
  }
}

test("[GS-3][GS-6] what was signed before a rotation is verified by the key of its time", () => {
  const later = closed(GENESIS_STATE);
  const state = closed(decided(later, rotated(), [vault.signing]));
  const verdicts = [0, 1, 2].map((epoch) => ({
    epoch,
    old: isTaken(state, vault.signing, epoch),
    new: isTaken(state, next.signing, epoch),
  }));
  expect(verdicts).toEqual([
    { epoch: 0, old: true, new: true },
    { epoch: 1, old: true, new: true },
    { epoch: 2, old: false, new: true },
  ]);
  expect(isTaken(GENESIS_STATE, next.signing, 0), "before it was known").toBe(false);
});

test("[GS-3] governance says until when a lost key counted, and that withdraws it", () => {
  const later = closed(GENESIS_STATE);
  const lost = decided(later, replaced(0));
  expect([0, 1].map((epoch) => isTaken(lost, vault.signing, epoch))).toEqual([true, false]);
  const never = decided(later, replaced(null));
  expect([0, 1].map((epoch) => isTaken(never, vault.signing, epoch))).toEqual([false, false]);
  expect(never.withdrawals).toBe(1);
  expect(() => decided(later, replaced(2))).toThrow(refused(INVALID, "previous_until_epoch"));
});

test("[GS-3] an actor is suspended, reinstated and retired, each from where it can be", () => {
  const step = (type: "actor_suspended" | "actor_reinstated" | "actor_retired") =>
    ({ type, actor_id: "vault-3" }) as const;
  const suspended = folded(step("actor_suspended"));
  expect(() => activeActor(suspended, "vault-3")).toThrow(refused("AUTH_UNKNOWN_ACTOR"));
  expect(() => decided(suspended, step("actor_suspended"))).toThrow(refused(INVALID, "actor_id"));
  const back = decided(suspended, step("actor_reinstated"));
  expect(activeActor(back, "vault-3").status).toBe("active");
  expect(back.withdrawals, "what was withdrawn stays counted").toBe(1);
  expect(() => decided(back, step("actor_reinstated"))).toThrow(refused(INVALID, "actor_id"));
  const gone = decided(back, step("actor_retired"));
  expect(vaultKeysOf(gone).map(({ name }) => name)).not.toContain("vault-3");
  expect(gone.actors.get("vault-3")).toMatchObject({ status: "retired", stake_minor: 0 });
  for (const type of ["actor_suspended", "actor_reinstated", "actor_retired"] as const) {
    expect(() => decided(gone, step(type))).toThrow(refused(INVALID, "actor_id"));
  }
});

test("[GS-3] a role taken from one who executes is a withdrawal, a role or a status given is none", () => {
  const changed = (actor_id: string, role: "auditor" | "enterprise" | "submitter") =>
    ({ type: "actor_role_changed", actor_id, role }) as const;
  const taken = folded(changed("vault-3", "submitter"));
  expect(taken.withdrawals).toBe(1);
  expect(decided(taken, changed("vault-3", "enterprise")).withdrawals).toBe(1);
  expect(folded(changed("vault-3", "enterprise")).withdrawals, "the same role").toBe(0);
  expect(folded(changed("analyst", "auditor")).withdrawals).toBe(0);
  const suspended = folded({ type: "actor_suspended", actor_id: "vault-3" });
  const back = decided(suspended, { type: "actor_reinstated", actor_id: "vault-3" });
  expect([suspended.withdrawals, back.withdrawals]).toEqual([1, 1]);
});

test("[GS-3] a role is bound anew, but not of those whose place the genesis names", () => {
  const changed = (actor_id: string): GovernanceDecision => ({
    type: "actor_role_changed",
    actor_id,
    role: "auditor",
  });
  expect(activeActor(folded(changed("vault-3")), "vault-3").role).toBe("auditor");
  for (const actorId of ["coordinator", "aggregator", "nobody"]) {
    expect(() => folded(changed(actorId))).toThrow(refused(INVALID, "actor_id"));
  }
});

test("[GS-3] an actor has sixteen keys in its life", () => {
  let state = GENESIS_STATE;
  let present = vault.signing;
  const rotate = (number: number): void => {
    const key = signingKeyFromSeed(testSeed(`key ${number}`));
    const keys = { previous_key: present.publicKey, signing_key: key.publicKey, box_key: null };
    state = decided(state, rotated(rotation(keys, key)), [present]);
    present = key;
  };
  for (let number = 1; number < 16; number += 1) rotate(number);
  expect(() => rotate(16)).toThrow(refused(INVALID, "actor_id"));
  expect(foldGovernance(network.genesisBytes, []).actors.get("vault-1")?.keys).toHaveLength(1);
});
