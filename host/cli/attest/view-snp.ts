import type { SnpClaims, SnpReport } from "#attestation";
import { hex } from "#protocol";

import { bytesInWords, field, type FieldView, type GroupView } from "./view.ts";

/**
 * An SEV-SNP report in words. Nothing of it is authentic by this.
 *
 * @param claims - Of the same report once verified: only its certificates say how to read TCB versions; null before.
 */
export function viewSnp(report: SnpReport, claims: SnpClaims | null): readonly GroupView[] {
  const { guestPolicy, platformInfo } = report;
  return [
    { group: "SEV-SNP attestation report", fields: viewGuest(report) },
    { group: "signer and platform", fields: viewPlatform(report, claims) },
    { group: "guest policy", fields: viewFlags(guestPolicy) },
    { group: "platform info", fields: viewFlags(platformInfo) },
  ];
}

function viewGuest(report: SnpReport): readonly FieldView[] {
  const { version, guestSvn, vmpl, guestPolicy, measurement, reportData } = report;
  const debug = guestPolicy.debugAllowed;
  return [
    field("version", `${version}`, "signs no time: freshness comes from REPORT_DATA alone"),
    field(
      "mode",
      debug ? "DEBUG" : "production",
      debug ? "the host may read this guest's memory; no policy accepts it" : null,
    ),
    field("measurement", hex(measurement), "what the guest was launched from"),
    field("report_data", bytesInWords(reportData), "what the guest bound; a digest, usually"),
    field("vmpl", `${vmpl}`, "privilege level that asked for the report; 0 is the highest"),
    field("guest_svn", `${guestSvn}`),
    field("family_id", hex(report.familyId)),
    field("image_id", hex(report.imageId)),
    field("host_data", hex(report.hostData), "set by the host at launch"),
    field("id_key_digest", hex(report.idKeyDigest), "key that signed the ID block; zero: none"),
    field("author_key_digest", hex(report.authorKeyDigest), "zero: none"),
    field("report_id", hex(report.reportId)),
    field("report_id_ma", hex(report.reportIdMa), "of the migration agent; all ones: none"),
  ];
}

function viewPlatform(report: SnpReport, claims: SnpClaims | null): readonly FieldView[] {
  const { signingKey, chipId, cpu, currentFirmware, committedFirmware } = report;
  const masked = chipId.every((byte) => byte === 0);
  const firmware = ({ major, minor, build }: SnpReport["currentFirmware"]): string =>
    `${major}.${minor}.${build}`;
  return [
    field(
      "signing_key",
      signingKey,
      signingKey === "VCEK" ? "of one chip" : `of one cloud provider${csp(claims)}`,
    ),
    field("mask_chip_key", yesOrNo(report.chipKeyMasked)),
    field("chip_id", hex(chipId), masked ? "hidden by the host: chips cannot be told apart" : null),
    field("product line", claims?.productLine ?? "not verified yet"),
    field(
      "cpu",
      cpu === null
        ? "not in this version"
        : `family ${cpu.family}, model ${cpu.model}, stepping ${cpu.stepping}`,
    ),
    field("current firmware", firmware(currentFirmware)),
    field("committed firmware", firmware(committedFirmware), "cannot go back below this"),
    field("current_tcb", tcb(claims?.currentTcb, report.currentTcb), "installed now"),
    field(
      "reported_tcb",
      tcb(claims?.reportedTcb, report.reportedTcb),
      "the signing key is derived for it",
    ),
    field(
      "committed_tcb",
      tcb(claims?.committedTcb, report.committedTcb),
      "cannot go back below this",
    ),
    field("launch_tcb", tcb(claims?.launchTcb, report.launchTcb), "when the guest was launched"),
  ];
}

function csp(claims: SnpClaims | null): string {
  return claims?.cspId === null || claims === null ? "" : `: ${claims.cspId}`;
}

function tcb(decoded: SnpClaims["currentTcb"] | undefined, raw: Uint8Array): string {
  if (decoded === undefined) return hex(raw);
  const { fmc, ...levels } = decoded;
  const parts = Object.entries(fmc === null ? levels : { fmc, ...levels });
  return parts.map(([name, level]) => `${name} ${level}`).join(", ");
}

function viewFlags(flags: object): readonly FieldView[] {
  return Object.entries(flags).map(([name, value]: [string, unknown]) =>
    field(wordsOf(name), value === true || value === false ? yesOrNo(value) : String(value)),
  );
}

function yesOrNo(value: boolean): string {
  return value ? "yes" : "no";
}

/** `smtAllowed` as `smt allowed`. */
function wordsOf(name: string): string {
  return name.replaceAll(/[A-Z]/g, (letter) => ` ${letter.toLowerCase()}`);
}
