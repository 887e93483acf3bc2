/** Processors with SEV-SNP, each with a root of its own at AMD. Bergamo and Siena are of the Genoa line. */
export const SNP_PRODUCT_LINES = ["Milan", "Genoa", "Turin"] as const;

/** One of {@link SNP_PRODUCT_LINES}. */
export type SnpProductLine = (typeof SNP_PRODUCT_LINES)[number];

/**
 * The product line of a processor's family and model, or null.
 *
 * @see AMD publication 57230, VCEK certificate and KDS interface specification, Table 4
 */
export function productLineOfCpu(cpu: {
  readonly family: number;
  readonly model: number;
}): SnpProductLine | null {
  const extendedModel = cpu.model >>> 4;
  if (cpu.family === 0x19 && extendedModel === 0) return "Milan";
  if (cpu.family === 0x19 && (extendedModel === 1 || extendedModel === 0xa)) return "Genoa";
  if (cpu.family === 0x1a && (extendedModel === 0 || extendedModel === 1)) return "Turin";
  return null;
}
