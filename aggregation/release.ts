import { LimitError, MalformedError, concat } from "#protocol";

import { DELTA_PICO_MAX, laplaceScaleFor } from "./accounting.ts";
import { approximate } from "./rational.ts";

/** A noisy count at the door of an enclave. */
export interface CountRelease {
  /** The true count; never leaves. */
  readonly exact: number;
  /** The count plus discrete Laplace noise of the scale that `epsilonMicro` and `sensitivity` buy. */
  readonly noisy: number;
  /** The cardinality threshold of the composition; at least 1. */
  readonly k: number;
  readonly epsilonMicro: number;
  /** The chance that suppression itself betrays one subject, units of 1e-12; [1, 10 000 000 000]. */
  readonly deltaPico: number;
  /** How far one subject moves the count. */
  readonly sensitivity: number;
}

/** What may be said about a count: the noisy value, or nothing. */
export type ReleasedCount =
  | { readonly released: true; readonly value: number }
  | { readonly released: false; readonly value: null };

/**
 * How far above `k` a noisy count must lie: the smallest t such that a subject whose presence lifts the true
 * count to the threshold makes it released with probability at most delta.
 *
 * For discrete Laplace noise of scale b and q = exp(-1/b), P[noise >= t] = q^t / (1 + q); a subject who moves
 * the count by s > 1 adds s - 1.
 *
 * @throws {@link MalformedError} PRIVACY_BUDGET_PARAMETER_INVALID
 * @see Desfontaines, Voss, Gipson, Mandayam 2022, "Differentially private partition selection" (the rule)
 */
export function releaseMargin(
  parameters: Pick<CountRelease, "epsilonMicro" | "deltaPico" | "sensitivity">,
): number {
  const { epsilonMicro, deltaPico, sensitivity } = parameters;
  if (!Number.isSafeInteger(deltaPico) || deltaPico < 1 || deltaPico > DELTA_PICO_MAX) {
    throw new MalformedError(
      { code: "PRIVACY_BUDGET_PARAMETER_INVALID", parameter: "delta_pico", max: DELTA_PICO_MAX },
      `delta_pico: expected an integer in [1, ${DELTA_PICO_MAX}], got ${deltaPico}`,
    );
  }
  const scale = approximate(laplaceScaleFor({ epsilonMicro, sensitivity, rounds: 1 }));
  const q = Math.exp(-1 / scale);
  const tail = scale * (-Math.log(deltaPico / 1e12) - Math.log1p(q));
  return Math.max(1, Math.ceil(tail * (1 + 1e-12))) + sensitivity - 1;
}

/**
 * Decides whether a count leaves: only if the exact count is at least k *and* the noisy count at least k + margin.
 *
 * The first clause keeps every released set large; the second keeps the decision itself from saying whether
 * one subject is in the set. Noise must have been drawn before this is asked, whatever the exact count.
 *
 * @throws {@link MalformedError} PRIVACY_BUDGET_PARAMETER_INVALID for a count or threshold that is no integer
 */
export function releaseCount(count: CountRelease): ReleasedCount {
  const integers = [count.exact, count.noisy, count.k].every((n) => Number.isSafeInteger(n));
  if (!integers || count.exact < 0 || count.k < 1) {
    throw new MalformedError(
      { code: "PRIVACY_BUDGET_PARAMETER_INVALID" },
      "count: expected an integer count of at least 0 and a threshold of at least 1, got others",
    );
  }
  const margin = releaseMargin(count);
  const released = count.exact >= count.k && count.noisy >= count.k + margin;
  return released ? { released, value: count.noisy } : { released, value: null };
}

const LENGTH_BYTES = 4;

/**
 * `bytes` behind their length (u32, big-endian) and before zeros, `size` bytes in all.
 *
 * A suppressed and a released message of equal `size` cannot be told apart by length.
 *
 * @throws {@link LimitError} SCHEMA_TOO_LARGE when `bytes` do not fit; `size` comes from public parameters
 */
export function padTo(bytes: Uint8Array, size: number): Uint8Array {
  if (!Number.isSafeInteger(size) || bytes.length + LENGTH_BYTES > size) {
    throw new LimitError(
      { code: "SCHEMA_TOO_LARGE", sizeMax: size },
      `padded message: expected content that fits ${size} bytes, got more`,
    );
  }
  const length = new Uint8Array(LENGTH_BYTES);
  new DataView(length.buffer).setUint32(0, bytes.length);
  return concat(length, bytes, new Uint8Array(size - LENGTH_BYTES - bytes.length));
}

/**
 * The content of a message that {@link padTo} made.
 *
 * @throws {@link MalformedError} SCHEMA_MALFORMED when the length or the zeros after it are not as written
 */
export function unpad(padded: Uint8Array): Uint8Array {
  const view = new DataView(padded.buffer, padded.byteOffset, padded.byteLength);
  const length = padded.length < LENGTH_BYTES ? -1 : view.getUint32(0);
  const end = LENGTH_BYTES + length;
  if (length < 0 || end > padded.length || padded.subarray(end).some((byte) => byte !== 0)) {
    throw new MalformedError(
      { code: "SCHEMA_MALFORMED", bytes: padded.length },
      "padded message: expected a length, content and zeros, got another layout",
    );
  }
  return padded.slice(LENGTH_BYTES, end);
}
