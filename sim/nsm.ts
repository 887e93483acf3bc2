import { decodeHardwareCbor, OPTIONAL_FIELD_BYTES_MAX, type HardwareValue } from "#attestation";
import { SymphonyError, encodeCbor, sha384, utf8, type CborValue } from "#protocol";

import { encodePayload, encodePcrs, signCose } from "./cose.ts";
import type { InsecureSimPlatform, SimIdentity } from "./platform.ts";

/** What a simulated NSM is made of. */
export interface SimNsmOptions {
  readonly platform: InsecureSimPlatform;
  /** Initial values by index in [0, 16); 48 bytes each. PCR 4 follows from `moduleId` unless given. */
  readonly pcrs: ReadonlyMap<number, Uint8Array>;
  readonly moduleId: string;
  readonly nowMs: () => number;
  readonly random: (bytes: number) => Uint8Array;
}

/** What a document is to say beside the platform's own claims; null where nothing. */
export interface SimAttestRequest {
  readonly nonce: Uint8Array | null;
  readonly userData: Uint8Array | null;
  readonly publicKey: Uint8Array | null;
}

/** Largest request and response of the driver (nsm-api, src/driver). */
export const NSM_REQUEST_BYTES_MAX = 0x1000;
export const NSM_RESPONSE_BYTES_MAX = 0x3000;

const PCR_BYTES = 48;
const PCR_COUNT = 32;
/** PCRs below this are locked before the enclave starts. */
const BOOT_PCRS = 16;
const RANDOM_BYTES = 256;
/** Age at which a leaf is replaced; genuine documents are 3 to 3673 s younger than their leaf. */
const LEAF_RENEWED_MS = 3_600_000;

type NsmErrorName = "InvalidIndex" | "ReadOnlyIndex" | "InvalidOperation" | "InputTooLarge";
type Fields = ReadonlyMap<unknown, HardwareValue>;

class NsmFault extends Error {
  readonly nsmError: NsmErrorName;

  constructor(nsmError: NsmErrorName) {
    super(nsmError);
    this.nsmError = nsmError;
  }
}

/**
 * A make-believe Nitro Secure Module: real requests, responses and COSE documents under a simulated root.
 *
 * Keeps the PCRs and the signing key of one enclave; lives outside it. As on hardware, PCRs 0 to 15 are locked
 * from the start, a locked PCR takes neither data nor a second lock, a range of locks does not mind locked ones,
 * and a document lists the locked PCRs and no others. What no request can mean is an InvalidOperation.
 *
 * @deprecated For development and tests only.
 * @see aws-nitro-enclaves-nsm-api src/api/mod.rs, src/driver/mod.rs; nsm-test/src/bin/nsm-check.rs (locks)
 */
export class InsecureSimNsm {
  readonly #options: SimNsmOptions;
  readonly #pcrs: Uint8Array[];
  readonly #locked = new Set<number>(Array.from({ length: BOOT_PCRS }, (_, index) => index));
  #leaf: (SimIdentity & { readonly issuedMs: number }) | null = null;

