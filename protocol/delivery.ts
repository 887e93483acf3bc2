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

/** One recognised field of a document: integer confidence in percent and its box in pixels. */
const field = <T extends z.ZodType>(value: T) =>
  z
    .strictObject({
      value,
      confidence: z.int().min(0).max(100),
      box: z.array(z.int()).length(4),
    })
    .nullable();

/** What `parse` yields of a receipt (VR-1). Amounts are integer minor units. */
export const parsedReceiptSchema = z.strictObject({
  merchant: field(z.string().max(200)),
  date: field(z.string().regex(/^\d{4}-\d{2}-\d{2}$/)),
  total: field(z.int()),
  currency: field(z.string().max(8)),
  line_items: z
    .array(
      z.strictObject({
        description: z.string().max(200),
        quantity: z.int().nullable(),
        amount: z.int(),
        confidence: z.int().min(0).max(100),
        box: z.array(z.int()).length(4),
      }),
    )
    .max(64),
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
