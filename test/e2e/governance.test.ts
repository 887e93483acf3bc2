import * as fs from "node:fs";
import path from "node:path";

import { afterAll, beforeAll, expect, test } from "vitest";
import { z } from "zod";

import type { Policy } from "../../protocol/index.ts";
import { propose } from "../helpers/govern.ts";
import { startCoordinator, type LiveCoordinator } from "../helpers/live-coordinator.ts";
import { createNetwork, openedNow } from "../helpers/network.ts";
import { clientIn, submitterFolder, symphony as speak, writeSeed } from "../helpers/spoken.ts";
import { TASKS } from "../helpers/tasks.ts";
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

async function submitQuery(): Promise<string> {
  return (await (await clientIn(folder)).submit(TASKS.query)).policy_version;
}

async function boundary(epochId: number): Promise<void> {
  const by = { directory: folder, keyFiles: [keyFile(2), keyFile(3)] };
  await propose(by, { type: "epoch_boundary_requested", reason: "new" });
  await expect.poll(() => get("state")).toMatchObject({ epoch: { epoch_id: epochId } });
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

test("[PV-1][PV-2][GS-1][GS-4][GS-5][GS-6][GS-7][EP-1][EP-2] a policy is proposed, voted on and in force from the boundary on, and a task sees it", async () => {
  await expect(submitQuery()).rejects.toMatchObject({ code: "POLICY_LIMIT_EXCEEDED" });
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
  await expect(submitQuery()).rejects.toMatchObject({ code: "POLICY_LIMIT_EXCEEDED" });
  await boundary(1);
  expect(await get("state")).toMatchObject({ policy_version: "policy-2" });
  expect(await get("epochs")).toMatchObject({
    epochs: [
      { epoch_id: 0, status: "closed", close_reason: "governance" },
      { epoch_id: 1, status: "open", policy_version_set: ["policy-2"] },
    ],
    next: null,
  });
  expect(await submitQuery()).toBe("policy-2");
});

test("[GS-1][PV-2] a version that was succeeded is deprecated, and from the boundary that is decided on retired", async () => {
  await live.cosign();
  const standing = async () =>
    (await live.client.policies()).map(({ policy_version_id: id, status, ...version }) => {
      const { active_from, active_until } = version;
      return { id, status, active_from, active_until };
    });
  const second = { id: "policy-2", status: "active", active_from: 1, active_until: null };
  const first = { id: "policy-1", active_from: 0, active_until: 1 };
  expect(await standing()).toEqual([{ ...first, status: "deprecated" }, second]);
  const retired = { type: "policy_retired", policy_version_id: "policy-1", from_epoch: 2 };
  const keys = ["--key", keyFile(1), "--key", keyFile(2)];
  await symphony("governance", "propose", written("retired.json", retired), ...keys);
  await live.cosign();
  expect(await standing()).toEqual([{ ...first, status: "deprecated" }, second]);
  await boundary(2);
  expect(await standing()).toEqual([{ ...first, status: "retired" }, second]);
  await live.cosign();
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
