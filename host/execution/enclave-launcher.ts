import type { Duplex } from "node:stream";

import type { EnclaveRole } from "#protocol";

/** How an enclave's process ended. Both null when it could not be waited for. */
export interface EnclaveExit {
  readonly code: number | null;
  readonly signal: string | null;
}

/** A running enclave, as its untrusted host sees it. */
export interface EnclaveHandle {
  /** Framed messages to and from the enclave (`encodeFrame`). Ends when the enclave ends. */
  readonly channel: Duplex;
  /** Settles once, never rejects. */
  readonly exited: Promise<EnclaveExit>;
  /** Ends the enclave at once; safe to call again. Wait for `exited`. */
  kill(): void;
}

/** Starts enclaves: those of an image, behind a socket, or the simulator's. */
export interface EnclaveLauncher {
  /**
   * Starts one enclave for one job.
   *
   * @throws {@link UnavailableError} TEE_ISOLATION_UNAVAILABLE, TEE_ENCLAVE_DIED
   */
  launch(role: EnclaveRole): Promise<EnclaveHandle>;
}
