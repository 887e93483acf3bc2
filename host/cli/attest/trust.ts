import { UsageError } from "#cli";
import {
  AMD_ARK_GENOA,
  AMD_ARK_MILAN,
  AMD_ARK_TURIN,
  AWS_NITRO_ROOT_G1,
  INTEL_SGX_ROOT_CA,
  parseAnchor,
  type TrustAnchor,
} from "#attestation";

import { parseTrust } from "../../evidence/index.ts";
import { readBoundedText } from "../bounded-file.ts";
import { readCertificates } from "./certificate-file.ts";

/** The roots that are believed when none are named: the vendors', never a simulator's. */
export const SHIPPED_ANCHORS: readonly TrustAnchor[] = [
  AWS_NITRO_ROOT_G1,
  AMD_ARK_MILAN,
  AMD_ARK_GENOA,
  AMD_ARK_TURIN,
  INTEL_SGX_ROOT_CA,
];

/** The largest trust file: four bytes for each character that `parseTrust` takes at most. */
export const TRUST_FILE_BYTES_MAX = 1024 * 1024;

/** Whose roots to believe, as the words of a command say it. */
export interface TrustOptions {
  readonly trust?: string | undefined;
  readonly anchor?: readonly string[] | undefined;
}

/**
 * The roots to believe: those of a trust file, those of certificate files, or else {@link SHIPPED_ANCHORS}.
 *
 * @throws UsageError for both at once; as `parseTrust`, `parseAnchor` and `readBoundedText`
 */
export async function readAnchors({
  trust,
  anchor = [],
}: TrustOptions): Promise<readonly TrustAnchor[]> {
  if (trust !== undefined && anchor.length > 0) {
    throw new UsageError("--trust, --anchor: expected one of them, got both");
  }
  if (trust !== undefined) {
    const bound = { subject: "trust file", bytesMax: TRUST_FILE_BYTES_MAX };
    return parseTrust(await readBoundedText(trust, bound)).anchors;
  }
  if (anchor.length === 0) return SHIPPED_ANCHORS;
  const files = await Promise.all(anchor.map(readCertificates));
  return files.flat().map(parseAnchor);
}
