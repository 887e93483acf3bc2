import { z } from "zod";

/** A byte string of exactly `length` bytes. */
export function bytesOf(length: number): z.ZodType<Uint8Array> {
  return z
    .instanceof(Uint8Array, { error: `expected ${length} bytes` })
    .refine((bytes) => bytes.length === length, { error: `expected ${length} bytes` });
}

/** A byte string of at most `max` bytes. */
export function bytesUpTo(max: number): z.ZodType<Uint8Array> {
  return z
    .instanceof(Uint8Array, { error: `expected bytes` })
    .refine((bytes) => bytes.length <= max, { error: `expected at most ${max} bytes` });
}

/** A SHA-256 digest, a root or a 32-byte random value. */
export const bytes32 = bytesOf(32);

/** An identifier: 1 to 64 of `a-z A-Z 0-9 . _ : -`, beginning with a letter or digit. */
export const identifier = z
  .string()
  .regex(/^[A-Za-z0-9][A-Za-z0-9._:-]{0,63}$/, { error: "expected an identifier" });

/** A short text of at most 200 characters, NFC. */
export const shortText = z
  .string()
  .max(200)
  .refine((text) => text.normalize("NFC") === text, { error: "expected NFC text" });

/** An integer in [0, 2^53). */
export const natural = z.int().min(0);

/** Integer milliseconds since the Unix epoch, UTC. */
export const unixMs = z.int().min(0).max(8_640_000_000_000_000);

/** Privacy loss in integer micro-epsilon, at most 1 000 epsilon. */
export const microEpsilon = z.int().min(0).max(1_000_000_000);

/** The purposes a subject consents to (SCP core spec, part 4). */
export const usageScope = z.enum(["personal_use", "marketing", "analytics", "training"]);
export type UsageScope = z.infer<typeof usageScope>;

/** What a subject can consent to: the purposes, and that an audience names them to its submitter (PB-6). */
export const consentPurpose = z.enum([...usageScope.options, "identifiable_targeting"]);
export type ConsentPurpose = z.infer<typeof consentPurpose>;

/** The four task classes (SCP core spec, part 2). */
export const taskClass = z.enum(["parse", "query", "compute", "train"]);
export type TaskClass = z.infer<typeof taskClass>;

/** What an actor of the network is; the staking tiers follow it. */
export const actorRole = z.enum([
  "master",
  "enterprise",
  "aggregator",
  "producer",
  "submitter",
  "verifier",
  "auditor",
  "governance",
]);
export type ActorRole = z.infer<typeof actorRole>;

/** The platforms whose evidence the verifier knows. */
export const platformName = z.enum(["aws-nitro", "amd-sev-snp", "intel-tdx", "sim"]);

/** Platforms that enclaves of a network may run on; evidence of the others is verified, but no image runs there. */
export const sessionPlatformName = z.enum(["aws-nitro", "sim"]);

/** Public HPKE key of the one suite: ML-KEM-768 + X25519. */
export const boxPublicKey = bytesOf(1216);
