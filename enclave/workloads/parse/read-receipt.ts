import { RECEIPT_LIMITS, parsedReceiptSchema, type ParsedReceipt } from "#protocol";

import { findDate } from "./dates.ts";
import { findItems, type FoundItem } from "./items.ts";
import { findMerchant } from "./merchant.ts";
import type { Ocr, OcrPage } from "./ocr-page.ts";
import { joinBoxes, rowsOf, type Evidence } from "./rows.ts";
import { findTotal, readRows } from "./totals.ts";

/**
 * Reads the fields of a receipt off recognised text. Pure: equal pages give equal receipts.
 *
 * Never throws for any text; what is not found is `null`. The text is untrusted and so are the
 * fields: they say what the paper says, not what is true.
 */
export function readReceipt(page: OcrPage): ParsedReceipt {
  const rows = rowsOf(page);
  const read = readRows(rows);
  const items = findItems(read);
  const total = findTotal(
    read,
    items.reduce((sum, { amount }) => sum + amount.value, 0),
  );
  return parsedReceiptSchema.parse({
    merchant: textField(findMerchant(rows)),
    date: field(findDate(rows)),
    total: total === null ? null : field(total),
    currency: field(total?.currency ?? null),
    line_items: items.map(itemOf),
  });
}

/**
 * Recognises the text of one JPEG or PNG image and reads the receipt on it.
 *
 * Deterministic: equal image bytes give equal canonical bytes of the result, whatever was read before.
 *
 * @throws {@link LimitError} SCHEMA_TOO_LARGE
 * @throws {@link MalformedError} SCHEMA_IMAGE_MALFORMED
 */
export function parseReceiptImage(ocr: Ocr, image: Uint8Array): ParsedReceipt {
  return readReceipt(ocr.recognize(image));
}

interface Found<T> {
  readonly value: T;
  readonly evidence: Evidence;
}

function field<T>(found: Found<T> | null) {
  if (found === null) return null;
  const { value, evidence } = found;
  return { value, confidence: evidence.confidence, box: [...evidence.box] };
}

/** As {@link field}, cut to the schema's length between two characters; `null` for no text. */
function textField(found: Found<string> | null) {
  if (found === null) return null;
  const value = found.value.normalize("NFC").slice(0, RECEIPT_LIMITS.text).toWellFormed().trim();
  return value === "" ? null : field({ value: value.normalize("NFC"), evidence: found.evidence });
}

/** One line: the lesser confidence of description and amount, and the box around both. */
function itemOf({ description, amount, quantity }: FoundItem) {
  const text = textField(description);
  const [a, b] = [description.evidence, amount.evidence];
  return {
    description: text?.value,
    quantity: quantity === null ? null : quantity.value,
    amount: amount.value,
    confidence: Math.min(a.confidence, b.confidence),
    box: [...joinBoxes(a.box, b.box)],
  };
}
