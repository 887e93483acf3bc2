import { randomBytes } from "node:crypto";
import * as fs from "node:fs";

import { afterAll, beforeAll, expect, test } from "vitest";

import {
  CALL_AGE_MS_MAX,
  NODE_ANSWER,
  NODE_CALL,
  ROUND_MESSAGE,
  TASK_ENVELOPE,
  TASK_REQUEST,
  VAULT_DECISION,
  sha256,
  utf8,
  type NodeAnswer,
  type NodeCall,
  type RoundMessage,
  type SigningKey,
  type TaskEnvelope,
} from "../../../protocol/index.ts";
import { startCoordinator, type LiveCoordinator } from "../../helpers/live-coordinator.ts";
import { customerData } from "../../helpers/network-data.ts";
import { testDecision, testRequest } from "../../helpers/network-task.ts";
import {
  createNetwork,
  openedNow,
  testActor,
  type TestActor,
  type TestNetwork,
} from "../../helpers/network.ts";
import { PARAMETERS } from "../admission/requests.ts";

let network: TestNetwork;
let live: LiveCoordinator;
let taskId: string;
let envelope: TaskEnvelope;

function vault(index: number): TestActor {
  const actor = network.vaults[index];
  if (actor === undefined) throw new Error("no such Vault");
  return actor;
}

beforeAll(async () => {
  network = await createNetwork({ genesis: openedNow });
  live = await startCoordinator(network);
  await live.cosign();
  const request = await testRequest(network, PARAMETERS.query, { created_ms: Date.now() });
  const signed = TASK_REQUEST.sign(request, network.submitter.signing);
  ({ task_id: taskId } = await live.client.submit(signed));
  const data = customerData(["vault-1", "vault-2", "vault-3"], 10);
  for (const [index, own] of data.entries()) {
    const { work_id: workId } = await live.work(vault(index));
    const decision = testDecision(request, vault(index), own);
    const answer = VAULT_DECISION.sign(decision, vault(index).signing);
    await live.node(vault(index)).complete(workId, { answer, code: null });
  }
  const { work } = await live.work(network.aggregator);
  if (work.kind !== "aggregate") throw new Error("expected an aggregation");
  envelope = TASK_ENVELOPE.decode(work.envelope);
});

afterAll(async () => {
  await live.stop();
  fs.rmSync(live.folder, { recursive: true, force: true });
});

const NEXT: NodeCall["call"] = { name: "next_work", instance: new Uint8Array(16), wait_ms: 0 };

function signedCall(
  call: NodeCall["call"],
  changes: Partial<NodeCall> & { readonly key?: SigningKey } = {},
): Uint8Array {
  const { key = vault(0).signing, ...fields } = changes;
  return NODE_CALL.sign(
    {
      actor_id: vault(0).actorId,
      at_ms: Date.now(),
      nonce: new Uint8Array(randomBytes(16)),
      call,
      ...fields,
    },
    key,
  );
}

async function send(body: Uint8Array | string, type = "application/cbor") {
  const response = await fetch(`${live.nodeUrl}/v1/nodes/call`, {
    method: "POST",
    headers: { "content-type": type },
    body: typeof body === "string" ? body : Buffer.from(body),
  });
  return { status: response.status, bytes: new Uint8Array(await response.arrayBuffer()) };
}

async function answerTo(body: Uint8Array): Promise<NodeAnswer> {
  const { status, bytes } = await send(body);
  expect(status).toBe(200);
  return NODE_ANSWER.decode(bytes);
}

async function problemOf(body: Uint8Array | string, type?: string) {
  const { status, bytes } = await send(body, type);
  const problem: unknown = JSON.parse(new TextDecoder().decode(bytes));
  return { status, problem };
}

test("a signed, fresh call of an actor is answered", async () => {
  expect(await answerTo(signedCall({ ...NEXT }))).toMatchObject({ result: "work" });
});

test("[CB-2] a call nobody of the network signed is refused with its code", async () => {
  const stranger = await testActor("stranger", "enterprise");
  const cases = [
    { body: signedCall(NEXT, { key: stranger.signing }), code: "PROOF_SIGNATURE_INVALID" },
    { body: signedCall(NEXT, { key: vault(1).signing }), code: "PROOF_SIGNATURE_INVALID" },
    {
      body: signedCall(NEXT, { actor_id: "stranger", key: stranger.signing }),
      code: "AUTH_UNKNOWN_ACTOR",
    },
  ];
  for (const { body, code } of cases) {
    expect(await problemOf(body)).toMatchObject({ status: 401, problem: { code } });
  }
});

test("a call altered by one bit is refused", async () => {
  const call = signedCall(NEXT);
  const altered = call.with(call.length - 1, (call.at(-1) ?? 0) ^ 1);
  expect(await problemOf(altered)).toMatchObject({
    status: 401,
    problem: { code: "PROOF_SIGNATURE_INVALID" },
  });
});

