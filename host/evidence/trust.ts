import { ATTESTATION_PLATFORMS, parseAnchor, type TrustAnchor } from "#attestation";
import {
  LimitError,
  MalformedError,
  VerificationError,
  base64,
  fromBase64,
  fromHex,
  hex,
  parseWith,
} from "#protocol";
import { z } from "zod";

/** The largest trust file, characters. */
export const TRUST_FILE_MAX = 256 * 1024;

/** What a verifier believes before it sees any evidence: a network by its genesis, and hardware by its roots. */
export interface Trust {
  readonly network: string;
  readonly genesisDigest: Uint8Array;
  readonly anchors: readonly TrustAnchor[];
  /** Whether this network's hardware is make-believe. */
  readonly simulated: boolean;
}

const trustFileSchema = z.strictObject({
  version: z.literal(1),
  network: z.string().min(1).max(64),
  genesis_digest: z.string().regex(/^[0-9a-f]{64}$/, { error: "expected 64 hex digits" }),
  anchors: z
    .array(
      z.strictObject({
        platform: z.enum(ATTESTATION_PLATFORMS),
        certificate: z.string().max(16 * 1024),
      }),
    )
    .min(1)
    .max(8),
  simulated: z.boolean(),
});

/**
 * Parses a trust file. It comes from the verifier, never from a bundle.
 *
 * `simulated` must say whether an anchor is the simulator's, and each anchor's platform must be what its certificate
 * says, so that no file passes a simulator off as hardware.
 *
 * @throws {@link MalformedError} SCHEMA_JSON_MALFORMED, SCHEMA_CONFIG_MALFORMED, TEE_CHAIN_MALFORMED
 * @throws {@link LimitError} SCHEMA_TOO_LARGE
 * @throws {@link VerificationError} TEE_PLATFORM_REFUSED
 */
export function parseTrust(text: string): Trust {
  if (text.length > TRUST_FILE_MAX) {
    throw new LimitError(
      { code: "SCHEMA_TOO_LARGE", length: text.length, max: TRUST_FILE_MAX },
      `trust file: expected at most ${TRUST_FILE_MAX} characters, got ${text.length}`,
    );
  }
  const file = parseWith(trustFileSchema, parseJson(text), "trust file", "SCHEMA_CONFIG_MALFORMED");
  const anchors = file.anchors.map(({ platform, certificate }) => {
    const anchor = parseAnchor(fromBase64(certificate));
    if (anchor.platform !== platform) throw platformRefused(platform, anchor.platform);
    return anchor;
  });
  const simulated = anchors.some((anchor) => anchor.platform === "sim");
  if (simulated !== file.simulated) {
    throw platformRefused(`simulated ${file.simulated}`, `simulated ${simulated}`);
  }
  const genesisDigest = fromHex(file.genesis_digest);
  return { network: file.network, genesisDigest, anchors, simulated };
}

/** Writes a trust file that {@link parseTrust} reads. */
export function formatTrust(trust: Omit<Trust, "simulated">): string {
  const file: z.infer<typeof trustFileSchema> = {
    version: 1,
    network: trust.network,
    genesis_digest: hex(trust.genesisDigest),
    anchors: trust.anchors.map(({ platform, certificate }) => ({
      platform,
      certificate: base64(certificate),
    })),
    simulated: trust.anchors.some((anchor) => anchor.platform === "sim"),
  };
  return `${JSON.stringify(file, null, 2)}\n`;
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new MalformedError(
      { code: "SCHEMA_JSON_MALFORMED" },
      `trust file: expected JSON, got ${text.length} other characters`,
      { cause },
    );
  }
}

function platformRefused(expected: string, got: string): VerificationError {
  return new VerificationError(
    { code: "TEE_PLATFORM_REFUSED", expected, got },
    `trust file anchors: expected ${expected}, got ${got}`,
  );
}
