import { spawn, type ChildProcess } from "node:child_process";
import { randomBytes } from "node:crypto";
import { Duplex } from "node:stream";

import type { NitroMeasurement } from "#attestation";
import type { EnclaveExit, EnclaveHandle, EnclaveLauncher } from "#host";
import {
  FrameReader,
  UnavailableError,
  encodeFrame,
  fromHex,
  sha384,
  utf8,
  type EnclaveRole,
} from "#protocol";

import { InsecureSimNsm, NSM_REQUEST_BYTES_MAX } from "./nsm.ts";
import type { InsecureSimPlatform } from "./platform.ts";
import { enclaveCommand, probeBubblewrap, type Isolation } from "./sandbox.ts";

/** How simulated enclaves are started. */
export interface SimLaunchOptions {
  /** The checkout that holds the image's folders and `node_modules`. */
  readonly repositoryRoot: string;
  readonly platform: InsecureSimPlatform;
  /** What the NSM will say of the image: `measureSimImage`. */
  readonly measurement: NitroMeasurement;
  readonly isolation: Isolation;
  /** What the enclave's process printed, as it comes; at most {@link OUTPUT_BYTES_MAX} bytes in all. */
  readonly onStderr: (text: string) => void;
  /** Script to run, within the repository; `enclave/main.ts` unless a test has another. */
  readonly entry?: string;
  readonly nowMs?: () => number;
  readonly random?: (bytes: number) => Uint8Array;
}

/** A simulated enclave, and its process on this machine; null when it ended before it had a number. */
export interface InsecureEnclave extends EnclaveHandle {
  readonly pid: number | null;
}

/** Bytes of an enclave's output handed on; the rest is dropped. */
export const OUTPUT_BYTES_MAX = 1024 * 1024;

/**
 * Starts a simulated enclave: its own process, under bubblewrap and Node's permission model, with the channel
 * as descriptor 3 and a simulated NSM as descriptor 4. The NSM's signing key stays in this process. One image
 * serves every role; the enclave learns its role from its host's first message and attests it.
 *
 * @throws {@link UnavailableError} TEE_ISOLATION_UNAVAILABLE when bubblewrap does not work and `isolation`
 * is not "none"; TEE_ENCLAVE_DIED when the process cannot be started.
 * @deprecated For development and tests only: this machine's owner can read the enclave's memory.
 */
export async function launchInsecureEnclave(
  options: SimLaunchOptions & { readonly role: EnclaveRole },
): Promise<InsecureEnclave> {
  const { platform, random = randomBytes, nowMs = Date.now, entry = "enclave/main.ts" } = options;
  if (options.isolation !== "none") await probeBubblewrap();
  const { repositoryRoot } = options;
  const program = { repositoryRoot, entry, anchorPath: platform.anchorPath };
  const { file, args, env, cwd } = enclaveCommand(program, options.isolation);
  const stdio = ["ignore", "pipe", "pipe", "pipe", "pipe"] as const;
  // A group of its own: bubblewrap killed in its first moments leaves a child that only the group still reaches.
  const child = spawn(file, args, { env, cwd, stdio: [...stdio], detached: true });
  const exited = exitOf(child);
  await started(child);
  const [, stdout, stderr, channel, nsmStream] = child.stdio;
  if (!(channel instanceof Duplex) || !(nsmStream instanceof Duplex)) {
    killGroup(child);
    throw died("two streams");
  }
  forwardOutput([stdout, stderr], options.onStderr);
  const moduleId = platform.moduleId(random(8));
  const pcrs = imagePcrs(options.measurement);
  serveNsm(new InsecureSimNsm({ platform, pcrs, moduleId, nowMs, random }), nsmStream);
  channel.on("error", () => channel.destroy());
  return {
    channel,
    pid: child.pid ?? null,
    exited,
    kill: () => killGroup(child),
  };
}

/** Ends a process and all it started. One that is gone already stays so. */
function killGroup(child: ChildProcess): void {
  if (child.pid === undefined) return;
  try {
    process.kill(-child.pid, "SIGKILL");
  } catch {
    child.kill("SIGKILL");
  }
}

/**
 * A launcher of simulated enclaves, all under one platform.
 *
 * @deprecated For development and tests only.
 */
export function createInsecureLauncher(options: SimLaunchOptions): EnclaveLauncher {
  return { launch: (role) => launchInsecureEnclave({ ...options, role }) };
}

/** PCR 0 to 2 measure the image; PCR 3 stands for the parent's role, as on AWS. */
function imagePcrs({ pcr0, pcr1, pcr2 }: NitroMeasurement): ReadonlyMap<number, Uint8Array> {
  const role = sha384(new Uint8Array(48), utf8("SIMULATED role"));
  return new Map([
    [0, fromHex(pcr0)],
    [1, fromHex(pcr1)],
    [2, fromHex(pcr2)],
    [3, role],
  ]);
}

/** Answers NSM requests, one frame each, in order. A stream that breaks the framing is closed. */
function serveNsm(nsm: InsecureSimNsm, stream: Duplex): void {
  const reader = new FrameReader(NSM_REQUEST_BYTES_MAX);
  stream.on("error", () => stream.destroy());
  stream.on("data", (chunk: Uint8Array) => {
    try {
      for (const request of reader.push(chunk)) stream.write(encodeFrame(nsm.handle(request)));
    } catch {
      stream.destroy();
    }
  });
}

function exitOf(child: ChildProcess): Promise<EnclaveExit> {
  return new Promise((resolve) => {
    child.once("exit", (code, signal) => resolve({ code, signal }));
    child.once("error", () => resolve({ code: null, signal: null }));
  });
}

async function started(child: ChildProcess): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    child.once("spawn", resolve);
    child.once("error", (cause) => reject(died("a process that starts", { cause })));
  });
}

function forwardOutput(streams: readonly unknown[], onText: (text: string) => void): void {
  let left = OUTPUT_BYTES_MAX;
  for (const stream of streams) {
    if (!(stream instanceof Duplex)) continue;
    stream.on("data", (chunk: Uint8Array) => {
      const kept = chunk.subarray(0, left);
      left -= kept.length;
      if (kept.length > 0) onText(Buffer.from(kept).toString("utf8"));
    });
  }
}

function died(expected: string, options?: ErrorOptions): UnavailableError {
  return new UnavailableError(
    { code: "TEE_ENCLAVE_DIED" },
    `enclave: expected ${expected}, got none`,
    options,
  );
}
