import {
  laplaceScaleFor,
  noiseStream,
  releaseCount,
  sampleDiscreteLaplace,
  unpad,
} from "#aggregation";
import {
  MalformedError,
  compareBytes,
  concat,
  digestOfBytes,
  hkdf,
  utf8,
  type TaskResult,
} from "#protocol";

import type { CountPrivacy } from "./privacy.ts";

/** Slices of one query and what the envelope fixed about combining them. */
export interface QueryAggregation {
  /** Padded slice outputs, in order of Vault. */
  readonly outputs: readonly Uint8Array[];
  readonly outputBytes: number;
  readonly method: "union" | "intersection";
  readonly audienceCap: number;
  readonly noiseKey: Uint8Array;
  readonly privacy: CountPrivacy;
}

const TOKEN_BYTES = 32;

/**
 * The audience of a query: a noisy number of distinct subjects, at most the cap, and a handle that opens nothing.
 *
 * Members beyond the cap are dropped in order of their tokens before anything is counted, so neither size nor handle
 * says that there were more. Noise is drawn whatever the count is; below the release rule the result is `suppressed`.
 *
 * @throws {@link MalformedError} EXECUTION_INPUT_MISMATCH for an output that is no list of tokens
 */
export function aggregateQuery(aggregation: QueryAggregation): TaskResult["result"] {
  const { privacy, audienceCap, noiseKey } = aggregation;
  const parts = aggregation.outputs.map((output) => tokensOf(output, aggregation.outputBytes));
  const members = combine(parts, aggregation.method).slice(0, audienceCap);
  const scale = laplaceScaleFor({
    epsilonMicro: privacy.epsilonMicro,
    sensitivity: privacy.sensitivity,
    rounds: 1,
  });
  const noise = Number(sampleDiscreteLaplace(noiseStream(noiseKey, "query/size"), scale));
  const noisy = members.length + noise;
  const released = releaseCount({ exact: members.length, noisy, ...privacy });
  if (!released.released) return { kind: "suppressed" };
  return {
    kind: "audience",
    size: Math.max(0, Math.min(released.value, audienceCap)),
    handle: handleOf(noiseKey, members),
    // Said of the noisy count, so that it reveals nothing the size does not.
    capped: released.value >= audienceCap,
  };
}

/** A commitment to the members under a secret key: names the audience and opens nothing. */
function handleOf(noiseKey: Uint8Array, members: readonly Uint8Array[]): Uint8Array {
  const salt = hkdf(noiseKey, utf8("symphony/audience/v1"));
  return digestOfBytes("audience", concat(salt, ...members));
}

function combine(
  parts: readonly (readonly Uint8Array[])[],
  method: "union" | "intersection",
): readonly Uint8Array[] {
  const sets = parts.map((part) => new Map(part.map((token) => [key(token), token])));
  const all = new Map(sets.flatMap((set) => [...set]));
  const kept = [...all].filter(
    ([name]) => method === "union" || sets.every((set) => set.has(name)),
  );
  return kept.map(([, token]) => token).toSorted(compareBytes);
}

function tokensOf(padded: Uint8Array, size: number): readonly Uint8Array[] {
  const content = padded.length === size ? unpad(padded) : null;
  if (content === null || content.length % TOKEN_BYTES !== 0) {
    throw new MalformedError(
      { code: "EXECUTION_INPUT_MISMATCH" },
      `slice output: expected ${size} bytes with whole tokens, got others`,
    );
  }
  return Array.from({ length: content.length / TOKEN_BYTES }, (_, index) =>
    content.subarray(index * TOKEN_BYTES, (index + 1) * TOKEN_BYTES),
  );
}

function key(token: Uint8Array): string {
  return Buffer.from(token.buffer, token.byteOffset, token.byteLength).toString("latin1");
}
