import { createSecretKey } from "node:crypto";

import { expect, test } from "vitest";

import { pseudonymOf } from "../../../../host/sovereignty/custody/secrets.ts";
import { rankSubjects } from "../../../../host/sovereignty/ledger/queries.ts";
import { Pseudonyms } from "../../../../host/sovereignty/records/pseudonyms.ts";
import { hex, hmacSha256, sha256, utf8 } from "../../../../protocol/index.ts";

const SECRET = new Uint8Array(32).fill(7);
const KEY = createSecretKey(SECRET);

test("[DS-1] more subjects than are remembered have each its own pseudonym, first and again", () => {
  const pseudonyms = new Pseudonyms(KEY);
  const subjects = Array.from({ length: 40_000 }, (_, index) => `subject-${index}`);
  const seen = new Set<string>();
  for (const subject of [...subjects, ...subjects.slice(-20_000)]) {
    expect(pseudonyms.takeText(subject)).toBe(true);
    seen.add(hex(pseudonyms.last));
  }
  expect(seen.size).toBe(subjects.length);
});

test.for([
  { title: "plain", subject: "c-1" },
  { title: "with blanks around it", subject: " \tc-1 " },
  { title: "in another Unicode form", subject: "e\u0301" },
  { title: "with letters of several bytes", subject: "日本".repeat(8) },
  { title: "too long to be remembered", subject: "x".repeat(49) },
  { title: "much too long to be remembered", subject: "é".repeat(5_000) },
])("a subject $title has the pseudonym that consent finds it by", ({ subject }) => {
  const pseudonyms = new Pseudonyms(KEY);
  const bytes = Buffer.from(`,${subject},`);
  for (let round = 0; round < 2; round += 1) {
    expect(pseudonyms.takeText(subject)).toBe(true);
    expect(pseudonyms.last).toEqual(pseudonymOf(KEY, subject));
    expect(pseudonyms.takeText("another")).toBe(true);
    expect(pseudonyms.takeBytes(bytes, 1, bytes.length - 1)).toBe(true);
    expect(pseudonyms.last).toEqual(hmacSha256(SECRET, utf8(subject.normalize("NFC").trim())));
  }
});

test.for(["", " ", "\t\r\n", "\u00a0\u3000"])("a blank subject (%j) is none", (subject) => {
  expect(new Pseudonyms(KEY).takeText(subject)).toBe(false);
});

test("[DS-1] subjects are ranked in the order of their bytes, equal beginnings included", () => {
  const close = [3, 1, 2, 1].map((last) => new Uint8Array(32).fill(9, 0, 8).with(31, last));
  const others = [5, 6, 7].map((seed) => sha256(Uint8Array.of(seed)));
  const ids = [...close, ...others, ...others];
  const { distinct, ranks } = rankSubjects(Buffer.concat(ids));
  const wanted = [...new Set(ids.map(hex))].toSorted();
  const got = wanted.map((_, rank) => hex(distinct.slice(rank * 32, rank * 32 + 32)));
  expect(distinct).toHaveLength(wanted.length * 32);
  expect(got).toEqual(wanted);
  expect([...ranks]).toEqual(ids.map((id) => wanted.indexOf(hex(id))));
});
