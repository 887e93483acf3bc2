import { amountsIn, type Amount } from "./amounts.ts";
import { keywordsOf, mentions } from "./keywords.ts";
import { evidenceOf, type Evidence, type Row } from "./rows.ts";

/** What a line of a receipt is about, judged by its words. */
export type RowKind = "item" | "header" | "total" | "tender" | "change" | "adjustment" | "summary";

/** The rows of a receipt, each with its kind, words and amounts. */
export interface ReadRow {
  readonly row: Row;
  readonly kind: RowKind;
  readonly words: readonly string[];
  readonly amounts: readonly Amount[];
}

/** A line's claim that one of its amounts is the total. */
interface Claim {
  readonly minor: number;
  readonly kind: RowKind;
  readonly score: number;
  readonly amount: Amount;
  readonly row: Row;
}

/** How strongly words beside `TOTAL` speak for or against the amount to be paid. */
const WEIGHTS = [
  { words: ["GRAND", "PAYABLE", "ROUNDED", "FINAL", "NETT", "NET"], weight: 25 },
  { words: ["DUE"], weight: 15 },
  { words: ["INCL", "INC", "INCLUSIVE", "INCLUDING"], weight: 10 },
  { words: ["SALES", "AMOUNT", "AMT", "BILL", "INVOICE"], weight: 5 },
  { words: ["SUBTOTAL", "SUB", "GROSS", "SUPPLIES"], weight: -25 },
  { words: ["EXCL", "EXC", "EXCLUDING", "EXCLUSIVE", "BEFORE", "TAXABLE", "WITHOUT"], weight: -60 },
  {
    words: ["INCLUDES", "INCLUDED", "DISCOUNT", "SAVING", "SAVINGS", "SAVED", "POINTS"],
    weight: -60,
  },
  { words: ["QTY", "QUANTITY", "ITEM", "ITEMS", "CHANGE", "ROUNDING", "SUMMARY"], weight: -80 },
] as const;

/** Reads kind, words and amounts of every row, from top to bottom. */
export function readRows(rows: readonly Row[]): ReadRow[] {
  let inSummary = false;
  return rows.map((row) => {
    const words = keywordsOf(row.text);
    const amounts = amountsIn(row.text);
    const kind = kindOf(words, amounts);
    if (kind === "summary") inSummary = true;
    return { row, words, amounts, kind: inSummary ? "summary" : kind };
  });
}

function kindOf(words: readonly string[], amounts: readonly Amount[]): RowKind {
  const tax = mentions(words, "GST", "TAX", "VAT", "SST");
  const priced = amounts.length > 0;
  if (tax && !priced && mentions(words, "SUMMARY", "ANALYSIS", "RATE")) return "summary";
  if (mentions(words, "CHANGE", "KEMBALI") && !mentions(words, "EXCHANGE")) return "change";
  if (mentions(words, "ROUNDING", "DISCOUNT", "DISC", "ADJUSTMENT", "ADJ")) {
    return priced || words.length < 3 ? "adjustment" : "header";
  }
  if (isHeader(words, priced)) return "header";
  if (isTotal(words, tax)) return "total";
  if (mentions(words, "CASH", "TENDERED", "TENDER", "VISA", "MASTERCARD", "PAID", "RECEIVED")) {
    return "tender";
  }
  if (mentions(words, "PAYMENT", "CARD", "DEBIT", "CREDIT")) return "tender";
  return tax && priced ? "adjustment" : "item";
}

/** A heading of columns names at least two of them and has no amount. */
function isHeader(words: readonly string[], priced: boolean): boolean {
  const columns = [
    "QTY",
    "QUANTITY",
    "PRICE",
    "AMOUNT",
    "DESCRIPTION",
    "DESC",
    "ITEM",
    "AMT",
    "TAX",
  ];
  const named = columns.filter((column) => mentions(words, column)).length;
  return !priced && (named >= 2 || (named === 1 && mentions(words, "TOTAL", "RM", "UNIT")));
}

function isTotal(words: readonly string[], tax: boolean): boolean {
  if (mentions(words, "TOTAL", "SUBTOTAL", "TOTALS")) return true;
  if (!mentions(words, "AMOUNT", "AMT", "BALANCE", "SALES", "PAYABLE", "NETT", "NET")) return false;
  return mentions(words, "DUE", "PAYABLE", "NETT", "NET") || (tax && isInclusive(words));
}

function isInclusive(words: readonly string[]): boolean {
  return mentions(words, "INCL", "INC", "INCLUSIVE", "INCLUDING");
}

/**
 * The amount to be paid, integer minor units, and the currency printed with it.
 *
 * Every line speaks for its amount by its words; the amount wins for which the most is said, also by
 * how surely it was read, by being printed again, by `cash - change`, by a rounding, and by being the
 * sum of the item lines. `null` when no line with a total, a tender or a price was read.
 */
export function findTotal(
  rows: readonly ReadRow[],
  itemsMinor: number,
): {
  value: number;
  currency: { value: string; evidence: Evidence } | null;
  evidence: Evidence;
} | null {
  const claims = [...rows.flatMap((_, index) => claimOf(rows, index)), ...derivedClaims(rows)];
  const context = contextOf(rows, claims, itemsMinor);
  let best: { claim: Claim; score: number } | undefined;
  for (const claim of claims) {
    const score = claim.score + supportOf(claim, context);
    if (best === undefined || score > best.score) best = { claim, score };
  }
  if (best === undefined || best.claim.minor < 0 || best.score <= 0) return null;
  const { minor, amount, row } = best.claim;
  const evidence = evidenceOf(row, ...amount.digits);
  const confidence = amount.implied ? Math.min(50, evidence.confidence) : evidence.confidence;
  const currency =
    amount.currency === null
      ? null
      : { value: amount.currency, evidence: evidenceOf(row, amount.from, amount.to) };
  return { value: minor, currency, evidence: { ...evidence, confidence } };
}

