import { afterEach, beforeEach, expect, test } from "vitest";

import {
  acceptOlder,
  acceptSnapshot,
  createGovernanceEvent,
} from "../../../host/governance/index.ts";
import type { StorePlace } from "../../../host/store/index.ts";
import {
  applyGovernanceEvent,
  cosignCheckpoint,
  genesisState,
  hex,
  leafHash,
  merkleRoot,
  parseCheckpoint,
  signingKeyFromSeed,
  verifyConsistency,
  verifyGovernanceSnapshot,
  type GovernanceDecision,
  type GovernanceState,
  type SigningKey,
} from "../../../protocol/index.ts";
import { openGovernanceRig, type GovernanceRig } from "../../helpers/governance-rig.ts";
import {
  NETWORK_TIME_MS,
  createNetwork,
  testSeed,
  type TestNetwork,
} from "../../helpers/network.ts";
import { describePlaces } from "../../helpers/store-places.ts";

const network: TestNetwork = await createNetwork();
const SUSPEND: GovernanceDecision = { type: "actor_suspended", actor_id: "analyst" };
const REVOKE: GovernanceDecision = { type: "measurement_revoked", pcr0: "ab".repeat(48) };

let at: StorePlace;
let rig: GovernanceRig;

const refused = (code: string) => expect.objectContaining({ code });

async function open(signingKey: SigningKey = network.coordinator.signing): Promise<void> {
  rig = await openGovernanceRig({ network, at, signingKey, nowMs: () => NETWORK_TIME_MS });
}

function eventFor(
  decision: GovernanceDecision,
  keys: readonly SigningKey[] = network.governanceKeys.slice(0, 2),
  state: GovernanceState = rig.governance.state(),
): Uint8Array {
  return createGovernanceEvent({
    state,
    decision,
    keys,
    timeMs: NETWORK_TIME_MS,
  });
}

function cosigned(note: string, vault: number): string {
  const signer = network.vaults[vault];
  if (signer === undefined) throw new Error("no such vault");
  return cosignCheckpoint(note, {
    signerName: signer.actorId,
    key: signer.signing,
    timeSeconds: 1_800_000_000,
  });
}

async function cosignByQuorum(): Promise<void> {
  await rig.governance.addCosignature(cosigned(rig.governance.note(), 0));
  await rig.governance.addCosignature(cosigned(rig.governance.note(), 1));
}

