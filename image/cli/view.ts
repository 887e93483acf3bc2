import type { EifMeasurement } from "#attestation";

/** Registers as lines of text. */
export function registerLines({ pcr0, pcr1, pcr2, pcr8Unverified }: EifMeasurement): string[] {
  const signer = pcr8Unverified === null ? [] : [`PCR8  ${pcr8Unverified}  (as the file says)`];
  return [`PCR0  ${pcr0}`, `PCR1  ${pcr1}`, `PCR2  ${pcr2}`, ...signer];
}

/** Registers and size as `--json` prints them. */
export function measurementJson(measurement: EifMeasurement) {
  const { pcr0, pcr1, pcr2, pcr8Unverified, isSigned, architecture, bytes } = measurement;
  return {
    pcr0,
    pcr1,
    pcr2,
    pcr8_unverified: pcr8Unverified,
    is_signed: isSigned,
    architecture,
    bytes,
  };
}

/** Text that may hold anything, on one line and without control characters. */
export function plain(text: string): string {
  return JSON.stringify(text.normalize("NFC")).replaceAll(/[^ -~]/g, "?");
}
