import { verifyExpectedBytes, type Expected } from "../expected.ts";

/** What an SEV-SNP report must say beside its measurement. Debug is refused whatever this says. */
export interface SnpExpectations {
  /** REPORT_DATA as it stands, for reports that bind something else than `reportDataOf`. */
  readonly reportData: Expected<Uint8Array>;
}

/** Refuses expectations that say nothing. */
export function verifySnpExpectations({ reportData }: SnpExpectations): void {
  verifyExpectedBytes("reportData", reportData);
}
