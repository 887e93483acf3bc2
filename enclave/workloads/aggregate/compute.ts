import {
  laplaceNoise,
  laplaceScaleFor,
  noiseStream,
  releaseCount,
  secureSum,
  unpad,
} from "#aggregation";
import { MalformedError, type ComputeParameters, type TaskResult } from "#protocol";

import type { CountPrivacy } from "./privacy.ts";

/** Slices of one histogram and what the envelope fixed about combining them. */
export interface HistogramAggregation {
  /** Padded slice outputs, in order of Vault. */
  readonly outputs: readonly Uint8Array[];
  readonly outputBytes: number;
  readonly parameters: ComputeParameters;
  /** Rows one Vault may contribute: no bin of one slice is larger. */
  readonly rowsMax: number;
  readonly noiseKey: Uint8Array;
  readonly privacy: CountPrivacy;
}

/** Noise is held to this many scales when headroom is asked for; beyond it lies less than 2e-28. */
const NOISE_SCALES = 64;

/**
 * The noisy histogram over all Vaults; a bin below the release rule is null.
 *
 * One subject moves the bins together by `privacy.sensitivity`, so each bin gets the noise of the whole charge; the
 * chance that suppression betrays somebody is shared out over the bins.
 *
 * @throws {@link MalformedError} EXECUTION_INPUT_MISMATCH for an output that is no histogram of this task
 * @throws {@link LimitError} EXECUTION_BOUND_EXCEEDED when the sum could leave the 32-bit ring
 */
export function aggregateHistogram(aggregation: HistogramAggregation): TaskResult["result"] {
  const { parameters, privacy, rowsMax } = aggregation;
  const bins = parameters.bin_edges_micro.length - 1;
  const scale = laplaceScaleFor({
    epsilonMicro: privacy.epsilonMicro,
    sensitivity: privacy.sensitivity,
    rounds: 1,
  });
  const noiseBound = Number(scale.numerator / scale.denominator + 1n) * NOISE_SCALES;
  const parts = aggregation.outputs.map((output) =>
    countsOf(output, { size: aggregation.outputBytes, bins }),
  );
  const sum = secureSum(parts, { entryBound: rowsMax, noiseBound });
  const noise = laplaceNoise(noiseStream(aggregation.noiseKey, "compute/bins"), scale, bins);
  const deltaPico = Math.max(1, Math.floor(privacy.deltaPico / bins));
  return {
    kind: "histogram",
    bin_edges_micro: [...parameters.bin_edges_micro],
    counts: Array.from(sum, (exact, bin) => {
      const noisy = exact + (noise[bin] ?? 0);
      return releaseCount({ exact: Math.max(0, exact), noisy, ...privacy, deltaPico }).value;
    }),
  };
}

function countsOf(
  padded: Uint8Array,
  { size, bins }: { readonly size: number; readonly bins: number },
): Int32Array {
  const content = padded.length === size ? unpad(padded) : null;
  if (content?.length !== bins * 4) {
    throw new MalformedError(
      { code: "EXECUTION_INPUT_MISMATCH", bins },
      `slice output: expected ${size} bytes with ${bins} counts, got others`,
    );
  }
  const view = new DataView(content.buffer, content.byteOffset, content.byteLength);
  return Int32Array.from({ length: bins }, (_, bin) => view.getInt32(bin * 4, true));
}
