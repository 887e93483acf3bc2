import type { AttestationReport } from "#attestation";

import { date, field, type GroupView } from "./view.ts";

/** What an archived report says of itself, beside its evidence. */
export function viewArchive(report: AttestationReport): GroupView {
  const { platform, enclave_identity: identity, time_ms: timeMs, expiries } = report;
  return {
    group: "archived report",
    fields: [
      field("platform", platform),
      field("enclave_identity", identity),
      field("time_ms", date(timeMs), "when certificates and collateral were judged"),
      ...expiries.map((expiry) =>
        field("expiries", `${expiry.subject} until ${date(expiry.not_after_ms)}`),
      ),
    ],
  };
}
