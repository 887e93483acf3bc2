import { expect, test } from "vitest";

import {
  MerkleTree,
  SymphonyError,
  encodeCbor,
  equalBytes,
  eventDigest,
  eventLeaf,
  leafHash,
  noPreviousEvent,
  parseEvent,
  signCose,
  signEvent,
  signingKeyFromSeed,
  verifyEvent,
  verifyEventOrder,
  verifyInclusion,
  type CborValue,
  type LogEvent,
} from "#protocol";

const key = signingKeyFromSeed(new Uint8Array(32).fill(1));
const otherKey = signingKeyFromSeed(new Uint8Array(32).fill(2));
const malformed = expect.objectContaining({ class: "malformed", code: "SCHEMA_MALFORMED" });

const event: LogEvent = {
  type: "task.transition",
  actor_id: "coordinator-1",
  sequence: 0,
  time_ms: 1_700_000_000_000,
  task_id: "task-1",
  previous: noPreviousEvent(),
  body: { from: "accepted", to: "resolving", facts: [1, null, Uint8Array.of(3)] },
};
const signed = signEvent(event, key);

/** A log of `count` events as their actor writes it. */
function logOf(count: number): Uint8Array[] {
  const events: Uint8Array[] = [];
  for (let sequence = 0; sequence < count; sequence += 1) {
    const last = events.at(-1);
    const previous = last === undefined ? noPreviousEvent() : eventDigest(last);
    events.push(signEvent({ ...event, sequence, previous }, key));
  }
  return events;
}

test("[TL-6] an event keeps its time, actor and body under its actor's signature", () => {
  expect(verifyEvent(signed, key.publicKey)).toEqual(event);
  expect(parseEvent(signed)).toEqual(event);
  expect(() => verifyEvent(signed, otherKey.publicKey)).toThrow(
    expect.objectContaining({ code: "PROOF_SIGNATURE_INVALID" }),
  );
});

test("[TL-6] no bit of an event can change", () => {
  for (let at = 0; at < signed.length; at += 1) {
    const altered = signed.with(at, (signed[at] ?? 0) ^ 4);
    expect(() => verifyEvent(altered, key.publicKey)).toThrow(SymphonyError);
  }
});

test("equal events have equal bytes", () => {
  const reordered = Object.fromEntries(Object.entries(event).reverse());
  const payload = encodeCbor({ ...event, previous: event.previous.slice() });
  expect(encodeCbor(Object.assign({}, reordered))).toEqual(payload);
  expect(signCose({ contentType: "event", payload, key })).toEqual(signed);
});

test.for<{ title: string; wrong: { readonly [field: string]: CborValue } }>([
  { title: "a type in capitals", wrong: { type: "Task" } },
  { title: "no type", wrong: { type: "" } },
  { title: "a type with a space", wrong: { type: "task transition" } },
  { title: "a long type", wrong: { type: "t".repeat(65) } },
  { title: "no actor", wrong: { actor_id: "" } },
  { title: "a negative sequence", wrong: { sequence: -1 } },
  { title: "a time before 1970", wrong: { time_ms: -1 } },
  { title: "an empty task id", wrong: { task_id: "" } },
  { title: "a short previous", wrong: { previous: new Uint8Array(31) } },
  { title: "another field", wrong: { severity: 1 } },
])("[TL-6] refuses an event with $title", ({ wrong }) => {
  const payload = encodeCbor({ ...event, ...wrong });
  const bytes = signCose({ contentType: "event", payload, key });
  expect(() => parseEvent(bytes)).toThrow(malformed);
  expect(() => verifyEvent(bytes, key.publicKey)).toThrow(malformed);
});

test.for(Object.keys(event))("[TL-6] refuses an event without %s", (field) => {
  const { [field]: _, ...rest }: { [key: string]: CborValue } = { ...event };
  const bytes = signCose({ contentType: "event", payload: encodeCbor(rest), key });
  expect(() => parseEvent(bytes)).toThrow(malformed);
});

test("signs no body that has no canonical bytes", () => {
  expect(() => signEvent({ ...event, body: { share: 0.5 } }, key)).toThrow(malformed);
  expect(() => signEvent({ ...event, type: "Task" }, key)).toThrow(malformed);
});

test("an object of another type is no event", () => {
  const other = signCose({ contentType: "order", payload: encodeCbor({ ...event }), key });
  expect(() => parseEvent(other)).toThrow(malformed);
  expect(() => verifyEvent(other, key.publicKey)).toThrow(
    expect.objectContaining({ code: "PROOF_SIGNATURE_INVALID" }),
  );
});

test("[DT-2] a log replays in order, and its tree to the same root", () => {
  const log = logOf(5);
  expect(verifyEventOrder(log).map(({ sequence }) => sequence)).toEqual([0, 1, 2, 3, 4]);
  const tree = new MerkleTree();
  for (const each of log) tree.append(eventLeaf(each));
  const [, second = signed] = log;
  const proof = tree.inclusionProof(1);
  verifyInclusion({ leafHash: leafHash(second), index: 1, size: 5, proof, root: tree.root() });
  const replayed = new MerkleTree();
  for (const each of logOf(5)) replayed.append(eventLeaf(each));
  expect(equalBytes(replayed.root(), tree.root())).toBe(true);
});

test.for<{ title: string; damage: (log: Uint8Array[]) => Uint8Array[] }>([
  { title: "the first missing", damage: (log) => log.slice(1) },
  { title: "one missing", damage: (log) => log.toSpliced(1, 1) },
  { title: "two swapped", damage: ([a = signed, b = signed, c = signed]) => [a, c, b] },
  { title: "one twice", damage: (log) => log.toSpliced(1, 0, log[0] ?? signed) },
  {
    title: "one rewritten",
    damage: (log) => log.with(0, signEvent({ ...event, time_ms: 1 }, key)),
  },
  {
    title: "a gap in its counting",
    damage: (log) => {
      const { previous } = parseEvent(log[2] ?? signed);
      return log.with(2, signEvent({ ...event, sequence: 3, previous }, key));
    },
  },
  {
    title: "another actor",
    damage: (log) => {
      const { previous } = parseEvent(log[2] ?? signed);
      return log.with(2, signEvent({ ...event, sequence: 2, previous, actor_id: "other" }, key));
    },
  },
])("[DT-2] a log with $title does not replay", ({ damage }) => {
  expect(() => verifyEventOrder(damage(logOf(3)))).toThrow(
    expect.objectContaining({ class: "verification", code: "PROOF_CONSISTENCY_INVALID" }),
  );
});
