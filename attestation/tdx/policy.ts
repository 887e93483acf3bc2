import { verifyExpectedBytes, type Expected } from "../expected.ts";

/** What a TDX quote must say beside its measurement. Debug is refused whatever this says. */
export interface TdxExpectations {
  /** REPORTDATA as it stands, for quotes that bind something else than `reportDataOf`. */
  readonly reportData: Expected<Uint8Array>;
}

/** Refuses expectations that say nothing. */
export function verifyTdxExpectations({ reportData }: TdxExpectations): void {
  verifyExpectedBytes("reportData", reportData);
}
