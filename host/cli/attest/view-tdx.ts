import type { TdxClaims, TdxQuote } from "#attestation";
import { hex } from "#protocol";

import { bytesInWords, field, type FieldView, type GroupView } from "./view.ts";

/** Low bits of TDATTRIBUTES, "TD under debug" (Intel TDX module ABI, ATTRIBUTES). */
const DEBUG_BITS = 0xff;

/**
 * A TDX quote in words. Nothing of it is authentic by this.
 *
 * @param claims - Of the same quote once verified: what Intel says of its platform; null before.
 */
export function viewTdx(quote: TdxQuote, claims: TdxClaims | null): readonly GroupView[] {
  return [
    { group: "TDX quote", fields: viewGuest(quote) },
    { group: "TDX module and quoting enclave", fields: viewModule(quote) },
    { group: "platform, as Intel says", fields: viewPlatform(claims) },
  ];
}

function viewGuest({ version, report }: TdxQuote): readonly FieldView[] {
  const { tdAttributes, rtmrs } = report;
  const isDebug = ((tdAttributes[0] ?? 0) & DEBUG_BITS) !== 0;
  return [
    field(
      "version",
      `${version}, TD report ${report.version}`,
      "signs no time: freshness comes from REPORTDATA alone",
    ),
    field(
      "mode",
      isDebug ? "DEBUG" : "production",
      isDebug ? "the host may read this guest's memory; no policy accepts it" : null,
    ),
    field("mrtd", hex(report.mrTd), "what the guest was built from: its firmware"),
    ...rtmrs.map((rtmr, index) => field(`rtmr${index}`, hex(rtmr), RTMR_MEANINGS[index])),
    field("reportdata", bytesInWords(report.reportData), "what the guest bound; a digest, usually"),
    field("tdattributes", hex(tdAttributes)),
    field("xfam", hex(report.xfam), "processor features the guest may use"),
    field("mrconfigid", hex(report.mrConfigId)),
    field("mrowner", hex(report.mrOwner)),
    field("mrownerconfig", hex(report.mrOwnerConfig)),
    ...(report.mrServiceTd === null
      ? []
      : [field("mrservicetd", hex(report.mrServiceTd), "service TDs bound to it; zero: none")]),
  ];
}

const RTMR_MEANINGS: readonly string[] = [
  "by convention firmware's configuration",
  "by convention the kernel and its loader",
  "by convention the command line and what the kernel loads",
  "by convention the application",
];

function viewModule({ report, qeReport }: TdxQuote): readonly FieldView[] {
  return [
    field("mrseam", hex(report.mrSeam), "the TDX module"),
    field("mrsignerseam", hex(report.mrSignerSeam), "its signer; zero: Intel"),
    field("seamattributes", hex(report.seamAttributes)),
    field("tee_tcb_svn", hex(report.teeTcbSvn), "of the module the guest was started under"),
    ...(report.teeTcbSvn2 === null
      ? []
      : [field("tee_tcb_svn2", hex(report.teeTcbSvn2), "of the module that runs now")]),
    field("qe mrsigner", hex(qeReport.mrSigner), "the signer of the quoting enclave"),
    field("qe isvprodid, isvsvn", `${qeReport.isvProdId}, ${qeReport.isvSvn}`),
    field("qe attributes", hex(qeReport.attributes)),
  ];
}

function viewPlatform(claims: TdxClaims | null): readonly FieldView[] {
  if (claims === null) return [field("tcb status", "not verified yet")];
  const { platform, tcb } = claims;
  return [
    field("ppid", platform.ppid, "names this platform"),
    field("fmspc, pce id", `${platform.fmspc}, ${platform.pceId}`, "its kind"),
    field("pce svn", `${platform.pceSvn}`),
    field("components", platform.components.join(" ")),
    field("tcb status", tcb.status, "the worst of the three below"),
    field("platform status", tcb.platformStatus),
    field("module status", tcb.moduleStatus ?? "none of its own"),
    field("quoting enclave status", tcb.quotingEnclaveStatus),
    field("advisories", tcb.advisoryIds.join(" ") || "none"),
    field("evaluation number", `${tcb.evaluationDataNumber}`),
  ];
}