describePlaces((places) => {
  beforeEach(async () => {
    at = places.newPlace();
    await open();
  });

  afterEach(() => rig.store.close());

  test("[GS-7] a decision takes the quorum of distinct governance keys", async () => {
    const [one, two] = network.governanceKeys;
    if (one === undefined || two === undefined) throw new Error("no keys");
    const stranger = signingKeyFromSeed(testSeed("stranger"));
    for (const keys of [[one], [one, one], [one, stranger]]) {
      const submitted = rig.governance.submit(eventFor(SUSPEND, keys));
      await expect(submitted).rejects.toThrow(refused("GOVERNANCE_QUORUM_NOT_MET"));
    }
    expect(rig.governance.state().sequence).toBe(0);
    await rig.governance.submit(eventFor(SUSPEND, [one, two]));
    expect(rig.governance.state().actors.get("analyst")?.status).toBe("suspended");
  });

  test("an event is submitted once, in its place, and survives a restart", async () => {
    const first = eventFor(SUSPEND);
    const late = eventFor(REVOKE);
    expect(await rig.governance.submit(first)).toBe(0);
    expect(await rig.governance.submit(first)).toBe(0);
    await expect(rig.governance.submit(late)).rejects.toThrow(refused("GOVERNANCE_EVENT_INVALID"));
    expect(await rig.governance.submit(eventFor(REVOKE))).toBe(1);
    const before = rig.governance.note();
    await rig.store.close();
    await open();
    expect(rig.governance.note()).toBe(before);
    expect(rig.governance.state().revokedMeasurements).toEqual(["ab".repeat(48)]);
  });

  test("two submissions at once take one place", async () => {
    const events = [eventFor(SUSPEND), eventFor(REVOKE)];
    const results = await Promise.allSettled(events.map((event) => rig.governance.submit(event)));
    expect(results.map((result) => result.status).sort()).toEqual(["fulfilled", "rejected"]);
    expect(rig.governance.state().sequence).toBe(1);
  });

  test("a submission that follows one under way has the next place", async () => {
    const first = eventFor(SUSPEND);
    const next = eventFor(REVOKE, undefined, applyGovernanceEvent(rig.governance.state(), first));
    expect(await Promise.all([first, next].map((event) => rig.governance.submit(event)))).toEqual([
      0, 1,
    ]);
    const before = rig.governance.note();
    await rig.store.close();
    await open();
    expect(rig.governance.note()).toBe(before);
  });

  test("the log is append-only on disk", async () => {
    await rig.governance.submit(eventFor(SUSPEND));
    const deleted = rig.store.write((trx) => trx.deleteFrom("governance_event").execute());
    await expect(deleted).rejects.toThrow(/append-only/);
  });

  test("there is no snapshot before a quorum of Vaults has cosigned, and then there is", async () => {
    await rig.governance.submit(eventFor(SUSPEND));
    expect(() => rig.governance.snapshot()).toThrow(refused("COORDINATION_UNAVAILABLE"));
    await rig.governance.addCosignature(cosigned(rig.governance.note(), 0));
    await rig.governance.addCosignature(cosigned(rig.governance.note(), 0));
    expect(() => rig.governance.snapshot()).toThrow(refused("COORDINATION_UNAVAILABLE"));
    await rig.governance.addCosignature(cosigned(rig.governance.note(), 1));
    const snapshot = rig.governance.snapshot();
    const state = verifyGovernanceSnapshot(snapshot, network.genesisDigest);
    expect(state.sequence).toBe(1);
    expect(rig.governance.isCosigned()).toBe(true);
    await rig.governance.submit(eventFor(REVOKE));
    expect(rig.governance.snapshot()).toEqual(snapshot);
    expect(rig.governance.isCosigned(), "the last event is not cosigned yet").toBe(false);
    await rig.store.close();
    await open();
    expect(rig.governance.snapshot()).toEqual(snapshot);
  });

  test.for([
    { title: "no cosignature", damage: (note: string) => note },
    { title: "another origin", damage: (note: string) => cosigned(`x${note}`, 0) },
    {
      title: "another root",
      damage: (note: string) =>
        cosigned(note.replace(/\n[A-Za-z0-9+/]{43}=\n/, `\n${"A".repeat(43)}=\n`), 0),
    },
    {
      title: "a size past the log",
      damage: (note: string) => cosigned(note.replace("\n0\n", "\n9\n"), 0),
    },
    {
      title: "an unknown cosigner",
      damage: (note: string) =>
        cosignCheckpoint(note, {
          signerName: "vault-9",
          key: signingKeyFromSeed(testSeed("x")),
          timeSeconds: 1,
        }),
    },
    {
      title: "an actor that is no Vault",
      damage: (note: string) =>
        cosignCheckpoint(note, {
          signerName: "analyst",
          key: network.submitter.signing,
          timeSeconds: 1,
        }),
    },
    {
      title: "a Vault's name over another key",
      damage: (note: string) =>
        cosignCheckpoint(note, {
          signerName: "vault-1",
          key: network.coordinator.signing,
          timeSeconds: 1,
        }),
    },
  ])("refuses a cosigned note with $title", async ({ damage }) => {
    const added = rig.governance.addCosignature(damage(rig.governance.note()));
    await expect(added).rejects.toThrow(refused("PROOF_CHECKPOINT_INVALID"));
  });

  test("proves to a cosigner that its last head is a prefix", async () => {
    await rig.governance.submit(eventFor(SUSPEND));
    const old = parseCheckpoint(rig.governance.note());
    await rig.governance.submit(eventFor(REVOKE));
    const now = parseCheckpoint(rig.governance.note());
    const claim = { oldSize: old.size, oldRoot: old.root, newSize: now.size, newRoot: now.root };
    const proof = rig.governance.consistencyProof(1);
    expect(() => verifyConsistency({ ...claim, proof })).not.toThrow();
  });

  test("refuses to serve a genesis that names another coordinator", async () => {
    await rig.store.close();
    const other = open(signingKeyFromSeed(testSeed("another coordinator")));
    await expect(other).rejects.toThrow(refused("GOVERNANCE_GENESIS_MISMATCH"));
  });

  test("[GS-5] a genesis gives one version, and it is active", () => {
    const { policy, policies, genesis } = rig.governance.state();
    expect(policy).toEqual(genesis.policy);
    expect([...policies.values()].map(({ status }) => status)).toEqual(["active"]);
  });

  test("a relying party takes governance forward only", async () => {
    await rig.governance.submit(eventFor(SUSPEND));
    await cosignByQuorum();
    const first = rig.governance.snapshot();
    const pinnedGenesisDigest = network.genesisDigest;
    const accepted = acceptSnapshot({ snapshot: first, pinnedGenesisDigest, previous: null });
    await rig.governance.submit(eventFor(REVOKE));
    await cosignByQuorum();
    const second = rig.governance.snapshot();
    const next = acceptSnapshot({ snapshot: second, pinnedGenesisDigest, previous: accepted });
    expect(next.size).toBe(2);
    expect(hex(next.root)).toBe(hex(merkleRoot(second.events.map((event) => leafHash(event)))));
    expect(() => acceptSnapshot({ snapshot: first, pinnedGenesisDigest, previous: next })).toThrow(
      refused("PROOF_CONSISTENCY_INVALID"),
    );
    const elsewhere = { size: 1, root: new Uint8Array(32) };
    expect(() =>
      acceptSnapshot({ snapshot: second, pinnedGenesisDigest, previous: elsewhere }),
    ).toThrow(refused("PROOF_CONSISTENCY_INVALID"));
    expect(() =>
      acceptSnapshot({ snapshot: first, pinnedGenesisDigest: new Uint8Array(32), previous: null }),
    ).toThrow(refused("GOVERNANCE_GENESIS_MISMATCH"));
    expect(genesisState(network.genesisBytes).sequence).toBe(0);
  });

  test("[GS-7] older governance is accepted as a prefix of what is known, cosigned, and no other", async () => {
    await rig.governance.submit(eventFor(SUSPEND));
    await cosignByQuorum();
    const older = rig.governance.snapshot();
    await rig.governance.submit(eventFor(REVOKE));
    await cosignByQuorum();
    const pinnedGenesisDigest = network.genesisDigest;
    const newest = rig.governance.snapshot();
    const { leaves } = acceptSnapshot({ snapshot: newest, pinnedGenesisDigest, previous: null });
    const accept = (snapshot: typeof older, known: readonly Uint8Array[]) =>
      acceptOlder({ snapshot, pinnedGenesisDigest, known });
    expect(accept(older, leaves)).toMatchObject({ size: 1, state: { sequence: 1 } });
    expect(() => accept(older, leaves.toReversed())).toThrow(refused("PROOF_CONSISTENCY_INVALID"));
    expect(() => accept(newest, leaves.slice(0, 1))).toThrow(refused("PROOF_CONSISTENCY_INVALID"));
    const unsigned = {
      ...older,
      checkpoint: older.checkpoint.split("\n").slice(0, 5).join("\n") + "\n",
    };
    expect(() => accept(unsigned, leaves)).toThrow(refused("PROOF_CHECKPOINT_INVALID"));
  });

  test("[DT-1] what was folded before is not folded again, and another past is folded whole", async () => {
    await rig.governance.submit(eventFor(SUSPEND));
    await cosignByQuorum();
    const args = { pinnedGenesisDigest: network.genesisDigest, previous: null };
    const first = acceptSnapshot({ ...args, snapshot: rig.governance.snapshot() });
    expect(
      acceptSnapshot({ ...args, snapshot: rig.governance.snapshot(), known: first }).state,
    ).toBe(first.state);
    await rig.governance.submit(eventFor(REVOKE));
    await cosignByQuorum();
    const snapshot = rig.governance.snapshot();
    const whole = acceptSnapshot({ ...args, snapshot });
    const next = acceptSnapshot({ ...args, snapshot, known: first });
    expect(next).toEqual(whole);
    expect(next.state.actors, "of the state before").toBe(first.state.actors);
    for (const known of [
      { ...first, leaves: [new Uint8Array(32)] },
      { ...first, leaves: [] },
      { ...first, state: { ...first.state, genesisDigest: new Uint8Array(32) } },
    ]) {
      const accepted = acceptSnapshot({ ...args, snapshot, known });
      expect(accepted).toEqual(whole);
      expect(accepted.state.actors).not.toBe(first.state.actors);
    }
  });
});
