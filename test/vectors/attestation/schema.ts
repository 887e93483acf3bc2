import { z } from "zod";

/** The categories, one pair of files each: `<category>.json` and `checks/<category>.json`. */
export const CATEGORIES = [
  "a-envelope",
  "b-malleable",
  "c-payload",
  "d-chain",
  "e-policy",
  "f-snp",
  "g-tdx",
  "h-cms",
] as const;

/** The stages of judging evidence; `open` is the one stage of a KMS blob. */
export const STAGES = ["parse", "verify", "appraise", "open"] as const;

const hexText = z.string().regex(/^([0-9a-f]{2})*$/);
const code = z.string().regex(/^[A-Z][A-Z_]+$/);
/** Such as `document`, `endorsements/1`, `collateral/tcbInfo`, `collateral/tcbSigningChain/0`, `binding/nonce`. */
const partName = z.string().regex(/^[a-z][A-Za-z]*(\/[A-Za-z0-9]+){0,2}$/);
/** Where bytes come from; `load.ts` says which forms there are. */
const reference = z.string().min(1);

/** One change: at `offset` of the original, `removed` bytes make way for these. In order, not overlapping. */
export const editSchema = z.tuple([z.int().min(0), z.int().min(0), hexText]);
/** See {@link editSchema}. */
export type Edit = z.infer<typeof editSchema>;

/** When evidence is judged; the shape of `JudgedAt`. */
export const atSchema = z.union([
  z.strictObject({ mode: z.literal("live"), nowMs: z.int() }),
  z.strictObject({ mode: z.literal("replay"), recordedMs: z.int().exactOptional() }),
]);

/** JSON for values it cannot write: `{"$hex": ...}` bytes, `{"$bigint": ...}`, `{"$number": ...}`. */
const policyJson = z.record(z.string(), z.json());

/** Good evidence that vectors damage: its parts, the roots it is judged under, when, and a policy that accepts it. */
export const baseSchema = z.strictObject({
  title: z.string().min(1),
  source: z.enum(["captured", "synthetic"]),
  format: z.enum(["nitro", "snp", "tdx", "cms"]),
  /** A `cms` has the parts `document` and `key` (PKCS #8 PEM) and is judged by nothing else. */
  parts: z.record(partName, reference),
  anchors: z.array(z.strictObject({ platform: z.string(), certificate: reference })),
  at: atSchema.nullable(),
  policy: policyJson.nullable(),
});
/** See {@link baseSchema}. */
export type Base = z.infer<typeof baseSchema>;

/** A negative vector: how it differs from its base, and what refuses it. */
export const vectorSchema = z.strictObject({
  number: z.string().regex(/^[A-H]-[0-9]{2,3}$/),
  title: z.string().min(1),
  source: z.enum(["damaged", "synthetic"]),
  /** The section exercised, where one can be named. */
  section: z.string().exactOptional(),
  /** File name in `bases/` without `.json`. */
  base: z.string(),
  /** Edits of the part `document`. */
  edits: z.array(editSchema).default([]),
  /** Edits of other parts. */
  parts: z.record(partName, z.array(editSchema)).default({}),
  /** Parts taken from elsewhere before they are edited; null takes the part away. */
  swap: z.record(partName, reference.nullable()).default({}),
  /** Instead of the base's. */
  anchors: baseSchema.shape.anchors.exactOptional(),
  /** Instead of the base's. */
  at: atSchema.exactOptional(),
  /** Top-level fields instead of the base's; `nitro`, `snp` and `tdx` are merged one level deeper. */
  policy: policyJson.default({}),
  /** Whether the untouched base is verified first, with the same chain cache. */
  warm: z.boolean().default(false),
  stage: z.enum(STAGES),
  code,
  /** The check without which it would be accepted; null when no one removal does that, and it does not count. */
  check: z.string().nullable(),
});
/** See {@link vectorSchema}. */
export type Vector = z.infer<typeof vectorSchema>;
/** A vector as it is written, before defaults. */
export type VectorInput = z.input<typeof vectorSchema>;

/** The removal of one check: in `file`, `search` (which occurs exactly once) becomes `replace`. */
export const checkSchema = z.strictObject({
  file: z.string(),
  search: z.string().min(1),
  replace: z.string(),
});
/** See {@link checkSchema}. */
export type Check = z.infer<typeof checkSchema>;
