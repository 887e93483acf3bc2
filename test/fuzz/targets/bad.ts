import * as bad from "../bad-parsers/parsers.ts";
import { accepting, type Target } from "../target.ts";

const PARSERS = {
  "bad-error": bad.throwsRangeError,
  "bad-code": bad.throwsOtherCode,
  "bad-class": bad.throwsOtherClass,
  "bad-steps": bad.comparesAllPairs,
  "bad-allocation": bad.copiesEachTime,
  "bad-hang": bad.hangs,
} as const;

/** Parsers that each break one promise, to show that the harness notices. They are run only by name. */
export const BAD_TARGETS: readonly Target[] = Object.entries(PARSERS).map(([name, parse]) => ({
  name,
  bytesMax: 512,
  codes: ["TEE_DOCUMENT_MALFORMED"],
  stages: [],
  steps: { perByte: 16, fixed: 1000 },
  allocation: { perByte: 64, fixed: 16 * 1024 },
  shortInputs: 1000,
  open: () => ({
    generate: (random) => random.bytes(random.length(64)),
    run: accepting(parse),
    grown: { zeros: (bytes) => new Uint8Array(bytes) },
  }),
}));
