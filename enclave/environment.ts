import type { KeyObject } from "node:crypto";

import type { TrustAnchor } from "#attestation";

import type { NsmClient } from "./adapters/nsm.ts";
import type { Ocr } from "./workloads/parse/index.ts";

/** Everything an enclave has of the world outside; `main.ts` makes the one of a real process. */
export interface EnclaveEnvironment {
  readonly nsm: NsmClient;
  /** Roots of the platforms this image believes: shipped ones, and the simulator's in its image. */
  readonly anchors: readonly TrustAnchor[];
  /** Bytes of this process's own generator, mixed with the NSM's wherever a secret is made. */
  readonly randomBytes: (bytes: number) => Uint8Array;
  /** A monotonic reading for deadlines; never taken for the time of day. */
  readonly clockMs: () => number;
  readonly runtime: string;
  /** Sorted names of the processor's features that change numbers; may be empty. */
  readonly cpuFeatures: readonly string[];
  /** The RSA key pair key services encrypt to; made as early as possible, because it takes long. */
  readonly recipientKey: Promise<RecipientKey>;
  /** Opens what a key service returned: CMS to the recipient key. */
  readonly openCms: (cms: Uint8Array, privateKey: KeyObject) => Uint8Array;
  readonly startOcr: () => Promise<Ocr>;
}

/** An RSA-2048 key pair; the public half is SubjectPublicKeyInfo, DER. */
export interface RecipientKey {
  readonly publicKey: Uint8Array;
  readonly privateKey: KeyObject;
}

/**
 * `bytes` secret bytes: the NSM's generator and the process's own, added. Neither alone decides them.
 *
 * @throws {@link UnavailableError} TEE_NSM_FAILED
 */
export async function secretBytes(
  { nsm, randomBytes }: Pick<EnclaveEnvironment, "nsm" | "randomBytes">,
  bytes: number,
): Promise<Uint8Array> {
  const own = randomBytes(bytes);
  const fromNsm = await nsm.random(bytes);
  return Uint8Array.from(own, (byte, index) => byte ^ (fromNsm[index] ?? 0));
}
