import { createSecretKey } from "node:crypto";

import fc from "fast-check";
import { expect, test } from "vitest";

import { pseudonymOf } from "../../../../host/sovereignty/custody/secrets.ts";
import { rankSubjects, subjectsAt } from "../../../../host/sovereignty/ledger/queries.ts";
import { Pseudonyms } from "../../../../host/sovereignty/records/pseudonyms.ts";
import { hex, hmacSha256, sha256, utf8 } from "../../../../protocol/index.ts";

const SECRET = new Uint8Array(32).fill(7);
const KEY = createSecretKey(SECRET);

test("[DS-1] a pseudonym is the HMAC of node:crypto, whatever the length of subject and key", () => {
  const hmac = fc.property(
    fc.uint8Array({ minLength: 16, maxLength: 64 }),
    fc.array(fc.string({ unit: "grapheme-ascii", minLength: 1, maxLength: 600 }), { minLength: 1 }),
    (secret, subjects) => {
      const key = createSecretKey(secret);
      const pseudonyms = new Pseudonyms(key);
      for (const subject of subjects.filter((each) => each.trim() !== "")) {
        const bytes = Buffer.from(`,${subject},`);
        expect(pseudonyms.takeAscii(bytes, 1, bytes.length - 1)).toBe(true);
        expect(pseudonyms.last).toEqual(hmacSha256(secret, utf8(subject.trim())));
        expect(pseudonyms.takeText(subject)).toBe(true);
        expect(pseudonyms.last).toEqual(pseudonymOf(key, subject));
      }
    },
  );
  fc.assert(hmac, { numRuns: 50, seed: 7 });
});

test("[DS-1] a pseudonym is that of its subject at every length around a block", () => {
  const pseudonyms = new Pseudonyms(KEY);
  for (const length of [1, 54, 55, 56, 63, 64, 65, 119, 120, 255, 256, 257, 5_000, 3, 1]) {
    const bytes = new Uint8Array(length).fill(0x61);
    expect(pseudonyms.takeAscii(bytes, 0, length)).toBe(true);
    expect(pseudonyms.last).toEqual(hmacSha256(SECRET, bytes));
  }
  const blanks = utf8(" \t\v\f\r\nc- 1 \n\r\f\v\t");
  expect(pseudonyms.takeAscii(blanks, 0, blanks.length)).toBe(true);
  expect(pseudonyms.last).toEqual(hmacSha256(SECRET, utf8("c- 1")));
});

test.for([
  { title: "plain", subject: "c-1" },
  { title: "with blanks around it", subject: " \t\v\f\r\nc- 1 \n\r\f\v\t" },
  { title: "in another Unicode form", subject: "e\u0301" },
  { title: "with letters of several bytes", subject: "\u00a0日本".repeat(8) },
  { title: "of many letters of two bytes", subject: "é".repeat(5_000) },
])("a subject $title has the pseudonym that consent finds it by", ({ subject }) => {
  const pseudonyms = new Pseudonyms(KEY);
  expect(pseudonyms.takeText("another")).toBe(true);
  expect(pseudonyms.takeText(subject)).toBe(true);
  expect(pseudonyms.last).toEqual(pseudonymOf(KEY, subject));
  expect(pseudonyms.last).toEqual(hmacSha256(SECRET, utf8(subject.normalize("NFC").trim())));
});

test("what is left of a subject can be forgotten, and the key stays", () => {
  const pseudonyms = new Pseudonyms(KEY);
  pseudonyms.takeText("c-1");
  pseudonyms.forget();
  expect(pseudonyms.last).toEqual(new Uint8Array(32));
  pseudonyms.takeText("c-2");
  expect(pseudonyms.last).toEqual(pseudonymOf(KEY, "c-2"));
});

test.for(["", " ", "\t\r\n", "\u00a0\u3000"])("a blank subject (%j) is none", (subject) => {
  const pseudonyms = new Pseudonyms(KEY);
  expect(pseudonyms.takeText(subject)).toBe(false);
  const ascii = utf8(subject.replaceAll(/[^\t-\r ]/g, " "));
  expect(pseudonyms.takeAscii(ascii, 0, ascii.length)).toBe(false);
});

test("[DS-1] subjects are ranked in the order of their bytes, equal beginnings included", () => {
  const close = [3, 1, 2, 1].map((last) => new Uint8Array(32).fill(9, 0, 8).with(31, last));
  const others = [5, 6, 7].map((seed) => sha256(Uint8Array.of(seed)));
  const ids = [...close, ...others, ...others];
  const given = Buffer.concat(ids);
  const { firsts, ranks } = rankSubjects(given);
  const distinct = subjectsAt(given, firsts);
  const wanted = [...new Set(ids.map(hex))].toSorted();
  const got = wanted.map((_, rank) => hex(distinct.slice(rank * 32, rank * 32 + 32)));
  expect(distinct).toHaveLength(wanted.length * 32);
  expect(got).toEqual(wanted);
  expect([...ranks]).toEqual(ids.map((id) => wanted.indexOf(hex(id))));
});
