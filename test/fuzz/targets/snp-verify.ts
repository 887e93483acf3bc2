import { verifySnpReport, type TrustAnchor } from "../../../attestation/index.ts";
import { concat, utf8 } from "../../../protocol/index.ts";
import { readReference } from "../../vectors/attestation/load.ts";
import { mutate } from "../mutate.ts";
import { packParts, unpackParts } from "../parts.ts";
import type { Random } from "../random.ts";
import { accepting, type Target } from "../target.ts";
import { PATH_CODES, PATH_STAGES, alternating, changedCertificate } from "./path.ts";
import { changedReport } from "./snp.ts";

const LINES = ["milan", "genoa", "turin"] as const;
const NOW = 1_790_000_000_000;
const BINDING = ["a nonce of this session", "digest of the manifest", "a public key"].map(utf8);
const NONE = new Uint8Array(0);
/** Where certificates begin, after the report and the three values it is bound to. */
const ARK_AT = 4;

/** The whole of `verifySnpReport`: report, what it is bound to, and certificates, all in parts. */
export const snpVerify: Target = {
  name: "snp-verify",
  bytesMax: 128 * 1024,
  codes: [
    "TEE_DOCUMENT_MALFORMED",
    ...PATH_CODES,
    "TEE_SIGNATURE_INVALID",
    "TEE_IDENTITY_MISMATCH",
    "TEE_TCB_REFUSED",
    "TEE_REPORT_DATA_MISMATCH",
  ],
  stages: [
    { name: "report", functions: ["parseSnpReport"] },
    ...PATH_STAGES,
    { name: "endorsement", functions: ["readEndorsement", "threeOf"] },
    { name: "signature", functions: ["verifySignature"] },
    { name: "endorsed", functions: ["verifyEndorsed"] },
    { name: "binding", functions: ["verifyBinding"] },
  ],
  steps: { perByte: 4, fixed: 10_000 },
  allocation: { perByte: 200, fixed: 128 * 1024 },
  shortInputs: 2000,
  open: () => {
    const seeds = LINES.map((line) => [
      readReference(`snp-${line}.bin`),
      ...BINDING,
      ...["ark", "authority", "leaf"].map((role) => readReference(`snp-${line}-${role}.der`)),
    ]);
    const anchors = seeds.map((parts): TrustAnchor => {
      return { platform: "amd-sev-snp", certificate: parts[ARK_AT] ?? NONE };
    });
    const at = alternating(NOW);
    return {
      generate: (random) => changedParts(random, seeds),
      run: accepting((input) => {
        const parts = unpackParts(input);
        const [document = NONE, nonce = null, userData = null, publicKey = null] = parts;
        const binding = parts.length < ARK_AT ? null : { nonce, userData, publicKey };
        const endorsements = parts.slice(ARK_AT);
        return verifySnpReport({ document, endorsements, binding }, anchors, at(input));
      }),
      grown: {
        "many roots": (bytes) => {
          const [parts = []] = seeds;
          const root = parts[ARK_AT] ?? NONE;
          const roots = Array.from({ length: Math.ceil(bytes / root.length) }, () => root);
          return packParts([...parts.slice(0, ARK_AT), ...roots]);
        },
        "empty certificates": (bytes) =>
          packParts(Array.from({ length: Math.ceil(bytes / 3) }, () => NONE)),
        "long parts": (bytes) => {
          const [parts = []] = seeds;
          return packParts(
            parts.map((part, at) => (at === 0 ? part : concat(part, new Uint8Array(bytes)))),
          );
        },
      },
    };
  },
};

function changedParts(random: Random, seeds: readonly (readonly Uint8Array[])[]): Uint8Array {
  const plain = random.pick(seeds);
  if (random.once(8)) return deeplyChanged(random, seeds);
  const at = ARK_AT + random.below(3);
  switch (random.below(6)) {
    case 0:
      return random.bytes(random.length(4096));
    case 1:
      return mutate(random, packParts(plain.slice(0, random.below(plain.length))));
    case 2:
      return packParts(plain.with(0, changedReport(random)));
    case 3:
      return packParts(
        random.once(2) ? plain.toSpliced(at, 1) : plain.toSpliced(at, 0, random.pick(plain)),
      );
    default:
      return packParts(plain.with(at, changedCertificate(random, plain[at] ?? NONE)));
  }
}

/** Changes that leave the certificates whole: each costs a signature of P-384. */
function deeplyChanged(random: Random, seeds: readonly (readonly Uint8Array[])[]): Uint8Array {
  const plain = random.pick(seeds);
  switch (random.below(4)) {
    case 0:
      return packParts(plain.with(0, mutate(random, plain[0] ?? NONE)));
    case 1:
      return packParts(plain.with(0, changedReport(random)));
    case 2:
      return packParts(plain.with(random.between(1, 3), random.bytes(random.length(64))));
    default:
      return packParts(
        plain.map((part, at) => (random.once(2) ? (random.pick(seeds)[at] ?? NONE) : part)),
      );
  }
}
