import { digitsOf } from "./amounts.ts";
import { keywordsOf, mentions } from "./keywords.ts";
import { evidenceOf, type Evidence, type Row } from "./rows.ts";

/** A calendar date found in a line of text. */
export interface FoundDate {
  /** `YYYY-MM-DD`. */
  readonly iso: string;
  /** Place in the text, [from, to). */
  readonly from: number;
  readonly to: number;
  /** How much its form alone speaks for it. */
  readonly merit: number;
}

const MONTHS = [
  ["JAN", "JANUARY"],
  ["FEB", "FEBRUARY"],
  ["MAR", "MARCH", "MAC"],
  ["APR", "APRIL"],
  ["MAY", "MEI"],
  ["JUN", "JUNE"],
  ["JUL", "JULY"],
  ["AUG", "AUGUST", "OGOS"],
  ["SEP", "SEPT", "SEPTEMBER"],
  ["OCT", "OCTOBER", "OKT"],
  ["NOV", "NOVEMBER"],
  ["DEC", "DECEMBER", "DIS"],
] as const;

/** Years a receipt can carry: none is older than the euro, and two digits are of this century. */
const YEAR_MIN = 1999;
const YEAR_MAX = 2099;

const D = "[0-9OoIl|SB]";
const SEPARATOR = " ?[/.\\-] ?";
const START = "(?<![0-9A-Za-z/.]|[0-9]-)";
const END = `(?![0-9/]|[.\\-][0-9])`;

const DAY_FIRST = new RegExp(
  `${START}(?<day>${D}{1,2})(?<gap>${SEPARATOR})(?<month>${D}{1,2})${SEPARATOR}(?<year>20${D}{2}|2O${D}{2}|[0-9]{2})${END}`,
  "g",
);
const YEAR_FIRST = new RegExp(
  `${START}(?<year>20${D}{2})${SEPARATOR}(?<month>${D}{1,2})${SEPARATOR}(?<day>${D}{1,2})${END}`,
  "g",
);
const NAME = "(?<name>[A-Za-z]{3,9})";
const DAY_NAME = new RegExp(
  `${START}(?<day>${D}{1,2})(?:st|nd|rd|th)?[ /.,\\-]{0,2}${NAME}[ /.,'\\-]{0,2}(?<year>20${D}{2}|[0-9]{2})${END}`,
  "g",
);
const NAME_DAY = new RegExp(
  `(?<![A-Za-z])${NAME}[ .]{0,2}(?<day>${D}{1,2})(?:st|nd|rd|th)?[ ,]{1,2}(?<year>20${D}{2})${END}`,
  "g",
);
/** Separators lost or misread as a digit one: eight digits in a row. */
const COMPACT = new RegExp(
  `${START}(?<day>[0-3][0-9])(?<month>[01][0-9])(?<year>20[0-9]{2})${END}`,
  "g",
);

const FORMS = [
  { pattern: DAY_FIRST, merit: 20 },
  { pattern: YEAR_FIRST, merit: 20 },
  { pattern: DAY_NAME, merit: 20 },
  { pattern: NAME_DAY, merit: 20 },
  { pattern: COMPACT, merit: 0 },
] as const;

/**
 * Dates in `text`: day first (month first only where the day would be a thirteenth month or later),
 * year first, or with an English or Malay month name. Only dates of the calendar, 1999 to 2099.
 */
export function datesIn(text: string): FoundDate[] {
  return FORMS.flatMap(({ pattern, merit }) =>
    [...text.matchAll(pattern)].flatMap((match) => dateOfMatch(match, merit)),
  );
}

function dateOfMatch(match: RegExpExecArray, merit: number): FoundDate[] {
  const groups = match.groups ?? {};
  const yearText = groups["year"] ?? "";
  const year = Number(digitsOf(yearText)) + (yearText.length === 2 ? 2000 : 0);
  const day = numberUpTo(31, groups["day"] ?? "");
  const name = groups["name"];
  const month = name === undefined ? numberUpTo(31, groups["month"] ?? "") : monthOfName(name);
  const iso = isoOf(year, month, day) ?? (name === undefined ? isoOf(year, day, month) : undefined);
  if (iso === undefined) return [];
  const dotted = groups["gap"]?.includes(".") === true && yearText.length === 2;
  return [
    {
      iso,
      from: match.index,
      to: match.index + match[0].length,
      merit: merit + (yearText.length === 4 ? 10 : 0) - (dotted ? 15 : 0),
    },
  ];
}

/** The number in `text`; an impossible eight in front is a zero with a stroke through it. */
function numberUpTo(max: number, text: string): number {
  const value = Number(digitsOf(text));
  return value > max && value >= 80 && value < 90 ? value - 80 : value;
}

function monthOfName(name: string): number {
  const upper = name.toUpperCase();
  return MONTHS.findIndex((names) => names.some((known) => known === upper)) + 1;
}

function isoOf(year: number, month: number, day: number): string | undefined {
  if (year < YEAR_MIN || year > YEAR_MAX || month < 1 || month > 12 || day < 1) return undefined;
  const leap = year % 4 === 0 && (year % 100 !== 0 || year % 400 === 0);
  const lengths = [31, leap ? 29 : 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
  if (day > (lengths[month - 1] ?? 0)) return undefined;
  return `${year}-${String(month).padStart(2, "0")}-${String(day).padStart(2, "0")}`;
}

/**
 * The date of issue: among all dates the one best supported by its form, a word such as `DATE` or a
 * time of day beside it, and being printed more than once; the upper one of equals.
 */
export function findDate(rows: readonly Row[]): { value: string; evidence: Evidence } | null {
  const candidates = rows.flatMap((row, index) =>
    datesIn(row.text).map((date) => ({ date, row, score: scoreOf(date, row, rows[index - 1]) })),
  );
  let best: { value: string; evidence: Evidence; score: number } | null = null;
  for (const { date, row, score } of candidates) {
    const repeats = candidates.filter((other) => other.date.iso === date.iso).length - 1;
    const total = score + 8 * Math.min(2, repeats);
    if (best !== null && total <= best.score) continue;
    best = { value: date.iso, evidence: evidenceOf(row, date.from, date.to), score: total };
  }
  return best;
}

function scoreOf(date: FoundDate, row: Row, above: Row | undefined): number {
  const words = keywordsOf(row.text);
  let score = date.merit;
  if (mentions(words, "DATE", "DATED", "TARIKH")) score += 20;
  else if (above !== undefined && mentions(keywordsOf(above.text), "DATE")) score += 5;
  if (/[0-2]?[0-9] ?[:.] ?[0-5][0-9]/.test(row.text.slice(date.to))) score += 10;
  if (
    mentions(words, "EXPIRY", "EXPIRES", "EXPIRED", "VALID", "UNTIL", "BEFORE", "RETURN", "ACT")
  ) {
    score -= 30;
  }
  return score;
}
