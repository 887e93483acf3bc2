import { RECEIPT_LIMITS } from "#protocol";

/** An amount of money found in a line of text. */
export interface Amount {
  /** Integer minor units, scale 2; below zero when a minus sign stands before it. */
  readonly minor: number;
  /** Currency sign or code as printed before or after it. */
  readonly currency: string | null;
  /** The decimal point was not read, so the last two digits are taken as the minor units. */
  readonly implied: boolean;
  /** Place in the text, [from, to), with sign and currency. */
  readonly from: number;
  readonly to: number;
  /** Place of the digits alone, [from, to). */
  readonly digits: readonly [from: number, to: number];
}

const CURRENCY = "RM|MYR|USD|EUR|GBP|SGD|AUD|CHF|US\\$|S\\$|[$£€¥]";
const DIGIT = "[0-9OoIl|SB]";

/** Sign, currency, whole part with or without thousands separators, point or comma, two digits. */
const PRINTED = new RegExp(
  `(?<![\\w.,/:-]|[.,] )(?<sign>- ?)?(?:(?<before>${CURRENCY}) ?)?(?<inner>-)?` +
    `(?<whole>${DIGIT}{1,3}(?:,${DIGIT}{3})+|${DIGIT}{1,7}) ?[.,] ?(?<cents>${DIGIT}{2})` +
    `(?![0-9]|[.,/:-][0-9]|-[A-Z0-9]| ?%)(?: ?(?<after>RM|MYR|USD|EUR|GBP|SGD|AUD|CHF|[€])\\b)?`,
  "dg",
);

/** A currency sign and at least three digits: the point got lost. */
const POINTLESS = new RegExp(
  `(?<![\\w.,/:-])(?<before>${CURRENCY}) ?(?<digits>[0-9]{3,7})(?![0-9]|[.,/:-] ?[0-9]| ?%)`,
  "g",
);

/**
 * Amounts in `text` from left to right: two decimals after a point or comma, or a currency sign before
 * digits whose point was not read. Letters that look like digits count as digits inside a number that
 * has a digit as well.
 */
export function amountsIn(text: string): Amount[] {
  const printed = [...text.matchAll(PRINTED)].flatMap((match) => amountOfMatch(match));
  const pointless = [...text.matchAll(POINTLESS)]
    .filter((match) => !printed.some((amount) => overlaps(amount, match)))
    .map(({ 0: whole, index, groups }) => ({
      minor: Number(groups?.["digits"]),
      currency: groups?.["before"] ?? null,
      implied: true,
      from: index,
      to: index + whole.length,
      digits: [index + whole.search(/[0-9]/), index + whole.length] as const,
    }));
  return [...printed, ...pointless]
    .filter(({ minor }) => Math.abs(minor) <= RECEIPT_LIMITS.amountMinor)
    .sort((a, b) => a.from - b.from);
}

function overlaps(amount: Amount, match: RegExpExecArray): boolean {
  return amount.from < match.index + match[0].length && match.index < amount.to;
}

function amountOfMatch(match: RegExpExecArray): Amount[] {
  const groups = match.groups ?? {};
  const places = match.indices?.groups ?? {};
  const whole = groups["whole"] ?? "";
  const cents = groups["cents"] ?? "";
  if (!/[0-9]/.test(whole + cents)) return [];
  const size = Number(digitsOf(whole.replaceAll(",", "") + cents));
  const negative = groups["sign"] !== undefined || groups["inner"] !== undefined;
  return [
    {
      minor: negative && size !== 0 ? -size : size,
      currency: groups["before"] ?? groups["after"] ?? null,
      implied: false,
      from: match.index,
      to: match.index + match[0].length,
      digits: [places["whole"]?.[0] ?? match.index, places["cents"]?.[1] ?? match.index] as const,
    },
  ];
}

/** Turns letters into the digits they look like: `O` 0, `I l |` 1, `S` 5, `B` 8. */
export function digitsOf(text: string): string {
  return text
    .replace(/[Oo]/g, "0")
    .replace(/[Il|]/g, "1")
    .replaceAll("S", "5")
    .replaceAll("B", "8");
}
