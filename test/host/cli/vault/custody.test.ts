import * as fs from "node:fs";
import path from "node:path";

import { expect, test } from "vitest";

import { EXIT } from "../../../../cli/index.ts";
import { operate } from "../../http/vault/operated.ts";
import {
  eventsOf,
  freshRandom,
  localKeys,
  openAll,
  sealedRows,
} from "../../sovereignty/sealed-vault.ts";
import {
  beginning,
  envelopeOf,
  newFixture,
  newFolder,
  requestOf,
  stocked,
} from "../../sovereignty/vault-fixture.ts";

async function stockedVault() {
  const keyFile = path.join(newFolder(), "keys.cbor");
  const fixture = await newFixture({ custody: localKeys(keyFile), random: freshRandom });
  await stocked(fixture, 12);
  return { fixture, keyFile, operated: await operate(fixture) };
}

test("keys are rotated and batches sealed anew by command", async () => {
  const { fixture, keyFile, operated } = await stockedVault();
  const rotated = await operated.vault("keys", "rotate", "--json");
  expect(rotated).toMatchObject({ exit: EXIT.ok });
  expect(JSON.parse(rotated.out)).toEqual({ key: "local:2", batches: 2, retired: ["local:1"] });
  const before = sealedRows(fixture.directory).map(({ sealedId }) => sealedId);
  expect(await operated.vault("keys", "rotate", "--reencrypt")).toMatchObject({ exit: EXIT.ok });
  expect(sealedRows(fixture.directory).map(({ sealedId }) => sealedId)).not.toEqual(before);
  await openAll(fixture.directory, localKeys(keyFile));
});

test("[DS-5] a subject's export holds all of it, is its owner's alone, and the log tells no value", async () => {
  const { fixture, operated } = await stockedVault();
  const { vault, governance } = fixture;
  const request = await requestOf(fixture, "a");
  const decision = await vault.decide(request.signed, governance);
  const envelope = envelopeOf(fixture, request, decision);
  const plan = await vault.prepareSlice(envelope, governance, { round: 0, attempt: 0 });
  await vault.beginExecution(beginning(fixture, envelope, plan));
  const out = path.join(newFolder(), "c-3.jsonl");
  const words = ["subject", "export", "c-3", "--out", out];
  expect(await operated.vault(...words)).toMatchObject({ exit: EXIT.ok });
  expect(fs.statSync(out).mode % 0o1000).toBe(0o600);
  const lines = fs.readFileSync(out, "utf8").trim().split("\n");
  const parsed = lines.map((line): unknown => JSON.parse(line));
  expect(parsed[0]).toMatchObject({
    type: "record",
    record_scope: "customers",
    attributes: { "customer.id": "c-3", "customer.age": 23, "customer.balance": "3.25" },
  });
  expect(parsed).toContainEqual({ type: "consent", purpose: "marketing", state: "granted" });
  expect(parsed).toContainEqual(expect.objectContaining({ type: "task", state: "executing" }));
  expect(parsed.at(-1)).toEqual({ type: "end", records: 1 });
  expect(JSON.stringify(parsed)).not.toContain("c-4");
  const [event] = await eventsOf(vault, "subject.exported");
  expect(Object.keys(event ?? {})).toEqual(["subject"]);
  expect(JSON.stringify(event)).not.toContain("c-3");
  const again = await operated.vault(...words);
  expect(again).toMatchObject({ exit: EXIT.usage });
  expect(fs.readdirSync(path.dirname(out))).toEqual(["c-3.jsonl"]);
  const unknown = await operated.vault("subject", "export", "nobody", "--out", `${out}.2`);
  expect(unknown.exit).toBe(EXIT.refused);
  expect(fs.readdirSync(path.dirname(out))).toEqual(["c-3.jsonl"]);
});

test("an erasure wants to be confirmed, and says afterwards what can no longer be replayed", async () => {
  const { fixture, operated } = await stockedVault();
  const request = await requestOf(fixture, "a");
  const decision = await fixture.vault.decide(request.signed, fixture.governance);
  const { task_id: task } = envelopeOf(fixture, request, decision);
  expect(await operated.vault("subject", "erase", "c-3")).toMatchObject({ exit: EXIT.usage });
  expect((await operated.vault("replayable", task)).out).toBe(`${task}: replayable\n`);
  const erased = await operated.vault("subject", "erase", "c-3", "--confirm", "--json");
  expect(JSON.parse(erased.out)).toMatchObject({ records: 1, batches: 1 });
  expect((await operated.vault("replayable", task)).out).toBe(`${task}: unreplayable: erased\n`);
  expect(await operated.vault("replayable", "t-none")).toMatchObject({ exit: EXIT.refused });
});