  constructor(options: SimNsmOptions) {
    this.#options = options;
    const instanceId = options.moduleId.split("-enc")[0] ?? "";
    const zero = new Uint8Array(PCR_BYTES);
    this.#pcrs = Array.from({ length: PCR_COUNT }, (_, index) => {
      const given = options.pcrs.get(index);
      if (given !== undefined) return Uint8Array.from(given);
      return index === 4 ? sha384(zero, utf8(instanceId)) : zero.slice();
    });
  }

  /** Answers one request. Never throws for what the request says: faults are `{"Error": name}`. */
  handle(request: Uint8Array): Uint8Array {
    try {
      if (request.length > NSM_REQUEST_BYTES_MAX) throw new NsmFault("InputTooLarge");
      return encodeCbor(this.#answer(decodeHardwareCbor(request, NSM_REQUEST_BYTES_MAX)));
    } catch (error) {
      if (error instanceof NsmFault) return encodeCbor({ Error: error.nsmError });
      if (error instanceof SymphonyError) return encodeCbor({ Error: "InvalidOperation" });
      throw error;
    }
  }

  #answer(request: HardwareValue): CborValue {
    if (request === "DescribeNSM") return { DescribeNSM: this.#describe() };
    if (request === "GetRandom") {
      return { GetRandom: { random: this.#options.random(RANDOM_BYTES) } };
    }
    const { name, fields } = parseCall(request);
    switch (name) {
      case "DescribePCR":
        return { DescribePCR: this.#describePcr(pcrIndex(fields)) };
      case "ExtendPCR":
        return { ExtendPCR: { data: this.#extend(pcrIndex(fields), bytesField(fields, "data")) } };
      case "LockPCR":
        return this.#lock(pcrIndex(fields));
      case "LockPCRs":
        return this.#lockRange(pcrRange(fields));
      case "Attestation":
        return { Attestation: { document: this.attest(attestRequest(fields)) } };
      default:
        throw new NsmFault("InvalidOperation");
    }
  }

  #describe(): CborValue {
    return {
      version_major: 1,
      version_minor: 0,
      version_patch: 0,
      module_id: this.#options.moduleId,
      max_pcrs: PCR_COUNT,
      locked_pcrs: [...this.#locked].sort((left, right) => left - right),
      digest: "SHA384",
    };
  }

  #describePcr(index: number): CborValue {
    return { lock: this.#locked.has(index), data: this.#pcr(index) };
  }

  #extend(index: number, data: Uint8Array): Uint8Array {
    this.#expectUnlocked(index);
    const extended = sha384(this.#pcr(index), data);
    this.#pcrs[index] = extended;
    return extended;
  }

  #lock(index: number): string {
    this.#expectUnlocked(index);
    this.#locked.add(index);
    return "LockPCR";
  }

  #lockRange(range: number): string {
    for (let index = 0; index < range; index++) this.#locked.add(index);
    return "LockPCRs";
  }

  #expectUnlocked(index: number): void {
    if (this.#locked.has(index)) throw new NsmFault("ReadOnlyIndex");
  }

  #pcr(index: number): Uint8Array {
    const pcr = this.#pcrs[index];
    if (pcr === undefined) throw new NsmFault("InvalidIndex");
    return pcr;
  }

  /** A document that says `request` beside the PCRs, as the request `Attestation` gives it. */
  attest({ nonce, userData, publicKey }: SimAttestRequest): Uint8Array {
    const { moduleId, nowMs } = this.#options;
    const timestampMs = nowMs();
    const { key, chain } = this.#identity(timestampMs);
    const locked = [...this.#locked].sort((left, right) => left - right);
    const payload = encodePayload({
      length: "indefinite",
      fields: [
        ["module_id", encodeCbor(moduleId)],
        ["digest", encodeCbor("SHA384")],
        ["timestamp", encodeCbor(timestampMs)],
        ["pcrs", encodePcrs(new Map(locked.map((index) => [index, this.#pcr(index)])))],
        ["certificate", encodeCbor(chain[chain.length - 1] ?? null)],
        ["cabundle", encodeCbor(chain.slice(0, -1))],
        ["public_key", encodeCbor(publicKey)],
        ["user_data", encodeCbor(userData)],
        ["nonce", encodeCbor(nonce)],
      ],
    });
    return signCose(payload, key);
  }

  #identity(nowMs: number): SimIdentity {
    const known = this.#leaf;
    if (known !== null && nowMs >= known.issuedMs && nowMs < known.issuedMs + LEAF_RENEWED_MS) {
      return known;
    }
    const { platform, moduleId } = this.#options;
    const leaf = { ...platform.issueLeaf({ moduleId, nowMs }), issuedMs: nowMs };
    this.#leaf = leaf;
    return leaf;
  }
}

function parseCall(request: HardwareValue): { name: unknown; fields: Fields } {
  if (request instanceof Map && request.size === 1) {
    const call: ReadonlyMap<unknown, unknown> = request;
    for (const [name, fields] of call) if (fields instanceof Map) return { name, fields };
  }
  throw new NsmFault("InvalidOperation");
}

function pcrIndex(fields: Fields): number {
  const index = uint16Field(fields, "index");
  if (index >= PCR_COUNT) throw new NsmFault("InvalidIndex");
  return index;
}

function pcrRange(fields: Fields): number {
  const range = uint16Field(fields, "range");
  if (range > PCR_COUNT) throw new NsmFault("InvalidIndex");
  return range;
}

function uint16Field(fields: Fields, field: string): number {
  const value = fields.get(field);
  if (typeof value !== "number" || value < 0 || value > 0xffff) {
    throw new NsmFault("InvalidOperation");
  }
  return value;
}

function bytesField(fields: Fields, field: string): Uint8Array {
  const value = fields.get(field);
  if (!(value instanceof Uint8Array)) throw new NsmFault("InvalidOperation");
  return value;
}

function attestRequest(fields: Fields): SimAttestRequest {
  return {
    nonce: optionalField(fields, "nonce"),
    userData: optionalField(fields, "user_data"),
    publicKey: optionalField(fields, "public_key"),
  };
}

function optionalField(fields: Fields, field: string): Uint8Array | null {
  const value = fields.get(field) ?? null;
  if (value === null) return null;
  const bytes = bytesField(fields, field);
  if (bytes.length > OPTIONAL_FIELD_BYTES_MAX) throw new NsmFault("InputTooLarge");
  return bytes;
}
