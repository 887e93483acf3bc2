import { generateKeyPair, randomBytes } from "node:crypto";
import { closeSync, fstatSync, readFileSync, readdirSync, type Stats } from "node:fs";
import { Socket } from "node:net";
import { performance } from "node:perf_hooks";
import { promisify } from "node:util";

import { AWS_NITRO_ROOT_G1, parseAnchor, type TrustAnchor } from "#attestation";
import { FrameReader, encodeCbor, encodeFrame } from "#protocol";

import { openCiphertextForRecipient } from "./adapters/cms.ts";
import { createNsmClient } from "./adapters/nsm.ts";
import { createOcr } from "./adapters/ocr.ts";
import type { EnclaveEnvironment, RecipientKey } from "./environment.ts";
import { IDLE_MS_MAX, LIFE_MS_MAX } from "./limits.ts";
import { EnclaveSession } from "./session.ts";

/** Descriptors an enclave is started with: standard streams, the channel, the NSM. */
const CHANNEL_FD = 3;
const NSM_FD = 4;
const ANCHOR_BYTES_MAX = 16 * 1024;
/** Device 1:3. */
const NULL_DEVICE = 0x103;

/** Features that change which code a numeric library picks, by their names in /proc/cpuinfo. */
const CPU_FEATURES = [
  "avx",
  "avx2",
  "avx512f",
  "avx512_vnni",
  "avx_vnni",
  "fma",
  "sse4_2",
  "asimd",
];

process.env["ORT_DISABLE_TELEMETRY"] = "1";

main();

/** One process, one job: serves the channel until its one bundle is out, then exits 0; on any failure exits 1. */
function main(): void {
  refuseInheritedDescriptors();
  const anchors = readAnchors(process.argv.slice(2));
  const recipientKey = makeRecipientKey();
  recipientKey.catch(() => end(1));
  const session = new EnclaveSession(makeEnvironment(anchors, recipientKey));
  setTimeout(() => end(1), LIFE_MS_MAX);
  for (const signal of ["SIGTERM", "SIGINT", "SIGHUP"]) process.on(signal, () => end(1));
  // A fault prints nothing: its text could carry data.
  process.on("uncaughtException", () => end(1));
  process.on("unhandledRejection", () => end(1));
  serve(new Socket({ fd: CHANNEL_FD, readable: true, writable: true }), session);
}

function makeEnvironment(
  anchors: readonly TrustAnchor[],
  recipientKey: Promise<RecipientKey>,
): EnclaveEnvironment {
  return {
    nsm: createNsmClient(new Socket({ fd: NSM_FD, readable: true, writable: true })),
    anchors,
    randomBytes: (bytes) => new Uint8Array(randomBytes(bytes)),
    clockMs: () => performance.now(),
    runtime: process.version,
    cpuFeatures: readCpuFeatures(),
    recipientKey,
    openCms: openCiphertextForRecipient,
    startOcr: createOcr,
  };
}

/** Answers the host's requests one after the other; a second before the answer to the first is a protocol fault. */
function serve(channel: Socket, session: EnclaveSession): void {
  const reader = new FrameReader();
  let busy = false;
  let idle = setTimeout(() => end(1), IDLE_MS_MAX);
  channel.on("error", () => end(1));
  channel.on("close", () => end(1));
  channel.on("end", () => end(1));
  const answer = async (request: Uint8Array): Promise<void> => {
    clearTimeout(idle);
    const { response, ends } = await session.handle(request);
    request.fill(0);
    const frame = encodeFrame(encodeCbor(response));
    channel.write(frame, () => {
      if (ends !== "no") end(ends === "done" ? 0 : 1);
    });
    busy = false;
    idle = setTimeout(() => end(1), IDLE_MS_MAX);
  };
  channel.on("data", (chunk: Uint8Array) => {
    try {
      for (const request of reader.push(chunk)) {
        if (busy) return end(1);
        busy = true;
        answer(request).catch(() => end(1));
      }
    } catch {
      end(1);
    }
  });
}

/** Leaves at once: the process's memory, keys included, goes back to the system, which hands out zeroed pages. */
function end(code: 0 | 1): void {
  process.exit(code);
}

async function makeRecipientKey(): Promise<RecipientKey> {
  const { publicKey, privateKey } = await promisify(generateKeyPair)("rsa", {
    modulusLength: 2048,
  });
  const spki = publicKey.export({ format: "der", type: "spki" });
  return { publicKey: new Uint8Array(spki), privateKey };
}

/**
 * The shipped root, and the one that `--anchor PATH` names: in the simulator's image that file is measured.
 * Anything else on the command line is refused; there is no other configuration.
 */
function readAnchors(args: readonly string[]): readonly TrustAnchor[] {
  if (args.length === 0) return [AWS_NITRO_ROOT_G1];
  const [flag, path, ...rest] = args;
  if (flag !== "--anchor" || path === undefined || rest.length > 0) {
    process.exit(1);
  }
  const certificate = readFileSync(path);
  if (certificate.length > ANCHOR_BYTES_MAX) process.exit(1);
  return [AWS_NITRO_ROOT_G1, parseAnchor(new Uint8Array(certificate))];
}

/**
 * Refuses every descriptor that this process inherited besides the five it should have, by closing it before anything
 * is read: terminals and supervisors leak some, and none of them may reach a job.
 *
 * Node's own descriptors are event queues, counters, pipes of which it holds both ends, and /dev/null. Whatever else
 * stands above the NSM came from outside. What cannot be listed cannot be told apart, and ends the process.
 */
function refuseInheritedDescriptors(): void {
  const open = readdirSync("/proc/self/fd")
    .map(Number)
    .filter((fd) => fd > NSM_FD)
    .flatMap((fd) => statOrNone(fd));
  const isPair = (inode: number): boolean =>
    open.filter(({ stat }) => stat.ino === inode).length > 1;
  for (const { fd, stat } of open) {
    const foreign =
      stat.isSocket() ||
      stat.isFile() ||
      stat.isDirectory() ||
      stat.isBlockDevice() ||
      (stat.isCharacterDevice() && stat.rdev !== NULL_DEVICE) ||
      (stat.isFIFO() && !isPair(stat.ino));
    if (foreign) closeSync(fd);
  }
}

/** The descriptor the listing itself was read through is gone by now. */
function statOrNone(fd: number): { readonly fd: number; readonly stat: Stats }[] {
  try {
    return [{ fd, stat: fstatSync(fd) }];
  } catch {
    return [];
  }
}

function readCpuFeatures(): readonly string[] {
  try {
    const text = readFileSync("/proc/cpuinfo", "latin1");
    const flags = new Set(/^(?:flags|Features)\s*:(.*)$/m.exec(text)?.[1]?.trim().split(/\s+/));
    return CPU_FEATURES.filter((feature) => flags.has(feature)).toSorted();
  } catch {
    return [];
  }
}
