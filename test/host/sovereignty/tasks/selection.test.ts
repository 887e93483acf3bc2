import { expect, test } from "vitest";

import { reservedOf, bytesIn, customerCsv, ingestReceipt, newFixture } from "../vault-fixture.ts";
import {
  consent,
  envelopeOf,
  requestOf,
  stocked,
  targetOf,
  type Fixture,
} from "../vault-fixture.ts";

const ROUND = { round: 0, attempt: 0 };
const CHEAP = { epsilon_micro: 2_000_000 };

/** A request that is admitted, and the rows that its slice may use. */
async function admitted(fixture: Fixture, name: string) {
  const request = await requestOf(fixture, name);
  const answer = await fixture.vault.decide(request.signed, fixture.governance);
  const { input_commitment } = reservedOf(fixture, answer);
  const envelope = envelopeOf(fixture, request, answer);
  const { vault, governance } = fixture;
  const { consentBitmap } = await vault.prepareSlice(envelope, governance, ROUND);
  await vault.abort({
    envelopeDigest: new Uint8Array(32),
    requestDigest: envelope.caller_context.request_digest,
  });
  return { input: input_commitment, rows: [...consentBitmap] };
}

test("[AP-2] what was selected before holds only as long as records and consents stay as they were", async () => {
  const fixture = await newFixture();
  await stocked(fixture, 12);
  const { vault, clock } = fixture;
  const first = await admitted(fixture, "first");
  expect(first.rows).toEqual([0xff, 0x0f]);
  expect(await admitted(fixture, "again")).toEqual(first);

  const marketing = { usageScope: "marketing", subjects: ["c-1", "c-4"] } as const;
  await vault.setConsent({ ...marketing, decision: { state: "withdrawn" } });
  expect((await admitted(fixture, "withdrawn")).rows).toEqual([0b1110_1101, 0b1111]);

  const expiresMs = clock.nowMs + 1_000;
  await vault.setConsent({ ...marketing, decision: { state: "granted", expiresMs } });
  expect((await admitted(fixture, "granted")).rows).toEqual([0xff, 0x0f]);
  clock.nowMs = expiresMs;
  expect((await admitted(fixture, "expired")).rows).toEqual([0b1110_1101, 0b1111]);
  clock.nowMs = expiresMs - 1;
  expect((await admitted(fixture, "clock set back")).rows).toEqual([0xff, 0x0f]);

  await vault.setConsent({
    usageScope: "analytics",
    subjects: "all-known",
    decision: { state: "withdrawn" },
  });
  expect((await admitted(fixture, "of another purpose")).rows).toEqual([0xff, 0x0f]);

  const source = bytesIn(customerCsv(4, 100));
  const target = targetOf(fixture, "customers");
  await vault.ingest({ ...target, format: "csv", source, onError: "abort" });
  const more = await admitted(fixture, "more records");
  expect(more.rows).toEqual([0xff, 0x0f]);
  expect(more.input).not.toEqual(first.input);
  await consent(vault, "marketing");
  expect((await admitted(fixture, "more consent")).rows).toEqual([0xff, 0xff]);
  const reopened = { ...fixture, vault: await fixture.reopen() };
  expect((await admitted(reopened, "reopened")).rows).toEqual([0xff, 0xff]);
});

test("[AP-2] a consent that could not be written down changes nothing that is selected", async () => {
  const fixture = await newFixture();
  await stocked(fixture, 12);
  const first = await admitted(fixture, "first");
  const decision = { state: "granted", expiresMs: -1 } as const;
  const change = { usageScope: "marketing", subjects: "all-known", decision } as const;
  await expect(fixture.vault.setConsent(change)).rejects.toThrow();
  expect(await admitted(fixture, "second")).toEqual(first);
});

test("records of one scope are not selected for another", async () => {
  const fixture = await newFixture();
  await stocked(fixture, 12);
  await admitted(fixture, "customers");
  await ingestReceipt(fixture);
  const { signed } = await requestOf(fixture, "receipts", { ...CHEAP, record_scope: "receipts" });
  await expect(fixture.vault.decide(signed, fixture.governance)).rejects.toMatchObject({
    code: expect.stringMatching(/^DERIVATION_|^SCHEMA_|^COMPOSITION_/),
  });
});
