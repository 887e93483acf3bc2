import * as http from "node:http";

import { beforeEach, expect, test } from "vitest";

import { documentFrames } from "../../../../host/sovereignty/index.ts";
import { RefusedError } from "../../../../protocol/index.ts";
import {
  CUSTOMER_HEADER,
  PNG,
  bytesIn,
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

const SOURCE = { "content-type": "application/vnd.symphony.source" };
const INGEST = "/v1/vault/ingests?scope=customers&format=csv";

function ingest(csv: string, query = "scope=customers&format=csv") {
  const post = { method: "POST", headers: SOURCE, body: csv };
  return operated.call(`/v1/vault/ingests?${query}`, post);
}

async function expectEmpty(): Promise<void> {
  expect(await fixture.vault.status()).toMatchObject({ records: 0, batches: 0, subjects: 0 });
}

test("[PL-1] the operator puts records in, sees them, consents and grants", async () => {
  const source = bytesIn(customerCsv(12));
  const call = { scope: "customers", format: "csv", onError: "abort", source } as const;
  const report = await operator.ingest(call);
  expect(report).toMatchObject({ records: 12, quarantined: 0 });
  const { records, next } = await operator.records({ scope: "customers" });
  expect({ count: records.length, next }).toEqual({ count: 12, next: null });
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
  const post = { ...init, method: "POST", headers: SOURCE, body: customerCsv(3) };
  expect((await operated.call(INGEST, post)).status).toBe(401);
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
  const { status, body } = await ingest(csv, "scope=customers&format=csv&on_error=quarantine");
  expect(status).toBe(200);
  expect(body).toMatchObject({ records: 4, quarantined: 1 });
  expect(JSON.stringify(body)).not.toContain("secret");
});

test.for([
  { query: "scope=shoes&format=csv", code: "DERIVATION_UNRESOLVED", field: "scope" },
  {
    query: "scope=customers&format=csv&on_error=maybe",
    code: "SCHEMA_MALFORMED",
    field: "query.on_error",
  },
  { query: "format=csv", code: "SCHEMA_MALFORMED", field: "query.scope" },
  { query: "scope=customers&format=csv&x=1", code: "SCHEMA_MALFORMED", field: "query" },
  { query: "scope=customers", code: "SCHEMA_MALFORMED", field: "query.format" },
  { query: "scope=customers&format=xml", code: "SCHEMA_MALFORMED", field: "query.format" },
  {
    query: "scope=customers&format=csv&mapping_bytes=9999999",
    code: "SCHEMA_MALFORMED",
    field: "query.mapping_bytes",
  },
  {
    query: "scope=customers&format=csv&mapping_bytes=-1",
    code: "SCHEMA_MALFORMED",
    field: "query.mapping_bytes",
  },
  {
    query: "scope=customers&format=csv&mapping_bytes=200000",
    code: "SCHEMA_MALFORMED",
    field: "body",
  },
  {
    query: "scope=customers&format=csv&mapping_bytes=10",
    code: "SCHEMA_CONFIG_MALFORMED",
    field: "mapping",
  },
])("[CB-2] refuses ?$query by its field", async ({ query, code, field }) => {
  expect((await ingest(customerCsv(3), query)).body).toMatchObject({ code, field });
  await expectEmpty();
});

test("a CSV sent as something else is refused", async () => {
  for (const type of ["application/json", "application/octet-stream"]) {
    const post = { method: "POST", headers: { "content-type": type }, body: "{}" };
    expect(await operated.call(INGEST, post)).toMatchObject({
      status: 400,
      body: { code: "SCHEMA_MALFORMED", field: "body" },
    });
  }
});

test("an upload that breaks off leaves nothing", async () => {
  await new Promise<void>((resolve) => {
    const upload = http.request(`${operated.url}${INGEST}`, {
      method: "POST",
      headers: { ...SOURCE, authorization: `Bearer ${TOKEN}` },
    });
    upload.on("error", () => resolve());
    upload.on("close", () => resolve());
    upload.write(customerCsv(5_000), () => upload.destroy());
  });
  const source = bytesIn(customerCsv(3));
  const call = { scope: "customers", format: "csv", onError: "abort", source } as const;
  expect((await operator.ingest(call)).records).toBe(3);
  expect(await fixture.vault.status()).toMatchObject({ records: 3, subjects: 3 });
});

test("records come a page at a time, and no page is larger than its limit", async () => {
  await ingest(customerCsv(12));
  const first = await operator.records({ scope: "customers", limit: 7 });
  expect(first.records).toHaveLength(7);
  const after = first.next ?? "";
  const second = await operator.records({ scope: "customers", limit: 7, after });
  expect(second.records).toHaveLength(5);
  expect(second.next).toBeNull();
  for (const bad of ["limit=0", "limit=10001", "limit=a", "after=1", "after=-1:0", "after=1:0:0"]) {
    const answer = await operated.call(`/v1/vault/records?scope=customers&${bad}`);
    expect(answer).toMatchObject({ status: 400, body: { code: "SCHEMA_MALFORMED" } });
  }
});

test("[PL-1] documents go in, several at a time", async () => {
  const source = documentFrames([
    { name: "1.png", subject: "o-1", image: PNG },
    { name: "2.png", subject: "o-2", image: PNG },
  ]);
  const call = { scope: "receipts", format: "documents", onError: "abort", source } as const;
  expect(await operator.ingest(call)).toMatchObject({ records: 2, batches: 1 });
});

test("[PL-1] a mapping comes before the source, and JSON Lines are a format", async () => {
  const mapping = JSON.stringify({
    attributes: { "customer.id": { line: "c-" }, "customer.city": { constant: "Porto" } },
    ignore: ["shoe"],
  });
  const line = { "customer.email": "a@x", "customer.age": 30, "customer.balance": 1.5, shoe: 42 };
  const lines = `${JSON.stringify({ ...line, "customer.subscribed": true })}\n`.repeat(2);
  const query = `scope=customers&format=jsonl&mapping_bytes=${mapping.length}`;
  expect(await ingest(mapping + lines, query)).toMatchObject({ status: 200, body: { records: 2 } });
  expect(await fixture.vault.status()).toMatchObject({ records: 2, subjects: 2 });
});

test("a source that fails is told as it fails, and one that stops leaves nothing", async () => {
  const failing = bytesIn(customerCsv(40), 100);
  async function* broken() {
    yield (await failing.next()).value ?? new Uint8Array(0);
    throw new RefusedError({ code: "DERIVATION_UNRESOLVED" }, "source: expected nothing");
  }
  const call = { scope: "customers", format: "csv", onError: "abort" } as const;
  const refused = operator.ingest({ ...call, source: broken() });
  await expect(refused).rejects.toMatchObject({ code: "DERIVATION_UNRESOLVED" });
  const stop = new AbortController();
  async function* endless() {
    yield await Promise.resolve(new TextEncoder().encode(`${CUSTOMER_HEADER}\n`));
    stop.abort();
    await new Promise(() => undefined);
  }
  const stopped = operator.ingest({ ...call, source: endless(), signal: stop.signal });
  await expect(stopped).rejects.toMatchObject({ code: "COORDINATION_UNAVAILABLE" });
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
  await expect(operator.records({ scope: "shoes nobody knows" })).rejects.toMatchObject({
    name: "RemoteProblem",
    code: "SCHEMA_MALFORMED",
    status: 400,
  });
  await operated.close();
  await expect(operator.status()).rejects.toMatchObject({ code: "COORDINATION_UNAVAILABLE" });
});
