import { afterEach, beforeEach, expect, test } from "vitest";

import { KEY_TAKEN } from "../../../../host/evidence/actor-log.ts";
import {
  WITNESS_ANSWER,
  WITNESS_QUESTION,
  keyIdOf,
  parseCose,
  parseEvent,
  signCheckpoint,
  type SigningKey,
} from "../../../../protocol/index.ts";
import { testSeed } from "../../../helpers/network.ts";
import { WitnessWorld } from "./witness-world.ts";

const [A, B] = ["vault-1", "vault-2"] as const;
const WAYS = ["actor_key_rotated", "actor_key_replaced"] as const;

let world: WitnessWorld;
let old: SigningKey;

beforeEach(async () => {
  world = await WitnessWorld.start();
  old = world.signingOf(A);
  await world.grow(A, "before");
  expect(await world.cosign(A)).toBe("cosigned");
});

afterEach(async () => world.end());

/** A Vault that starts again by its new key. */
async function restarted(vaultId: string): Promise<string> {
  await world.close(vaultId);
  await world.open(vaultId);
  return world.confirm(vaultId);
}

/** What a thief of A's old key and a lying carrier make of it: a head of A that A never had. */
function stolenHead(size: number, key: SigningKey): string {
  const { log } = world.vault(A);
  return signCheckpoint({
    ...{ origin: log.origin, size, root: testSeed("stolen") },
    ...{ signerName: A, key },
  });
}

/** Hands A an answer that nobody signed: the coordinator can make it up. */
async function tell(checkpoint: string): Promise<void> {
  const { witness } = world.vault(A);
  const answer = WITNESS_ANSWER.encode({ result: "held", checkpoint, restarts: [] });
  await witness.take(witness.ask(world.governance), { actorId: B, answer }, world.governance);
}

test.for(WAYS)(
  "[GS-3] after %s a Vault goes on: confirmed, cosigned, its log its own",
  async (how) => {
    world.rotate(A, how);
    expect(await restarted(A)).toBe("confirmed");
    const { log, witness } = world.vault(A);
    const taken = await log.entry(log.size - 1);
    expect(parseEvent(taken?.event ?? new Uint8Array(0))).toMatchObject({
      type: KEY_TAKEN,
      body: { previous_key: old.publicKey, signing_key: world.signingOf(A).publicKey },
    });
    expect(parseCose(taken?.event ?? new Uint8Array(0)).keyId).toBe(
      keyIdOf(world.signingOf(A).publicKey),
    );
    expect(await world.cosign(A)).toBe("cosigned");
    expect(witness.covers(log.size)).toBe(true);
    await world.grow(A, "after");
    expect(await world.cosign(A)).toBe("cosigned");
    expect(await restarted(A)).toBe("confirmed");
    expect(await restarted(B)).toBe("confirmed");
  },
);

test("[GS-3] a Vault rotates twice, and while another does", async () => {
  world.rotate(A, "actor_key_rotated");
  expect(await restarted(A)).toBe("confirmed");
  world.rotate(B, "actor_key_rotated");
  expect(await world.cosign(A)).toBe("cosigned");
  expect(await restarted(B)).toBe("confirmed");
  world.rotate(A, "actor_key_rotated");
  expect(await restarted(A)).toBe("confirmed");
  expect(await world.cosign(A)).toBe("cosigned");
  expect(await world.cosign(B)).toBe("cosigned");
});

test.for(WAYS)(
  "[PB-5] %s brings no budget back: an older copy under the new key is frozen",
  async (how) => {
    const copy = await world.backup(A);
    for (const name of ["spent", "more"]) await world.grow(A, name);
    expect(await world.cosign(A)).toBe("cosigned");
    world.rotate(A, how);
    await world.restore(A, copy);
    expect(await world.confirm(A)).toBe("frozen");
    expect((await world.vault(A).witness.status()).frozen).toMatchObject({ reason: "behind" });
    await world.vault(A).witness.thaw(world.governance);
    expect(await world.cosign(A)).toBe("cosigned");
  },
);

test("[GS-3] restarts that a Vault declared by its former key are declared by the new one", async () => {
  const copy = await world.backup(A);
  await world.grow(A, "lost");
  await world.cosign(A);
  await world.restore(A, copy);
  expect(await world.confirm(A)).toBe("frozen");
  await world.vault(A).witness.thaw(world.governance);
  await world.cosign(A);
  world.rotate(A, "actor_key_rotated");
  expect(await restarted(A)).toBe("confirmed");
  expect(await world.cosign(A)).toBe("cosigned");
});

test("[GS-3] a stolen key that was given up has no head cosigned and freezes nobody", async () => {
  world.rotate(A, "actor_key_replaced");
  expect(await restarted(A)).toBe("confirmed");
  const { witness } = world.vault(A);
  const honest = witness.ask(world.governance);
  const claimed = WITNESS_QUESTION.decode(parseCose(honest.question).payload);
  for (const [checkpoint, key] of [
    [claimed.checkpoint, old],
    [stolenHead(99, old), old],
  ] as const) {
    const question = WITNESS_QUESTION.sign({ ...claimed, checkpoint }, key);
    await expect(
      world.vault(B).witness.cosignHead(question, world.governance),
    ).rejects.toMatchObject({ code: "PROOF_SIGNATURE_INVALID" });
  }
  await tell(stolenHead(99, old));
  expect(witness.standing).toBe("confirmed");
  await tell(stolenHead(99, world.signingOf(A)));
  expect(witness.standing).toBe("frozen");
});

test("[GS-3] a head that the new key asks for and the old one signed is not cosigned", async () => {
  world.rotate(A, "actor_key_rotated");
  expect(await restarted(A)).toBe("confirmed");
  const { question } = world.vault(A).witness.ask(world.governance);
  const claimed = WITNESS_QUESTION.decode(parseCose(question).payload);
  const { log } = world.vault(A);
  const checkpoint = signCheckpoint({
    ...{ origin: log.origin, size: log.size, root: log.root() },
    ...{ signerName: A, key: old },
  });
  const mixed = WITNESS_QUESTION.sign({ ...claimed, checkpoint }, world.signingOf(A));
  await expect(world.vault(B).witness.cosignHead(mixed, world.governance)).rejects.toMatchObject({
    code: "PROOF_CHECKPOINT_INVALID",
  });
});

test("[GS-3] a key that governance does not name yet gets nothing cosigned", async () => {
  const before = world.governance;
  world.rotate(A, "actor_key_rotated");
  await world.close(A);
  await world.open(A);
  world.governance = before;
  await world.confirm(A);
  expect(await world.cosign(A)).toBe("waiting");
});
