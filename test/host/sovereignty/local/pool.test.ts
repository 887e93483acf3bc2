import * as fs from "node:fs";
import path from "node:path";

import { beforeEach, expect, test } from "vitest";

import { customersWith, inEpoch, ingestIgnoring } from "../../../helpers/pool-sources.ts";
import { operate } from "../../http/vault/operated.ts";
import { newFixture, targetOf, type Fixture } from "../vault-fixture.ts";

let fixture: Fixture;

beforeEach(async () => {
  fixture = await newFixture();
});

/** A value that nothing but the source holds. */
const CANARY = "canary7731";
const IGNORED = ["customer.years", "score", "joined", "canary", "seldom"];

interface Sent {
  readonly epochId?: number;
  readonly ignore?: readonly string[];
  readonly format?: "csv" | "jsonl";
}

function send(text: string, { epochId = 0, ignore = IGNORED, format = "csv" }: Sent = {}) {
  return ingestIgnoring(fixture, text, { epochId, ignore, format });
}

const FOUR = "customer.years,score,joined,canary";
const cells = (row: number): string => `${row},${row}.5,2024-02-0${(row % 9) + 1},${CANARY}-${row}`;

async function pool(epochId = 0) {
  return await fixture.vault.attributes.list("customers", inEpoch(fixture.governance, epochId));
}

test("[LA-1] an ignored column becomes a pool entry of counts, and no value of it is kept", async () => {
  await send(customersWith(12, FOUR, cells));
  const { attributes, dropped } = await pool();
  expect(dropped).toBe(0);
  expect(attributes.map(({ column, type }) => [column, type])).toEqual([
    ["canary", "text"],
    ["customer.years", "integer"],
    ["joined", "date"],
    ["score", "decimal"],
  ]);
  expect(attributes[0]).toMatchObject({
    local_id: expect.stringMatching(/^local-[0-9a-f]{40}$/),
    record_scope: "customers",
    domain_hint: targetOf(fixture, "customers").recordScope.domain_id,
    ...{ rows_at_least: 10, epochs_present: 1, epochs: 1 },
  });
  for (const file of fs.readdirSync(fixture.directory, { recursive: true, encoding: "utf8" })) {
    const at = path.join(fixture.directory, file);
    if (fs.statSync(at).isFile()) expect(fs.readFileSync(at).includes(CANARY)).toBe(false);
  }
});

test("[LA-1] entries add up over sources and say in how many epochs they came", async () => {
  await send(customersWith(60, "score", String), { epochId: 3 });
  await send(customersWith(50, "score", String), { epochId: 5, ignore: ["score"] });
  await send(customersWith(50, "score", String), { epochId: 5, ignore: ["score"] });
  const [entry] = (await pool(6)).attributes;
  expect(entry).toMatchObject({ rows_at_least: 100, epochs_present: 2, epochs: 7 });
  expect((await pool(13)).attributes).toMatchObject([{ epochs_present: 1, rows_at_least: 10 }]);
  expect((await pool(15)).attributes).toEqual([]);
});

test("[LA-1] of JSON Lines the lines are counted that have a value", async () => {
  const line = (row: number): string =>
    JSON.stringify({
      ...{ "customer.id": `c-${row}`, "customer.email": `${row}@x.test`, "customer.age": 30 },
      ...{ "customer.balance": 10.5, "customer.city": "Porto", "customer.subscribed": 1 },
      ...{ score: row, ...(row === 1 ? { seldom: "2024-01-01" } : { joined: null }) },
    });
  await send(Array.from({ length: 10 }, (_, row) => line(row)).join("\n"), { format: "jsonl" });
  expect((await pool()).attributes).toMatchObject([
    { column: "score", type: "integer", rows_at_least: 10 },
    { column: "seldom", type: "date", rows_at_least: 1 },
  ]);
});

test("[LA-1] a scope has 256 columns at most, and names of 64 code points; the rest is counted", async () => {
  const names = Array.from({ length: 200 }, (_, index) => `n${index}`);
  await send(
    customersWith(1, names.join(","), () => names.join(",")),
    { ignore: names },
  );
  const long = ["🙂".repeat(64), "x".repeat(65)];
  const others = [...names.slice(0, 100).map((name) => `${name}b`), ...long];
  await send(
    customersWith(1, others.join(","), () => others.join(",")),
    { ignore: others },
  );
  const { attributes, dropped } = await pool();
  expect(attributes).toHaveLength(256);
  expect(dropped).toBe(200 + 102 - 256);
});

test("[LA-1] epochs older than 64 are forgotten", async () => {
  await send(customersWith(2, "score", String), { epochId: 1, ignore: ["score"] });
  await send(customersWith(3, "joined", String), { epochId: 65, ignore: ["joined"] });
  expect((await pool(9)).attributes).toEqual([]);
});

test("[LA-1] a source that was published already is counted once", async () => {
  const text = customersWith(60, "score", String);
  await send(text);
  await send(text);
  expect((await pool()).attributes).toMatchObject([{ rows_at_least: 10 }]);
});

test("[LA-1] columns that are alike in name are aliases where the types fit, conflicts elsewhere", async () => {
  const ignore = ["age_customer_since", "customer.Age ", "shoe"];
  await send(
    customersWith(4, ignore.join(","), (row) => `2020-01-01,${row},42`),
    { ignore },
  );
  const { attributes } = await pool();
  const signals = attributes.map((each) => each.signals.slice(0, 1));
  expect(signals).toEqual([
    [{ attribute_id: "customer.age", kind: "conflict", confidence_percent: 64 }],
    [{ attribute_id: "customer.age", kind: "alias", confidence_percent: 100 }],
    [],
  ]);
});

test("[LA-1] the operator lists them over HTTP and by the command line", async () => {
  const operated = await operate(fixture);
  await send(customersWith(12, "customer.years", String), { ignore: ["customer.years"] });
  const { status, body } = await operated.call("/v1/vault/attributes?scope=customers");
  expect(status).toBe(200);
  expect(body).toEqual(await pool(fixture.governance.epoch.epochId));
  const spoken = await operated.vault("attributes", "list", "--scope", "customers");
  expect(spoken.out).toContain("customer.years");
  expect((await operated.call("/v1/vault/attributes?scope=shoes")).status).toBe(403);
});
