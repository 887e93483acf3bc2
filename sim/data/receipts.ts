import { createRequire } from "node:module";

import { LimitError } from "#protocol";
import { Resvg } from "@resvg/resvg-js";

import { decimalText } from "./csv.ts";
import { DataStream } from "./stream.ts";

/** One article on a made-up receipt; amounts are integer minor units, scale 2. */
export interface ReceiptItem {
  readonly description: string;
  readonly quantity: number;
  readonly unitPrice: number;
  /** `quantity * unitPrice`. */
  readonly amount: number;
}

/** What is printed on a made-up receipt: the truth that a reader of the image is to find again. */
export interface ReceiptSpec {
  readonly merchant: string;
  readonly address: string;
  readonly number: string;
  /** `YYYY-MM-DD`; printed day first. */
  readonly date: string;
  /** `HH:MM`. */
  readonly time: string;
  readonly currency: string;
  readonly items: readonly ReceiptItem[];
  /** Sum of the items' amounts, integer minor units, scale 2. */
  readonly total: number;
  /** Cash given; at least `total`. */
  readonly cash: number;
}

/** A receipt and its picture, under the file name it would have. */
export interface DemoReceipt {
  readonly name: string;
  readonly spec: ReceiptSpec;
  /** PNG; the same bytes every time. */
  readonly image: Uint8Array;
}

/** Receipts made in one call. */
export const DEMO_RECEIPTS_MAX = 10_000;

const MERCHANTS = [
  "Greenleaf Grocers",
  "Old Mill Bakery",
  "Corner Pharmacy",
  "Riverside Stationery",
  "Blue Door Market",
  "Lantern Trading",
] as const;

const ADDRESSES = [
  "4 Quay Parade, Carrow",
  "18 Mill Walk, Ashford",
  "7 Harbour Rise, Dunmere",
] as const;

const GOODS = [
  { description: "WHOLE MILK", price: 129 },
  { description: "RYE BREAD", price: 345 },
  { description: "FREE RANGE EGGS", price: 289 },
  { description: "GROUND COFFEE", price: 799 },
  { description: "ORANGE JUICE", price: 249 },
  { description: "CHEDDAR CHEESE", price: 465 },
  { description: "TOMATO SOUP", price: 175 },
  { description: "BROWN RICE", price: 219 },
  { description: "OLIVE OIL", price: 899 },
  { description: "PAPER TOWELS", price: 359 },
  { description: "HAND SOAP", price: 195 },
  { description: "BLUE PENS", price: 420 },
  { description: "NOTEBOOK RULED", price: 325 },
  { description: "GREEN TEA", price: 275 },
] as const;

/**
 * `count` made-up receipts with 2 to 6 articles each, the same on every call: the first of many are
 * the same as those of fewer.
 *
 * @throws {@link LimitError} SCHEMA_TOO_LARGE above {@link DEMO_RECEIPTS_MAX}.
 */
export function generateDemoReceipts(count: number): DemoReceipt[] {
  if (count > DEMO_RECEIPTS_MAX) {
    throw new LimitError(
      { code: "SCHEMA_TOO_LARGE", count, maxCount: DEMO_RECEIPTS_MAX },
      `receipts: expected at most ${DEMO_RECEIPTS_MAX}, got ${count}`,
    );
  }
  return Array.from({ length: count }, (_, index) => {
    const spec = specOf(index);
    return { name: `receipt-${spec.number}.png`, spec, image: renderReceipt(spec) };
  });
}

function specOf(index: number): ReceiptSpec {
  const stream = new DataStream(`receipt/${index}`);
  const goods = stream.shuffled(GOODS).slice(0, 2 + stream.below(5));
  const items = goods.map(({ description, price }) => {
    const quantity = 1 + stream.below(4);
    return { description, quantity, unitPrice: price, amount: quantity * price };
  });
  const total = items.reduce((sum, { amount }) => sum + amount, 0);
  const two = (value: number): string => String(value).padStart(2, "0");
  return {
    merchant: stream.pick(MERCHANTS),
    address: stream.pick(ADDRESSES),
    number: String(index + 1).padStart(6, "0"),
    date: `202${stream.below(6)}-${two(1 + stream.below(12))}-${two(1 + stream.below(28))}`,
    time: `${two(8 + stream.below(12))}:${two(stream.below(60))}`,
    currency: "EUR",
    items,
    total,
    cash: Math.ceil(total / 1_000) * 1_000,
  };
}

const WIDTH = 640;
const MARGIN = 30;
const FONT_SIZE = 24;
const LINE_HEIGHT = 36;
const COLUMNS = 40;

/** The picture of a receipt: a PNG, 640 pixels wide, black on white, the same bytes every time. */
export function renderReceipt(spec: ReceiptSpec): Uint8Array {
  const lines = linesOf(spec);
  const height = 2 * MARGIN + lines.length * LINE_HEIGHT;
  const texts = lines.map((line, index) => {
    const y = MARGIN + (index + 1) * LINE_HEIGHT - 10;
    return `<text x="${MARGIN}" y="${y}" xml:space="preserve">${escaped(line)}</text>`;
  });
  const svg =
    `<svg xmlns="http://www.w3.org/2000/svg" width="${WIDTH}" height="${height}">` +
    `<rect width="${WIDTH}" height="${height}" fill="white"/>` +
    `<g font-family="DejaVu Sans Mono" font-size="${FONT_SIZE}" fill="black">${texts.join("")}</g></svg>`;
  const font = createRequire(import.meta.url).resolve("dejavu-fonts-ttf/ttf/DejaVuSansMono.ttf");
  const resvg = new Resvg(svg, {
    font: { loadSystemFonts: false, fontFiles: [font], defaultFontFamily: "DejaVu Sans Mono" },
  });
  return new Uint8Array(resvg.render().asPng());
}

function linesOf(spec: ReceiptSpec): string[] {
  const [year, month, day] = spec.date.split("-");
  const money = (minor: number): string => decimalText(minor, 2);
  const sides = (left: string, right: string): string =>
    left + right.padStart(COLUMNS - left.length);
  return [
    centred(spec.merchant.toUpperCase()),
    centred(spec.address),
    "",
    sides(`RECEIPT NO ${spec.number}`, ""),
    sides(`DATE: ${day}/${month}/${year}`, spec.time),
    "",
    sides("QTY ITEM", "PRICE    AMOUNT"),
    ...spec.items.map(({ description, quantity, unitPrice, amount }) =>
      sides(
        `${String(quantity).padStart(2)}  ${description}`,
        `${money(unitPrice).padStart(9)}${money(amount).padStart(10)}`,
      ),
    ),
    "",
    sides(`TOTAL ${spec.currency}`, money(spec.total)),
    sides("CASH", money(spec.cash)),
    sides("CHANGE", money(spec.cash - spec.total)),
    "",
    centred("THANK YOU"),
  ];
}

function centred(text: string): string {
  return " ".repeat(Math.max(0, Math.floor((COLUMNS - text.length) / 2))) + text;
}

function escaped(text: string): string {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
}
