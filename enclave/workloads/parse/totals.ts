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
  { words: ["QTY", "QUANTITY", "ITEM", "ITEMS", "CHANGE", "ROUNDING", "SUMMARY"], weight: -50 },
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
 * being printed again, by `cash - change`, and by being the sum of the item lines. `null` when no line
 * with a total, a tender or a price was read.
 */
export function findTotal(
  rows: readonly ReadRow[],
  itemsMinor: number,
): { value: number; currency: string | null; evidence: Evidence } | null {
  const claims = rows.flatMap((_, index) => claimOf(rows, index));
  const paid = tenderLessChange(rows);
  let best: { claim: Claim; score: number } | undefined;
  for (const claim of claims) {
    let score = claim.score + 6 * Math.min(3, printedTimes(rows, claim.minor) - 1);
    if (paid.includes(claim.minor)) score += 25;
    if (claim.minor === itemsMinor) score += 20;
    if (claim.minor <= 0) score -= 60;
    if (claim.amount.implied) score -= 10;
    if (best === undefined || score > best.score) best = { claim, score };
  }
  if (best === undefined || best.claim.minor < 0 || best.score <= 0) return null;
  const { claim } = best;
  const { amount, row } = claim;
  const evidence = evidenceOf(row, amount.from, amount.to);
  const confidence = amount.implied ? Math.min(50, evidence.confidence) : evidence.confidence;
  return { value: claim.minor, currency: amount.currency, evidence: { ...evidence, confidence } };
}

/** The claim of one line, whose amount may stand alone on the line below. */
function claimOf(rows: readonly ReadRow[], index: number): Claim[] {
  const read = rows[index];
  if (read === undefined) return [];
  const score = wordScore(read);
  if (score === undefined) return [];
  const own = read.amounts.at(-1);
  if (own !== undefined) return [{ minor: own.minor, score, amount: own, row: read.row }];
  const below = rows[index + 1];
  const alone = below !== undefined && below.words.length <= 1 ? below.amounts.at(-1) : undefined;
  if (below === undefined || alone === undefined) return [];
  return [{ minor: alone.minor, score: score - 10, amount: alone, row: below.row }];
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

/** Every difference of a tendered amount and the change given; the tendered amounts when none was. */
function tenderLessChange(rows: readonly ReadRow[]): number[] {
  const last = (kind: RowKind): number[] =>
    rows
      .filter((read) => read.kind === kind)
      .flatMap(({ amounts }) => amounts.slice(-1).map(({ minor }) => Math.abs(minor)));
  const change = last("change");
  return last("tender").flatMap((given) =>
    change.length === 0 ? [given] : change.map((back) => given - back),
  );
}
