import * as http from "node:http";

import { beforeEach, expect, test } from "vitest";

import {
  CUSTOMER_HEADER,
  PNG,
  customerCsv,
  newFixture,
  type Fixture,
} from "../../sovereignty/vault-fixture.ts";
import { TOKEN, operate, type Operated } from "./operated.ts";

let fixture: Fixture;
let operated: Operated;
let operator: Operated["client"];

beforeEach(async () => {
  fixture = await newFixture();
  operated = await operate(fixture);
  operator = operated.client;
});

function ingest(csv: string, query = "scope=customers") {
  const headers = { "content-type": "text/csv" };
  return operated.call(`/v1/vault/ingest?${query}`, { method: "POST", headers, body: csv });
}

async function expectEmpty(): Promise<void> {
  expect(await fixture.vault.status()).toMatchObject({ records: 0, batches: 0, subjects: 0 });
}

test("[PL-1] the operator puts records in, sees them, consents and grants", async () => {
  const body = new TextEncoder().encode(customerCsv(12));
  const report = await operator.ingestCsv({ scope: "customers", onError: "abort", body });
  expect(report).toMatchObject({ records: 12, quarantined: 0 });
  expect(await operator.records("customers")).toHaveLength(12);
  await operator.setConsent({ usage_scope: "marketing", subjects: "all-known", state: "granted" });
  await operator.grant({
    ...{ grant_id: "g-1", actor_id: "analyst", task_class: "query", record_scope: "customers" },
    ...{ usage_scope: "marketing", not_before_ms: null, not_after_ms: null },
  });
  await operator.revokeGrant("g-1");
  expect(await operator.status()).toMatchObject({ records: 12, subjects: 12 });
});

test.for([
  { title: "no token", token: null },
  { title: "another token", token: "6".repeat(64) },
  { title: "half a token", token: "5".repeat(32) },
  { title: "a token too long", token: "5".repeat(65) },
  { title: "an empty token", token: "" },
])("[AZ-2] $title opens nothing, on any path", async ({ token }) => {
  const init = { token };
  for (const path of ["/v1/vault/status", "/v1/vault/records?scope=customers", "/nothing"]) {
    expect(await operated.call(path, init)).toMatchObject({
      status: 401,
      body: { code: "AUTH_TOKEN_INVALID" },
    });
  }
  const headers = { "content-type": "text/csv" };
  const post = { ...init, method: "POST", headers, body: customerCsv(3) };
  expect((await operated.call("/v1/vault/ingest?scope=customers", post)).status).toBe(401);
  await expectEmpty();
});

test("[CB-2] an unknown or missing column is named, and nothing is kept", async () => {
  const unknown = await ingest(`${CUSTOMER_HEADER},shoe\nc-1,a@x,30,10.5,Porto,1,42\n`);
  expect(unknown).toMatchObject({
    status: 400,
    body: { code: "SCHEMA_UNKNOWN_COLUMN", column: "shoe" },
  });
  const missing = await ingest(CUSTOMER_HEADER.replace("customer.age,", ""));
  expect(missing).toMatchObject({
    body: { code: "SCHEMA_UNKNOWN_COLUMN", column: "customer.age" },
  });
  await expectEmpty();
});

test("[CB-2] a bad row is named by line and column without its value, and nothing is kept", async () => {
  const good = customerCsv(40);
  const { status, body } = await ingest(`${good}c-x,x@example.org,secret,10.5,Porto,1\n`);
  expect(status).toBe(400);
  expect(body).toMatchObject({ code: "SCHEMA_ROW_MALFORMED", line: 42, column: "customer.age" });
  expect(JSON.stringify(body)).not.toContain("secret");
  await expectEmpty();
});

test("with quarantine a bad row is set aside and the others stay", async () => {
  const csv = `${customerCsv(4)}c-x,x@example.org,secret,10.5,Porto,1\n`;
  const { status, body } = await ingest(csv, "scope=customers&on_error=quarantine");
  expect(status).toBe(200);
  expect(body).toMatchObject({ records: 4, quarantined: 1 });
  expect(JSON.stringify(body)).not.toContain("secret");
});

