import * as fs from "node:fs";
import path from "node:path";

import { expect, test } from "vitest";

import { openSecrets } from "../../../host/sovereignty/custody/secrets.ts";
import { subjectSetOf } from "../../../host/sovereignty/ledger/subject-set.ts";
import { consentPurpose, hex, sha256, type TaskRequest } from "../../../protocol/index.ts";
import { workInImages, workUntilKilled } from "./custody-crash.ts";
import {
  batchFilesIn,
  eventsOf,
  freshRandom,
  localKeys,
  openAll,
  ordinalIn,
  sealedRows,
} from "./sealed-vault.ts";
import {
  CUSTOMER_HEADER,
  beginning,
  bytesIn,
  consent,
  envelopeOf,
  ingestReceipt,
  newFixture,
  newFolder,
  parseRequest,
  requestOf,
  reservedOf,
  stocked,
  targetOf,
  type Fixture,
} from "./vault-fixture.ts";

const ROUND = { round: 0, attempt: 0 };
/** A subject with records in two batches. */
const SUBJECT = "c-3";

async function stockedLocally(home = newFolder()): Promise<{ fixture: Fixture; keyFile: string }> {
  const keyFile = path.join(home, "keys.cbor");
  const directory = path.join(home, "vault");
  const fixture = await newFixture({ directory, custody: localKeys(keyFile), random: freshRandom });
  await stocked(fixture, 40);
  await ingestMore(fixture, `${SUBJECT},second@example.org,33,9.50,Faro,1`);
  return { fixture, keyFile };
}

async function ingestMore(fixture: Fixture, row: string): Promise<void> {
  await fixture.vault.ingest({
    ...targetOf(fixture, "customers"),
    format: "csv",
    source: bytesIn(`${CUSTOMER_HEADER}\n${row}\n`),
    onError: "abort",
  });
}

async function admitted(fixture: Fixture, name: string, changes: Partial<TaskRequest> = {}) {
  const request = await requestOf(fixture, name, changes);
  const decision = await fixture.vault.decide(request.signed, fixture.governance);
  return { envelope: envelopeOf(fixture, request, decision) };
}

function pseudonymOf(fixture: Fixture): Uint8Array {
  const file = path.join(fixture.directory, "vault-secrets.cbor");
  return openSecrets(file, freshRandom).subjectId(SUBJECT);
}

async function erasedRows(fixture: Fixture, keyFile: string) {
  const opened = await openAll(fixture.directory, localKeys(keyFile));
  const pseudonym = hex(pseudonymOf(fixture));
  const left = opened.flatMap(({ subjectIds }) => subjectIds).filter((id) => hex(id) === pseudonym);
  return { left: left.length, erased: opened.reduce((sum, { erased }) => sum + erased.size, 0) };
}

test("[DS-1][DS-5] an erased subject's records are gone; commitments and roots stay, and the event proves it without a name", async () => {
  const { fixture, keyFile } = await stockedLocally();
  const before = sealedRows(fixture.directory);
  const files = new Map(
    before.map(({ sealedId }) => {
      const name = `${hex(sealedId)}.batch`;
      return [name, sha256(fs.readFileSync(path.join(fixture.directory, "batches", name)))];
    }),
  );
  const report = await fixture.vault.custody.eraseSubject(SUBJECT);
  expect(report).toMatchObject({ records: 2, batches: 2 });
  expect(await erasedRows(fixture, keyFile)).toEqual({ left: 0, erased: 2 });
  const after = sealedRows(fixture.directory);
  expect(after.map(({ root }) => root)).toEqual(before.map(({ root }) => root));
  expect(after.map(({ commitments }) => commitments)).toEqual(
    before.map(({ commitments }) => commitments),
  );
  const changed = before.filter(({ sealedId }, index) => sealedId !== after[index]?.sealedId);
  const gone = changed.filter(
    ({ sealedId }) => !batchFilesIn(fixture.directory).includes(`${hex(sealedId)}.batch`),
  );
  expect(gone).toHaveLength(2);
  const [event] = await eventsOf(fixture.vault, "subject.erased");
  const ordinal = ordinalIn(fixture.directory, pseudonymOf(fixture));
  const secrets = openSecrets(path.join(fixture.directory, "vault-secrets.cbor"), freshRandom);
  expect(event).toMatchObject({
    subject: secrets.subjectSetCommitment(subjectSetOf([ordinal]).encoded),
    part: 0,
    parts: 1,
  });
  const told = JSON.stringify(event, (_, value: unknown) =>
    value instanceof Uint8Array ? hex(value) : value,
  );
  for (const { sealedId, protectedKey, root } of gone) {
    expect(told).toContain(hex(root));
    expect(told).toContain(hex(sha256(protectedKey)));
    expect(told).toContain(hex(files.get(`${hex(sealedId)}.batch`) ?? new Uint8Array(0)));
  }
  expect(told).not.toContain(SUBJECT);
  expect(told).not.toContain(hex(pseudonymOf(fixture)));
});

