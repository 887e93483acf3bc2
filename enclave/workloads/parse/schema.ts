import { z } from "zod";

import { AMOUNT_MINOR_MAX } from "./amounts.ts";
import { IMAGE_SIDE_MAX } from "./image-size.ts";
import { LINE_ITEMS_MAX } from "./items.ts";

/** Characters of a text field, in UTF-16 units; longer text is cut. */
export const TEXT_LENGTH_MAX = 200;

/** Name and version of the shape below, as the governance registry knows it. */
export const RECEIPT_SCHEMA = "symphony/receipt/v1";

const coordinate = z.int().min(0).max(IMAGE_SIDE_MAX);

const boxSchema = z
  .tuple([coordinate, coordinate, coordinate, coordinate])
  .refine(([x0, y0, x1, y1]) => x0 <= x1 && y0 <= y1, "box: expected x0 <= x1 and y0 <= y1");

const textSchema = z
  .string()
  .min(1)
  .max(TEXT_LENGTH_MAX)
  .refine((text) => text.isWellFormed() && text.normalize("NFC") === text, "text: expected NFC");

const dateSchema = z.iso.date().length(10);

const amountSchema = z.int().min(0).max(AMOUNT_MINOR_MAX);

/** A value, how sure the recogniser was of its weakest word (0 to 100), and where it stands. */
function fieldSchema<T extends z.ZodType>(value: T) {
  return z.strictObject({ value, confidence: z.int().min(0).max(100), box: boxSchema });
}

/**
 * What `parse` makes of a receipt: strict, bounded, without floats, so that it encodes as canonical CBOR.
 *
 * A field that was not found is `null`. `total` and `amount` are integer minor units at
 * `amount_scale` decimals; `date` is `YYYY-MM-DD`; boxes are [x0, y0, x1, y1] in pixels of the image.
 *
 * @see SCP core spec, verification of `parse` (VR-1): output conforms to the resolved schema
 */
export const parsedReceiptSchema = z.strictObject({
  schema: z.literal(RECEIPT_SCHEMA),
  amount_scale: z.literal(2),
  merchant: fieldSchema(textSchema).nullable(),
  date: fieldSchema(dateSchema).nullable(),
  total: fieldSchema(amountSchema).nullable(),
  currency: fieldSchema(textSchema.max(3)).nullable(),
  line_items: z
    .array(
      z.strictObject({
        description: fieldSchema(textSchema),
        amount: fieldSchema(amountSchema),
        quantity: fieldSchema(z.int().min(1).max(999)).nullable(),
      }),
    )
    .max(LINE_ITEMS_MAX),
});

/** A receipt as read; see {@link parsedReceiptSchema}. */
export type ParsedReceipt = z.infer<typeof parsedReceiptSchema>;
