import type { TdAttributes } from "./claims.ts";

/** TDATTRIBUTES taken apart: what it says of debug, the bits an owner chooses, and whether others are set. */
export interface DecodedAttributes {
  readonly isDebug: boolean;
  readonly attributes: TdAttributes;
  readonly hasReservedAttributes: boolean;
}

/** Bits 0 to 7: the group "TD under debug" (Intel TDX module ABI, ATTRIBUTES.TUD). */
const DEBUG = 0xffn;
const BITS: Readonly<Record<(typeof TD_ATTRIBUTES)[number] & keyof TdAttributes, bigint>> = {
  lass: 27n,
  septVeDisable: 28n,
  migratable: 29n,
  pks: 30n,
  keyLocker: 31n,
  tpa: 62n,
  perfmon: 63n,
};
/** The names of the bits that a policy says something about, each of them. */
export const TD_ATTRIBUTES = [
  "lass",
  "septVeDisable",
  "migratable",
  "pks",
  "keyLocker",
  "tpa",
  "perfmon",
] as const;
const KNOWN = Object.values(BITS).reduce((mask, bit) => mask | (1n << bit), DEBUG);

/**
 * Takes TDATTRIBUTES apart.
 *
 * @param bytes - 8 bytes, little endian.
 * @see Intel TDX module ABI, ATTRIBUTES
 */
export function decodeAttributes(bytes: Uint8Array): DecodedAttributes {
  const value = bytes.reduceRight((sum, octet) => (sum << 8n) | BigInt(octet), 0n);
  const has = (bit: bigint): boolean => ((value >> bit) & 1n) === 1n;
  return {
    isDebug: (value & DEBUG) !== 0n,
    attributes: {
      lass: has(BITS.lass),
      septVeDisable: has(BITS.septVeDisable),
      migratable: has(BITS.migratable),
      pks: has(BITS.pks),
      keyLocker: has(BITS.keyLocker),
      tpa: has(BITS.tpa),
      perfmon: has(BITS.perfmon),
    },
    hasReservedAttributes: (value & ~KNOWN) !== 0n,
  };
}
