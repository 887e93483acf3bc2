import { spawn, spawnSync, type ChildProcess } from "node:child_process";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { createServer } from "node:net";
import { join } from "node:path";

import type { NitroMeasurement } from "../../attestation/index.ts";
import { FrameReader, encodeFrame, fromHex } from "../../protocol/index.ts";
import { InsecureSimNsm } from "../../sim/nsm.ts";
import type { InsecureSimPlatform } from "../../sim/platform.ts";
import { enclaveCommand } from "../../sim/sandbox.ts";

const ROOT = join(import.meta.dirname, "../..");
const GATE = join(ROOT, "image/gate");
const SHIM = join(ROOT, "test/image/gate/shim.c");
const STRICT = ["-std=c11", "-O2", "-Wall", "-Wextra", "-Werror"];

/** Whether the image's gate can be compiled here. */
export const canBuildGate = spawnSync("gcc", ["--version"]).status === 0;
if (!canBuildGate) console.warn("gate: skipped, there is no gcc here");

/** What a gate starts for each connection, in which folder. */
export interface GateProgram {
  readonly command: readonly string[];
  readonly cwd: string;
  /** At a time, when fewer than in the image. */
  readonly sessionsMax?: number;
}

/** Compiles the image's gate for `program`, and what stands for the machine's devices, into `directory`. */
export function buildGate(directory: string, { command, cwd, sessionsMax }: GateProgram): void {
  compile([
    `-DGATE_COMMAND=${command.map((word) => JSON.stringify(word)).join()}`,
    `-DGATE_FOLDER=${JSON.stringify(cwd)}`,
    ...(sessionsMax === undefined ? [] : [`-DSESSIONS_MAX=${sessionsMax}`]),
    ...["-o", join(directory, "gate"), join(GATE, "gate.c"), join(GATE, "nsm.c")],
  ]);
  compile(["-shared", "-fPIC", "-o", join(directory, "shim.so"), SHIM, "-ldl"]);
}

function compile(args: readonly string[]): void {
  const { status, stderr } = spawnSync("gcc", [...STRICT, ...args], { encoding: "utf8" });
  if (status !== 0) throw new Error(stderr);
}

/** Starts a gate that was built in `directory`: its vsock port is `vsock.sock` there, its NSM behind `device.sock`. */
export function spawnGate(
  directory: string,
  changes: Readonly<Record<string, string>> = {},
): ChildProcess {
  const env = {
    LD_PRELOAD: join(directory, "shim.so"),
    NSM_SHIM_SOCKET: join(directory, "device.sock"),
    VSOCK_SHIM_SOCKET: join(directory, "vsock.sock"),
    ...changes,
  };
  return spawn(join(directory, "gate"), { env, stdio: ["ignore", "ignore", "pipe"] });
}

/** What it says first: `ready`, or why it cannot go on. */
export async function firstWords({ stderr }: ChildProcess): Promise<string> {
  if (stderr === null) throw new Error("no output");
  return String((await once(stderr, "data"))[0]);
}

/** A gate that starts the real enclave for each connection to `socket`; one at a time may ask the simulated NSM. */
export interface ImageGate {
  readonly socket: string;
  stop(): void;
}

/** Starts it in `directory`, whose name is short: a socket's path has 107 bytes. */
export async function startImageGate(args: {
  readonly directory: string;
  readonly platform: InsecureSimPlatform;
  readonly measurement: NitroMeasurement;
}): Promise<ImageGate> {
  const { directory, platform } = args;
  const program = {
    repositoryRoot: ROOT,
    entry: "enclave/main.ts",
    anchorPath: platform.anchorPath,
  };
  const { file, args: words, cwd } = enclaveCommand(program, "none");
  buildGate(directory, { command: [file, ...words], cwd });
  const device = createServer((socket) => {
    const nsm = nsmOf(args);
    const reader = new FrameReader();
    socket.on("error", () => socket.destroy());
    socket.on("data", (chunk) => {
      for (const request of reader.push(chunk)) socket.write(encodeFrame(nsm.handle(request)));
    });
  }).listen(join(directory, "device.sock"));
  await once(device, "listening");
  const gate = spawnGate(directory);
  const said = await firstWords(gate);
  if (said !== "ready\n") throw new Error(`gate: ${said}`);
  return {
    socket: join(directory, "vsock.sock"),
    stop: () => {
      gate.kill("SIGKILL");
      device.close();
    },
  };
}

function nsmOf(args: {
  readonly platform: InsecureSimPlatform;
  readonly measurement: NitroMeasurement;
}): InsecureSimNsm {
  const { platform, measurement } = args;
  const random = (bytes: number): Uint8Array => new Uint8Array(randomBytes(bytes));
  const { pcr0, pcr1, pcr2 } = measurement;
  const pcrs = new Map([pcr0, pcr1, pcr2].map((pcr, index) => [index, fromHex(pcr)]));
  return new InsecureSimNsm({
    ...{ platform, pcrs, random, nowMs: Date.now },
    moduleId: platform.moduleId(random(8)),
  });
}
