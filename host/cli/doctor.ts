import { spawnSync } from "node:child_process";
import { existsSync, statfsSync } from "node:fs";
import { totalmem } from "node:os";
import { parseArgs } from "node:util";

import { EXIT, type CliIo } from "./io.ts";

export const DOCTOR_HELP = `symphony doctor [--json]

Says whether this machine can run Symphony's parts, and what to do where it cannot. Exit code 1 when something that
every part needs is missing.
`;

/** One finding: `ok`, `warning` for what only some parts need, `missing` for what all need. */
interface Finding {
  readonly check: string;
  readonly state: "ok" | "warning" | "missing";
  readonly detail: string;
}

const MEMORY_BYTES_MIN = 2 * 1024 ** 3;
const DISK_BYTES_MIN = 1024 ** 3;

/** `symphony doctor`. */
export async function runDoctor(argv: readonly string[], io: CliIo): Promise<number> {
  const { values } = parseArgs({
    args: [...argv],
    options: { json: { type: "boolean", default: false } },
  });
  const findings = [
    nodeVersion(),
    sqlite(),
    memory(),
    disk(),
    bubblewrap(),
    nitro("/dev/nsm", "NSM device", "only inside a Nitro enclave"),
    nitro("/dev/nitro_enclaves", "Nitro Enclaves driver", "only on an EC2 parent instance"),
  ];
  const missing = findings.some(({ state }) => state === "missing");
  if (values.json) io.stdout(`${JSON.stringify({ ok: !missing, findings })}\n`);
  else
    for (const { check, state, detail } of findings)
      io.stdout(`${MARKS[state]} ${check}: ${detail}\n`);
  return missing ? EXIT.refused : EXIT.ok;
}

const MARKS = { ok: "✓", warning: "!", missing: "✗" } as const;

function nodeVersion(): Finding {
  const [major = 0] = process.versions.node.split(".").map(Number);
  const detail = `running ${process.version}, needs 24`;
  return { check: "Node", state: major >= 24 ? "ok" : "missing", detail };
}

function sqlite(): Finding {
  const version = process.versions["sqlite"];
  return version === undefined
    ? { check: "SQLite", state: "missing", detail: "this Node was built without node:sqlite" }
    : { check: "SQLite", state: "ok", detail: version };
}

function memory(): Finding {
  const bytes = totalmem();
  const detail = `${(bytes / 1024 ** 3).toFixed(1)} GiB; three Vaults with enclaves take about 2 GiB`;
  return { check: "memory", state: bytes >= MEMORY_BYTES_MIN ? "ok" : "warning", detail };
}

function disk(): Finding {
  const { bavail, bsize } = statfsSync(".");
  const bytes = bavail * bsize;
  const detail = `${(bytes / 1024 ** 3).toFixed(1)} GiB free in the current folder`;
  return { check: "disk", state: bytes >= DISK_BYTES_MIN ? "ok" : "warning", detail };
}

function bubblewrap(): Finding {
  const probe = spawnSync("bwrap", ["--unshare-all", "--ro-bind", "/", "/", "true"], {
    timeout: 5_000,
  });
  if (probe.error === undefined && probe.status === 0) {
    return { check: "bubblewrap", state: "ok", detail: "works; simulated enclaves are isolated" };
  }
  const detail =
    probe.error === undefined
      ? "installed, but user namespaces do not work here"
      : "not installed; simulated enclaves refuse to start without --insecure-no-isolation";
  return { check: "bubblewrap", state: "warning", detail };
}

function nitro(path: string, check: string, where: string): Finding {
  const present = existsSync(path);
  return {
    check,
    state: present ? "ok" : "warning",
    detail: present ? path : `${path} is absent; needed ${where}`,
  };
}
