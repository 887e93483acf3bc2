import { RECEIPT_LIMITS } from "#protocol";

import { digitsOf } from "./amounts.ts";
import { evidenceOf, type Evidence, type Row } from "./rows.ts";
import type { ReadRow } from "./totals.ts";

/** One article of a receipt; amounts are integer minor units. */
export interface FoundItem {
  readonly description: { readonly value: string; readonly evidence: Evidence };
  readonly amount: { readonly value: number; readonly evidence: Evidence };
  readonly quantity: { readonly value: number; readonly evidence: Evidence } | null;
}

/** Fewer letters than this are a unit or a tax code, not a description. */
const DESCRIPTION_LETTERS_MIN = 3;

/**
 * Item lines: those with an amount, above the first total. The description stands on the same line, or
 * else on the line above or below that has no amount. A quantity is read when the line says it
 * (`2 x`) or when quantity times unit price is the amount.
 */
export function findItems(rows: readonly ReadRow[]): FoundItem[] {
  const end = rows.findIndex(({ kind, amounts }) => kind === "total" && amounts.length > 0);
  const body = end === -1 ? [] : rows.slice(0, end);
  const used = new Set<number>();
  const items: FoundItem[] = [];
  for (const [index, read] of body.entries()) {
    if (
      read.kind !== "item" ||
      read.amounts.length === 0 ||
      items.length >= RECEIPT_LIMITS.lineItems
    )
      continue;
    const item = itemAt(body, index, used);
    if (item !== undefined) items.push(item);
  }
  return items;
}

function itemAt(rows: readonly ReadRow[], index: number, used: Set<number>): FoundItem | undefined {
  const read = rows[index];
  const amount = read?.amounts.at(-1);
  if (read === undefined || amount === undefined || amount.minor <= 0) return undefined;
  const quantity = quantityOf(read);
  const description =
    ownDescription(read, quantity?.from) ?? neighbourDescription(rows, index, used);
  if (description === undefined) return undefined;
  const evidence = evidenceOf(read.row, ...amount.digits);
  return {
    description,
    amount: { value: amount.minor, evidence },
    quantity:
      quantity === undefined
        ? null
        : {
            value: quantity.value,
            evidence: evidenceOf(read.row, quantity.from, quantity.from + 1),
          },
  };
}

interface FoundQuantity {
  readonly value: number;
  readonly from: number;
}

/** A number followed by `x` or `@`, or one whose product with a price of the line is its amount. */
function quantityOf({ row, amounts }: ReadRow): FoundQuantity | undefined {
  const amount = amounts.at(-1)?.minor ?? 0;
  const prices = amounts.slice(0, -1).map(({ minor }) => minor);
  const numbers = [...row.text.matchAll(/(?<![^\s])([0-9]{1,3}|[Il|])(?= ?[xX×@*]?(?: |$))/g)]
    .map((match) => ({ value: Number(digitsOf(match[1] ?? "")), from: match.index }))
    .filter(({ value }) => value > 0);
  const proven = numbers.findLast(({ value }) => prices.some((price) => value * price === amount));
  if (proven !== undefined) return proven;
  const said = /(?<![^\s])([0-9]{1,3}) ?[xX×@*](?= |$)/.exec(row.text);
  if (said === null || Number(said[1]) === 0) return undefined;
  return { value: Number(said[1]), from: said.index };
}

/** The line's text up to its first number column, without a leading quantity or article code. */
function ownDescription(read: ReadRow, quantityFrom: number | undefined) {
  const firstAmount = read.amounts[0]?.from ?? read.row.text.length;
  const to = quantityFrom === undefined || quantityFrom < 4 ? firstAmount : quantityFrom;
  return describe(read.row, Math.min(to, firstAmount));
}

function neighbourDescription(rows: readonly ReadRow[], index: number, used: Set<number>) {
  for (const at of [index - 1, index + 1]) {
    const read = rows[at];
    if (read === undefined || used.has(at)) continue;
    if (read.kind !== "item" || read.amounts.length > 0) continue;
    const description = describe(read.row, read.row.text.length);
    if (description === undefined) continue;
    used.add(at);
    return description;
  }
  return undefined;
}

function describe(row: Row, to: number): FoundItem["description"] | undefined {
  const text = row.text.slice(0, to);
  const lead = /^(?:[0-9]{1,3} ?[xX×@*]? |[0-9]{5,} )*/.exec(text)?.[0].length ?? 0;
  const value = text
    .slice(lead)
    .replace(/[\s:|*@-]+$/u, "")
    .replace(/^[\s:|*@.-]+/u, "");
  if ((value.match(/\p{L}/gu) ?? []).length < DESCRIPTION_LETTERS_MIN) return undefined;
  return { value, evidence: evidenceOf(row, lead, lead + value.length) };
}
