// Three Vaults' nodes at work, with a real relay between them: how they find each other again after a thaw.
import { afterEach, expect, test, vi } from "vitest";

import { HeldGovernance } from "../../../host/execution/held-governance.ts";
import type { Coordinator } from "../../../host/execution/node-loop.ts";
import { runVaultNode } from "../../../host/execution/vault-node.ts";
import { Signals } from "../../../host/queue/signals.ts";
import { WitnessRelay } from "../../../host/queue/index.ts";
import { genesisState, type WorkItem } from "../../../protocol/index.ts";
import { rigPlatform } from "../../helpers/enclave-rig.ts";
import { governanceSnapshot } from "../../helpers/network.ts";
import { rigLauncher } from "../../helpers/vault-node-rig.ts";
import { WitnessWorld } from "../sovereignty/witness/witness-world.ts";

const [A, B, C] = ["vault-1", "vault-2", "vault-3"] as const;
/** Nodes wait this many times faster than they would. */
const HURRY = 20;

let world: WitnessWorld;
const running = new Map<string, () => Promise<void>>();
let relay: WitnessRelay;
let signals: Signals;

afterEach(async () => {
  for (const vaultId of [...running.keys()]) await stopNode(vaultId);
  await world.end();
});

/** Opens the world without asking anybody anything: its nodes do. */
async function openWorld(): Promise<void> {
  world = await WitnessWorld.start();
  signals = new Signals();
  relay = new WitnessRelay({ signals, key: world.network.coordinator.signing, nowMs: hurriedMs });
}

const startedMs = Date.now();

function hurriedMs(): number {
  return startedMs + (Date.now() - startedMs) * HURRY;
}

function coordinatorFor(actorId: string): Coordinator {
  const { network } = world;
  const instance = `${actorId} ${running.size} ${Date.now()}`;
  return {
    nextWork: async (waitMs) => {
      const work = relay.next(actorId, instance);
      if (work !== undefined) return work;
      await signals.wait(`work:${actorId}`, Math.min(waitMs, 50));
      return relay.next(actorId, instance);
    },
    complete: (workId, { answer }) => {
      relay.complete({ workId, actorId, answer });
      return Promise.resolve();
    },
    governance: () => Promise.resolve(governanceSnapshot(network, [])),
    evidence: () => Promise.resolve(),
    candidate: () => Promise.resolve(),
    askWitnesses: async ({ askId, about, question, after, waitMs }) => {
      const actorIds = network.vaults
        .map((vault) => vault.actorId)
        .filter((other) => other !== actorId);
      const work: WorkItem["work"] = { kind: about, question };
      relay.ask({ askId, askerId: actorId, actorIds, work });
      const asked = { askId, askerId: actorId, after, waitMs: waitMs / HURRY };
      const answers = await relay.answers(asked);
      return answers.map((each) => ({ actorId: each.actor_id, answer: each.answer }));
    },
    board: () => {
      throw new Error("expected no round");
    },
  };
}

/** Starts the node of a Vault that is open. */
function startNode(vaultId: string): void {
  const { network } = world;
  const actor = network.vaults.find((each) => each.actorId === vaultId);
  if (actor === undefined) throw new Error(`expected a Vault ${vaultId}`);
  const stop = new AbortController();
  const done = runVaultNode(
    {
      self: {
        ...{ actorId: vaultId, key: actor.signing },
        coordinatorKey: network.coordinator.signing.publicKey,
      },
      coordinator: coordinatorFor(vaultId),
      vault: world.vault(vaultId),
      boxKeys: [actor.box],
      launcher: rigLauncher({ hooks: {}, requests: [], alive: new Set(), nowMs: hurriedMs }),
      anchors: [rigPlatform().anchor],
      genesis: network.genesisBytes,
      held: new HeldGovernance(genesisState(network.genesisBytes)),
      genesisDigest: network.genesisDigest,
      nowMs: hurriedMs,
      random: (bytes) => crypto.getRandomValues(new Uint8Array(bytes)),
      report: () => undefined,
    },
    stop.signal,
  );
  running.set(vaultId, async () => {
    stop.abort();
    await done;
  });
}

async function stopNode(vaultId: string): Promise<void> {
  const stop = running.get(vaultId);
  running.delete(vaultId);
  await stop?.();
}

const PATIENCE = { timeout: 60_000, interval: 20 };

/** Resolves when the Vault stands so. */
async function stands(vaultId: string, standing: string): Promise<void> {
  await vi.waitFor(() => expect(world.vault(vaultId).witness.standing).toBe(standing), PATIENCE);
}

/** Resolves when others vouch for a Vault's head: those who were thawed do once it is cosigned anew. */
async function isVouchedFor(vaultId: string, ...others: readonly string[]): Promise<void> {
  const { governance } = world;
  const question = world.vault(vaultId).witness.headQuestion(new Uint8Array(32), governance);
  for (const other of others) {
    await vi.waitFor(() => world.vault(other).witness.tellHead(question, governance), PATIENCE);
  }
}

/** Puts a Vault back to an older copy while its node is down, and has its node find out. */
async function putBack(vaultId: string, copy: string): Promise<void> {
  await stopNode(vaultId);
  await world.restore(vaultId, copy);
  startNode(vaultId);
  await stands(vaultId, "frozen");
}

async function restart(vaultId: string): Promise<void> {
  await stopNode(vaultId);
  await world.close(vaultId);
  await world.open(vaultId);
  startNode(vaultId);
}

test("[PB-5] [PL-7] nodes get over a thaw: who was there is vouched for at once, who was down after a write-off", async () => {
  await openWorld();
  const copy = await world.backup(A);
  for (const vaultId of [A, B, C]) {
    await world.grow(vaultId, "newer");
    expect(await world.cosign(vaultId)).toBe("cosigned");
  }
  // C is down from here on. B hears of the thaw by itself, and has its head cosigned anew.
  await world.close(C);
  startNode(B);
  await putBack(A, copy);
  await world.vault(A).witness.thaw(world.governance);
  await world.open(C);
  startNode(C);
  await stands(A, "confirmed");
  expect(world.vault(C).witness.standing).toBe("unconfirmed");
  await isVouchedFor(B, A, C);
  await restart(B);
  await stands(B, "confirmed");

  expect(world.vault(C).witness.standing).toBe("unconfirmed");
  await world.vault(C).witness.thaw(world.governance);
  await stands(C, "confirmed");
  await isVouchedFor(C, A, B);
  await restart(C);
  await stands(C, "confirmed");
  await isVouchedFor(A, B, C);
  await restart(A);
  await stands(A, "confirmed");
});

test("[PB-5] nodes of two Vaults that were put back at once find each other again", async () => {
  await openWorld();
  const copies = { [A]: await world.backup(A), [C]: await world.backup(C) };
  for (const vaultId of [A, C]) {
    await world.grow(vaultId, "newer");
    expect(await world.cosign(vaultId)).toBe("cosigned");
  }
  startNode(B);
  for (const vaultId of [A, C] as const) await putBack(vaultId, copies[vaultId]);
  for (const vaultId of [A, C]) await world.vault(vaultId).witness.thaw(world.governance);
  for (const vaultId of [A, C, B]) await stands(vaultId, "confirmed");
});