test.for([
  { query: "scope=shoes", code: "DERIVATION_UNRESOLVED", field: "scope" },
  { query: "scope=customers&on_error=maybe", code: "SCHEMA_MALFORMED", field: "query.on_error" },
  { query: "", code: "SCHEMA_MALFORMED", field: "query.scope" },
  { query: "scope=customers&x=1", code: "SCHEMA_MALFORMED", field: "query" },
])("[CB-2] refuses ?$query by its field", async ({ query, code, field }) => {
  expect((await ingest(customerCsv(3), query)).body).toMatchObject({ code, field });
  await expectEmpty();
});

test("a CSV sent as something else is refused", async () => {
  const post = { method: "POST", headers: { "content-type": "application/json" }, body: "{}" };
  expect(await operated.call("/v1/vault/ingest?scope=customers", post)).toMatchObject({
    status: 400,
    body: { code: "SCHEMA_MALFORMED", field: "body" },
  });
});

test("an upload that breaks off leaves nothing", async () => {
  await new Promise<void>((resolve) => {
    const upload = http.request(`${operated.url}/v1/vault/ingest?scope=customers`, {
      method: "POST",
      headers: { "content-type": "text/csv", authorization: `Bearer ${TOKEN}` },
    });
    upload.on("error", () => resolve());
    upload.on("close", () => resolve());
    upload.write(customerCsv(5_000), () => upload.destroy());
  });
  const report = await operator.ingestCsv({
    scope: "customers",
    onError: "abort",
    body: new TextEncoder().encode(customerCsv(3)),
  });
  expect(report.records).toBe(3);
  expect(await fixture.vault.status()).toMatchObject({ records: 3, subjects: 3 });
});

const DOCUMENT = "/v1/vault/documents?scope=receipts&subject=o-1&name=r.png";

function upload(body: Uint8Array<ArrayBuffer>, path = DOCUMENT) {
  const headers = { "content-type": "application/octet-stream" };
  return operated.call(path, { method: "POST", headers, body });
}

test("a document goes in once it is an image", async () => {
  expect(await upload(PNG)).toMatchObject({ status: 200, body: { records: 1 } });
});

test.for([
  { title: "text", bytes: Buffer.from("not an image") },
  { title: "no bytes", bytes: Buffer.alloc(0) },
  { title: "half a header", bytes: Buffer.from(PNG.subarray(0, 12)) },
  { title: "a PDF", bytes: Buffer.from("%PDF-1.7\n%âãÏÓ\n") },
])("[CB-2] $title is no image, and nothing is kept", async ({ bytes }) => {
  const { status, body } = await upload(bytes);
  expect(status).toBe(400);
  expect(body).toMatchObject({ code: expect.stringMatching(/^SCHEMA_(IMAGE_)?MALFORMED$/) });
  await expectEmpty();
});

test("an image over the limit is refused by size, and nothing is kept", async () => {
  const large = Buffer.concat([Buffer.from(PNG), Buffer.alloc(9 * 1024 * 1024)]);
  expect(await upload(large)).toMatchObject({ status: 413, body: { code: "SCHEMA_TOO_LARGE" } });
  await expectEmpty();
});

test.for([
  {
    path: "consent",
    body: { usage_scope: "fun", subjects: "all-known", state: "granted" },
    field: "body.usage_scope",
  },
  {
    path: "consent",
    body: { usage_scope: "marketing", subjects: "nobody", state: "granted" },
    field: "body.subjects",
  },
  {
    path: "consent",
    body: { usage_scope: "marketing", subjects: [], state: "maybe" },
    field: "body.state",
  },
  { path: "grants", body: { grant_id: "g" }, field: "body.actor_id" },
  { path: "grants/revoke", body: { grant_id: "-" }, field: "body.grant_id" },
  { path: "grants/revoke", body: { grant_id: "g", x: 1 }, field: "body" },
])("[CB-2] $path refuses $body by its field", async ({ path, body, field }) => {
  expect(await operated.post(`/v1/vault/${path}`, body)).toMatchObject({
    status: 400,
    body: { code: "SCHEMA_MALFORMED", field },
  });
});

test("the operator's client gives the Vault's code and words, and says when nobody answers", async () => {
  await expect(operator.records("shoes nobody knows")).rejects.toMatchObject({
    name: "RemoteProblem",
    code: "SCHEMA_MALFORMED",
    status: 400,
  });
  await operated.close();
  await expect(operator.status()).rejects.toMatchObject({ code: "COORDINATION_UNAVAILABLE" });
});
