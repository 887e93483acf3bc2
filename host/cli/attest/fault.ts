import type { ErrorCode, SymphonyError } from "#protocol";

import type { CertificateView } from "./certificate-view.ts";

/** Why evidence was refused, for a person: what, the facts around it, and what is usually behind it. */
export interface FaultView {
  readonly code: ErrorCode;
  readonly message: string;
  readonly facts: readonly string[];
  readonly hint: string | null;
}

const HINTS: Partial<Record<ErrorCode, string>> = {
  TEE_CERTIFICATE_EXPIRED:
    "a Nitro leaf certificate lives three hours. For archived evidence use --at signed, or --at TIME where no time is signed; otherwise look at this machine's clock",
  TEE_CERTIFICATE_NOT_YET_VALID:
    "this machine's clock may be behind, or --at is before the evidence was made",
  TEE_CHAIN_UNTRUSTED:
    "the evidence is of another platform than the trusted roots vouch for. A simulator's root counts only with --trust or --anchor",
  TEE_CHAIN_MALFORMED:
    "give certificates as the vendor issued them; VCEK or VLEK, ASK and ARK for an SEV-SNP report",
  TEE_SIGNATURE_INVALID: "bytes were changed after the platform signed them",
  TEE_DOCUMENT_MALFORMED:
    "the bytes have to be as the platform returned them: raw, or whole as hex or base64",
  TEE_DOCUMENT_TOO_LARGE: "this is more than the platform returns; is it the right file?",
  TEE_DEBUG_REFUSED:
    "the enclave was started in debug mode (nitro-cli run-enclave --debug-mode, or a debug guest policy); start it without",
  TEE_MEASUREMENT_MISMATCH:
    "another image is running, or another build of it, or the policy lists it for another time. `symphony attest policy-from-image` says what an image file measures to",
  TEE_MEASUREMENT_REVOKED: "this image is no longer accepted; deploy the one that replaces it",
  TEE_PLATFORM_REVOKED: "this instance, enclave or chip is no longer accepted; run elsewhere",
  TEE_PLATFORM_REFUSED:
    "the policy's platforms do not list it, or it is of none that is supported: SGX is not, and a simulator's is sim",
  TEE_NONCE_MISMATCH:
    "the evidence is of another session or a replayed one; ask the enclave again with your nonce (--nonce)",
  TEE_USER_DATA_MISMATCH: "the enclave bound other data, such as another session's manifest",
  TEE_PUBLIC_KEY_MISMATCH: "the enclave bound another key than the one expected",
  TEE_REPORT_DATA_MISMATCH:
    "the values given with --binding are not those whose digest the evidence holds",
  TEE_IDENTITY_MISMATCH: "this is no enclave's document, or it was put together from two",
  TEE_DOCUMENT_STALE:
    "ask the enclave for a fresh document, and look at this machine's clock. For archived evidence use --at signed",
  TEE_TCB_REFUSED:
    "firmware or microcode of the platform is older than the policy accepts; update it, or weigh a lower minimum",
  TEE_CONFIGURATION_REFUSED: "the enclave or platform is configured unlike the policy asks",
  TEE_CERTIFICATE_REVOKED: "the vendor revoked it: do not trust this platform",
  TEE_COLLATERAL_EXPIRED:
    "fetch the collateral again. For archived evidence use --at TIME with the time it was recorded",
  TEE_COLLATERAL_MALFORMED: "give the collateral byte for byte as Intel's service returned it",
};

/** A refusal in words; `chain` are the certificates it may be about, root first. */
export function viewFault(
  error: SymphonyError,
  chain: readonly (CertificateView | null)[],
): FaultView {
  return {
    code: error.code,
    message: error.message,
    facts: certificateFacts(error, chain),
    hint: hintFor(error.code),
  };
}

/** What is usually behind a code, or null. */
export function hintFor(code: ErrorCode): string | null {
  return HINTS[code] ?? null;
}

function certificateFacts(
  { details }: SymphonyError,
  chain: readonly (CertificateView | null)[],
): readonly string[] {
  const position = details["position"];
  if (typeof position !== "number") return [];
  const certificate = chain.at(position);
  if (certificate === null || certificate === undefined) return [];
  const { role, subject, issuer, not_before: from, not_after: until } = certificate;
  return [`the ${role} ${subject}`, `issued by ${issuer}`, `valid from ${from} until ${until}`];
}
