import { X509Certificate } from "node:crypto";

import { hex, sha256 } from "#protocol";

import { date, printable } from "./view.ts";

/** A certificate in words. */
export interface CertificateView {
  /** 0 is the root. */
  readonly position: number;
  readonly role: "root" | "authority" | "leaf";
  readonly subject: string;
  readonly issuer: string;
  readonly serial: string;
  readonly not_before: string;
  readonly not_after: string;
  readonly key: string;
  readonly is_authority: boolean;
  readonly sha256: string;
}

/** Certificates in words, root first; null for bytes that are no certificate. Nothing is verified. */
export function viewChain(chain: readonly Uint8Array[]): readonly (CertificateView | null)[] {
  return chain.map((der, position) => {
    const role = position === 0 ? "root" : position === chain.length - 1 ? "leaf" : "authority";
    try {
      return viewCertificate(new X509Certificate(der), { position, role });
    } catch {
      return null;
    }
  });
}

function viewCertificate(
  certificate: X509Certificate,
  place: Pick<CertificateView, "position" | "role">,
): CertificateView {
  return {
    ...place,
    subject: nameOf(certificate.subject),
    issuer: nameOf(certificate.issuer),
    serial: certificate.serialNumber.toLowerCase(),
    not_before: date(certificate.validFromDate.getTime()),
    not_after: date(certificate.validToDate.getTime()),
    key: keyOf(certificate),
    is_authority: certificate.ca,
    sha256: hex(sha256(new Uint8Array(certificate.raw))),
  };
}

/** One line of a name, the common name first. */
function nameOf(name: string): string {
  const parts = name.split("\n").toReversed();
  const ordered = parts.toSorted((a, b) => Number(isCommon(b)) - Number(isCommon(a)));
  return printable(ordered.join(", ")) || "no name";
}

function isCommon(part: string): boolean {
  return part.startsWith("CN=");
}

function keyOf({ publicKey }: X509Certificate): string {
  const { namedCurve, modulusLength } = publicKey.asymmetricKeyDetails ?? {};
  const curves: ReadonlyMap<string, string> = new Map([
    ["secp384r1", "P-384"],
    ["prime256v1", "P-256"],
  ]);
  if (namedCurve !== undefined) return `EC ${curves.get(namedCurve) ?? namedCurve}`;
  const type = (publicKey.asymmetricKeyType ?? "unknown").toUpperCase();
  return modulusLength === undefined ? type : `${type}-${modulusLength}`;
}

/** The chain as indented lines. */
export function formatChain(chain: readonly (CertificateView | null)[]): string {
  const lines = chain.flatMap((one, position) =>
    one === null
      ? [`  ${position}  bytes that are no certificate`]
      : [
          `  ${position}  ${one.role}: ${one.subject}`,
          `     issued by   ${one.issuer}`,
          `     valid       ${one.not_before} to ${one.not_after}`,
          `     key         ${one.key}, ${one.is_authority ? "may issue certificates" : "may not issue certificates"}`,
          `     serial      ${one.serial}`,
          `     sha256      ${one.sha256}`,
        ],
  );
  return ["certificates, root first", ...lines].map((line) => `${line}\n`).join("");
}
