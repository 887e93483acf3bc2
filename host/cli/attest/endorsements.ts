import { X509Certificate } from "node:crypto";

import { MalformedError } from "#protocol";

/**
 * Puts certificates of an SEV-SNP report in the order root, authority, leaf, whatever order files had them in, and
 * leaves out those that the leaf is not under. Only names are looked at: nothing is verified here.
 *
 * @throws {@link MalformedError} TEE_CHAIN_MALFORMED without exactly one certificate that is no authority
 */
export function orderEndorsements(certificates: readonly Uint8Array[]): readonly Uint8Array[] {
  const parsed = certificates.map(parse);
  const leaves = parsed.filter((one) => !one.ca && !isIssuerOfAnother(one, parsed));
  const [leaf] = leaves;
  if (leaf === undefined || leaves.length > 1) {
    throw new MalformedError(
      { code: "TEE_CHAIN_MALFORMED", leaves: leaves.length },
      `endorsements: expected one VCEK or VLEK certificate, got ${leaves.length} of ${certificates.length} certificates`,
    );
  }
  const path = [leaf];
  for (const _ of parsed) {
    const last = path[0] ?? leaf;
    const issuer = parsed.find(({ subject }) => subject === last.issuer);
    if (issuer === undefined || path.includes(issuer)) break;
    path.unshift(issuer);
  }
  return path.map(({ raw }) => new Uint8Array(raw));
}

function isIssuerOfAnother(one: X509Certificate, all: readonly X509Certificate[]): boolean {
  return all.some((other) => other !== one && other.issuer === one.subject);
}

function parse(der: Uint8Array): X509Certificate {
  try {
    return new X509Certificate(der);
  } catch (cause) {
    throw new MalformedError(
      { code: "TEE_CHAIN_MALFORMED" },
      `endorsements: expected a certificate, got ${der.length} other bytes`,
      { cause },
    );
  }
}
