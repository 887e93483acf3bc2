// What a coordinator hands a node as work: only what it signed itself, for this node, in its shape, is ever begun.
import { afterAll, beforeAll, expect, test } from "vitest";

import { runNodeLoop, type NodeEvent } from "../../../../host/execution/node-loop.ts";
import {
  WORK_ITEM,
  encodeCbor,
  signCose,
  type CborValue,
  type SigningKey,
  type WorkItem,
} from "../../../../protocol/index.ts";
import { workItemSchema } from "../../../../protocol/work.ts";
import { testActor } from "../../../helpers/network.ts";
import { bytesForgeries, encodedForgeries, type Forgery } from "./forgeries.ts";
import { TASK_CALLS, openWorld, type Work, type World } from "./world.ts";

const MIB = 1024 * 1024;
const LIMIT_MS = 300_000;

let world: World;

beforeAll(async () => {
  world = await openWorld();
});

afterAll(() => world.close());

/** One genuine piece of work of every kind. */
function everyWork(): Work[] {
  const { envelope, governance } = world.tasks.reserved.work.slice;
  const question = new Uint8Array(64);
  return [
    ...TASK_CALLS.map((call) => world.tasks.reserved.work[call]),
    {
      ...{ kind: "aggregate", envelope, governance, round: 0, attempt: 0 },
      ...{ previous: null, artifact: null },
    },
    { kind: "cosign", governance },
    { kind: "witness", question },
    { kind: "witnessed", question },
  ];
}

function itemOf(work: Work): WorkItem {
  const { fixture } = world;
  return {
    ...{ work_id: "work", actor_id: fixture.actor.actorId, task_id: "task", work },
    ...{ issued_ms: fixture.clock.nowMs, deadline_ms: fixture.clock.nowMs + 60_000 },
  };
}

/** Offers bytes to a node and gives what it began, and what it told its operator. */
async function offered(signed: Uint8Array) {
  const { network, actor } = world.fixture;
  const stop = new AbortController();
  const begun: WorkItem[] = [];
  const told: NodeEvent[] = [];
  const offers = [signed];
  await runNodeLoop({
    self: {
      ...{ actorId: actor.actorId, key: actor.signing },
      coordinatorKey: network.coordinator.signing.publicKey,
    },
    coordinator: {
      nextWork: () => {
        const offer = offers.pop();
        if (offer === undefined) stop.abort();
        return Promise.resolve(offer);
      },
      complete: () => Promise.resolve(),
      governance: () => Promise.resolve(new Uint8Array(0)),
      evidence: () => Promise.resolve(),
      candidate: () => Promise.resolve(),
      askWitnesses: () => Promise.resolve([]),
      board: () => {
        throw new Error("expected no board");
      },
    },
    perform: (item) => {
      begun.push(item);
      return Promise.resolve(null);
    },
    report: (event) => told.push(event),
    signal: stop.signal,
  });
  return { begun, told };
}

/** Offers each at the same time: a node pauses after what it ignores. */
async function expectIgnored(offers: readonly Forgery<Uint8Array>[], code: RegExp): Promise<void> {
  expect(offers.length).toBeGreaterThan(0);
  const outcomes = await Promise.all(offers.map(({ value }) => offered(value)));
  for (const [index, { begun, told }] of outcomes.entries()) {
    const title = offers[index]?.title;
    expect({ title, begun, told }).toEqual({
      ...{ title, begun: [] },
      told: [{ event: "work_ignored", code: expect.stringMatching(code) }],
    });
  }
}

function signedRaw(payload: Uint8Array, key: SigningKey): Uint8Array {
  return signCose({ contentType: WORK_ITEM.name, payload, key });
}

test("work of every kind is here, and begins when it is genuine", async () => {
  const kinds = workItemSchema.shape.work.options.map(({ shape }) => shape.kind.value);
  expect(
    everyWork()
      .map(({ kind }) => kind)
      .toSorted(),
  ).toEqual(kinds.toSorted());
  for (const work of everyWork()) {
    const item = itemOf(work);
    const { begun } = await offered(
      WORK_ITEM.sign(item, world.fixture.network.coordinator.signing),
    );
    expect(begun).toEqual([item]);
  }
});

test(
  "[AZ-2] work that the coordinator did not sign as it stands is never begun",
  { timeout: LIMIT_MS },
  async () => {
    const { coordinator, submitter, aggregator, vaults } = world.fixture.network;
    const stranger = await testActor("stranger", "master");
    const actors = [submitter, aggregator, ...vaults, stranger];
    const offers = everyWork().flatMap((work) => {
      const item = itemOf(work);
      const signed = WORK_ITEM.sign(item, coordinator.signing);
      const other = { contentType: "work-order", payload: WORK_ITEM.encode(item) };
      return [
        ...actors.map(({ actorId, signing }) => ({
          title: `${work.kind} by ${actorId}`,
          value: WORK_ITEM.sign(item, signing),
        })),
        ...bytesForgeries(signed).map(({ title, value }) => ({
          title: `${work.kind} ${title}`,
          value,
        })),
        {
          title: `${work.kind} signed as another object`,
          value: signCose({ ...other, key: coordinator.signing }),
        },
      ];
    });
    await expectIgnored(offers, /^(PROOF_SIGNATURE_INVALID|SCHEMA_[A-Z_]+)$/);
  },
);

test("[AZ-2] work for another node is never begun, though the coordinator signed it", async () => {
  const { coordinator, vaults } = world.fixture.network;
  for (const work of everyWork()) {
    const item = { ...itemOf(work), actor_id: vaults[1]?.actorId ?? "" };
    const { begun, told } = await offered(WORK_ITEM.sign(item, coordinator.signing));
    expect({ begun, told }).toEqual({
      begun: [],
      told: [{ event: "work_ignored", kind: work.kind }],
    });
  }
});

/** Each field of bytes above its own limit. */
function oversized(item: WorkItem): CborValue[] {
  return Object.entries(item.work).flatMap(([field, value]) =>
    value instanceof Uint8Array
      ? [
          {
            ...item,
            work: {
              ...item.work,
              [field]: new Uint8Array(field === "governance" ? 17 * MIB : MIB),
            },
          },
        ]
      : [],
  );
}

test(
  "[CB-2] work of another shape is never begun: fields missing, unknown, of another kind, too large",
  { timeout: LIMIT_MS },
  async () => {
    const { signing } = world.fixture.network.coordinator;
    for (const work of everyWork()) {
      const item = itemOf(work);
      const forged = encodedForgeries(item).filter(({ value }) => !isShaped(value));
      const large = oversized(item).map((value) => ({
        title: "too large",
        value: encodeCbor(value),
      }));
      expect(large).not.toEqual([]);
      const offers = [...forged, ...large].map(({ title, value }) => ({
        title: `${work.kind} ${title}`,
        value: signedRaw(value, signing),
      }));
      await expectIgnored(offers, /^SCHEMA_[A-Z_]+$/);
    }
    const deep = signedRaw(new Uint8Array(1_000).fill(0x81), signing);
    await expectIgnored([{ title: "deeply nested", value: deep }], /^SCHEMA_[A-Z_]+$/);
  },
);

function isShaped(bytes: Uint8Array): boolean {
  try {
    WORK_ITEM.decode(bytes);
    return true;
  } catch {
    return false;
  }
}