test("the same call twice is refused the second time", async () => {
  const call = signedCall(NEXT);
  await answerTo(call);
  const replayed = { status: 403, problem: { code: "AUTH_REPLAYED" } };
  expect(await problemOf(call)).toMatchObject(replayed);
  expect(await problemOf(call)).toMatchObject(replayed);
});

test("a call too old or too far ahead is refused", async () => {
  for (const offMs of [-CALL_AGE_MS_MAX - 1_000, CALL_AGE_MS_MAX + 60_000]) {
    const stale = signedCall(NEXT, { at_ms: Date.now() + offMs });
    expect(await problemOf(stale)).toMatchObject({
      status: 403,
      problem: { code: "AUTH_REPLAYED" },
    });
  }
});

test.for([
  { title: "JSON", body: "{}", type: "application/json", code: "SCHEMA_MALFORMED" },
  { title: "text", body: "hello", type: "text/plain", code: "SCHEMA_MALFORMED" },
  { title: "broken JSON", body: "{", type: "application/json", code: "SCHEMA_MALFORMED" },
])("refuses $title for a signed call", async ({ body, type, code }) => {
  const { status, problem } = await problemOf(body, type);
  expect(status).toBeGreaterThanOrEqual(400);
  expect(status).toBeLessThan(500);
  expect(problem).toMatchObject({ code });
});

test("refuses bytes that are no signed call, and an empty body", async () => {
  for (const body of [new Uint8Array(0), utf8("not cbor"), signedCall(NEXT).subarray(0, 40)]) {
    const { status } = await send(body);
    expect(status).toBe(400);
  }
});

test("another actor's work cannot be completed", async () => {
  const complete = {
    name: "complete",
    work_id: `${taskId}:aggregate:${vault(1).actorId}`,
    answer: null,
    code: null,
  } as const;
  const others = { ...complete, work_id: `${taskId}:r0:slice:${vault(1).actorId}` };
  const failed = { result: "failed", code: "COORDINATION_ROLE_REFUSED" };
  expect(await answerTo(signedCall(complete))).toEqual(failed);
  expect(await answerTo(signedCall(others))).toEqual(failed);
});

function message(changes: Partial<RoundMessage> = {}): RoundMessage {
  return {
    envelope_digest: TASK_ENVELOPE.digest(envelope),
    round: 0,
    attempt: 0,
    sender: vault(0).actorId,
    body: { kind: "failed", code: "TEE_ENCLAVE_DIED", executing: false },
    ...changes,
  };
}

function post(signed: Uint8Array, task: string = taskId): NodeCall["call"] {
  return { name: "post", task_id: task, message: signed };
}

test("a message in another's name, or signed by another, does not reach the board", async () => {
  const refused = { result: "failed", code: "AUTH_SIGNATURE_INVALID" };
  const asOther = ROUND_MESSAGE.sign(message({ sender: vault(1).actorId }), vault(1).signing);
  const forged = ROUND_MESSAGE.sign(message(), vault(1).signing);
  for (const signed of [asOther, forged, utf8("no message")]) {
    expect(await answerTo(signedCall(post(signed)))).toEqual(refused);
  }
  const read = { name: "messages", task_id: taskId, round: 0, after: 0, wait_ms: 0 } as const;
  expect(await answerTo(signedCall(read))).toEqual({
    result: "messages",
    messages: [],
    closed: false,
  });
});

test("a place on the board is filled once, and the first message stays", async () => {
  const first = ROUND_MESSAGE.sign(message(), vault(0).signing);
  expect(await answerTo(signedCall(post(first)))).toEqual({ result: "done" });
  const body = { kind: "failed", code: "TEE_NSM_FAILED", executing: true } as const;
  const second = ROUND_MESSAGE.sign(message({ body }), vault(0).signing);
  const conflict = { result: "failed", code: "COORDINATION_CONFLICT" };
  expect(await answerTo(signedCall(post(second)))).toEqual(conflict);
  const read = { name: "messages", task_id: taskId, round: 0, after: 0, wait_ms: 0 } as const;
  const answer = await answerTo(signedCall(read));
  expect(answer).toMatchObject({ messages: [{ message: first }] });
});

test("a task that is not known, or is over, takes no messages", async () => {
  const signed = ROUND_MESSAGE.sign(message({ round: 1 }), vault(0).signing);
  expect(await answerTo(signedCall(post(signed, "t-unknown")))).toEqual({
    result: "failed",
    code: "EXECUTION_TASK_UNKNOWN",
  });
});

test("evidence that is no log excerpt is refused", async () => {
  const call = { name: "evidence", task_id: taskId, excerpt: sha256(utf8("no excerpt")) } as const;
  const answer = await answerTo(signedCall(call));
  expect(answer.result).toBe("failed");
});

test("a long poll ends after its time with nothing", async () => {
  const poll = { name: "next_work", instance: new Uint8Array(16).fill(9), wait_ms: 30 } as const;
  await answerTo(signedCall(poll));
  const answers = [];
  for (let count = 0; count < 3; count += 1) answers.push(await answerTo(signedCall(poll)));
  expect(answers.at(-1)).toEqual({ result: "none" });
});
