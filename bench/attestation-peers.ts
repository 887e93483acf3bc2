import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { join } from "node:path";

import { NITRO_FILE, TDX_AT_MS, TDX_COLLATERAL_FILE, TDX_FILE } from "./attestation-evidence.ts";

/** Verifiers of others, from npm; exact versions in bench/peers/package.json. */
export type Peer = "@evervault/attestation-bindings" | "@phala/dcap-qvl";

const FOLDER = join(import.meta.dirname, "peers");
const INSTALL_MS_MAX = 120_000;
const FAKETIME = "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1";
/** Two minutes after the document was signed: this peer judges by the system's clock alone. */
const CLOCK = "@2023-09-18 15:05:00";

interface Sources {
  readonly nitro: "genuine" | "generated";
  readonly tdx: "genuine" | "generated";
}

/** Seconds per verification by each peer, in a process of its own on the same core; null when it was skipped. */
export function peerSeconds(sources: Sources): ReadonlyMap<Peer, number | null> {
  const peers: readonly (readonly [Peer, () => number | null])[] = [
    ["@evervault/attestation-bindings", () => evervault(sources)],
    ["@phala/dcap-qvl", () => dcapQvl(sources)],
  ];
  const installed = isInstalled();
  return new Map(peers.map(([peer, run]) => [peer, installed ? run() : null]));
}

/** Installs them once, outside of the project's own dependencies; without a registry they are skipped. */
function isInstalled(): boolean {
  if (existsSync(join(FOLDER, "node_modules/.package-lock.json"))) return true;
  process.stderr.write("bench: installing the peers into bench/peers\n");
  const args = ["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--fetch-retries=0"];
  const options = { cwd: FOLDER, encoding: "utf8", timeout: INSTALL_MS_MAX } as const;
  const { status, stderr } = spawnSync("npm", args, options);
  if (status === 0) return true;
  process.stderr.write(`bench: peers are skipped, npm ci in bench/peers failed: ${stderr ?? ""}\n`);
  return false;
}

function evervault({ nitro }: Sources): number | null {
  const peer = "@evervault/attestation-bindings";
  if (nitro === "generated") return skip(peer, "it verifies genuine documents only");
  if (!existsSync(FAKETIME)) {
    return skip(peer, "it needs a faked clock: apt-get install libfaketime");
  }
  const clock = { LD_PRELOAD: FAKETIME, FAKETIME: CLOCK, DONT_FAKE_MONOTONIC: "1", TZ: "UTC" };
  return run(peer, ["evervault.js", NITRO_FILE], clock);
}

function dcapQvl({ tdx }: Sources): number | null {
  const peer = "@phala/dcap-qvl";
  if (tdx === "generated") return skip(peer, "its sample is not in SYMPHONY_SHARED");
  return run(peer, ["dcap-qvl.js", TDX_FILE, TDX_COLLATERAL_FILE, `${TDX_AT_MS / 1000}`], {});
}

function skip(peer: Peer, reason: string): null {
  process.stderr.write(`bench: ${peer} is skipped, ${reason}\n`);
  return null;
}

function run(peer: Peer, args: readonly string[], env: Readonly<Record<string, string>>) {
  const [script = "", ...rest] = args;
  const child = spawnSync(process.execPath, [join(FOLDER, script), ...rest], {
    encoding: "utf8",
    env: { ...process.env, ...env },
  });
  const seconds = Number(child.stdout);
  return child.status === 0 && seconds > 0 ? seconds : skip(peer, child.stderr);
}
