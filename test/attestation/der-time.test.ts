import { expect, test } from "vitest";

import { parseDerTime } from "../../attestation/der-time.ts";
import { utf8 } from "../../protocol/index.ts";

const UTC_TIME = 0x17;
const GENERALIZED_TIME = 0x18;
const DAY = 86_400_000;

const two = (value: number): string => String(value).padStart(2, "0");

function utcTime(year: number, month: number, day: number): number {
  const text = `${two(year % 100)}${two(month)}${two(day)}010203Z`;
  return parseDerTime({ tag: UTC_TIME, content: utf8(text) });
}

/** The last day of a month, by the calendar of the language. */
function lastDay(year: number, month: number): number {
  return new Date(Date.UTC(year, month, 1) - DAY).getUTCDate();
}

test.for([1950, 1999, 2000, 2023, 2024, 2049])(
  "[TT-1] every first and last day of a month of %i is read as the calendar has it, and no other",
  (year) => {
    for (let month = 1; month <= 12; month++) {
      const last = lastDay(year, month);
      for (const day of [1, last]) {
        expect(utcTime(year, month, day)).toBe(Date.UTC(year, month - 1, day, 1, 2, 3));
      }
      for (const day of [0, last + 1]) {
        expect(() => utcTime(year, month, day)).toThrow("a possible date and time");
      }
    }
    for (const month of [0, 13]) expect(() => utcTime(year, month, 1)).toThrow("a month");
  },
);

test.for([2050, 2100, 2400])("[TT-1] 29 February of %i is read when there is one", (year) => {
  const read = (): number =>
    parseDerTime({ tag: GENERALIZED_TIME, content: utf8(`${year}0229000000Z`) });
  if (lastDay(year, 2) === 29) expect(read()).toBe(Date.UTC(year, 1, 29));
  else expect(read).toThrow("a possible date and time");
});
