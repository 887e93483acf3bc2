import * as fs from "node:fs";

import { afterAll, beforeAll, expect, test } from "vitest";

import { TASK_REQUEST, base64, utf8, type TaskRequest } from "../../../protocol/index.ts";
import { startCoordinator, type LiveCoordinator } from "../../helpers/live-coordinator.ts";
import { testRequest } from "../../helpers/network-task.ts";
import { createNetwork, openedNow, testActor, type TestNetwork } from "../../helpers/network.ts";
import { PARAMETERS } from "../admission/requests.ts";

let network: TestNetwork;
let live: LiveCoordinator;

beforeAll(async () => {
  network = await createNetwork({ genesis: openedNow });
  live = await startCoordinator(network);
  await live.cosign();
});

afterAll(async () => {
  await live.stop();
  fs.rmSync(live.folder, { recursive: true, force: true });
});

async function call(path: string, init: RequestInit = {}) {
  const response = await fetch(`${live.publicUrl}${path}`, init);
  const type = response.headers.get("content-type")?.split(";")[0];
  const text = await response.text();
  const body: unknown = type?.includes("json") === true ? JSON.parse(text) : text;
  return { status: response.status, type, body };
}

function postJson(path: string, text: string) {
  const headers = { "content-type": "application/json" };
  return call(path, { method: "POST", headers, body: text });
}

function postSigned(path: string, signed: Uint8Array) {
  return postJson(path, JSON.stringify({ signed: base64(signed) }));
}

async function tasksKnown(): Promise<number> {
  const { body } = await call("/metrics");
  const lines = String(body).match(/^symphony_tasks\{.*\} (\d+)$/gm) ?? [];
  return lines.reduce((sum, line) => sum + Number(line.split(" ").at(-1)), 0);
}

async function signedRequest(changes: Partial<TaskRequest> = {}): Promise<Uint8Array> {
  const request = await testRequest(network, PARAMETERS.query, {
    created_ms: Date.now(),
    ...changes,
  });
  return TASK_REQUEST.sign(request, network.submitter.signing);
}

const PROBLEM = "application/problem+json";

test.for([
  { title: "bad JSON", text: "{", field: undefined },
  { title: "a list", text: "[]", field: "body" },
  { title: "no field", text: "{}", field: "body.signed" },
  { title: "a number for text", text: '{"signed":1}', field: "body.signed" },
  { title: "a field too many", text: '{"signed":"","x":1}', field: "body" },
  { title: "bad base64", text: '{"signed":"!!"}', field: "body.signed" },
  { title: "unpadded base64", text: '{"signed":"AAA"}', field: "body.signed" },
  {
    title: "text far too long",
    text: JSON.stringify({ signed: "A".repeat(300_000) }),
    field: "body.signed",
  },
])("[CB-2] $title is a problem with a code, naming the field", async ({ text, field }) => {
  const before = await tasksKnown();
  for (const path of ["/v1/tasks", "/v1/tasks/t-1/challenge", "/v1/governance/events"]) {
    const { status, type, body } = await postJson(path, text);
    expect({ status, type }).toEqual({ status: 400, type: PROBLEM });
    expect(body).toMatchObject({
      code: "SCHEMA_MALFORMED",
      status: 400,
      ...(field === undefined ? {} : { field }),
    });
  }
  expect(await tasksKnown()).toBe(before);
});

test("a body over the limit is refused by size, on each route by its own", async () => {
  const oversize = await postJson("/v1/tasks", `{"signed":"${"A".repeat(1024 * 1024)}"}`);
  expect(oversize).toMatchObject({
    status: 413,
    type: PROBLEM,
    body: { code: "SCHEMA_TOO_LARGE" },
  });
  const model = await call("/v1/governance/artifacts", {
    method: "POST",
    headers: { "content-type": "application/octet-stream" },
    body: new Uint8Array(16 * 1024 * 1024 + 1),
  });
  expect(model).toMatchObject({ status: 413, body: { code: "SCHEMA_TOO_LARGE" } });
});

test("a body of another type is refused", async () => {
  const init = { method: "POST", headers: { "content-type": "application/xml" }, body: "<a/>" };
  expect(await call("/v1/tasks", init)).toMatchObject({
    status: 415,
    type: PROBLEM,
    body: { code: "SCHEMA_MALFORMED" },
  });
});

test("[CB-2] an unknown task is 404 with its code, wherever it is asked for", async () => {
  const known = { status: 404, type: PROBLEM, body: { code: "EXECUTION_TASK_UNKNOWN" } };
  for (const path of [
    "/v1/tasks/t-9",
    "/v1/tasks/t-9/result",
    "/v1/tasks/t-9/events",
    "/v1/evidence/t-9",
  ]) {
    expect(await call(path)).toMatchObject(known);
  }
});

test("an unknown path is 404, a task's name of any shape is only unknown", async () => {
  expect(await call("/v1/nothing")).toMatchObject({ status: 404, type: PROBLEM });
  expect(await call(`/v1/tasks/${"x".repeat(200)}`)).toMatchObject({ status: 414 });
  expect(await call("/v1/tasks/..%2f..%2fetc")).toMatchObject({ status: 404 });
  expect(await call("/v1/tasks/%00")).toMatchObject({ status: 404 });
});

