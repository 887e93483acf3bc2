import {
  appraiseEvidence,
  verifyNitroDocument,
  verifyReportReplay,
} from "../../../attestation/index.ts";
import { decodeCbor, encodeCbor, type CborValue } from "../../../protocol/index.ts";
import { ANCHOR, NOW, policyOf } from "../../attestation/forge.ts";
import { canonical, changeCbor, readCbor, writeCbor } from "../cbor-tree.ts";
import { mutate } from "../mutate.ts";
import type { Random } from "../random.ts";
import { accepting, type Target } from "../target.ts";
import { CBOR_GROWN } from "./cbor.ts";
import { signedDocuments } from "./nitro-seeds.ts";

/** Archived reports of Nitro evidence as they are kept: canonical CBOR, then `verifyReportReplay`. */
export const reportReplay: Target = {
  name: "report-replay",
  bytesMax: 64 * 1024,
  codes: [
    "SCHEMA_CBOR_MALFORMED",
    "SCHEMA_TOO_LARGE",
    "TEE_DOCUMENT_MALFORMED",
    "TEE_DOCUMENT_TOO_LARGE",
    "TEE_CHAIN_MALFORMED",
    "TEE_CHAIN_UNTRUSTED",
    "TEE_CERTIFICATE_EXPIRED",
    "TEE_CERTIFICATE_NOT_YET_VALID",
    "TEE_COLLATERAL_MALFORMED",
    "TEE_SIGNATURE_INVALID",
    "TEE_IDENTITY_MISMATCH",
    "TEE_NONCE_MISMATCH",
    "TEE_USER_DATA_MISMATCH",
    "TEE_PUBLIC_KEY_MISMATCH",
    "PROOF_COMMITMENT_MISMATCH",
  ],
  stages: [
    { name: "cbor", functions: ["decodeCbor"] },
    { name: "fields", functions: ["verifyReportReplay"] },
    {
      name: "evidence",
      functions: [
        "evidenceOf",
        "verifyEvidence",
        "verifyNitroDocument",
        "verifySnpReport",
        "verifyTdxQuote",
      ],
    },
    { name: "appraisal", functions: ["appraiseEvidence"] },
    { name: "comparison", functions: [], codes: ["PROOF_COMMITMENT_MISMATCH"] },
  ],
  steps: { perByte: 24, fixed: 30_000 },
  allocation: { perByte: 256, fixed: 512 * 1024 },
  shortInputs: 1500,
  open: () => {
    const at = { mode: "live", nowMs: NOW } as const;
    const [plain, definite] = signedDocuments();
    const reports = [plain, definite].flatMap((document) => {
      if (document === undefined) return [];
      return [
        encodeCbor(
          plainOf(appraiseEvidence(verifyNitroDocument(document, [ANCHOR], at), policyOf())),
        ),
      ];
    });
    return {
      generate: (random) => archived(random, reports),
      run: accepting((input) => {
        verifyReportReplay(decodeCbor(input), [ANCHOR], policyOf());
      }),
      grown: CBOR_GROWN,
    };
  },
};

function plainOf(report: Readonly<Record<string, CborValue>>): CborValue {
  return { ...report };
}

/** Changes that keep the form canonical, mostly: anything else is refused at once. */
function archived(random: Random, reports: readonly Uint8Array[]): Uint8Array {
  if (random.once(16)) return random.bytes(random.length(8192));
  if (random.once(8)) return mutate(random, random.pick(reports));
  let tree = readCbor(random.pick(reports));
  const changes = random.once(8) ? 1 : random.between(2, 6);
  for (let change = 0; change < changes; change++) tree = changeCbor(random, tree);
  return writeCbor(random.once(16) ? tree : canonical(tree), random);
}
