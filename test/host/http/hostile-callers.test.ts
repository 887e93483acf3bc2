// Requests that no honest submitter sends, to a running coordinator: each is refused with a code of its family, none makes a
// task, and the same bytes are refused with the same bytes, by another process of the coordinator too.
import * as fs from "node:fs";

import { afterAll, beforeAll, expect, test } from "vitest";

import {
  TASK_REQUEST,
  base64,
  encodeCbor,
  taskRequestSchema,
  utf8,
  type CborValue,
  type Policy,
  type TaskRequest,
} from "../../../protocol/index.ts";
import { signCose } from "../../../protocol/signing.ts";
import { startCoordinator, type LiveCoordinator } from "../../helpers/live-coordinator.ts";
import { testRequest } from "../../helpers/network-task.ts";
import { createNetwork, openedNow, testActor, type TestNetwork } from "../../helpers/network.ts";
import { PARAMETERS } from "../admission/requests.ts";

let network: TestNetwork;
let live: LiveCoordinator;
let valid: TaskRequest;

beforeAll(async () => {
  const hasty = (policy: Policy): Policy => ({
    ...policy,
    admission: { ...policy.admission, resolving_timeout_ms: 1_000 },
  });
  network = await createNetwork({ genesis: openedNow, policy: hasty });
  live = await startCoordinator(network);
  valid = await testRequest(network, PARAMETERS.query, { created_ms: Date.now() });
});

afterAll(async () => {
  await live.stop();
  fs.rmSync(live.folder, { recursive: true, force: true });
});

/** One answer as a caller sees it, but for the time of day. */
async function answerTo(body: string): Promise<{ readonly status: number; readonly text: string }> {
  const headers = { "content-type": "application/json" };
  const response = await fetch(`${live.publicUrl}/v1/tasks`, { method: "POST", headers, body });
  const told = [...response.headers].filter(([name]) => name !== "date");
  return { status: response.status, text: `${JSON.stringify(told)}\n${await response.text()}` };
}

function answerToSigned(signed: Uint8Array) {
  return answerTo(JSON.stringify({ signed: base64(signed) }));
}

/** Signs whatever it is given as if it were a request. */
function signedAnyway(value: CborValue): Uint8Array {
  const payload = encodeCbor(value);
  return signCose({ contentType: "task-request", payload, key: network.submitter.signing });
}

function fieldsOf(request: TaskRequest): Record<string, CborValue> {
  return { ...request };
}

const CONFUSABLE = "аnalyst";
const LONG = "a".repeat(65);

/** What may stand where each field of a request does, and is never right there. */
const WRONG: readonly (readonly [title: string, value: CborValue])[] = [
  ["null", null],
  ["a truth", true],
  ["a negative number", -1],
  ["a number past 2^53", 2n ** 63n],
  ["empty text", ""],
  ["text with a letter that only looks alike", CONFUSABLE],
  ["text past its limit", LONG],
  ["text with a zero byte", "a\u0000b"],
  ["text that turns around", "a\u202eb"],
  ["no bytes", new Uint8Array(0)],
  ["bytes past their length", new Uint8Array(2000)],
  ["an empty list", []],
  ["lists in lists", [[[[[[[[]]]]]]]]],
  ["a map", { constructor: "x" }],
];

const FAMILY =
  /"code":"(SCHEMA|AUTH|PROOF|POLICY|GOVERNANCE|DERIVATION|COMPOSITION|PRIVACY_BUDGET|EXECUTION)_[A-Z_]+"/;

/** Values that are right somewhere: what a field of each name does take. */
function isRight(field: string, value: CborValue): boolean {
  return taskRequestSchema.safeParse({ ...fieldsOf(valid), [field]: value }).success;
}

async function expectRefused(signed: Uint8Array, family: RegExp): Promise<void> {
  const first = await answerToSigned(signed);
  expect(first.text).toMatch(family);
  expect([400, 401, 403, 413, 429]).toContain(first.status);
  expect(await answerToSigned(signed)).toEqual(first);
}

const FIELDS = Object.keys(taskRequestSchema.shape);

