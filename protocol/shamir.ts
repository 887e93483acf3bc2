import { combine, split } from "shamir-secret-sharing";

import { concat, equalBytes } from "./bytes.ts";
import { MalformedError } from "./errors.ts";

/** Most shares of one secret: the points of GF(2^8) other than zero. */
export const SHARES_MAX = 255;

/** The largest secret that is shared: a key or a seed, not data. */
export const SHARED_SECRET_BYTES_MAX = 1024;

/**
 * Splits `secret` so that any `threshold` of the shares give it back and fewer say nothing about it.
 *
 *     offset  size  field
 *     0       1     threshold, 1 to 255
 *     1       n     threshold 1: a copy of the secret; otherwise the share of `shamir-secret-sharing`
 *                   (the values of the polynomials over GF(2^8), then their point)
 *
 * Draws its randomness from the platform's generator, inside the package; with HPKE's it is the one exception
 * to randomness as an argument. A share is not authenticated: whoever combines compares the result with a
 * commitment to the secret.
 *
 * @param args.secret - 1 to 1024 bytes.
 * @param args.shares - 1 to 255.
 * @param args.threshold - 1 to `shares`. With 1, every share is the secret.
 * @throws {@link MalformedError} SCHEMA_MALFORMED
 */
export async function splitSecret(args: {
  readonly secret: Uint8Array;
  readonly shares: number;
  readonly threshold: number;
}): Promise<Uint8Array[]> {
  const { secret, shares, threshold } = args;
  requireRange("shares", shares, SHARES_MAX);
  requireRange("threshold", threshold, shares);
  requireRange("secret bytes", secret.length, SHARED_SECRET_BYTES_MAX);
  const tag = Uint8Array.of(threshold);
  if (threshold === 1) return Array.from({ length: shares }, () => concat(tag, secret));
  const bodies = await split(secret, shares, threshold);
  return bodies.map((body) => concat(tag, body));
}

/**
 * Gives back the secret of `shares`, which must be distinct shares of one splitting.
 *
 * Shares of different secrets or altered shares give another secret, not an error: compare with a commitment.
 *
 * @throws {@link MalformedError} SCHEMA_MALFORMED for fewer shares than their threshold, or shares of several
 * lengths or thresholds, or one share twice (unless the threshold is 1), or copies that differ.
 */
export async function combineShares(shares: readonly Uint8Array[]): Promise<Uint8Array> {
  requireRange("shares", shares.length, SHARES_MAX);
  const first = shares[0] ?? new Uint8Array(0);
  const threshold = first[0] ?? 0;
  const alike = shares.every((share) => share[0] === threshold && share.length === first.length);
  if (threshold === 0 || !alike) throw malformed("shares of one threshold and length", "others");
  if (shares.length < threshold) throw malformed(`at least ${threshold} shares`, shares.length);
  const bodies = shares.map((share) => share.slice(1));
  const extra = threshold === 1 ? 0 : 1;
  requireRange("share bytes", (bodies[0]?.length ?? 0) - extra, SHARED_SECRET_BYTES_MAX);
  if (threshold === 1) return onlyCopy(bodies);
  const points = new Set(bodies.map((body) => body.at(-1)));
  if (points.size !== bodies.length || points.has(0)) throw malformed("distinct shares", "others");
  return new Uint8Array(await combine(bodies));
}

function onlyCopy(copies: readonly Uint8Array[]): Uint8Array {
  const [first, ...rest] = copies;
  if (first === undefined || !rest.every((copy) => equalBytes(copy, first))) {
    throw malformed("equal copies", "different ones");
  }
  return first;
}

function requireRange(subject: string, value: number, max: number): void {
  if (Number.isInteger(value) && value >= 1 && value <= max) return;
  throw new MalformedError(
    { code: "SCHEMA_MALFORMED", got: value, max },
    `${subject}: expected an integer in [1, ${max}], got ${value}`,
  );
}

function malformed(expected: string, got: string | number): MalformedError {
  return new MalformedError(
    { code: "SCHEMA_MALFORMED", expected },
    `shares: expected ${expected}, got ${got}`,
  );
}
