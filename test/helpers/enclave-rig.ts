import { generateKeyPairSync, randomBytes } from "node:crypto";
import { mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { duplexPair } from "node:stream";

import { openCiphertextForRecipient } from "../../enclave/adapters/cms.ts";
import { createNsmClient } from "../../enclave/adapters/nsm.ts";
import { createOcr } from "../../enclave/adapters/ocr.ts";
import type { EnclaveEnvironment, RecipientKey } from "../../enclave/environment.ts";
import { EnclaveSession } from "../../enclave/session.ts";
import {
  FrameReader,
  SESSION_MANIFEST,
  decodeCbor,
  encodeCbor,
  encodeFrame,
  enclaveResponseSchema,
  fromHex,
  type EnclaveRequest,
  type EnclaveResponse,
  type EnclaveRole,
  type SessionManifest,
} from "../../protocol/index.ts";
import { InsecureSimNsm } from "../../sim/nsm.ts";
import { createInsecureSimPlatform, type InsecureSimPlatform } from "../../sim/platform.ts";
import { NETWORK_TIME_MS, TEST_MEASUREMENT, type Measurement } from "./network.ts";

/** What an enclave of a test may differ in. */
export interface RigEnclaveOptions {
  readonly measurement?: Measurement;
  readonly platform?: InsecureSimPlatform;
  /** The NSM's clock. */
  readonly timeMs?: number;
}

/** Something that answers an enclave's requests: a session in this process, or a process behind a channel. */
export interface EnclaveEnd {
  call(request: EnclaveRequest): Promise<EnclaveResponse>;
}

/** A booted enclave as its host sees it. */
export interface HostedEnclave extends EnclaveEnd {
  readonly manifest: SessionManifest;
  readonly manifestBytes: Uint8Array;
  readonly manifestDigest: Uint8Array;
  attest(nonce: Uint8Array): Promise<Uint8Array>;
}

let shared: InsecureSimPlatform | undefined;
let recipient: RecipientKey | undefined;

/** The simulated platform of this test process; its root is new for every run. */
export function rigPlatform(): InsecureSimPlatform {
  shared ??= createInsecureSimPlatform(mkdtempSync(join(tmpdir(), "symphony-rig-")));
  return shared;
}

/** One RSA key for every enclave of a test process: making them takes longer than everything else. */
export function rigRecipient(): RecipientKey {
  if (recipient === undefined) {
    const pair = generateKeyPairSync("rsa", { modulusLength: 2048 });
    const spki = new Uint8Array(pair.publicKey.export({ format: "der", type: "spki" }));
    recipient = { publicKey: spki, privateKey: pair.privateKey };
  }
  return recipient;
}

/** The environment of an enclave in this process: a real NSM client over a real, simulated NSM. */
export function rigEnvironment(options: RigEnclaveOptions = {}): EnclaveEnvironment {
  const platform = options.platform ?? rigPlatform();
  const { pcr0, pcr1, pcr2 } = options.measurement ?? TEST_MEASUREMENT;
  const random = (bytes: number): Uint8Array => new Uint8Array(randomBytes(bytes));
  const nsm = new InsecureSimNsm({
    platform,
    pcrs: new Map([pcr0, pcr1, pcr2].map((pcr, index) => [index, fromHex(pcr)])),
    moduleId: platform.moduleId(random(8)),
    nowMs: () => options.timeMs ?? NETWORK_TIME_MS + 60_000,
    random,
  });
  const [inside, outside] = duplexPair();
  const reader = new FrameReader();
  outside.on("data", (chunk: Uint8Array) => {
    for (const request of reader.push(chunk)) outside.write(encodeFrame(nsm.handle(request)));
  });
  return {
    nsm: createNsmClient(inside),
    anchors: [platform.anchor],
    randomBytes: random,
    clockMs: () => performance.now(),
    runtime: process.version,
    cpuFeatures: [],
    recipientKey: Promise.resolve(rigRecipient()),
    openCms: openCiphertextForRecipient,
    startOcr: createOcr,
  };
}

/** An enclave in this process; requests and responses go through their bytes. */
export function startEnclave(options: RigEnclaveOptions = {}): EnclaveEnd {
  const session = new EnclaveSession(rigEnvironment(options));
  return {
    async call(request) {
      const { response } = await session.handle(encodeCbor(request));
      return enclaveResponseSchema.parse(decodeCbor(encodeCbor(response)));
    },
  };
}

/** Boots `end` and gives it the shape a host works with. */
export async function bootHosted(
  end: EnclaveEnd,
  role: EnclaveRole,
  genesis: Uint8Array,
): Promise<HostedEnclave> {
  const booted = await end.call({ method: "boot", role, genesis });
  if (booted.result !== "booted") throw new Error(`boot: ${codeOf(booted)}`);
  const manifest = SESSION_MANIFEST.decode(booted.manifest);
  return {
    manifest,
    manifestBytes: booted.manifest,
    manifestDigest: SESSION_MANIFEST.digest(manifest),
    call: (request) => end.call(request),
    async attest(nonce) {
      const attested = await end.call({ method: "attest", nonce });
      if (attested.result !== "attested") throw new Error(`attest: ${codeOf(attested)}`);
      return attested.document;
    },
  };
}

/** The code of a failure, or the name of the success. */
export function codeOf(response: EnclaveResponse): string {
  return response.result === "failed" ? response.code : response.result;
}