test("[DS-5] nothing on the Vault's disk opens an erased record any more", async () => {
  const { fixture } = await stockedLocally();
  const before = sealedRows(fixture.directory);
  await fixture.vault.custody.eraseSubject(SUBJECT);
  const after = new Set(sealedRows(fixture.directory).map(({ protectedKey }) => hex(protectedKey)));
  const destroyed = before.filter(({ protectedKey }) => !after.has(hex(protectedKey)));
  expect(destroyed).toHaveLength(2);
  for (const name of ["vault.db", "vault.db-wal"]) {
    const content = fs.readFileSync(path.join(fixture.directory, name));
    for (const { protectedKey } of destroyed) {
      expect(content.includes(Buffer.from(protectedKey)), name).toBe(false);
    }
  }
});

test("erasing twice, and an unknown subject, changes nothing more", async () => {
  const { fixture } = await stockedLocally();
  const { vault, directory } = fixture;
  const first = await vault.custody.eraseSubject(SUBJECT);
  const [size, rows] = [vault.log.size, sealedRows(directory)];
  expect(await vault.custody.eraseSubject(SUBJECT)).toEqual(first);
  expect(await vault.custody.eraseSubject("nobody")).toMatchObject({ erasure_id: null });
  expect(vault.log.size).toBe(size);
  expect(sealedRows(directory)).toEqual(rows);
});

test("two erasures of one subject at once are one", async () => {
  const { fixture } = await stockedLocally();
  const { custody } = fixture.vault;
  const both = await Promise.all([custody.eraseSubject(SUBJECT), custody.eraseSubject(SUBJECT)]);
  expect(both[1]).toEqual(both[0]);
  expect(await eventsOf(fixture.vault, "subject.erased")).toHaveLength(1);
});

test("consent is withdrawn for all purposes, and who returns finds what is spent of the budget", async () => {
  const { fixture } = await stockedLocally();
  const { vault } = fixture;
  const { envelope } = await admitted(fixture, "a");
  const plan = await vault.prepareSlice(envelope, fixture.governance, ROUND);
  await vault.beginExecution(beginning(fixture, envelope, plan));
  await vault.settle(envelope, []);
  const spent = (await vault.status()).budgets;
  await vault.custody.eraseSubject(SUBJECT);
  expect(await eventsOf(vault, "consent.withdrawn")).toHaveLength(consentPurpose.options.length);
  await ingestMore(fixture, `${SUBJECT},again@example.org,34,1.50,Faro,1`);
  await consent(vault, "marketing", [SUBJECT]);
  const status = await vault.status();
  const [before, after] = [spent, status.budgets].map((budgets) =>
    budgets.find((each) => each.usageScope === "marketing"),
  );
  expect(after?.consumedMaxMicro).toBe(before?.consumedMaxMicro);
  expect(status.subjects).toBe(40);
  expect(await vault.custody.eraseSubject(SUBJECT)).toMatchObject({ records: 1, erasure_id: 2 });
});

