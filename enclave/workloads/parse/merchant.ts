import { amountsIn } from "./amounts.ts";
import { keywordsOf, mentions } from "./keywords.ts";
import { evidenceOf, joinBoxes, type Evidence, type Row } from "./rows.ts";

/** A merchant's name stands in the first rows; what comes later is address and goods. */
const ROWS_LOOKED_AT = 8;

/** Words that end or mark the name of a business. */
const BUSINESS = [
  "SDN",
  "BHD",
  "ENTERPRISE",
  "TRADING",
  "RESTAURANT",
  "RESTORAN",
  "CAFE",
  "BAKERY",
  "MARKET",
  "SUPERMARKET",
  "MART",
  "STORE",
  "STORES",
  "SHOP",
  "COMPANY",
  "LTD",
  "LIMITED",
  "LLC",
  "INC",
  "GMBH",
  "PHARMACY",
  "STATIONERY",
  "SUPPLIES",
  "GROUP",
  "PLT",
  "SB",
] as const;

/** Words of rows that are no name. */
const ELSEWHERE = [
  "INVOICE",
  "RECEIPT",
  "TEL",
  "FAX",
  "GST",
  "JALAN",
  "JLN",
  "LOT",
  "STREET",
  "ROAD",
  "DATE",
  "CASHIER",
  "WELCOME",
  "THANK",
  "TAMAN",
  "REG",
] as const;

/**
 * The merchant: the first of the upper rows that names a business, else the first that reads as a name.
 *
 * A registration number in brackets at the end is left out. A row saying only what kind of company
 * it is belongs to the row above it.
 */
export function findMerchant(rows: readonly Row[]): { value: string; evidence: Evidence } | null {
  const names = rows.slice(0, ROWS_LOOKED_AT).map((row) => ({ row, words: keywordsOf(row.text) }));
  const usable = names.filter(({ row, words }) => readsAsName(row, words));
  const index = usable.findIndex(({ words }) => mentions(words, ...BUSINESS));
  const chosen = usable[Math.max(0, index)];
  if (chosen === undefined) return null;
  const name = nameOf(chosen.row);
  const above = names[names.findIndex(({ row }) => row === chosen.row) - 1];
  const bare = chosen.words.every((word) => mentions([word], ...BUSINESS));
  if (!bare || above === undefined || !readsAsName(above.row, above.words)) return name;
  const first = nameOf(above.row);
  return {
    value: `${first.value} ${name.value}`,
    evidence: {
      confidence: Math.min(first.evidence.confidence, name.evidence.confidence),
      box: joinBoxes(first.evidence.box, name.evidence.box),
    },
  };
}

function readsAsName(row: Row, words: readonly string[]): boolean {
  const letters = (row.text.match(/\p{L}/gu) ?? []).length;
  const digits = (row.text.match(/\p{N}/gu) ?? []).length;
  if (letters < 4 || digits > letters || amountsIn(row.text).length > 0) return false;
  return !mentions(words, ...ELSEWHERE) && words.some((word) => word.length >= 3);
}

function nameOf(row: Row): { value: string; evidence: Evidence } {
  const bracket = row.text.search(/ ?[([{](?=[^)\]}]*[0-9])/u);
  const end = bracket > 3 ? bracket : row.text.length;
  const value = row.text.slice(0, end).replace(/[\s:;,*_=~-]+$/u, "");
  const lead = /^[^\p{L}\p{N}]*/u.exec(value)?.[0].length ?? 0;
  return { value: value.slice(lead), evidence: evidenceOf(row, lead, value.length) };
}
