import type { SnpProductLine } from "./product.ts";

/** Security patch levels of a platform's components, each in [0, 256). */
export interface SnpTcb {
  /** Firmware of the first boot stage; null where the product line has none (Milan, Genoa). */
  readonly fmc: number | null;
  readonly bootloader: number;
  readonly tee: number;
  readonly snp: number;
  readonly microcode: number;
}

/** Components by the number of their extension under 1.3.6.1.4.1.3704.1.3 (57230 Table 8); 4 to 7 are reserved. */
const BOOTLOADER = 1;
const TEE = 2;
const SNP = 3;
const MICROCODE = 8;
const FMC = 9;

/**
 * Which component stands in each of the 8 bytes of a TCB version, the first byte first.
 *
 *     byte     0           1           2    3    4   5   6    7
 *     Milan    bootloader  tee         -    -    -   -   snp  microcode    56860 § 2.2, Table 3; Genoa too
 *     Turin    fmc         bootloader  tee  snp  -   -   -    microcode    56860 § 2.2, Table 4
 */
const ORDER: Readonly<Record<SnpProductLine, readonly number[]>> = {
  Milan: [BOOTLOADER, TEE, 4, 5, 6, 7, SNP, MICROCODE],
  Genoa: [BOOTLOADER, TEE, 4, 5, 6, 7, SNP, MICROCODE],
  Turin: [FMC, BOOTLOADER, TEE, SNP, 5, 6, 7, MICROCODE],
};

/** Takes the 8 bytes of a TCB version apart. */
export function decodeTcb(bytes: Uint8Array, line: SnpProductLine): SnpTcb {
  const at = (component: number): number => bytes[ORDER[line].indexOf(component)] ?? 0;
  return {
    fmc: line === "Turin" ? at(FMC) : null,
    bootloader: at(BOOTLOADER),
    tee: at(TEE),
    snp: at(SNP),
    microcode: at(MICROCODE),
  };
}

/** The 8 bytes of the TCB version whose components a certificate gives, each by its number. */
export function encodeTcb(level: (component: number) => number, line: SnpProductLine): Uint8Array {
  return Uint8Array.from(ORDER[line].map(level));
}