/** What the rest of the receipt says about amounts. */
interface Context {
  readonly rows: readonly ReadRow[];
  /** Tendered amounts less the change given. */
  readonly paid: readonly number[];
  readonly change: readonly number[];
  /** Totals with a printed rounding applied, and those totals themselves. */
  readonly rounded: readonly number[];
  readonly unrounded: readonly number[];
  /** What the item lines come to, after a printed rounding. */
  readonly sum: number;
  readonly largest: number;
}

/** The smallest coin where totals are rounded, in minor units. */
const COIN_MINOR = 5;

function contextOf(
  rows: readonly ReadRow[],
  claims: readonly Claim[],
  itemsMinor: number,
): Context {
  const lastOf = (...kinds: readonly RowKind[]): number[] =>
    rows
      .filter(({ kind }) => kinds.includes(kind))
      .flatMap(({ amounts }) => amounts.slice(-1).map(({ minor }) => minor));
  const change = lastOf("change").map(Math.abs);
  const roundings = lastOf("adjustment").map(Math.abs);
  const priced = rows.filter(({ kind }) => kind !== "tender");
  const steps = lastOf("total").flatMap((from) =>
    roundedTo(from, roundings)
      .filter((to) => printedTimes(priced, to) > 0)
      .map((to) => ({ from, to })),
  );
  const given = lastOf("tender").map(Math.abs);
  const tenders = given.length === 0 && change.length > 0 ? lastOf("total") : given;
  return {
    rows,
    change,
    paid: change.length === 0 ? tenders : tenders.flatMap((t) => change.map((back) => t - back)),
    rounded: steps.map(({ to }) => to),
    unrounded: steps.map(({ from }) => from),
    sum: roundedTo(itemsMinor, roundings)[0] ?? itemsMinor,
    largest: Math.max(0, ...claims.map(({ minor }) => minor)),
  };
}

/** `minor` after each rounding that leads to a multiple of the coin; its printed sign is often lost. */
function roundedTo(minor: number, roundings: readonly number[]): number[] {
  if (minor % COIN_MINOR === 0) return [];
  return roundings
    .filter((by) => by > 0 && by < COIN_MINOR)
    .flatMap((by) => [minor - by, minor + by].filter((to) => to % COIN_MINOR === 0));
}

function supportOf({ minor, kind, amount, row }: Claim, context: Context): number {
  const { rows, paid, change, rounded, unrounded, sum, largest } = context;
  let support = 6 * Math.min(3, printedTimes(rows, minor) - 1);
  support += evidenceOf(row, ...amount.digits).confidence / 10;
  if (paid.includes(minor)) support += 25;
  if (kind !== "tender" && rounded.includes(minor)) support += 30;
  if (unrounded.includes(minor)) support -= 30;
  if (minor === sum) support += 20;
  if (minor === largest) support += 3;
  // What leaves a printed amount after the change, or is tendered and gives any, was handed over.
  if (change.some((back) => back > 0 && back < minor && printedTimes(rows, minor - back) > 0))
    support -= 35;
  else if (kind === "tender" && !amount.implied && change.some((back) => back > 0)) support -= 35;
  if (minor <= 0) support -= 60;
  return amount.implied ? support - 10 : support;
}

/** The claim of one line, whose amount may stand alone on the line below. */
function claimOf(rows: readonly ReadRow[], index: number): Claim[] {
  const read = rows[index];
  if (read === undefined) return [];
  const score = wordScore(read);
  if (score === undefined) return [];
  const own = read.amounts.at(-1);
  if (own !== undefined)
    return [{ minor: own.minor, kind: read.kind, score, amount: own, row: read.row }];
  const below = rows[index + 1];
  const alone = below !== undefined && below.words.length <= 1 ? below.amounts.at(-1) : undefined;
  if (below === undefined || alone === undefined) return [];
  return [
    { minor: alone.minor, kind: read.kind, score: score - 10, amount: alone, row: below.row },
  ];
}

/** Claims of what was tendered less the change given, for receipts whose total was not read. */
function derivedClaims(rows: readonly ReadRow[]): Claim[] {
  const change = rows
    .filter(({ kind }) => kind === "change")
    .flatMap(({ amounts }) => amounts.slice(-1).map(({ minor }) => Math.abs(minor)));
  return rows
    .filter(({ kind }) => kind === "tender")
    .flatMap(({ row, amounts }) =>
      amounts.slice(-1).flatMap((amount) =>
        change
          .filter((back) => back > 0 && back < amount.minor)
          .map((back) => ({
            minor: amount.minor - back,
            kind: "tender" as const,
            score: 15,
            amount: { ...amount, implied: true },
            row,
          })),
      ),
    );
}

function wordScore({ kind, words, amounts }: ReadRow): number | undefined {
  if (kind === "total" || (kind === "summary" && mentions(words, "TOTAL"))) {
    let score = 60;
    for (const { words: known, weight } of WEIGHTS) {
      if (mentions(words, ...known)) score += weight;
    }
    const tax = mentions(words, "GST", "TAX", "VAT", "SST");
    if (tax && !isInclusive(words)) score -= 40;
    return kind === "summary" ? score - 45 : score;
  }
  if (kind === "tender") return 15;
  return kind === "item" && amounts.length > 0 ? 1 : undefined;
}

function printedTimes(rows: readonly ReadRow[], minor: number): number {
  return rows.filter(({ amounts }) => amounts.some((amount) => amount.minor === minor)).length;
}