test("work that was admitted over an erased record fails with a code of its own, and its replay says why", async () => {
  const { fixture } = await stockedLocally();
  const { vault, governance } = fixture;
  const [first, second] = [await admitted(fixture, "first"), await admitted(fixture, "second")];
  const plan = await vault.prepareSlice(second.envelope, governance, ROUND);
  await vault.beginExecution(beginning(fixture, second.envelope, plan));
  expect(await vault.custody.replayable(second.envelope.task_id)).toMatchObject({
    replay: "replayable",
  });
  await vault.custody.eraseSubject(SUBJECT);
  const erased = { code: "EXECUTION_INPUT_ERASED" };
  await expect(vault.prepareSlice(first.envelope, governance, ROUND)).rejects.toMatchObject(erased);
  const inputs = {
    ...{ envelope: second.envelope, reference: ROUND, governance },
    evidence: new Uint8Array(0),
  };
  const handedOut = vault.custody.withSliceInputs(inputs, () => Promise.resolve());
  await expect(handedOut).rejects.toMatchObject(erased);
  const begun = vault.beginExecution({ ...beginning(fixture, first.envelope, plan) });
  await expect(begun).rejects.toMatchObject(erased);
  for (const { envelope } of [first, second]) {
    expect(await vault.custody.replayable(envelope.task_id)).toMatchObject({
      replay: "unreplayable: erased",
    });
  }
  const later = await admitted(fixture, "later", { usage_scope: "analytics" });
  await expect(vault.prepareSlice(later.envelope, governance, ROUND)).resolves.toBeDefined();
  expect(await vault.custody.replayable(later.envelope.task_id)).toMatchObject({
    replay: "replayable",
  });
  await expect(vault.custody.replayable("t-unknown")).rejects.toMatchObject({
    code: "EXECUTION_TASK_UNKNOWN",
  });
});

test("an erased document can no longer be asked for", async () => {
  const { fixture } = await stockedLocally();
  const commitment = await ingestReceipt(fixture, "anna");
  await consent(fixture.vault, "personal_use", ["anna"]);
  await fixture.vault.custody.eraseSubject("anna");
  await consent(fixture.vault, "personal_use", ["anna"]);
  const request = await parseRequest(fixture, "p", commitment);
  const decision = await fixture.vault.decide(request.signed, fixture.governance);
  expect(() => reservedOf(fixture, decision)).toThrow("POLICY_DECLINED");
});

const WHOLE = { records: 2, batches: 2 };
const KILLED_AT = [1, 12, 17, 18, 20, 22, 24, 26, 28, 30];

/** Whether an erasure goes on by itself, at the start, or because it is asked for again. */
type Way = "resumed" | "asked again";

async function goesOn(fixture: Fixture, keyFile: string, way: Way): Promise<void> {
  const { directory } = fixture;
  const custody = localKeys(keyFile);
  const { vault } = await newFixture({ directory, custody, random: freshRandom });
  await openAll(directory, custody);
  if (way === "resumed") await vault.custody.resumeErasures();
  expect(await vault.custody.eraseSubject(SUBJECT)).toMatchObject(WHOLE);
  expect(await vault.custody.resumeErasures()).toBe(0);
  expect(await erasedRows(fixture, keyFile)).toEqual({ left: 0, erased: 2 });
  expect(await eventsOf(vault, "subject.erased")).toHaveLength(1);
  expect((await vault.status()).records).toBe(41);
  await vault.close();
}

test("[PL-7] killed anywhere, an erasure goes on at start, or is asked for again: nothing of the subject, one event", async () => {
  const home = path.join(newFolder(), "home");
  const { fixture, keyFile } = await stockedLocally(home);
  await fixture.vault.close();
  const work = { directory: fixture.directory, keyFile, job: "erase" } as const;
  const images = await workInImages({ ...work, home, steps: KILLED_AT });
  expect(images.steps).toEqual(KILLED_AT);
  for (const at of KILLED_AT) {
    for (const way of ["resumed", "asked again"] as const) {
      images.putBack(at);
      await goesOn(fixture, keyFile, way);
    }
  }
  images.putBack(0);
  expect(await workUntilKilled({ ...work, at: 22 })).toBe(false);
  await goesOn(fixture, keyFile, "resumed");
});
