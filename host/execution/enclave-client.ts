import {
  FrameReader,
  MalformedError,
  RefusedError,
  UnavailableError,
  decodeCbor,
  encodeCbor,
  encodeFrame,
  enclaveResponseSchema,
  parseWith,
  SESSION_MANIFEST,
  type EnclaveRequest,
  type EnclaveResponse,
  type SessionManifest,
} from "#protocol";
import type { EnclaveHandle } from "./enclave-launcher.ts";

type ResponseOf<Result extends EnclaveResponse["result"]> = Extract<
  EnclaveResponse,
  { result: Result }
>;

/** The enclave ended, or its deadline passed, before it answered: the platform failed, not the verifier (TT-4). */
function enclaveDied(reason: string): UnavailableError {
  return new UnavailableError(
    { code: "TEE_ENCLAVE_DIED" },
    `enclave: expected an answer, ${reason}`,
  );
}

/**
 * One host's conversation with one enclave: a request, then its response, in order.
 *
 * Trusts nothing the enclave says beyond its shape; evidence decides.
 */
export class EnclaveClient {
  readonly #handle: EnclaveHandle;
  readonly #reader = new FrameReader();
  #waiting: { resolve: (frame: Uint8Array) => void; reject: (error: Error) => void } | undefined;
  #dead: Error | undefined;

  constructor(handle: EnclaveHandle) {
    this.#handle = handle;
    handle.channel.on("data", (chunk: Uint8Array) => this.#receive(chunk));
    handle.channel.on("error", () => this.#fail(enclaveDied("the channel failed")));
    handle.channel.on("close", () => this.#fail(enclaveDied("the channel closed")));
    void handle.exited.then(() => this.#fail(enclaveDied("it ended")));
  }

  /** Boots the enclave and returns what it says of itself. */
  async boot(
    role: "slice" | "aggregate",
    genesis: Uint8Array,
    timeoutMs: number,
  ): Promise<{ readonly bytes: Uint8Array; readonly manifest: SessionManifest }> {
    const booted = await this.call("booted", { method: "boot", role, genesis }, timeoutMs);
    return { bytes: booted.manifest, manifest: SESSION_MANIFEST.decode(booted.manifest) };
  }

  /** An attestation document over `nonce`. */
  async attest(nonce: Uint8Array, timeoutMs: number): Promise<Uint8Array> {
    const attested = await this.call("attested", { method: "attest", nonce }, timeoutMs);
    return attested.document;
  }

  /**
   * One request and its response.
   *
   * @throws UnavailableError TEE_ENCLAVE_DIED when none comes in time; the enclave is ended then.
   * @throws {@link RefusedError} with the enclave's own code when it refuses.
   */
  async call<Result extends EnclaveResponse["result"]>(
    expected: Result,
    request: EnclaveRequest,
    timeoutMs: number,
  ): Promise<ResponseOf<Result>> {
    const frame = await this.#exchange(encodeFrame(encodeCbor(request)), timeoutMs);
    const response = parseWith(enclaveResponseSchema, decodeCbor(frame), "enclave response");
    if (response.result === "failed") {
      throw new RefusedError(
        { code: response.code, method: request.method },
        `enclave ${request.method}: expected success, got ${response.code}`,
      );
    }
    if (!isResult(response, expected)) {
      throw new MalformedError(
        { code: "SCHEMA_MALFORMED", expected, actual: response.result },
        `enclave response: expected ${expected}, got ${response.result}`,
      );
    }
    return response;
  }

  async #exchange(frame: Uint8Array, timeoutMs: number): Promise<Uint8Array> {
    if (this.#dead !== undefined) throw this.#dead;
    const answer = new Promise<Uint8Array>((resolve, reject) => {
      this.#waiting = { resolve, reject };
    });
    const timer = setTimeout(() => {
      this.end(enclaveDied(`none came within ${timeoutMs} ms`));
    }, timeoutMs);
    this.#handle.channel.write(frame);
    try {
      return await answer;
    } finally {
      clearTimeout(timer);
    }
  }

  #receive(chunk: Uint8Array): void {
    try {
      for (const frame of this.#reader.push(chunk)) {
        const waiting = this.#waiting;
        if (waiting === undefined) return this.end(enclaveDied("got one that nobody asked for"));
        this.#waiting = undefined;
        waiting.resolve(frame);
      }
    } catch {
      this.end(enclaveDied("its frame was too large"));
    }
  }

  /** Ends the enclave at once, whatever it does; the call under way and every later one fail with `reason`. */
  end(reason: Error): void {
    this.#fail(reason);
    this.#handle.kill();
  }

  #fail(error: Error): void {
    this.#dead ??= error;
    const waiting = this.#waiting;
    this.#waiting = undefined;
    waiting?.reject(error);
  }

  /** Ends the enclave and waits until it is gone. */
  async close(): Promise<void> {
    this.#handle.kill();
    await this.#handle.exited;
  }
}

function isResult<Result extends EnclaveResponse["result"]>(
  response: EnclaveResponse,
  expected: Result,
): response is ResponseOf<Result> {
  return response.result === expected;
}