test("a task class nobody knows is refused by its field", async () => {
  const request = await testRequest(network, PARAMETERS.query, { created_ms: Date.now() });
  const bytes = TASK_REQUEST.sign(request, network.submitter.signing);
  const at = Buffer.from(bytes).indexOf("query");
  const other = Uint8Array.from([
    ...bytes.subarray(0, at),
    ...utf8("guess"),
    ...bytes.subarray(at + 5),
  ]);
  const { status, body } = await postSigned("/v1/tasks", other);
  expect(status).toBe(400);
  expect(body).toMatchObject({
    code: "SCHEMA_MALFORMED",
    field: expect.stringContaining("task_class"),
  });
});

test("[AP-1] a request that its submitter did not sign is refused, and no task is made", async () => {
  const before = await tasksKnown();
  const stranger = await testActor("stranger", "submitter");
  const request = await testRequest(network, PARAMETERS.query, { created_ms: Date.now() });
  const forged = TASK_REQUEST.sign(request, stranger.signing);
  expect(await postSigned("/v1/tasks", forged)).toMatchObject({
    status: 401,
    body: { code: "PROOF_SIGNATURE_INVALID" },
  });
  expect(await postSigned("/v1/tasks", utf8("not a request"))).toMatchObject({ status: 400 });
  expect(await tasksKnown()).toBe(before);
});

test("[AP-5] a rejection carries a protocol error, a price and nothing of any Vault", async () => {
  const { status, body } = await postSigned("/v1/tasks", await signedRequest({ epsilon_micro: 1 }));
  expect(status).toBe(403);
  expect(body).toEqual({
    type: "urn:symphony:error:PRIVACY_BUDGET_EXCEEDED",
    title: "PRIVACY_BUDGET_EXCEEDED",
    status: 403,
    code: "PRIVACY_BUDGET_EXCEEDED",
    detail: "epsilon_micro: expected at least the price 110000, got 1",
    ...{ price_micro: 110_000, offered_micro: 1 },
  });
});

test("two submits of the same bytes at once are one task; its result is not ready", async () => {
  const before = await tasksKnown();
  const signed = await signedRequest({ request_id: new Uint8Array(16).fill(1) });
  const both = await Promise.all([
    postSigned("/v1/tasks", signed),
    postSigned("/v1/tasks", signed),
  ]);
  expect(both.map(({ status }) => status)).toEqual([202, 202]);
  const [first, second] = await Promise.all([
    live.client.submit(signed),
    live.client.submit(signed),
  ]);
  expect(first.task_id).toBe(second.task_id);
  expect(both[0].body).toMatchObject({ task_id: first.task_id, task_class: "query" });
  expect(await tasksKnown()).toBe(before + 1);
  for (const path of [`/v1/tasks/${first.task_id}/result`, `/v1/evidence/${first.task_id}`]) {
    expect(await call(path)).toMatchObject({ status: 503, body: { code: "DELIVERY_NOT_READY" } });
  }
});

test("two tasks at once are two tasks, each asked of each Vault", async () => {
  const before = await tasksKnown();
  const signed = await Promise.all(
    [2, 3].map((label) => signedRequest({ request_id: new Uint8Array(16).fill(label) })),
  );
  const views = await Promise.all(signed.map((each) => live.client.submit(each)));
  expect(new Set(views.map(({ task_id }) => task_id)).size).toBe(2);
  expect(await tasksKnown()).toBe(before + 2);
});

test("a model that governance did not register is refused", async () => {
  await expect(live.client.uploadArtifact(utf8("my own model"))).rejects.toMatchObject({
    code: "EXECUTION_WORKLOAD_UNREGISTERED",
    status: 403,
  });
});

test("[GS-7] governance takes no event that its keys did not approve", async () => {
  const { status, body } = await postSigned("/v1/governance/events", utf8("an event"));
  expect(status).toBe(400);
  expect(body).toMatchObject({ code: expect.stringMatching(/^(SCHEMA|GOVERNANCE)_/) });
});

test("a challenge of a task without a candidate is refused and moves nothing", async () => {
  const signed = await signedRequest({ request_id: new Uint8Array(16).fill(4) });
  const { task_id: taskId } = await live.client.submit(signed);
  const { status } = await postSigned(`/v1/tasks/${taskId}/challenge`, signed);
  expect(status).toBeGreaterThanOrEqual(400);
  expect((await live.client.status(taskId)).state).not.toBe("challenged");
});

test("the event stream tells what happened so far, from where the reader was", async () => {
  const signed = await signedRequest({ request_id: new Uint8Array(16).fill(5) });
  const { task_id: taskId } = await live.client.submit(signed);
  const stop = new AbortController();
  const seen: string[] = [];
  for await (const event of live.client.events(taskId, { signal: stop.signal })) {
    seen.push(event.type);
    if (seen.length === 2) break;
  }
  stop.abort();
  expect(seen).toEqual(["task_accepted", "task_transition"]);
  expect(await call(`/v1/tasks/${taskId}/events?after=-1`)).toMatchObject({
    status: 400,
    body: { field: "query.after" },
  });
});

test("nothing unexpected happened meanwhile", () => {
  expect(live.reports.filter(({ event }) => event === "unexpected_error")).toEqual([]);
});
