import { resolveRequest } from "../protocol/index.ts";
import { largeResolution } from "../test/helpers/large-registry.ts";
import { bestSeconds, quantile, type BenchOptions, type Figure } from "./figures.ts";

const ATTRIBUTES = 10_000;
const OPERANDS = 50;

/** One composition of 50 operands, half of them derived, in a registry of 10,000 canonical attributes. */
export async function resolutionFigures({ short }: BenchOptions): Promise<readonly Figure[]> {
  const { request, state } = await largeResolution({ attributes: ATTRIBUTES, operands: OPERANDS });
  const first = await bestSeconds(
    () => resolveRequest(request, { ...state, semantics: { ...state.semantics } }),
    3,
  );
  const times: number[] = [];
  for (let run = 0; run < (short ? 200 : 5_000); run += 1) {
    const started = performance.now();
    resolveRequest(request, state);
    times.push(performance.now() - started);
  }
  return [
    { name: "index 10,000 attributes and resolve 50 operands", value: first * 1e3, unit: "ms" },
    {
      name: "resolve 50 operands of 10,000 attributes, median",
      value: quantile(times, 0.5),
      unit: "ms",
    },
    {
      name: "resolve 50 operands of 10,000 attributes, p99",
      value: quantile(times, 0.99),
      unit: "ms",
    },
  ];
}
