import { DER, derFault, type DerElement } from "./der.ts";

const DAYS_BEFORE_MONTH = [0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334] as const;
const DAYS_IN_MONTH = [31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31] as const;
const DAY_MS = 86_400_000;

/**
 * Milliseconds since 1970 of a certificate's time: UTCTime to 2049, GeneralizedTime after, both ending in Z.
 *
 * Impossible dates are refused, not normalised.
 *
 * @throws {@link MalformedError} TEE_CHAIN_MALFORMED
 * @see RFC 5280 § 4.1.2.5
 */
export function parseDerTime(element: Pick<DerElement, "tag" | "content"> | undefined): number {
  if (element === undefined) throw derFault("a time", "nothing");
  const text = Buffer.from(element.content).toString("latin1");
  if (element.tag === DER.utcTime && /^\d{12}Z$/.test(text)) {
    const century = Number(text.slice(0, 2)) < 50 ? "20" : "19";
    return timeOf(century + text);
  }
  if (element.tag === DER.generalizedTime && /^\d{14}Z$/.test(text)) {
    if (Number(text.slice(0, 4)) < 2050) throw derFault("UTCTime before 2050", "GeneralizedTime");
    return timeOf(text);
  }
  throw derFault("UTCTime or GeneralizedTime in UTC to the second", "another form");
}

/** `ms` since 1970 as a date and time in UTC (ISO 8601), for messages; as a number when it is no whole one. */
export function isoTime(ms: number): string {
  if (!Number.isSafeInteger(ms)) return `${ms}`;
  const days = Math.floor(ms / DAY_MS);
  const inDay = ms - days * DAY_MS;
  let year = 1970 + Math.floor(days / 365.2425);
  if (daysBeforeYear(year) > days) year -= 1;
  if (daysBeforeYear(year + 1) <= days) year += 1;
  const inYear = days - daysBeforeYear(year);
  const starts = DAYS_BEFORE_MONTH.map((before, at) => before + (isLeap(year) && at > 1 ? 1 : 0));
  const month = starts.findLastIndex((start) => start <= inYear);
  const day = inYear - (starts[month] ?? 0) + 1;
  const two = (value: number): string => `${Math.floor(value)}`.padStart(2, "0");
  const clock = [inDay / 3_600_000, (inDay / 60_000) % 60, (inDay / 1000) % 60].map(two).join(":");
  const fraction = `${inDay % 1000}`.padStart(3, "0");
  return `${`${year}`.padStart(4, "0")}-${two(month + 1)}-${two(day)}T${clock}.${fraction}Z`;
}

function isLeap(year: number): boolean {
  return (year % 4 === 0 && year % 100 !== 0) || year % 400 === 0;
}

/**
 * Milliseconds since 1970 of `digits`: year, month, day, hour, minute, second in UTC, 14 decimal digits in all.
 *
 * @throws {@link MalformedError} TEE_CHAIN_MALFORMED for an impossible date.
 */
export function timeOf(digits: string): number {
  const part = (from: number, to: number): number => Number(digits.slice(from, to));
  const [year, month, day] = [part(0, 4), part(4, 6), part(6, 8)];
  const [hour, minute, second] = [part(8, 10), part(10, 12), part(12, 14)];
  const before = DAYS_BEFORE_MONTH[month - 1];
  const length = DAYS_IN_MONTH[month - 1];
  if (before === undefined || length === undefined) throw derFault("a month", `${month}`);
  const leap = isLeap(year);
  const lengthNow = leap && month === 2 ? 29 : length;
  if (day < 1 || day > lengthNow || hour > 23 || minute > 59 || second > 59) {
    throw derFault("a possible date and time", "an impossible one");
  }
  const days = daysBeforeYear(year) + before + (leap && month > 2 ? 1 : 0) + day - 1;
  return (((days * 24 + hour) * 60 + minute) * 60 + second) * 1000;
}

/** Days from 1970-01-01 to the first of January of `year`, in the Gregorian calendar. */
function daysBeforeYear(year: number): number {
  const previous = year - 1;
  const leaps = Math.floor(previous / 4) - Math.floor(previous / 100) + Math.floor(previous / 400);
  return previous * 365 + leaps - 719_162;
}
