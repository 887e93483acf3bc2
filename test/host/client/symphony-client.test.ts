import * as fs from "node:fs";
import http from "node:http";

import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import { z } from "zod";

import { SymphonyClient, type Task } from "../../../host/client/index.ts";
import { readParameters } from "../../../host/http/request-file.ts";
import {
  TASK_ENVELOPE,
  base64,
  boxKeyPairFromSeed,
  type TaskEnvelope,
} from "../../../protocol/index.ts";
import { startCoordinator, type LiveCoordinator } from "../../helpers/live-coordinator.ts";
import { customerData } from "../../helpers/network-data.ts";
import { testTask } from "../../helpers/network-task.ts";
import { createNetwork, openedNow, testSeed, type TestNetwork } from "../../helpers/network.ts";
import { openApiFile } from "../../docs/openapi.ts";

const TASK: Task = {
  record_scope: "customers",
  usage_scope: "marketing",
  vault_ids: ["vault-1", "vault-2"],
  parameters: {
    task_class: "query",
    predicate: {
      operator: "AND",
      operands: [{ attribute: "customer.age", op: "range", min: 20, max: 70 }],
    },
    audience_cap: 100,
  },
  epsilon_micro: 1_000_000,
};

let network: TestNetwork;
let live: LiveCoordinator;
const servers: http.Server[] = [];

beforeAll(async () => {
  network = await createNetwork({ genesis: openedNow });
  live = await startCoordinator(network);
  await live.cosign();
});

afterAll(async () => {
  await live.stop();
  fs.rmSync(live.folder, { recursive: true, force: true });
});

afterEach(() => {
  for (const server of servers.splice(0)) {
    server.closeAllConnections();
    server.close();
  }
});

async function clientOf(url: string, limits: { deadlineMs?: number; signal?: AbortSignal } = {}) {
  const { submitter, genesisDigest } = network;
  const deliveryKey = await boxKeyPairFromSeed(testSeed("delivery"));
  const identity = { actorId: submitter.actorId, signingKey: submitter.signing, deliveryKey };
  return new SymphonyClient({ url, genesisDigest }, identity, limits);
}

/** A coordinator of our own making. */
async function serving(answer: http.RequestListener): Promise<string> {
  const server = http.createServer(answer);
  servers.push(server);
  const { promise, resolve } = Promise.withResolvers<void>();
  server.listen(0, "127.0.0.1", resolve);
  await promise;
  const address = server.address();
  return `http://127.0.0.1:${typeof address === "object" ? address?.port : 0}`;
}

test("[CB-1] a task is judged, sent and seen, and governance is verified", async () => {
  const client = await clientOf(live.publicUrl);
  expect(await client.dryRun(TASK)).toMatchObject({ outcome: "admissible" });
  const { task_id: taskId, task_class } = await client.submit(TASK);
  expect(task_class).toBe("query");
  expect(await client.status(taskId)).toMatchObject({ task_id: taskId, delivered: false });
  for await (const { type, sequence } of client.watch(taskId)) {
    expect({ type, whole: Number.isSafeInteger(sequence) }).toEqual({
      ...{ type: "task_accepted", whole: true },
    });
    break;
  }
  expect((await client.governance()).actors.has("analyst")).toBe(true);
  const { coordinator } = client;
  const { policy_version, epoch, sequence } = await coordinator.governanceState();
  expect((await coordinator.policies()).map((each) => each.policy_version_id)).toEqual([
    policy_version,
  ]);
  expect(await coordinator.policy(policy_version)).toMatchObject({ status: "active" });
  expect((await coordinator.epochs()).epochs.map((each) => each.epoch_id)).toContain(
    epoch.epoch_id,
  );
  expect((await coordinator.governanceEvents()).events).toHaveLength(sequence);
  expect(await coordinator.governanceCheckpoint()).toContain("governance");
  expect(await coordinator.actors()).toContainEqual(await coordinator.actor("analyst"));
});

test("[CB-2] a refusal is an error with its code and its status", async () => {
  const client = await clientOf(live.publicUrl);
  await expect(client.status("t-unknown")).rejects.toMatchObject({
    ...{ name: "RemoteProblem", code: "EXECUTION_TASK_UNKNOWN", status: 404 },
  });
  await expect(client.submit({ ...TASK, record_scope: "shoes" })).rejects.toMatchObject({
    ...{ name: "RemoteProblem", code: "DERIVATION_UNRESOLVED", status: 403 },
  });
  await expect(client.submit({ ...TASK, vault_ids: [] })).rejects.toMatchObject({
    ...{ code: "SCHEMA_MALFORMED", class: "malformed" },
  });
});

