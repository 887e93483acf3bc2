import { deviceCheck, ok, wanting, type Check, type Finding } from "./findings.ts";
import type { Machine } from "./machine.ts";

const GIB = 1024 ** 3;
const NODE_MAJOR_MIN = 24;
const MEMORY_BYTES_MIN = 2 * GIB;
const DISK_BYTES_MIN = GIB;
const DAY_MS = 86_400_000;
/** No machine runs this version so long after it was installed; a clock that says so is wrong. */
const YEARS_MAX_MS = 30 * 365 * DAY_MS;

/** What every part needs. */
export const ANY_CHECKS: readonly Check[] = [nodeVersion, sqlite, clock, memory, disk];

/** What simulated enclaves need. */
export const SIMULATOR_CHECKS: readonly Check[] = [bubblewrap];

/** What the inside of an SEV-SNP guest has. */
export const SNP_CHECKS: readonly Check[] = [
  deviceCheck("snp-guest", "/dev/sev-guest", {
    check: "SEV-SNP guest device",
    absent: "start the machine as an SEV-SNP guest; in one, sudo modprobe sev-guest",
    denied: "let this user read and write /dev/sev-guest",
  }),
];

/** What the inside of a TDX guest has. */
export const TDX_CHECKS: readonly Check[] = [
  deviceCheck("tdx-guest", "/dev/tdx_guest", {
    check: "TDX guest device",
    absent: "start the machine as a TDX guest; in one, sudo modprobe tdx_guest",
    denied: "let this user read and write /dev/tdx_guest",
  }),
];

function nodeVersion({ nodeVersion: version }: Machine): Finding {
  const check = "Node";
  const [major = 0] = version.split(".").map(Number);
  const detail = `running ${version}, needs ${NODE_MAJOR_MIN}`;
  if (major >= NODE_MAJOR_MIN) return ok("any", check, detail);
  const remedy = "start it by npx symphony or npm start, which use the pinned Node";
  return wanting("missing", { role: "any", check, detail, remedy });
}

function sqlite({ sqliteVersion }: Machine): Finding {
  const check = "SQLite";
  if (sqliteVersion !== null) return ok("any", check, sqliteVersion);
  const remedy = "use the pinned Node: npm ci installs it";
  const detail = "this Node was built without node:sqlite";
  return wanting("missing", { role: "any", check, detail, remedy });
}

/** Certificates and ages are judged by this clock; a little wrong is not seen here. */
function clock({ nowMs, installedMs }: Machine): Finding {
  const check = "clock";
  const detail = new Date(nowMs).toISOString();
  if (nowMs >= installedMs - DAY_MS && nowMs <= installedMs + YEARS_MAX_MS) {
    return ok("any", check, detail);
  }
  const installed = new Date(installedMs).toISOString();
  return wanting("missing", {
    role: "any",
    check,
    detail: `${detail}, but this program was installed at ${installed}`,
    remedy: "set the time and keep it: chrony; on EC2 with the Amazon Time Sync Service",
  });
}

function memory(machine: Machine): Finding {
  const check = "memory";
  const kib = /^MemTotal:\s+(\d+) kB$/m.exec(machine.read("/proc/meminfo") ?? "")?.[1];
  const bytes = Number(kib ?? 0) * 1024;
  const detail = `${(bytes / GIB).toFixed(1)} GiB; three Vaults with enclaves take about 2 GiB`;
  if (bytes >= MEMORY_BYTES_MIN) return ok("any", check, detail);
  return wanting("warning", { role: "any", check, detail, remedy: "give the machine more memory" });
}

function disk({ diskFreeBytes }: Machine): Finding {
  const check = "disk";
  const detail = `${(diskFreeBytes / GIB).toFixed(1)} GiB free in the current folder`;
  if (diskFreeBytes >= DISK_BYTES_MIN) return ok("any", check, detail);
  return wanting("warning", { role: "any", check, detail, remedy: "free at least 1 GiB" });
}

function bubblewrap(machine: Machine): Finding {
  const check = "bubblewrap";
  const args = ["--unshare-all", "--ro-bind", "/", "/", "true"];
  switch (machine.succeeds("bwrap", args)) {
    case true:
      return ok("simulator", check, "works; simulated enclaves are isolated");
    case false:
      return wanting("warning", {
        role: "simulator",
        check,
        detail: "installed, but user namespaces do not work here",
        remedy:
          "sudo sysctl kernel.unprivileged_userns_clone=1 (Debian), kernel.apparmor_restrict_unprivileged_userns=0 (Ubuntu)",
      });
    case null:
      return wanting("warning", {
        role: "simulator",
        check,
        detail: "not installed; simulated enclaves refuse to start without --insecure-no-isolation",
        remedy: "sudo apt install bubblewrap, or sudo dnf install bubblewrap",
      });
  }
}
