import { randomBytes } from "node:crypto";
import * as fs from "node:fs";
import path from "node:path";

import { afterAll, beforeAll, expect, test } from "vitest";

import { writeWhole } from "../../../../host/run/files.ts";
import { NODE_CALL } from "../../../../protocol/index.ts";
import { startCoordinator, type LiveCoordinator } from "../../../helpers/live-coordinator.ts";
import { createNetwork, type TestNetwork } from "../../../helpers/network.ts";
import { newFixture, newFolder, type Fixture } from "../../sovereignty/vault-fixture.ts";
import { TOKEN, operate } from "./operated.ts";

let network: TestNetwork;
let live: LiveCoordinator;

beforeAll(async () => {
  network = await createNetwork();
  live = await startCoordinator(network);
});

afterAll(async () => {
  await live.stop();
  fs.rmSync(live.folder, { recursive: true, force: true });
});

test("[AZ-2] nothing of the operator's listener answers where a coordinator or a submitter calls", async () => {
  const { routes } = await operate(await newFixture());
  const operators = routes.filter((route) => route.includes("/v1/vault/"));
  expect(operators.length).toBeGreaterThan(5);
  for (const base of [live.publicUrl, live.nodeUrl]) {
    for (const route of [...operators, "GET /v1/vault", "POST /v1/operator/status"]) {
      const [method = "", at = ""] = route.split(" ");
      const headers = { authorization: `Bearer ${TOKEN}` };
      const response = await fetch(`${base}${at}`, { method, headers });
      expect({ route, status: response.status }).toEqual({ route, status: 404 });
    }
  }
});

/** What a node of the network has to show who it is, in every form a header or a body can take. */
function credentialsOf(fixture: Fixture): { readonly title: string; readonly init: RequestInit }[] {
  const { actorId, signing } = fixture.actor;
  const call = {
    actor_id: actorId,
    at_ms: Date.now(),
    nonce: new Uint8Array(randomBytes(16)),
    call: { name: "governance" } as const,
  };
  const signed = Buffer.from(NODE_CALL.sign(call, signing));
  const bearer = (text: string): RequestInit => ({ headers: { authorization: `Bearer ${text}` } });
  return [
    { title: "a signed call as token", init: bearer(signed.toString("hex")) },
    {
      title: "its public key as token",
      init: bearer(Buffer.from(signing.publicKey).toString("hex")),
    },
    { title: "its name as token", init: bearer(actorId) },
    {
      title: "a signed call as body",
      init: { method: "POST", headers: { "content-type": "application/cbor" }, body: signed },
    },
  ];
}

test("[AZ-2] a node's credentials open nothing at the operator's listener, the Vault's own neither", async () => {
  const fixture = await newFixture();
  const operated = await operate(fixture);
  for (const { title, init } of credentialsOf(fixture)) {
    for (const route of [...operated.routes, "POST /v1/nodes/call", "GET /"]) {
      const [method = "GET", at = ""] = route.split(" ");
      if (at === "/healthz" || method === "HEAD") continue;
      const { status, body } = await operated.call(at, {
        ...init,
        method: init.method ?? method,
        token: null,
      });
      expect({ title, route, status, body }).toMatchObject({
        status: 401,
        body: { code: "AUTH_TOKEN_INVALID" },
      });
    }
  }
});

test("[AZ-2] the file with the token is its owner's alone, also when it was everybody's", async () => {
  const file = path.join(newFolder(), "operator.json");
  fs.writeFileSync(file, "old", { mode: 0o666 });
  fs.writeFileSync(`${file}.new`, "left behind", { mode: 0o666 });
  await writeWhole(file, "new");
  expect(fs.statSync(file).mode & 0o777).toBe(0o600);
  expect(fs.readFileSync(file, "utf8")).toBe("new");
});