test.for(FIELDS)(
  "[AP-6] %s: missing, or anything that it is not, is refused alike twice",
  async (field) => {
    const { [field]: _, ...without } = fieldsOf(valid);
    await expectRefused(signedAnyway(without), /"code":"SCHEMA_MALFORMED"/);
    for (const [, value] of WRONG.filter(([, each]) => !isRight(field, each))) {
      await expectRefused(signedAnyway({ ...fieldsOf(valid), [field]: value }), /"code":"SCHEMA_/);
    }
  },
);

interface Hostile {
  readonly title: string;
  readonly code: string;
  readonly signed: () => Promise<Uint8Array> | Uint8Array;
}

const by = (changes: Partial<TaskRequest>): Uint8Array =>
  TASK_REQUEST.sign({ ...valid, ...changes }, network.submitter.signing);

const HOSTILE: readonly Hostile[] = [
  {
    title: "forged by a stranger",
    code: "PROOF_SIGNATURE_INVALID",
    signed: async () => TASK_REQUEST.sign(valid, (await testActor("x", "submitter")).signing),
  },
  {
    title: "signed as another kind of object",
    code: "PROOF_SIGNATURE_INVALID",
    signed: () => {
      const payload = TASK_REQUEST.encode(valid);
      return signCose({ contentType: "challenge", payload, key: network.submitter.signing });
    },
  },
  {
    title: "altered after it was signed",
    code: "PROOF_SIGNATURE_INVALID",
    signed: () => by({}).map((byte, at, all) => (at === all.length - 1 ? byte ^ 1 : byte)),
  },
  { title: "by nobody", code: "AUTH_UNKNOWN_ACTOR", signed: () => by({ actor_id: "nobody" }) },
  {
    title: "by a name in other case",
    code: "AUTH_UNKNOWN_ACTOR",
    signed: () => by({ actor_id: "Analyst" }),
  },
  {
    title: "in the role of another",
    code: "AUTH_ROLE_REFUSED",
    signed: () => {
      const { actorId, signing } = network.coordinator;
      return TASK_REQUEST.sign({ ...valid, actor_id: actorId }, signing);
    },
  },
  {
    title: "for another network",
    code: "GOVERNANCE_GENESIS_MISMATCH",
    signed: () => by({ genesis_digest: new Uint8Array(32) }),
  },
  { title: "expired", code: "AUTH_REPLAYED", signed: () => by({ created_ms: 1 }) },
  {
    title: "from far ahead",
    code: "AUTH_REPLAYED",
    signed: () => by({ created_ms: 8_000_000_000_000_000 }),
  },
  {
    title: "too large",
    code: "SCHEMA_TOO_LARGE",
    signed: () => signedAnyway({ ...fieldsOf(valid), padding: "a".repeat(90 * 1024) }),
  },
  {
    title: "nested past the depth of the format",
    code: "SCHEMA_CBOR_MALFORMED",
    signed: () => {
      const payload = Uint8Array.of(...new Uint8Array(20_000).fill(0x81), 0xf6);
      return signCose({ contentType: "task-request", payload, key: network.submitter.signing });
    },
  },
  {
    title: "with a field too many",
    code: "SCHEMA_MALFORMED",
    signed: () => signedAnyway({ ...fieldsOf(valid), admin: true }),
  },
  {
    title: "with one Vault named twice",
    code: "SCHEMA_MALFORMED",
    signed: () => signedAnyway({ ...fieldsOf(valid), vault_ids: ["vault-1", "vault-1"] }),
  },
  {
    title: "about an attribute that only looks alike",
    code: "SCHEMA_MALFORMED",
    signed: () => {
      const operands = [{ attribute: "custоmer.age", op: "eq", value: 3 }];
      const predicate = { operator: "AND", operands };
      return signedAnyway({
        ...fieldsOf(valid),
        parameters: { task_class: "query", predicate, audience_cap: 1 },
      });
    },
  },
  {
    title: "without a price",
    code: "PRIVACY_BUDGET_EXCEEDED",
    signed: () => by({ epsilon_micro: 1 }),
  },
  { title: "no request at all", code: "SCHEMA_", signed: () => utf8("{}") },
];

test.for(HOSTILE)("[AP-5] a request $title is refused with $code", async ({ code, signed }) => {
  await expectRefused(await signed(), new RegExp(`"code":"${code}`));
});

test.for([
  { title: "lists in lists", body: `{"signed":${"[".repeat(50_000)}${"]".repeat(50_000)}}` },
  { title: "the field twice", body: '{"signed":"","signed":"AA=="}' },
  { title: "a prototype", body: '{"__proto__":{"signed":"AA=="}}' },
  { title: "a lone surrogate", body: '{"signed":"\\ud800"}' },
  { title: "base64 for addresses", body: '{"signed":"__-_"}' },
])("[AP-6] a body that is $title is refused alike twice", async ({ body }) => {
  const first = await answerTo(body);
  expect(first.status).toBe(400);
  expect(first.text).toMatch(FAMILY);
  expect(await answerTo(body)).toEqual(first);
});

test("[AP-6] another process of the coordinator, at another time, refuses with the same bytes", async () => {
  const all = await Promise.all(HOSTILE.map(async ({ signed }) => signed()));
  const before = [];
  for (const each of all) before.push(await answerToSigned(each));
  await live.stop();
  live = await startCoordinator(network, live.folder);
  const after = [];
  for (const each of all) after.push(await answerToSigned(each));
  expect(after).toEqual(before);
});

test("none of them made a task, and none was a bug", async () => {
  const text = await (await fetch(`${live.publicUrl}/metrics`)).text();
  expect(text).not.toMatch(/^symphony_tasks\{/m);
  expect(live.reports.filter(({ event }) => event === "unexpected_error")).toEqual([]);
});

test("[TL-6][EP-4] what no Vault answers ends at its deadline, as its events tell, in the epoch it was taken in", async () => {
  await live.cosign();
  const open = await (await fetch(`${live.publicUrl}/metrics`)).text();
  const { task_id: taskId, epoch_id: epochId } = await live.client.submit(by({}));
  expect(open).toContain(`symphony_epoch ${epochId}\n`);
  const told = [];
  for await (const { type, body } of live.client.events(taskId)) told.push([type, body]);
  const ended = { to: "rejected", actor_id: "coordinator", reason: "COORDINATION_QUORUM_NOT_MET" };
  expect(told).toEqual([
    ["task_accepted", expect.objectContaining({ task_id: taskId, epoch_id: epochId })],
    ["task_transition", expect.objectContaining({ from: "accepted", to: "resolving" })],
    ["task_transition", expect.objectContaining({ from: "resolving", ...ended })],
  ]);
});
