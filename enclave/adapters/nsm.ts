import type { Duplex } from "node:stream";

import { decodeHardwareCbor, type HardwareValue } from "#attestation";
import {
  FrameReader,
  LimitError,
  UnavailableError,
  encodeCbor,
  encodeFrame,
  type CborValue,
} from "#protocol";

/** What an attestation document is to say beside the platform's own claims; at most 1024 bytes each. */
export interface AttestRequest {
  readonly nonce: Uint8Array | null;
  readonly userData: Uint8Array | null;
  readonly publicKey: Uint8Array | null;
}

/** What the NSM says of itself. */
export interface NsmDescription {
  readonly moduleId: string;
  readonly digest: string;
  readonly lockedPcrs: readonly number[];
}

/** The Nitro Secure Module, as an enclave uses it. Calls are answered in order. */
export interface NsmClient {
  /** The signed document, COSE_Sign1, as the NSM returned it. */
  attest(request: AttestRequest): Promise<Uint8Array>;
  /** `bytes` bytes from the platform's generator; at most {@link RANDOM_BYTES_MAX}. */
  random(bytes: number): Promise<Uint8Array>;
  describe(): Promise<NsmDescription>;
}

/** The driver's largest response (nsm-api, src/driver). */
const RESPONSE_BYTES_MAX = 0x3000;
/** Most random bytes given in one call; the NSM returns at most 256 at a time. */
export const RANDOM_BYTES_MAX = 4096;
/** Time for one answer. A document takes milliseconds; a host that holds answers back gets no second chance. */
export const NSM_DEADLINE_MS = 10_000;

interface Waiting {
  readonly resolve: (response: Uint8Array) => void;
  readonly reject: (error: Error) => void;
  readonly timer: NodeJS.Timeout;
}

/**
 * A client of the NSM behind `stream`: requests and responses are CBOR in frames (`protocol/frame.ts`).
 *
 * The stream is descriptor 4 in the simulator and a socket of the init program, which owns /dev/nsm, on
 * Nitro. After a timeout, an error or the end of the stream the client fails every call.
 *
 * All methods throw {@link UnavailableError} TEE_NSM_FAILED.
 *
 * @see aws-nitro-enclaves-nsm-api src/api/mod.rs
 */
export function createNsmClient(
  stream: Duplex,
  options: { readonly deadlineMs: number } = { deadlineMs: NSM_DEADLINE_MS },
): NsmClient {
  const call = createCaller(stream, options.deadlineMs);
  return {
    async attest({ nonce, userData, publicKey }) {
      const fields = { nonce, user_data: userData, public_key: publicKey };
      const answer = await call({ Attestation: fields }, "Attestation");
      return bytesOf(answer, "document");
    },
    async random(bytes) {
      if (!Number.isSafeInteger(bytes) || bytes < 1 || bytes > RANDOM_BYTES_MAX) {
        throw new LimitError(
          { code: "TEE_NSM_FAILED", bytes, maxBytes: RANDOM_BYTES_MAX },
          `random: expected 1 to ${RANDOM_BYTES_MAX} bytes, got ${bytes}`,
        );
      }
      const random = new Uint8Array(bytes);
      for (let filled = 0; filled < bytes;) {
        const part = bytesOf(await call("GetRandom", "GetRandom"), "random");
        if (part.length === 0) throw failed("random bytes", "none");
        random.set(part.subarray(0, bytes - filled), filled);
        filled += part.length;
      }
      return random;
    },
    async describe() {
      return parseDescription(await call("DescribeNSM", "DescribeNSM"));
    },
  };
}

type Fields = ReadonlyMap<unknown, HardwareValue>;

function createCaller(
  stream: Duplex,
  deadlineMs: number,
): (request: CborValue, name: string) => Promise<Fields> {
  const reader = new FrameReader(RESPONSE_BYTES_MAX);
  const waiting: Waiting[] = [];
  let broken: Error | null = null;
  const breakOff = (error: Error): void => {
    broken ??= error;
    stream.destroy();
    for (const { reject, timer } of waiting.splice(0)) {
      clearTimeout(timer);
      reject(broken);
    }
  };
  stream.on("error", (cause) => breakOff(failed("a working stream", "an error", { cause })));
  stream.on("close", () => breakOff(failed("a working stream", "its end")));
  stream.on("end", () => breakOff(failed("a working stream", "its end")));
  stream.on("data", (chunk: Uint8Array) => {
    try {
      for (const response of reader.push(chunk)) {
        const next = waiting.shift();
        if (next === undefined) throw failed("an answer to a question", "another one");
        clearTimeout(next.timer);
        next.resolve(response);
      }
    } catch (cause) {
      breakOff(failed("frames in order", "other bytes", { cause }));
    }
  });
  return async (request, name) => {
    if (broken !== null) throw broken;
    const response = await new Promise<Uint8Array>((resolve, reject) => {
      const late = failed(`an answer within ${deadlineMs} ms`, "none");
      const timer = setTimeout(() => breakOff(late), deadlineMs);
      waiting.push({ resolve, reject, timer });
      stream.write(encodeFrame(encodeCbor(request)));
    });
    return parseResponse(response, name);
  };
}

function parseResponse(response: Uint8Array, name: string): Fields {
  const decoded = decodeResponse(response);
  if (decoded instanceof Map && decoded.size === 1) {
    const answer: Fields = decoded;
    const fields = answer.get(name);
    if (fields instanceof Map) return fields;
    const error = answer.get("Error");
    if (typeof error === "string" && /^[A-Za-z]{1,32}$/.test(error)) throw failed(name, error);
  }
  throw failed(`an answer to ${name}`, "another message");
}

function decodeResponse(response: Uint8Array): HardwareValue {
  try {
    return decodeHardwareCbor(response, RESPONSE_BYTES_MAX);
  } catch (cause) {
    throw failed("CBOR", "other bytes", { cause });
  }
}

function bytesOf(fields: Fields, field: string): Uint8Array {
  const value = fields.get(field);
  if (!(value instanceof Uint8Array)) throw failed(`bytes in ${field}`, typeof value);
  return Uint8Array.from(value);
}

function parseDescription(fields: Fields): NsmDescription {
  const moduleId = fields.get("module_id");
  const digest = fields.get("digest");
  const locked = fields.get("locked_pcrs");
  if (typeof moduleId !== "string" || typeof digest !== "string" || !Array.isArray(locked)) {
    throw failed("module_id, digest and locked_pcrs", "other fields");
  }
  const items: readonly unknown[] = locked;
  return { moduleId, digest, lockedPcrs: items.filter((item) => typeof item === "number") };
}

function failed(expected: string, got: string, options?: ErrorOptions): UnavailableError {
  return new UnavailableError(
    { code: "TEE_NSM_FAILED" },
    `nsm: expected ${expected}, got ${got}`,
    options,
  );
}
