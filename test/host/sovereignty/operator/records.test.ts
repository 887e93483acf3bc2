import { expect, test } from "vitest";

import { hex } from "../../../../protocol/index.ts";
import {
  bytesIn,
  customerCsv,
  newFixture,
  recordsIn,
  stocked,
  targetOf,
} from "../vault-fixture.ts";

test("[PL-1] the records of a scope come in pages of any size, each once, in the order of their ingest", async () => {
  const fixture = await newFixture();
  await stocked(fixture, 20);
  const whole = await recordsIn(fixture.vault, "customers");
  expect(whole.map(({ row }) => row)).toEqual(
    [8, 8, 4].flatMap((rows) => Array.from({ length: rows }, (_, row) => row)),
  );
  expect(new Set(whole.map(({ commitment }) => hex(commitment))).size).toBe(20);
  for (const limit of [1, 3, 8, 19, 20, 21]) {
    expect(await recordsIn(fixture.vault, "customers", limit)).toEqual(whole);
    const filter = { recordScope: "customers", after: null, limit };
    expect((await fixture.vault.recordCommitments(filter)).records).toHaveLength(
      Math.min(limit, 20),
    );
  }
  expect(await recordsIn(fixture.vault, "receipts")).toEqual([]);
});

test("[PL-1] a page goes on after records that came meanwhile, and a place that never was gives what follows it", async () => {
  const fixture = await newFixture();
  await stocked(fixture, 8);
  const page = { recordScope: "customers", limit: 8 };
  const first = await fixture.vault.recordCommitments({ ...page, after: null });
  const source = bytesIn(customerCsv(3, 100));
  await fixture.vault.ingest({
    ...targetOf(fixture, "customers"),
    format: "csv",
    source,
    onError: "abort",
  });
  const second = await fixture.vault.recordCommitments({ ...page, after: first.next });
  expect(second.records).toHaveLength(3);
  const following = async (position: number, row: number) =>
    (await fixture.vault.recordCommitments({ ...page, after: { position, row } })).records;
  expect(await following(1, 9_999_999_999)).toEqual(second.records);
  expect(await following(999_999_999_999_999, 0)).toEqual([]);
  expect(await following(0, 5)).toEqual(first.records);
});
