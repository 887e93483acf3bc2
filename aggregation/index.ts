export {
  DELTA_PICO_MAX,
  EPSILON_MICRO_MAX,
  RDP_ORDERS,
  ROUNDS_MAX,
  SENSITIVITY_MAX,
  composeRdp,
  epsilonOfRdp,
  epsilonOfZcdp,
  gaussianEpsilonMicro,
  gaussianScaleFor,
  laplaceScaleFor,
  rdpGaussian,
  rdpLaplace,
  type GaussianCharge,
  type LaplaceCharge,
} from "./accounting.ts";
export { NoiseStream, noiseStream } from "./noise-stream.ts";
export {
  COMPOSITION_OPERATORS,
  OPERANDS_MAX,
  compositionPrice,
  type CompositionOperator,
  type PricedComposition,
} from "./price.ts";
export { approximate, rational, type Rational } from "./rational.ts";
export {
  padTo,
  releaseCount,
  releaseMargin,
  unpad,
  type CountRelease,
  type ReleasedCount,
} from "./release.ts";
export {
  gaussianNoise,
  gaussianNoiseBound,
  laplaceNoise,
  sampleDiscreteGaussian,
  sampleDiscreteLaplace,
} from "./samplers.ts";
export {
  addInto,
  intersectionCount,
  requireHeadroom,
  secureSum,
  unionCount,
  type Headroom,
} from "./sum.ts";
