import { LimitError, MalformedError } from "#protocol";

const RING_MAX = 2 ** 31 - 1;
/** The most parts one aggregate takes: above any Vault count a policy would name. */
const PARTS_MAX = 65_536;
const TOKEN_BYTES = 32;
const TOKENS_MAX = 50_000_000;

/**
 * Adds `update` into `accumulator`, entry by entry, modulo 2^32.
 *
 * Addition in the ring commutes, so any order of parts gives the same bits, and masks and integer noise
 * live in the same ring. Adds nothing unless the lengths agree.
 *
 * @throws {@link MalformedError} EXECUTION_INPUT_MISMATCH when the lengths differ
 */
export function addInto(accumulator: Int32Array, update: Int32Array): void {
  const { length } = accumulator;
  if (update.length !== length) {
    throw new MalformedError(
      { code: "EXECUTION_INPUT_MISMATCH", expected: length, got: update.length },
      `update: expected ${length} entries, got ${update.length}`,
    );
  }
  const whole = length - (length % 4);
  let i = 0;
  for (; i < whole; i += 4) {
    accumulator[i] = ((accumulator[i] ?? 0) + (update[i] ?? 0)) | 0;
    accumulator[i + 1] = ((accumulator[i + 1] ?? 0) + (update[i + 1] ?? 0)) | 0;
    accumulator[i + 2] = ((accumulator[i + 2] ?? 0) + (update[i + 2] ?? 0)) | 0;
    accumulator[i + 3] = ((accumulator[i + 3] ?? 0) + (update[i + 3] ?? 0)) | 0;
  }
  for (; i < length; i += 1) accumulator[i] = ((accumulator[i] ?? 0) + (update[i] ?? 0)) | 0;
}

/** What a ring sum can grow to. */
export interface Headroom {
  /** How many parts are summed; [1, 65 536]. */
  readonly parts: number;
  /** The largest magnitude of any entry of any part. */
  readonly entryBound: number;
  /** The largest magnitude noise is expected to reach; 0 when none is added. */
  readonly noiseBound: number;
}

/**
 * Refuses a sum that could leave the 32-bit ring: `parts * entryBound + noiseBound` must stay below 2^31.
 *
 * A wrapped sum is silently wrong, so this is asked before anything is added.
 *
 * @throws {@link LimitError} EXECUTION_BOUND_EXCEEDED
 */
export function requireHeadroom({ parts, entryBound, noiseBound }: Headroom): void {
  const integers = [parts, entryBound, noiseBound].every((n) => Number.isSafeInteger(n) && n >= 0);
  const reach = parts * entryBound + noiseBound;
  if (!integers || parts < 1 || parts > PARTS_MAX || reach > RING_MAX) {
    throw new LimitError(
      { code: "EXECUTION_BOUND_EXCEEDED", parts, entryBound, noiseBound, ringMax: RING_MAX },
      `ring sum: expected 1 to ${PARTS_MAX} parts with a reach of at most ${RING_MAX}, ` +
        `got ${parts} parts with a reach of ${reach}`,
    );
  }
}

/**
 * The sum of `parts` modulo 2^32, independent of their order.
 *
 * Every entry is held to `entryBound` first: a part beyond it breaks the protocol, because its own enclave
 * clips. The refusal names neither the entry nor its value.
 *
 * @throws {@link LimitError} EXECUTION_BOUND_EXCEEDED when the sum could overflow
 * @throws {@link MalformedError} EXECUTION_INPUT_MISMATCH for unequal lengths or an entry out of bound
 */
export function secureSum(
  parts: readonly Int32Array[],
  bounds: { readonly entryBound: number; readonly noiseBound: number },
): Int32Array {
  requireHeadroom({ parts: parts.length, ...bounds });
  const total = new Int32Array(parts[0]?.length ?? 0);
  for (const part of parts) {
    if (!withinBound(part, bounds.entryBound)) {
      throw new MalformedError(
        { code: "EXECUTION_INPUT_MISMATCH", entryBound: bounds.entryBound },
        `update: expected every entry within ${bounds.entryBound}, got one beyond it`,
      );
    }
    addInto(total, part);
  }
  return total;
}

function withinBound(part: Int32Array, bound: number): boolean {
  let inside = true;
  for (let i = 0; i < part.length; i += 1) {
    const entry = part[i] ?? 0;
    if (entry > bound || entry < -bound) inside = false;
  }
  return inside;
}

function tokenSet(tokens: Uint8Array): Set<string> {
  if (tokens.length % TOKEN_BYTES !== 0 || tokens.length / TOKEN_BYTES > TOKENS_MAX) {
    throw new MalformedError(
      { code: "EXECUTION_INPUT_MISMATCH", bytes: tokens.length },
      `tokens: expected at most ${TOKENS_MAX} tokens of ${TOKEN_BYTES} bytes, got ${tokens.length} bytes`,
    );
  }
  const bytes = Buffer.from(tokens.buffer, tokens.byteOffset, tokens.byteLength);
  const set = new Set<string>();
  for (let at = 0; at < bytes.length; at += TOKEN_BYTES) {
    set.add(bytes.toString("latin1", at, at + TOKEN_BYTES));
  }
  return set;
}

/**
 * How many distinct tokens appear in at least one of `parts`.
 *
 * @param parts - Concatenated 32-byte tokens, one array per Vault; repetition inside a part counts once.
 * @throws {@link MalformedError} EXECUTION_INPUT_MISMATCH when a part is no whole number of tokens
 */
export function unionCount(parts: readonly Uint8Array[]): number {
  const [first, ...rest] = parts.map(tokenSet);
  if (first === undefined) return 0;
  for (const set of rest) for (const token of set) first.add(token);
  return first.size;
}

/** How many distinct tokens appear in every one of `parts`; 0 for no parts. As {@link unionCount} otherwise. */
export function intersectionCount(parts: readonly Uint8Array[]): number {
  const [first, ...rest] = parts.map(tokenSet);
  if (first === undefined) return 0;
  let count = 0;
  for (const token of first) if (rest.every((set) => set.has(token))) count += 1;
  return count;
}
