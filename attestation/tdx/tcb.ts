import type { PckExtension } from "./pck.ts";
import type { QeReport, TdReport } from "./quote.ts";
import type { ListedTcbStatus, QeIdentity, TcbInfo } from "./statement.ts";

/** What Intel says of a platform's TCB; `NotSupported` when none of its levels covers the platform. */
export type TcbStatus = ListedTcbStatus | "NotSupported";

/** What collateral says about the firmware and software that a quote rests on. */
export interface TcbClaims {
  /** The worst of the three below, merged as Intel's quote verification library does. */
  readonly status: TcbStatus;
  /** Of the platform: microcode, firmware, PCE, and the TDX components. */
  readonly platformStatus: TcbStatus;
  /** Of the TDX module by its own identity; null for modules before 1.5, which are among the components. */
  readonly moduleStatus: TcbStatus | null;
  /** Of the quoting enclave. */
  readonly quotingEnclaveStatus: TcbStatus;
  /** Of all three, sorted, each once: `INTEL-SA-...`. */
  readonly advisoryIds: readonly string[];
  /** Number of the evaluation that TCB info and QE identity are from; the smaller of the two. */
  readonly evaluationDataNumber: number;
}

/** A TDX module as TCB info describes it. */
export interface TdxModule {
  /** MRSIGNERSEAM, lower-case hex. */
  readonly mrsigner: string;
  /** SEAMATTRIBUTES under the mask, lower-case hex. */
  readonly attributes: string;
  readonly attributesMask: string;
  /** Null for a module before 1.5, whose SVNs are among the platform's components. */
  readonly tcbLevels: QeIdentity["tcbLevels"] | null;
}

/** A module before TDX 1.5 has no version of its own and no identity (PCS API, tdxModuleIdentities). */
const UNVERSIONED = 0;
const MODULE_SVN = 0;
const MODULE_VERSION = 1;

/** What {@link tcbOf} compares. */
export interface TcbParts {
  readonly pck: PckExtension;
  readonly report: TdReport;
  readonly module: TdxModule;
  readonly qeReport: QeReport;
  readonly tcbInfo: TcbInfo;
  readonly qeIdentity: QeIdentity;
}

/**
 * The TCB status of a platform: for each of platform, TDX module and quoting enclave the first level of the sorted
 * collection that all SVNs reach, then merged.
 *
 * A platform that reaches no level is `NotSupported`, which no policy accepts. Intel's later statuses
 * `TDRelaunchAdvised` and `TDRelaunchAdvisedConfigurationNeeded`, which soften OutOfDate for a TD that was started
 * under an older module, are not derived: such a quote stays OutOfDate, as the module it started under was.
 *
 * @see Intel SGX and TDX PCS API, version 4: Get TDX TCB Info, determining the status; QVL § 4.1.2.4.17
 */
export function tcbOf(parts: TcbParts): TcbClaims {
  const { pck, report, module, qeReport, tcbInfo, qeIdentity } = parts;
  const platformLevel = tcbInfo.tcbLevels.find(({ tcb }) => reaches(tcb, pck, report));
  const moduleLevel = enclaveLevel(module.tcbLevels ?? [], octet(report.teeTcbSvn, MODULE_SVN));
  const qeLevel = enclaveLevel(qeIdentity.tcbLevels, qeReport.isvSvn);
  const platformStatus = statusOf(platformLevel);
  const moduleStatus = module.tcbLevels === null ? null : statusOf(moduleLevel);
  const quotingEnclaveStatus = statusOf(qeLevel);
  const levels = [platformLevel, moduleLevel, qeLevel];
  return {
    status: [moduleStatus ?? "UpToDate", quotingEnclaveStatus].reduce(merged, platformStatus),
    platformStatus,
    moduleStatus,
    quotingEnclaveStatus,
    advisoryIds: [...new Set(levels.flatMap((level) => level?.advisoryIDs ?? []))].toSorted(),
    evaluationDataNumber: Math.min(
      tcbInfo.tcbEvaluationDataNumber,
      qeIdentity.tcbEvaluationDataNumber,
    ),
  };
}

/** The module of `report` as `tcbInfo` describes it, by its version; undefined when it does not. */
export function moduleOf(tcbInfo: TcbInfo, { teeTcbSvn }: TdReport): TdxModule | undefined {
  const version = octet(teeTcbSvn, MODULE_VERSION);
  if (version === UNVERSIONED) return { ...tcbInfo.tdxModule, tcbLevels: null };
  const id = `tdx_${version.toString(16).padStart(2, "0")}`;
  return tcbInfo.tdxModuleIdentities?.find((identity) => identity.id.toLowerCase() === id);
}

/** The components of a versioned module (0 and 1) are judged by its identity, not by the platform's levels. */
function reaches(
  tcb: TcbInfo["tcbLevels"][number]["tcb"],
  { components, pceSvn }: PckExtension,
  { teeTcbSvn }: TdReport,
): boolean {
  const from = octet(teeTcbSvn, MODULE_VERSION) === UNVERSIONED ? 0 : 2;
  return (
    tcb.sgxtcbcomponents.every(({ svn }, index) => (components[index] ?? -1) >= svn) &&
    pceSvn >= tcb.pcesvn &&
    tcb.tdxtcbcomponents.every(({ svn }, index) => index < from || octet(teeTcbSvn, index) >= svn)
  );
}

function enclaveLevel(
  levels: QeIdentity["tcbLevels"],
  svn: number,
): QeIdentity["tcbLevels"][number] | undefined {
  return levels.find(({ tcb }) => svn >= tcb.isvsvn);
}

function statusOf(level: { readonly tcbStatus: ListedTcbStatus } | undefined): TcbStatus {
  return level?.tcbStatus ?? "NotSupported";
}

/** A platform's status with that of a part: `UpToDate`, `OutOfDate`, `Revoked` or `NotSupported`. */
function merged(platform: TcbStatus, part: TcbStatus): TcbStatus {
  if (platform === "NotSupported" || part === "NotSupported") return "NotSupported";
  if (platform === "Revoked" || part === "Revoked") return "Revoked";
  if (part === "UpToDate") return platform;
  const needsConfiguration =
    platform === "ConfigurationNeeded" ||
    platform === "ConfigurationAndSWHardeningNeeded" ||
    platform === "OutOfDateConfigurationNeeded";
  return needsConfiguration ? "OutOfDateConfigurationNeeded" : "OutOfDate";
}

function octet(bytes: Uint8Array, index: number): number {
  return bytes[index] ?? 0;
}
