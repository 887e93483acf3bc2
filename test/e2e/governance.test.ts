import * as fs from "node:fs";
import path from "node:path";

import { afterAll, beforeAll, expect, test } from "vitest";
import { z } from "zod";

import { TASK_REQUEST, type Policy } from "../../protocol/index.ts";
import { startCoordinator, type LiveCoordinator } from "../helpers/live-coordinator.ts";
import { createNetwork, openedNow } from "../helpers/network.ts";
import { testRequest } from "../helpers/network-task.ts";
import { ADULTS } from "../helpers/sample-parameters.ts";
import { submitterFolder, symphony as speak, writeSeed } from "../helpers/spoken.ts";
import { VOTED } from "../helpers/votes.ts";

let live: LiveCoordinator;
let folder: string;

/** The first version lets nobody submit a query; the rules themselves are voted on. */
const network = await createNetwork({
  policy: (policy) => ({
    ...policy,
    admission: {
      ...policy.admission,
      rate_limits: {
        ...policy.admission.rate_limits,
        query: { actor_tasks_max: 0, window_ms: 1_000 },
      },
    },
    governance: {
      ...policy.governance,
      processes: { ...policy.governance.processes, policy_change: VOTED },
    },
  }),
  genesis: openedNow,
});

beforeAll(async () => {
  live = await startCoordinator(network);
  await live.cosign();
  folder = submitterFolder(live);
  for (const number of [1, 2, 3]) writeSeed(keyFile(number), `governance ${number}`);
});

afterAll(async () => {
  await live.stop();
  for (const each of [folder, live.folder]) fs.rmSync(each, { recursive: true, force: true });
});

const keyFile = (number: number): string => path.join(folder, `key-${number}.seed`);

function written(name: string, content: object): string {
  const file = path.join(folder, name);
  fs.writeFileSync(file, JSON.stringify(content));
  return file;
}

async function symphony(...words: string[]): Promise<string> {
  const { exit, out, err } = await speak(...words, "--dir", folder, "--json");
  expect({ exit, err }).toEqual({ exit: 0, err: "" });
  return out;
}

async function get(route: string): Promise<unknown> {
  return (await fetch(`${live.publicUrl}/v1/governance/${route}`)).json();
}

async function submitQuery(nonce: number): Promise<string> {
  const request = await testRequest(network, ADULTS, {
    created_ms: Date.now(),
    request_id: new Uint8Array(16).fill(nonce),
  });
  const signed = TASK_REQUEST.sign(request, network.submitter.signing);
  return (await live.client.submit(signed)).policy_version;
}

const nextPolicy: Policy = {
  ...network.genesis.policy,
  policy_version_id: "policy-2",
  effective_from_epoch: 1,
  predecessor_version_id: "policy-1",
  admission: {
    ...network.genesis.policy.admission,
    rate_limits: {
      ...network.genesis.policy.admission.rate_limits,
      query: { actor_tasks_max: 5, window_ms: 60_000 },
    },
  },
};

const proposedShape = z.object({ proposal: z.looseObject({ proposal_id: z.string() }) });

test("[PV-1][PV-2][GS-4][GS-5][GS-6][GS-7][EP-1][EP-2] a policy is proposed, voted on and in force from the boundary on, and a task sees it", async () => {
  await expect(submitQuery(1)).rejects.toMatchObject({ code: "POLICY_LIMIT_EXCEEDED" });
  const document = written("policy-2.json", nextPolicy);
  const compared = await symphony("policy", "diff", "policy-1", document);
  expect(compared).toContain("admission.rate_limits.query.actor_tasks_max");
  const text = await symphony("policy", "announce", document, "--key", keyFile(1));
  const { proposal_id: id } = proposedShape.parse(JSON.parse(text)).proposal;
  await live.cosign();
  expect(await get(`proposals/${id}`)).toMatchObject({
    kind: "policy_change",
    status: "open",
    votes: [{ vote: "approve" }],
    decision: { type: "policy_announced", policy: { policy_version_id: "policy-2" } },
  });
  const again = await symphony("policy", "announce", document, "--key", keyFile(1));
  expect(proposedShape.parse(JSON.parse(again)).proposal.proposal_id, "one proposal").toBe(id);
  expect(await symphony("governance", "vote", id, "--key", keyFile(2))).toContain(
    '"status":"approved"',
  );
  await live.cosign();
  expect(await get("policies")).toMatchObject({
    policies: [
      { policy_version_id: "policy-1", status: "active" },
      { policy_version_id: "policy-2", status: "draft" },
    ],
  });
  await expect(submitQuery(2)).rejects.toMatchObject({ code: "POLICY_LIMIT_EXCEEDED" });
  const boundary = written("boundary.json", { type: "epoch_boundary_requested", reason: "new" });
  const keys = ["--key", keyFile(2), "--key", keyFile(3)];
  expect(await symphony("governance", "propose", boundary, ...keys)).toBe(
    '{"outcome":"decided"}\n',
  );
  await expect.poll(() => get("state")).toMatchObject({ policy_version: "policy-2" });
  expect(await get("epochs")).toMatchObject({
    epochs: [
      { epoch_id: 0, status: "closed", close_reason: "governance" },
      { epoch_id: 1, status: "open", policy_version_set: ["policy-2"] },
    ],
    next: null,
  });
  expect(await submitQuery(3)).toBe("policy-2");
});

test("[GS-7] what is refused over HTTP and by the command line says why", async () => {
  const status = await fetch(`${live.publicUrl}/v1/governance/proposals/${"00".repeat(32)}`);
  expect(status.status).toBe(404);
  const wrong = written("wrong.json", { type: "epoch_boundary_requested", reasons: "new" });
  const spoken = await speak("governance", "propose", wrong, "--key", keyFile(1), "--dir", folder);
  expect(spoken.exit).toBe(1);
  expect(spoken.err).toMatch(/line 1.*reason/);
  const events = z.object({ events: z.array(z.string()), next: z.int() });
  expect(events.parse(await get("events?limit=1"))).toMatchObject({ next: 1 });
  const { proposals } = z
    .object({ proposals: z.array(z.looseObject({ proposal_id: z.string() })) })
    .parse(await get("proposals"));
  const ended = proposals[0]?.proposal_id ?? "";
  const late = await speak("governance", "vote", ended, "--key", keyFile(3), "--dir", folder);
  expect(late).toMatchObject({ exit: 1 });
  expect(late.err).toContain("GOVERNANCE_PROPOSAL_CLOSED");
  const changed = await speak(
    ...["governance", "vote", ended, "--reject", "--key", keyFile(1), "--dir", folder],
  );
  expect(changed.err).toContain("GOVERNANCE_VOTE_FINAL");
});
