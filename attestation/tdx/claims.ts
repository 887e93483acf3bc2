import type { TdReportVersion } from "./quote.ts";
import type { TcbClaims } from "./tcb.ts";

/** Bits of TDATTRIBUTES that a TD's owner chooses (Intel TDX module ABI, ATTRIBUTES). */
export interface TdAttributes {
  /** Bit 27: linear address space separation is on. */
  readonly lass: boolean;
  /** Bit 28: an EPT violation of a pending page is no exception in the TD, so its host cannot inject one. */
  readonly septVeDisable: boolean;
  /** Bit 29: the TD can be migrated. */
  readonly migratable: boolean;
  /** Bit 30: supervisor protection keys may be used. */
  readonly pks: boolean;
  /** Bit 31: key locker may be used. */
  readonly keyLocker: boolean;
  /** Bit 62: the TD is a TDX Connect provisioning agent. */
  readonly tpa: boolean;
  /** Bit 63: performance counters may be used. */
  readonly perfmon: boolean;
}

/** What only a TDX quote says. Measures and identities are lower-case hex. */
export interface TdxClaims {
  readonly format: "tdx";
  readonly quoteVersion: 4 | 5;
  readonly reportVersion: TdReportVersion;
  /** SVNs of the TDX module the TD was started under, 16 bytes. */
  readonly teeTcbSvn: string;
  readonly mrSeam: string;
  readonly mrSignerSeam: string;
  readonly seamAttributes: string;
  /** Bits 0 to 7, "TD under debug": any of them lets the host look into the TD. */
  readonly isDebug: boolean;
  readonly attributes: TdAttributes;
  /** TDATTRIBUTES as it stands, 8 bytes, little endian. */
  readonly tdAttributes: string;
  /** Whether bits are set that have no meaning we know. */
  readonly hasReservedAttributes: boolean;
  /** Extended features the TD may use, 8 bytes, little endian, like XCR0. */
  readonly xfam: string;
  readonly mrConfigId: string;
  readonly mrOwner: string;
  readonly mrOwnerConfig: string;
  /** TDX 1.5 only, else null: SVNs of the module that runs now, and service TDs bound to this one. */
  readonly teeTcbSvn2: string | null;
  readonly mrServiceTd: string | null;
  /** REPORTDATA, 64 bytes. */
  readonly reportData: Uint8Array;
  /** From the PCK certificate: what the platform is. */
  readonly platform: {
    readonly ppid: string;
    readonly fmspc: string;
    readonly pceId: string;
    readonly pceSvn: number;
    /** SVNs of the 16 SGX TCB components. */
    readonly components: readonly number[];
  };
  readonly tcb: TcbClaims;
}