test("[CB-1] an envelope is believed when admission could have assembled it, whoever sends it", async () => {
  const parameters = readParameters(TASK.parameters);
  const data = customerData(TASK.vault_ids, 10);
  const { envelope } = await testTask(network, { parameters, data });
  const snapshot = await (await fetch(`${live.publicUrl}/v1/governance/snapshot`)).text();
  const told = async (change: Partial<TaskEnvelope>) => {
    const bytes = TASK_ENVELOPE.encode({ ...envelope, ...change });
    const url = await serving((request, response) => {
      const isEnvelope = request.url?.endsWith("/envelope") === true;
      response.end(isEnvelope ? JSON.stringify({ envelope: base64(bytes) }) : snapshot);
    });
    return (await clientOf(url)).envelope(envelope.task_id);
  };
  expect(await told({})).toEqual(envelope);
  for (const change of [{ record_scope: "receipts" }, { task_id: "t-other" }]) {
    await expect(told(change)).rejects.toMatchObject({ code: "PROOF_COMMITMENT_MISMATCH" });
  }
});

test("a call that nobody answers ends at its deadline, and one that is aborted with its reason", async () => {
  const url = await serving(() => undefined);
  const patient = await clientOf(url, { deadlineMs: 30 });
  await expect(patient.status("t-1")).rejects.toMatchObject({ code: "COORDINATION_UNAVAILABLE" });
  await expect(patient.watch("t-1").next()).rejects.toMatchObject({
    code: "COORDINATION_UNAVAILABLE",
  });
  const stop = new AbortController();
  const stopped = (await clientOf(url, { signal: stop.signal })).status("t-1");
  stop.abort(new Error("enough"));
  await expect(stopped).rejects.toThrow("enough");
});

test("a stream that is cut off goes on where it ended, and ends with the task", async () => {
  const asked: string[] = [];
  const view = {
    ...{ task_id: "t-1", task_class: "query", state: "completed", reason: null, epoch_id: 1 },
    ...{ policy_version: "p", rounds: 1, simulated: true },
  };
  const url = await serving((request, response) => {
    const isStream = request.url?.includes("/events") === true;
    if (isStream) asked.push(request.url ?? "");
    const delivered = asked.length > 1;
    if (!isStream) return void response.end(JSON.stringify({ ...view, delivered }));
    const event = { sequence: asked.length, time_ms: 1, type: "task_transition", body: null };
    response.writeHead(200, { "content-type": "text/event-stream" });
    response.write(`data: ${JSON.stringify(event)}\n\n`, () =>
      delivered ? response.end() : response.destroy(),
    );
  });
  const seen: number[] = [];
  for await (const { sequence } of (await clientOf(url)).watch("t-1")) seen.push(sequence);
  expect(seen).toEqual([1, 2]);
  expect(asked).toEqual(["/v1/tasks/t-1/events?after=0", "/v1/tasks/t-1/events?after=2"]);
});

test("[CB-1] the client asks for what the document has, and for nothing else", async () => {
  const asked = new Set<string>();
  const url = await serving((request, response) => {
    const { pathname } = new URL(request.url ?? "", "http://localhost");
    asked.add(`${request.method?.toLowerCase()} ${pathname.replace(/\/t-1(?=\/|$)/, "/{id}")}`);
    response.writeHead(503).end();
  });
  const client = await clientOf(url);
  const signed = new Uint8Array(1);
  const { coordinator } = client;
  const calls = [
    client.submit(TASK),
    client.dryRun(TASK),
    client.status("t-1"),
    client.envelope("t-1"),
    client.watch("t-1").next(),
    client.result("t-1"),
    client.evidence("t-1"),
    client.governance(),
    coordinator.challenge("t-1", signed),
    coordinator.submitGovernanceEvent(signed),
    coordinator.uploadArtifact(signed),
    coordinator.openProposal(signed),
    coordinator.vote("t-1", signed),
    coordinator.proposal("t-1"),
    coordinator.proposals(),
    coordinator.governanceState(),
    coordinator.policies(),
    coordinator.policy("t-1"),
    coordinator.epochs(),
    coordinator.governanceEvents(),
    coordinator.governanceCheckpoint(),
    coordinator.actors(),
    coordinator.actor("t-1"),
    coordinator.candidates("a"),
    coordinator.candidateReport(
      { domainId: "d", attributeId: "a", exception: null },
      { first_epoch: 0, last_epoch: 9 },
    ),
  ];
  for (const { status } of await Promise.allSettled(calls)) expect(status).toBe("rejected");
  const { paths } = z
    .object({ paths: z.record(z.string(), z.record(z.string(), z.unknown())) })
    .parse(JSON.parse(fs.readFileSync(openApiFile("coordinator"), "utf8")));
  const told = Object.entries(paths).flatMap(([path, operations]) =>
    Object.keys(operations).map((method) => `${method} ${path}`),
  );
  const forMachines = ["get /healthz", "get /metrics"];
  expect([...asked].toSorted()).toEqual(
    told.filter((route) => !forMachines.includes(route)).toSorted(),
  );
});
