import { z } from "zod";

import { bytes32, bytesUpTo, identifier, natural, taskClass } from "./fields.ts";
import { defineObject } from "./object.ts";

/** A Vault's share of a result key, re-sealed to the submitter once the result is final; signed by the Vault. */
export const deliveryShareSchema = z.strictObject({
  version: z.literal(1),
  envelope_digest: bytes32,
  vault_id: identifier,
  output_commitment: bytes32,
  settlement_root: bytes32,
  sealed_share: bytesUpTo(4096),
});

export type DeliveryShare = z.infer<typeof deliveryShareSchema>;
export const DELIVERY_SHARE = defineObject("delivery-share", deliveryShareSchema, 16 * 1024);

/** What a receipt may hold; whoever reads one cuts to these. */
export const RECEIPT_LIMITS = {
  /** Characters of a text, in UTF-16 units. */
  text: 200,
  /** Minor units at two decimals: ten million, less one cent. */
  amountMinor: 999_999_999,
  lineItems: 64,
  /** Pixels of an image's longer side; Tesseract stores coordinates in 16 bits, signed. */
  imageSide: 16_384,
} as const;

const coordinate = z.int().min(0).max(RECEIPT_LIMITS.imageSide);

/** Where a text stands, and how sure the recogniser was of its weakest word, in percent. */
const seen = {
  confidence: z.int().min(0).max(100),
  box: z
    .tuple([coordinate, coordinate, coordinate, coordinate])
    .refine(([x0, y0, x1, y1]) => x0 <= x1 && y0 <= y1, { error: "expected x0 <= x1, y0 <= y1" }),
};

const receiptText = (max: number) =>
  z
    .string()
    .min(1)
    .max(max)
    .refine((text) => text.isWellFormed() && text.normalize("NFC") === text, {
      error: "expected NFC text",
    });

const receiptAmount = z.int().min(0).max(RECEIPT_LIMITS.amountMinor);

const receiptField = <T extends z.ZodType>(value: T) =>
  z.strictObject({ value, ...seen }).nullable();

/**
 * What `parse` makes of a receipt (VR-1): strict, bounded, without floats.
 *
 * A field that was not found is null. Amounts are integer minor units at two decimals, boxes [x0, y0, x1, y1] in
 * pixels of the image; a line has one confidence and one box for its description and amount together.
 */
export const parsedReceiptSchema = z.strictObject({
  merchant: receiptField(receiptText(RECEIPT_LIMITS.text)),
  /** `YYYY-MM-DD`. */
  date: receiptField(z.iso.date().length(10)),
  total: receiptField(receiptAmount),
  /** Sign or code as printed. */
  currency: receiptField(receiptText(3)),
  line_items: z
    .array(
      z.strictObject({
        description: receiptText(RECEIPT_LIMITS.text),
        quantity: z.int().min(1).max(999).nullable(),
        amount: receiptAmount,
        ...seen,
      }),
    )
    .max(RECEIPT_LIMITS.lineItems),
});

export type ParsedReceipt = z.infer<typeof parsedReceiptSchema>;

/** The opened result. Padded to one size per class before it is sealed, so that its length tells nothing. */
export const taskResultSchema = z.strictObject({
  version: z.literal(1),
  envelope_digest: bytes32,
  task_class: taskClass,
  simulated: z.boolean(),
  partial_coverage: z.boolean(),
  result: z.discriminatedUnion("kind", [
    z.strictObject({
      kind: z.literal("receipt"),
      record_commitment: bytes32,
      receipt: parsedReceiptSchema,
    }),
    z.strictObject({ kind: z.literal("suppressed") }),
    z.strictObject({
      kind: z.literal("audience"),
      /** Noisy number of distinct subjects. */
      size: natural,
      /** Names the sealed audience; opens nothing. */
      handle: bytes32,
      capped: z.boolean(),
    }),
    z.strictObject({
      kind: z.literal("histogram"),
      bin_edges_micro: z.array(z.int()).max(65),
      /** Noisy counts; a bin below the release threshold is null. */
      counts: z.array(z.int().nullable()).max(64),
    }),
    z.strictObject({
      kind: z.literal("model"),
      format: z.literal("onnx"),
      model: bytesUpTo(1024 * 1024),
      rounds: natural,
    }),
  ]),
});

export type TaskResult = z.infer<typeof taskResultSchema>;
export const TASK_RESULT = defineObject("task-result", taskResultSchema, 2 * 1024 * 1024);

/** Bytes a result of each class is padded to before sealing. */
export const RESULT_BYTES = {
  parse: 64 * 1024,
  query: 1024,
  compute: 4 * 1024,
  train: 1536 * 1024,
} as const;

/** Everything a submitter needs to open a result: the outcome and the released shares. */
export const deliverySchema = z.strictObject({
  envelope: bytesUpTo(512 * 1024),
  execution_bundle: bytesUpTo(128 * 1024),
  settlement: bytesUpTo(128 * 1024),
  ciphertext: bytesUpTo(32 * 1024 * 1024),
  shares: z.array(z.strictObject({ vault_id: identifier, signed: bytesUpTo(16 * 1024) })).max(64),
});

export type Delivery = z.infer<typeof deliverySchema>;
export const DELIVERY = defineObject("delivery", deliverySchema, 34 * 1024 * 1024);
