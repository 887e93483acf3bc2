import { beforeEach, expect, test } from "vitest";

import { WitnessRelay } from "../../../host/queue/index.ts";
import { Signals } from "../../../host/queue/signals.ts";
import { WORK_ITEM, utf8, type WorkItem } from "../../../protocol/index.ts";
import { NETWORK_TIME_MS, createNetwork, type TestNetwork } from "../../helpers/network.ts";

let network: TestNetwork;
let relay: WitnessRelay;
let clock: { nowMs: number };

beforeEach(async () => {
  network = await createNetwork();
  clock = { nowMs: NETWORK_TIME_MS };
  const key = network.coordinator.signing;
  relay = new WitnessRelay({ signals: new Signals(), key, nowMs: () => clock.nowMs });
});

const askId = (name: string): Uint8Array => utf8(name.padEnd(16, "."));

function ask(name: string, askerId = "vault-1"): void {
  const work = { kind: "witnessed", question: utf8(name) } as const;
  const actorIds = ["vault-1", "vault-2", "vault-3"].filter((each) => each !== askerId);
  relay.ask({ askId: askId(name), askerId, actorIds, work });
}

function next(actorId: string, instance = "a"): WorkItem | undefined {
  const item = relay.next(actorId, instance);
  if (item === undefined) return undefined;
  return WORK_ITEM.verify(item, network.coordinator.signing.publicKey);
}

function answers(name: string, after = 0, askerId = "vault-1") {
  return relay.answers({ askId: askId(name), askerId, after, waitMs: 0 });
}

test("a question goes once to each process of each other Vault, and answers come back in order", async () => {
  ask("q");
  ask("q");
  const second = next("vault-2");
  expect(second?.work).toMatchObject({ kind: "witnessed" });
  expect([next("vault-2"), next("vault-1")]).toEqual([undefined, undefined]);
  // The process that had it died before it answered.
  expect(next("vault-2", "b")?.work_id).toBe(second?.work_id);
  const third = next("vault-3");
  const workIds = [third?.work_id ?? "", second?.work_id ?? ""] as const;
  relay.complete({ workId: workIds[0], actorId: "vault-3", answer: utf8("three") });
  relay.complete({ workId: workIds[1], actorId: "vault-2", answer: utf8("two") });
  relay.complete({ workId: workIds[1], actorId: "vault-2", answer: utf8("again") });
  expect(await answers("q")).toEqual([
    { actor_id: "vault-3", answer: utf8("three") },
    { actor_id: "vault-2", answer: utf8("two") },
  ]);
  expect(await answers("q", 1)).toHaveLength(1);
});

test("nobody answers for another, reads another's answers or takes its question's name", async () => {
  ask("q");
  const workId = next("vault-2")?.work_id ?? "";
  expect(relay.complete({ workId, actorId: "vault-3", answer: utf8("forged") })).toBe(true);
  expect(await answers("q")).toEqual([]);
  ask("q", "vault-2");
  relay.complete({ workId, actorId: "vault-2", answer: utf8("two") });
  expect(await answers("q", 0, "vault-2")).toEqual([]);
  expect(await answers("q")).toHaveLength(1);
});

test("questions end after a minute, and one Vault's crowd ends its own oldest alone", async () => {
  ask("other", "vault-2");
  for (let count = 0; count < 9; count += 1) ask(`q${count}`);
  const seen = new Set<string>();
  for (let item = next("vault-3"); item !== undefined; item = next("vault-3")) {
    if (item.work.kind === "witnessed") seen.add(new TextDecoder().decode(item.work.question));
  }
  expect([...seen].toSorted()).toEqual(["other", "q1", "q2", "q3", "q4", "q5", "q6", "q7", "q8"]);
  clock.nowMs += 60_000;
  expect(next("vault-3", "b")).toBeUndefined();
  expect(await answers("q1")).toEqual([]);
});

test("what is no question's is left to the queue; an answer that comes too late is taken and dropped", () => {
  expect(relay.complete({ workId: "t-1:admit:vault-1", actorId: "vault-1", answer: null })).toBe(
    false,
  );
  expect(relay.complete({ workId: "witness:gone:0", actorId: "vault-1", answer: null })).toBe(true);
});
