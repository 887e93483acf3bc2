import { afterEach, beforeEach, expect, test } from "vitest";

import { Queue, WorkIssuer, type NewWork } from "../../../host/queue/index.ts";
import {
  ROUND_MESSAGE,
  WORK_ITEM,
  sha256,
  utf8,
  type RoundMessage,
} from "../../../protocol/index.ts";
import {
  openCoordinatorRig,
  removeCoordinatorRig,
  type CoordinatorRig,
} from "../../helpers/coordinator-rig.ts";
import { describePlaces } from "../../helpers/store-places.ts";

describePlaces((places) => {
  let rig: CoordinatorRig & { readonly folder: string };

  beforeEach(async () => {
    rig = await openCoordinatorRig({ at: places.newPlace() });
  });

  afterEach(() => removeCoordinatorRig(rig));

  const DAY_MS = 86_400_000;
  const LEASE_MS = 120_000;

  function abortWork(workId: string, changes: Partial<NewWork> = {}): NewWork {
    return {
      workId,
      actorId: "vault-1",
      taskId: "t-1",
      timeoutMs: DAY_MS,
      work: {
        kind: "abort",
        envelope_digest: sha256(utf8("e")),
        request_digest: sha256(utf8("r")),
      },
      ...changes,
    };
  }

  function claim(instance: string, actorId = "vault-1"): Promise<Uint8Array | undefined> {
    return rig.queue.claim({ actorId, instance, waitMs: 0 });
  }

  async function claimedId(instance: string, actorId?: string): Promise<string | undefined> {
    const item = await claim(instance, actorId);
    return item === undefined
      ? undefined
      : WORK_ITEM.verify(item, rig.network.coordinator.signing.publicKey).work_id;
  }

  test("work is signed by the coordinator, for its actor, with its deadline", async () => {
    await rig.issuer.issue(abortWork("w-1"));
    const item = await claim("a");
    expect(item).toBeDefined();
    expect(
      WORK_ITEM.verify(item ?? new Uint8Array(0), rig.network.coordinator.signing.publicKey),
    ).toMatchObject({
      work_id: "w-1",
      actor_id: "vault-1",
      issued_ms: rig.clock.nowMs,
      deadline_ms: rig.clock.nowMs + DAY_MS,
    });
  });

  test("issuing again is the same work: the first stands, and nothing is offered twice", async () => {
    await rig.issuer.issue(abortWork("w-1"));
    rig.clock.nowMs += 1_000;
    await rig.issuer.issue(abortWork("w-1", { actorId: "vault-2" }));
    expect(await claimedId("a")).toBe("w-1");
    expect(await claimedId("a")).toBeUndefined();
    expect(await claimedId("a", "vault-2")).toBeUndefined();
  });

  test("enqueueing the same identifier again keeps the first item", async () => {
    await rig.issuer.issue(abortWork("w-1"));
    const item = {
      ...{ work_id: "w-1", actor_id: "vault-2", task_id: "t-2" },
      ...{ issued_ms: 1, deadline_ms: rig.clock.nowMs + DAY_MS },
      work: abortWork("w-1").work,
    };
    await rig.queue.enqueue(item, WORK_ITEM.sign(item, rig.network.coordinator.signing));
    expect(await rig.queue.workOf("t-2", "abort")).toEqual([]);
    expect(await claimedId("a", "vault-2")).toBeUndefined();
  });

  test("[PL-7] work in hand is offered again to a restarted process at once, to the same one after its lease", async () => {
    await rig.issuer.issue(abortWork("w-1"));
    expect(await claimedId("first")).toBe("w-1");
    expect(await claimedId("first")).toBeUndefined();
    expect(await claimedId("second")).toBe("w-1");
    expect(await claimedId("second")).toBeUndefined();
    rig.clock.nowMs += LEASE_MS - 1;
    expect(await claimedId("second")).toBeUndefined();
    rig.clock.nowMs += 1;
    expect(await claimedId("second")).toBe("w-1");
  });

  test("[PL-7] open work outlives the coordinator's process", async () => {
    await rig.issuer.issue(abortWork("w-1"));
    expect(await claimedId("first")).toBe("w-1");
    await rig.store.close();
    const reopened = await openCoordinatorRig({ at: rig.at, folder: rig.folder });
    try {
      const again = { actorId: "vault-1", instance: "second", waitMs: 0 };
      expect(await reopened.queue.claim(again)).toBeDefined();
      expect(await reopened.queue.has("w-1")).toBe(true);
    } finally {
      await reopened.close();
    }
  });

  test("[PL-7] a coordinator that starts offers open work again, and finished work never", async () => {
    await rig.issuer.issue(abortWork("w-1"));
    await rig.issuer.issue(abortWork("w-2"));
    await claimedId("a");
    await claimedId("a");
    await rig.queue.complete({ workId: "w-2", actorId: "vault-1", answer: null, code: null });
    await rig.queue.offerAgain();
    expect([await claimedId("a"), await claimedId("a")]).toEqual(["w-1", undefined]);
  });

  test("work past its deadline is not offered", async () => {
    await rig.issuer.issue(abortWork("w-1", { timeoutMs: 1_000 }));
    rig.clock.nowMs += 1_000;
    expect(await claimedId("a")).toBeUndefined();
  });

  test("work is offered oldest first and to its own actor only", async () => {
    await rig.issuer.issue(abortWork("w-2"));
    rig.clock.nowMs += 1;
    await rig.issuer.issue(abortWork("w-1"));
    await rig.issuer.issue(abortWork("w-0", { actorId: "vault-2" }));
    expect([await claimedId("a"), await claimedId("a"), await claimedId("a")]).toEqual([
      "w-2",
      "w-1",
      undefined,
    ]);
  });

  test("the first outcome of work stands", async () => {
    await rig.issuer.issue(abortWork("w-1"));
    const done = { workId: "w-1", actorId: "vault-1" };
    const first = await rig.queue.complete({ ...done, answer: utf8("yes"), code: null });
    expect(first).toEqual({ taskId: "t-1", kind: "abort", first: true });
    const second = await rig.queue.complete({ ...done, answer: null, code: "POLICY_DECLINED" });
    expect(second.first).toBe(false);
    expect(await rig.queue.workOf("t-1", "abort")).toEqual([
      {
        ...{ workId: "w-1", actorId: "vault-1", kind: "abort" },
        ...{ done: true, answer: utf8("yes"), code: null },
      },
    ]);
    expect(await claimedId("b")).toBeUndefined();
  });

  test("an outcome comes from the actor the work was asked of, for work that exists", async () => {
    await rig.issuer.issue(abortWork("w-1"));
    const outcome = { answer: utf8("no"), code: null };
    for (const who of [
      { workId: "w-1", actorId: "vault-2" },
      { workId: "w-9", actorId: "vault-1" },
    ]) {
      await expect(rig.queue.complete({ ...who, ...outcome })).rejects.toMatchObject({
        code: "COORDINATION_ROLE_REFUSED",
      });
    }
    expect(await rig.queue.workOf("t-1", "abort")).toMatchObject([{ done: false, answer: null }]);
  });

  test("answers are taken once", async () => {
    await rig.issuer.issue(abortWork("w-1"));
    expect(await rig.queue.takeAnswers("t-1", "abort")).toEqual([]);
    await rig.queue.complete({ workId: "w-1", actorId: "vault-1", answer: utf8("a"), code: null });
    expect(await rig.queue.takeAnswers("t-1", "abort")).toHaveLength(1);
    expect(await rig.queue.takeAnswers("t-1", "abort")).toEqual([]);
  });

  test("a waiting claim wakes for work, and for its own actor's only", async () => {
    const waiting = rig.queue.claim({ actorId: "vault-1", instance: "a", waitMs: 20_000 });
    await rig.issuer.issue(abortWork("w-0", { actorId: "vault-2" }));
    await rig.issuer.issue(abortWork("w-1"));
    const item = await waiting;
    expect(item && WORK_ITEM.verify(item, rig.network.coordinator.signing.publicKey)).toMatchObject(
      {
        work_id: "w-1",
      },
    );
  });

  test("a waiting claim ends with nothing after its time", async () => {
    const empty = rig.queue.claim({ actorId: "vault-1", instance: "a", waitMs: 20 });
    await expect(empty).resolves.toBeUndefined();
  });

  function message(sender: string, body: RoundMessage["body"], round = 0): RoundMessage {
    return { envelope_digest: sha256(utf8("envelope")), round, attempt: 0, sender, body };
  }

  const FAILED = { kind: "failed", code: "TEE_ENCLAVE_DIED", executing: false } as const;

  async function post(posted: RoundMessage): Promise<boolean> {
    const signed = ROUND_MESSAGE.sign(posted, rig.network.coordinator.signing);
    return rig.queue.post("t-1", posted, signed);
  }

  test("a sender fills each place of a round once, and a message to one Vault has a place of its own", async () => {
    const secret = (vault_id: string, text: string) =>
      ({ kind: "round_secret", vault_id, sealed: utf8(text) }) as const;
    expect(await post(message("aggregator", secret("vault-1", "a")))).toBe(true);
    expect(await post(message("aggregator", secret("vault-2", "a")))).toBe(true);
    expect(await post(message("aggregator", secret("vault-1", "b")))).toBe(false);
    expect(await post(message("vault-1", FAILED))).toBe(true);
    expect(await post(message("vault-2", FAILED))).toBe(true);
    expect(await post(message("vault-1", FAILED))).toBe(false);
    expect(await post(message("vault-1", FAILED, 1))).toBe(true);
    const all = { taskId: "t-1", after: 0, waitMs: 0 };
    expect(await rig.queue.messages({ ...all, round: 0 })).toHaveLength(4);
    const [first] = await rig.queue.messages({ ...all, round: 0 });
    expect(
      first && ROUND_MESSAGE.verify(first.message, rig.network.coordinator.signing.publicKey),
    ).toMatchObject({ body: secret("vault-1", "a") });
  });

  test("messages come in order, after a position, from one task and round", async () => {
    await post(message("vault-1", FAILED));
    await post(message("vault-2", FAILED, 1));
    await post(message("vault-3", FAILED));
    const read = (taskId: string, round: number, after: number) =>
      rig.queue.messages({ taskId, round, after, waitMs: 0 });
    const positions = (await read("t-1", 0, 0)).map(({ position }) => position);
    expect(positions).toEqual([1, 3]);
    expect((await read("t-1", 0, 1)).map(({ position }) => position)).toEqual([3]);
    expect(await read("t-1", 0, 3)).toEqual([]);
    expect(await read("t-2", 0, 0)).toEqual([]);
  });

  test("a reader waiting for a round wakes for that round's first message", async () => {
    const waiting = rig.queue.messages({ taskId: "t-1", round: 1, after: 0, waitMs: 20_000 });
    await post(message("vault-1", FAILED));
    await post(message("vault-1", FAILED, 1));
    expect(await waiting).toHaveLength(1);
  });

  test("two queues over one store agree: what one finished the other does not offer", async () => {
    const other = new Queue(rig.store, rig.nowMs);
    const issuer = new WorkIssuer({
      queue: other,
      key: rig.network.coordinator.signing,
      nowMs: rig.nowMs,
    });
    await Promise.all([rig.issuer.issue(abortWork("w-1")), issuer.issue(abortWork("w-1"))]);
    const claims = await Promise.all([
      claim("a"),
      other.claim({ actorId: "vault-1", instance: "a", waitMs: 0 }),
    ]);
    expect(claims.filter((item) => item !== undefined)).toHaveLength(1);
  });

  test("[PB-4] what a frozen Vault could not settle yet is offered again, what it declines is done", async () => {
    const { actorId } = rig.network.vaults[0] ?? { actorId: "" };
    await rig.issuer.issue(abortWork("w-1"));
    expect(await claimedId("a")).toBe("w-1");
    const frozen = { workId: "w-1", actorId, answer: null, code: "PRIVACY_BUDGET_FROZEN" } as const;
    expect(await rig.queue.complete(frozen)).toMatchObject({ first: false });
    expect(await claimedId("a")).toBeUndefined();
    rig.clock.nowMs += 5_000;
    expect(await claimedId("a")).toBe("w-1");
    const work = { kind: "admit", signed_request: utf8("r"), governance: utf8("g") } as const;
    await rig.issuer.issue(abortWork("w-2", { work }));
    expect(await claimedId("a")).toBe("w-2");
    expect(await rig.queue.complete({ ...frozen, workId: "w-2" })).toMatchObject({ first: true });
  });
});
