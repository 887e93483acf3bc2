import { parseSnpReport } from "../../../attestation/index.ts";
import { mutate } from "../mutate.ts";
import type { Random } from "../random.ts";
import { accepting, type Target } from "../target.ts";

const REPORT_BYTES = 1184;

/** `attestation/snp/report.ts`: shape only. */
export const snpReport: Target = {
  name: "snp-report",
  bytesMax: REPORT_BYTES,
  codes: ["TEE_DOCUMENT_MALFORMED"],
  stages: [
    { name: "size", functions: ["parseSnpReport"] },
    { name: "version and reserved bytes", functions: ["expectOne", "expectZero"] },
    { name: "guest policy", functions: ["parseGuestPolicy"] },
    { name: "platform and keys", functions: ["parsePlatformInfo", "parseKeys"] },
  ],
  steps: { perByte: 1, fixed: 500 },
  allocation: { perByte: 16, fixed: 16 * 1024 },
  shortInputs: 20_000,
  open: () => ({
    generate: changedReport,
    run: accepting(parseSnpReport),
    grown: {
      zeros: (bytes) => new Uint8Array(bytes),
      "a report": (bytes) => plainReport(5, (count) => new Uint8Array(count)).slice(0, bytes),
    },
  }),
};

/** Where fields lie that may hold anything: [start, length]. */
const FREE = [
  [0x04, 4],
  [0x10, 32],
  [0x38, 8],
  [0x50, 0x130],
  [0x180, 8],
  [0x1a0, 0x4b],
  [0x1ec, 3],
  [0x1f0, 8],
  [0x2a0, 48],
  [0x2e8, 48],
] as const;
/** Where a field is judged: [start, length]. */
const JUDGED = [
  [0x00, 4],
  [0x08, 8],
  [0x30, 8],
  [0x40, 8],
  [0x48, 8],
  [0x188, 24],
  [0x1eb, 1],
  [0x1ef, 1],
  [0x1f8, 0xa8],
  [0x2d0, 24],
  [0x318, 0x188],
] as const;

/** A report of this version whose free fields are `fill`ed. */
export function plainReport(version: number, fill: (count: number) => Uint8Array): Uint8Array {
  const report = new Uint8Array(REPORT_BYTES);
  for (const [start, length] of FREE) report.set(fill(length), start);
  if (version >= 3) report.set([0x19, 0x01, 0x01], 0x188);
  report[0x00] = version;
  report[0x34] = 1;
  report.set([0x1f, 0x00, 0x03], 0x08);
  report[0x1eb] = 0;
  return report;
}

/** A report with something changed where it is judged, or anywhere. */
export function changedReport(random: Random): Uint8Array {
  const report = plainReport(random.pick([2, 3, 5]), (count) => random.bytes(count));
  report[0x1eb] = 0;
  switch (random.below(8)) {
    case 0:
      return random.bytes(random.length(2 * REPORT_BYTES));
    case 1:
      return mutate(random, report);
    case 2:
      return report.slice(0, random.between(REPORT_BYTES - 2, REPORT_BYTES));
    case 3:
      return report;
    default: {
      const [start, length] = random.pick(JUDGED);
      const at = start + random.below(length);
      report[at] = random.once(2) ? random.below(256) : (report[at] ?? 0) ^ (1 << random.below(8));
      return report;
    }
  }
}
