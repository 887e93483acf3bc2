import {
  RefusedError,
  SymphonyError,
  decodeCbor,
  enclaveRequestSchema,
  parseWith,
  FRAME_BYTES_MAX,
  type EnclaveRequest,
  type EnclaveResponse,
  type ErrorCode,
} from "#protocol";

import { bootEnclave, type BootedEnclave } from "./boot.ts";
import type { EnclaveEnvironment } from "./environment.ts";
import { beginRound, type BegunRound } from "./jobs/begin.ts";
import { finishRound } from "./jobs/finish.ts";
import { runJob } from "./jobs/run.ts";

/** Where a session stands; `ended` takes nothing more. */
type Stage =
  | { readonly name: "new" }
  | { readonly name: "booted"; readonly enclave: BootedEnclave }
  | { readonly name: "begun"; readonly enclave: BootedEnclave; readonly round: BegunRound }
  | { readonly name: "ended" };

/** An answer, and whether the enclave ends after it. */
export interface SessionAnswer {
  readonly response: EnclaveResponse;
  readonly ends: "no" | "done" | "failed";
}

/**
 * One enclave's conversation with its host: boot, attest…, then one job, in this order, then nothing.
 *
 * A failure of any kind ends the session with a code and no text. One request at a time: the caller waits for the
 * answer before it hands in the next.
 */
export class EnclaveSession {
  readonly #environment: EnclaveEnvironment;
  #stage: Stage = { name: "new" };

  constructor(environment: EnclaveEnvironment) {
    this.#environment = environment;
  }

  /** Answers one request, canonical CBOR of an {@link EnclaveRequest}. Never throws. */
  async handle(request: Uint8Array): Promise<SessionAnswer> {
    const stage = this.#stage;
    // Until the answer is known nothing more is taken, and after a failure nothing ever.
    this.#stage = { name: "ended" };
    try {
      const parsed = parseWith(
        enclaveRequestSchema,
        decodeCbor(request, FRAME_BYTES_MAX),
        "request",
      );
      const { response, next } = await this.#perform(stage, parsed);
      this.#stage = next;
      return { response, ends: next.name === "ended" ? "done" : "no" };
    } catch (error) {
      return { response: { result: "failed", code: codeOf(error) }, ends: "failed" };
    }
  }

  async #perform(
    stage: Stage,
    request: EnclaveRequest,
  ): Promise<{ readonly response: EnclaveResponse; readonly next: Stage }> {
    switch (request.method) {
      case "boot": {
        if (stage.name !== "new") throw outOfOrder();
        const enclave = await bootEnclave(this.#environment, request);
        const response = { result: "booted", manifest: enclave.manifestBytes } as const;
        return { response, next: { name: "booted", enclave } };
      }
      case "attest": {
        if (stage.name !== "booted" && stage.name !== "begun") throw outOfOrder();
        const document = await stage.enclave.attest(request.nonce);
        return { response: { result: "attested", document }, next: stage };
      }
      case "run": {
        if (stage.name !== "booted" || stage.enclave.role !== "slice") throw outOfOrder();
        const answer = await runJob(stage.enclave, request);
        return { response: { result: "ran", ...answer }, next: { name: "ended" } };
      }
      case "begin": {
        if (stage.name !== "booted" || stage.enclave.role !== "aggregate") throw outOfOrder();
        const { round, secrets } = await beginRound(stage.enclave, request);
        return {
          response: { result: "begun", secrets: [...secrets] },
          next: { name: "begun", enclave: stage.enclave, round },
        };
      }
      case "finish": {
        if (stage.name !== "begun") throw outOfOrder();
        const answer = await finishRound(stage.enclave, stage.round, request);
        return { response: { result: "finished", ...answer }, next: { name: "ended" } };
      }
    }
  }
}

function outOfOrder(): RefusedError {
  return new RefusedError(
    { code: "COORDINATION_ROLE_REFUSED" },
    "request: expected the next one of this session's role, got another",
  );
}

/** A code and nothing else: the text of an error could carry data. */
function codeOf(error: unknown): ErrorCode {
  return error instanceof SymphonyError ? error.code : "INTERNAL_UNEXPECTED";
}
